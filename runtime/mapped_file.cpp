#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "runtime/file.h"

namespace nnc {

namespace {

/// Copies bytes of a file; where it does not give them, a std::system_error that says `what` they are.
void read_at(int descriptor, std::uint64_t from, std::size_t bytes, std::byte* to, const std::string& what) {
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor, to, bytes, static_cast<off_t>(from));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw std::system_error(got < 0 ? errno : EIO, std::generic_category(), what);
    to += got, from += static_cast<std::uint64_t>(got), bytes -= static_cast<std::size_t>(got);
  }
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  if (auto problem = unreadable(path)) return *problem;
  const auto failed = [&] {
    return Problem{.kind = Problem::Kind::io,
                   .message = fmt::format("cannot read `{}`: {}", path, std::strerror(errno)),
                   .place = {},
                   .expected = {},
                   .found = {},
                   .notes = {}};
  };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed();
  struct stat status{};
  MappedFile mapped;
  if (::fstat(file, &status) == 0) mapped = of(file, static_cast<std::size_t>(status.st_size));
  const int error = errno;
  ::close(file);
  errno = error;
  if (mapped.begin_ == MAP_FAILED) return failed();
  return mapped;
}

/// `begin_` is MAP_FAILED, and the size 0, where it cannot be mapped.
MappedFile MappedFile::of(int descriptor, std::size_t size) {
  MappedFile mapped;
  void* const at = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  mapped.begin_ = static_cast<const char*>(at);
  if (at == MAP_FAILED || size == 0) return mapped;
  mapped.size_ = size;
  mapped.descriptor_ = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  ::madvise(at, size, MADV_SEQUENTIAL);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(begin_, other.begin_), std::swap(size_, other.size_), std::swap(descriptor_, other.descriptor_);
  return *this;
}

MappedFile::~MappedFile() {
  if (begin_ != nullptr && size_ > 0) ::munmap(const_cast<char*>(begin_), size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

void MappedFile::release(std::size_t from, std::size_t to) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  from = from / page * page, to = to / page * page;
  if (to > from) ::madvise(const_cast<char*>(begin_) + from, to - from, MADV_DONTNEED);
}

void MappedFile::read(std::uint64_t from, std::size_t bytes, std::byte* to) const {
  read_at(descriptor_, from, bytes, to, "rows of the data");
}

// ---- files without a name ----------------------------------------------------------------------------------------

namespace {

/// A new file without a name, or -1.
int nameless(const std::string& folder) {
  const int made = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (made >= 0) return made;
  std::string path = folder + "/nnc-rows-XXXXXX";  // a file system without O_TMPFILE
  const int named = ::mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(path.c_str());
  return named;
}

}  // namespace

Problem UnnamedFile::unwritable() const {
  return {
      .kind = Problem::Kind::io,
      .message = fmt::format("cannot write the rows of the data to a file in `{}`: {}", folder_, std::strerror(errno)),
      .place = {},
      .expected = {},
      .found = {},
      .notes = {"help: data that are streamed need disk space about as large as their numbers; TMPDIR names the "
                "folder, --stream-over MB keeps files up to that size in memory"}};
}

Result<UnnamedFile> UnnamedFile::make(const std::string& folder) {
  UnnamedFile file;
  file.folder_ = folder;
  file.descriptor_ = nameless(folder);
  if (file.descriptor_ < 0) return file.unwritable();
  return file;
}

UnnamedFile::UnnamedFile(UnnamedFile&& other) noexcept
    : folder_(std::move(other.folder_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

UnnamedFile& UnnamedFile::operator=(UnnamedFile&& other) noexcept {
  std::swap(folder_, other.folder_), std::swap(descriptor_, other.descriptor_), std::swap(size_, other.size_);
  return *this;
}

UnnamedFile::~UnnamedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::optional<Problem> UnnamedFile::append(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return unwritable();
    bytes = bytes.subspan(static_cast<std::size_t>(written)), size_ += static_cast<std::uint64_t>(written);
  }
  return std::nullopt;
}

void UnnamedFile::read(std::uint64_t from, std::size_t bytes, std::byte* to) const {
  read_at(descriptor_, from, bytes, to, "rows of the data in " + folder_);
}

Result<MappedFile> UnnamedFile::map() const {
  MappedFile mapped = MappedFile::of(descriptor_, size_);
  if (mapped.begin_ == MAP_FAILED) return unwritable();
  return mapped;
}

}  // namespace nnc
