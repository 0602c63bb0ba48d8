#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/file.h"

namespace nnc {

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
  void* at = MAP_FAILED;
  if (::fstat(file, &status) == 0) {
    mapped.size_ = static_cast<std::size_t>(status.st_size);
    at = mapped.size_ == 0 ? nullptr : ::mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, file, 0);
  }
  const int error = errno;
  ::close(file);
  errno = error;
  if (at == MAP_FAILED) return failed();
  mapped.begin_ = static_cast<const char*>(at);
  if (mapped.size_ > 0) ::madvise(at, mapped.size_, MADV_SEQUENTIAL);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(begin_, other.begin_), std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (begin_ != nullptr && size_ > 0) ::munmap(const_cast<char*>(begin_), size_);
}

void MappedFile::release(std::size_t from, std::size_t to) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  from = from / page * page, to = to / page * page;
  if (to > from) ::madvise(const_cast<char*>(begin_) + from, to - from, MADV_DONTNEED);
}

}  // namespace nnc
