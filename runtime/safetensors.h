// Named arrays in a file, as huggingface/safetensors defines it: the header's length in 8 bytes, a JSON header, the
// elements in row-major order without gaps. What is read is checked in full before any of it is used: a file that is
// cut off, has overlapping or missing bytes, a name twice or a wrong checksum (over header and elements) is refused.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dense_array.h"
#include "runtime/file.h"
#include "runtime/programs.h"
#include "runtime/result.h"

namespace nnc {

struct TensorFile {
  std::vector<NamedArray> tensors;              ///< in the order in which they lie in the file
  std::map<std::string, std::string> metadata;  ///< without the checksum, which is made and checked here

  const DenseArray* find(std::string_view name) const;
};

/// Written to a temporary file, flushed and renamed. Element types f32, f64, i32 and boolean.
std::optional<Problem> write_safetensors(const std::string& path, const TensorFile& file,
                                         const FileCalls& calls = system_calls());
/// Files of other programs are read too (they have no checksum); element types other than those above are refused.
Result<TensorFile> read_safetensors(const std::string& path);
/// The same from memory; `path` is for messages.
Result<TensorFile> parse_safetensors(std::string_view bytes, const std::string& path);

}  // namespace nnc
