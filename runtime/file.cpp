#include "runtime/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "ir/nearest.h"

namespace nnc {

namespace {

Problem io_problem(const std::string& path, const char* verb, int error) {
  return {.kind = Problem::Kind::io,
          .message = fmt::format("cannot {} `{}`: {}", verb, path, std::strerror(error)),
          .place = {},
          .expected = {},
          .found = {},
          .notes = {}};
}

/// Closes on every way out.
struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

bool write_all(int descriptor, std::string_view content, const FileCalls& calls) {
  while (!content.empty()) {
    ssize_t written = calls.write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

int flush_folder(const char* folder) {
  Descriptor opened{::open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  return opened.number >= 0 ? ::fsync(opened.number) : -1;
}

constexpr std::string_view temporary_ending = ".tmp";

constexpr std::array<std::uint32_t, 64> sha_constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha_block(std::array<std::uint32_t, 8>& hash, const unsigned char* block) {
  std::array<std::uint32_t, 64> w{};
  for (std::size_t i = 0; i < 16; ++i)
    w[i] = std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 |
           std::uint32_t{block[4 * i + 2]} << 8 | std::uint32_t{block[4 * i + 3]};
  for (std::size_t i = 16; i < 64; ++i) {
    std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = hash;
  for (std::size_t i = 0; i < 64; ++i) {
    std::uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    std::uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + sha_constants[i] + w[i];
    std::uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    std::uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  std::array<std::uint32_t, 8> sum = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) hash[i] += sum[i];
}

}  // namespace

namespace {

/// Opens a regular file; `size` gets its length.
std::optional<Problem> open_regular(const std::string& path, Descriptor& file, std::size_t& size) {
  // Without waiting: a pipe would open only when somebody writes into it.
  file.number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status{};
  if (file.number < 0 || ::fstat(file.number, &status) != 0) {
    Problem problem = io_problem(path, "read", errno);
    if (const auto near = errno == ENOENT ? nearest_path(path) : std::nullopt)
      problem.notes.push_back(fmt::format("help: did you mean `{}`?", *near));
    return problem;
  }
  if (S_ISDIR(status.st_mode)) return io_problem(path, "read", EISDIR);
  if (!S_ISREG(status.st_mode)) {
    Problem problem = io_problem(path, "read", 0);
    problem.message = fmt::format("cannot read `{}`: it is not a regular file", path);
    return problem;
  }
  size = static_cast<std::size_t>(status.st_size);
  return std::nullopt;
}

}  // namespace

std::optional<Problem> unreadable(const std::string& path) {
  Descriptor file;
  std::size_t size = 0;
  return open_regular(path, file, size);
}

Result<std::vector<char>> read_file(const std::string& path) {
  Descriptor file;
  std::size_t size = 0;
  if (auto problem = open_regular(path, file, size)) return *problem;
  std::vector<char> content(size);
  std::size_t filled = 0;
  while (filled < content.size()) {
    ssize_t got = ::read(file.number, content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_problem(path, "read", errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  content.resize(filled);
  return content;
}

const FileCalls& system_calls() {
  static const FileCalls calls{
      .create = [](const char* path) { return ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644); },
      .write = ::write,
      .flush = ::fsync,
      .close = ::close,
      .rename = ::rename,
      .flush_folder = flush_folder};
  return calls;
}

bool is_temporary(std::string_view name) { return name.ends_with(temporary_ending); }

AtomicFile::AtomicFile(std::string path, const FileCalls& calls) : path_(std::move(path)), calls_(calls) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (is_there_) ::unlink(temporary_.c_str());
}

Problem AtomicFile::give_up(int error) {
  if (descriptor_ >= 0) calls_.close(std::exchange(descriptor_, -1));
  if (std::exchange(is_there_, false)) ::unlink(temporary_.c_str());
  return io_problem(path_, "write", error);
}

namespace {

/// A name of what this process has open, which may be a file of any place; not of a file under /dev, as in /dev/shm.
bool names_open_stream(std::string_view path) {
  return path == "/dev/stdout" || path == "/dev/stderr" || path.starts_with("/dev/fd/") ||
         path.starts_with("/proc/self/fd/");
}

}  // namespace

int AtomicFile::open() {
  struct stat before{};
  const bool exists = ::stat(path_.c_str(), &before) == 0;
  direct_ = exists && (names_open_stream(path_) || !(S_ISREG(before.st_mode) || S_ISDIR(before.st_mode)));
  if (direct_) return ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  std::error_code unknown;
  if (std::filesystem::is_symlink(path_, unknown)) {
    const std::filesystem::path target = std::filesystem::weakly_canonical(path_, unknown);
    if (!unknown) path_ = target.string();
  }
  temporary_ = fmt::format("{}.{}{}", path_, ::getpid(), temporary_ending);
  const int opened = calls_.create(temporary_.c_str());
  is_there_ = opened >= 0;
  if (exists && S_ISREG(before.st_mode) && is_there_) ::fchmod(opened, before.st_mode & 07777);
  return opened;
}

std::optional<Problem> AtomicFile::write(std::string_view content) {
  if (descriptor_ < 0 && (descriptor_ = open()) < 0) return give_up(errno);
  if (write_all(descriptor_, content, calls_)) return std::nullopt;
  return give_up(errno);
}

std::optional<Problem> AtomicFile::commit() {
  if (direct_) {
    if (calls_.close(std::exchange(descriptor_, -1)) != 0) return give_up(errno);
    return std::nullopt;
  }
  if (calls_.flush(descriptor_) != 0) return give_up(errno);
  if (calls_.close(std::exchange(descriptor_, -1)) != 0) return give_up(errno);
  if (calls_.rename(temporary_.c_str(), path_.c_str()) != 0) return give_up(errno);
  is_there_ = false;
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  if (calls_.flush_folder(folder.empty() ? "." : folder.c_str()) != 0)
    return io_problem(path_, "flush the folder of", errno);
  return std::nullopt;
}

std::optional<Problem> write_file_atomically(const std::string& path, std::string_view content,
                                             const FileCalls& calls) {
  AtomicFile file(path, calls);
  if (auto problem = file.write(content)) return problem;
  return file.commit();
}

std::optional<Problem> make_folder(const std::string& path) {
  std::error_code error, unknown;
  std::filesystem::create_directories(path, error);
  if (std::filesystem::is_directory(path, unknown)) return std::nullopt;
  Problem problem = io_problem(path, "make the folder", error.value());
  if (!error) problem.message = fmt::format("cannot make the folder `{}`: {}", path, unknown.message());
  return problem;
}

std::string sha256(std::string_view text) {
  std::array<std::uint32_t, 8> hash = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::string padded(text);
  padded += '\x80';
  padded.resize((padded.size() + 8 + 63) / 64 * 64 - 8, '\0');
  std::uint64_t bits = std::uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) padded += static_cast<char>(bits >> shift & 0xff);
  for (std::size_t at = 0; at < padded.size(); at += 64)
    sha_block(hash, reinterpret_cast<const unsigned char*>(padded.data()) + at);
  std::string digits;
  for (std::uint32_t word : hash) digits += fmt::format("{:08x}", word);
  return digits;
}

}  // namespace nnc
