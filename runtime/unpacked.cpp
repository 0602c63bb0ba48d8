#include "runtime/unpacked.h"

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

namespace nnc {

namespace {

/// Takes bytes from the beginning of a packed file on.
class Unpacker {
 public:
  explicit Unpacker(const std::string& path) : Unpacker(gzopen(path.c_str(), "rb")) {}
  /// `file` may be null: it could not be opened, and errno says why.
  explicit Unpacker(gzFile file) : file_(file) {
    if (file_ != nullptr) gzbuffer(file_, 1 << 18);
  }
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;
  ~Unpacker() {
    if (file_ != nullptr) gzclose(file_);
  }

  bool open() const { return file_ != nullptr; }
  /// Up to `count` bytes; fewer where the stream ends. A problem where it is damaged or cannot be read.
  std::optional<Problem> read(std::size_t count, std::vector<char>& to, const std::string& called) {
    to.resize(count);
    errno = 0;
    const int got = gzread(file_, to.data(), static_cast<unsigned>(count));
    const int reason = errno;
    to.resize(static_cast<std::size_t>(std::max(got, 0)));
    int error = Z_OK;
    gzerror(file_, &error);
    if (error == Z_ERRNO) return unreadable_bytes(called, reason);
    // A stream that ends early is Z_BUF_ERROR.
    if (to.size() == count || (got >= 0 && (error == Z_OK || error == Z_STREAM_END))) return std::nullopt;
    return Problem{.kind = Problem::Kind::data,
                   .message = "the packed file is damaged or cut off",
                   .place = {called, 0, 0},
                   .expected = {},
                   .found = {},
                   .notes = {}};
  }

  static Problem unreadable_bytes(const std::string& called, int reason) {
    return {.kind = Problem::Kind::io,
            .message = fmt::format("cannot read `{}`: {}", called, std::strerror(reason)),
            .place = {},
            .expected = {},
            .found = {},
            .notes = {}};
  }

 private:
  gzFile file_;
};

/// Gone through in pieces, so that a header that lies about its size allocates nothing that is not there.
Result<KeptBytes> kept(Unpacker& packed, const std::string& called, std::uint64_t most_in_memory,
                       const std::string& folder) {
  constexpr std::size_t piece = std::size_t{1} << 22;
  if (!packed.open()) return Unpacker::unreadable_bytes(called, errno);
  std::vector<char> memory, some;
  std::optional<UnnamedFile> file;
  do {
    if (auto problem = packed.read(piece, some, called)) return *problem;
    if (!file && memory.size() + some.size() > most_in_memory) {
      auto made = UnnamedFile::make(folder);
      if (!made) return made.problem();
      file.emplace(std::move(*made));
      if (auto problem = file->append(memory)) return *problem;
      memory = {};
    }
    if (!file)
      memory.insert(memory.end(), some.begin(), some.end());
    else if (auto problem = file->append(some))
      return *problem;
  } while (some.size() == piece);
  if (!file) return KeptBytes::of(std::move(memory));
  auto mapped = file->map();
  if (!mapped) return mapped.problem();
  return KeptBytes::of(std::move(*mapped));
}

}  // namespace

Result<KeptBytes> unpacked(const std::string& path, std::uint64_t most_in_memory, const std::string& folder) {
  Unpacker packed(path);
  return kept(packed, path, most_in_memory, folder);
}

Result<KeptBytes> unpacked_stdin(std::uint64_t most_in_memory, const std::string& folder) {
  const int own = ::dup(STDIN_FILENO);
  Unpacker packed(own < 0 ? nullptr : gzdopen(own, "rb"));
  return kept(packed, "stdin", most_in_memory, folder);
}

std::string first_unpacked(const std::string& path, std::size_t count) {
  Unpacker packed(path);
  std::vector<char> some;
  if (packed.open()) packed.read(count, some, path);
  return {some.begin(), some.end()};
}

}  // namespace nnc
