// Files whole: read at once, written so that a reader sees the old content or the new, never a part.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace nnc {

/// The content of a regular file. Anything else (a folder, a pipe, a device) is refused.
Result<std::vector<char>> read_file(const std::string& path);

/// Why a regular file cannot be opened for reading, or nothing.
std::optional<Problem> unreadable(const std::string& path);

/// The calls of the system that change files. Tests put others in their place, which fail at one of them.
struct FileCalls {
  std::function<int(const char* path)> create;  ///< for writing, empty; a descriptor or -1, as open(2)
  std::function<ssize_t(int descriptor, const char* bytes, std::size_t count)> write;
  std::function<int(int descriptor)> flush, close;
  std::function<int(const char* from, const char* to)> rename;
  std::function<int(const char* folder)> flush_folder;
};
const FileCalls& system_calls();

/// A file that is written piece by piece beside `path`, and takes its place whole with `commit`; without, it is gone. A
/// link stays one, to the new file; the rights of a file that was there stay. What is no regular file (a pipe, a
/// device) has no content to take the place of, and is written into.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path, const FileCalls& calls = system_calls());
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  std::optional<Problem> write(std::string_view content);
  /// Flushes it to the disk, renames it over `path` and flushes the folder.
  std::optional<Problem> commit();
  /// Its name until then, once something was written; else empty.
  std::string temporary() const { return is_there_ ? temporary_ : ""; }

 private:
  int open();
  /// Closes and removes what there is.
  Problem give_up(int error);

  std::string path_, temporary_;
  const FileCalls& calls_;
  int descriptor_ = -1;
  bool is_there_ = false;  ///< under its temporary name
  bool direct_ = false;    ///< written into
};

/// Writes a temporary file beside `path`, flushes it to the disk, renames it over `path` and flushes the folder.
std::optional<Problem> write_file_atomically(const std::string& path, std::string_view content,
                                             const FileCalls& calls = system_calls());

/// Makes a folder, and those above it, unless it is there.
std::optional<Problem> make_folder(const std::string& path);

/// True for the name of a temporary file of `write_file_atomically`, which a process that was killed may leave.
bool is_temporary(std::string_view name);

/// SHA-256 of a text, as 64 hexadecimal digits: how runs name the source they were made from.
std::string sha256(std::string_view text);

}  // namespace nnc
