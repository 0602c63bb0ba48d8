// The examples at sizes that a test can run over and over: all as they are but MNIST, which gets smaller layers and
// generated pictures.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/random.h"
#include "tests/support/scratch.h"

namespace nnc::test {

/// Below examples/.
inline const std::vector<std::string> example_files = {"curve/curve.nn", "linear/linear.nn", "mnist/mnist.nn",
                                                       "softmax/flowers.nn", "xor/xor.nn"};

namespace detail {

inline std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

/// An IDX file of bytes: magic number, extents, elements.
inline void write_idx(const std::filesystem::path& path, const std::vector<std::uint32_t>& dims, int below,
                      std::uint64_t seed) {
  std::ofstream out(path, std::ios::binary);
  const auto word = [&](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out.put(static_cast<char>(value >> shift & 255));
  };
  word(0x800 + static_cast<std::uint32_t>(dims.size()));
  std::uint64_t count = 1;
  for (std::uint32_t extent : dims) {
    word(extent);
    count *= extent;
  }
  Random random(seed);
  for (std::uint64_t i = 0; i < count; ++i) out.put(static_cast<char>(random.between(0, below - 1)));
}

}  // namespace detail

/// The program of an example in `folder`, with the data that it reads beside it; its path. MNIST is a 33-20-17-10
/// network over 103 pictures of 3 x 11 in batches of 16, none of which divides evenly.
inline std::string reduced_example(const std::string& example, const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const fs::path source = fs::path(NNC_SOURCE_DIR) / "examples" / example;
  for (const auto& beside : fs::directory_iterator(source.parent_path()))
    fs::copy_file(beside.path(), folder / beside.path().filename(), fs::copy_options::overwrite_existing);
  const std::string path = (folder / source.filename()).string();
  if (source.filename() != "mnist.nn") return path;

  std::stringstream text;
  text << std::ifstream(source).rdbuf();
  std::string program = text.str();
  for (const auto& [what, with] : std::vector<std::pair<std::string, std::string>>{
           {"784", "33"}, {"256", "20"}, {"Dense(128)", "Dense(17)"}, {"batch_size = 128", "batch_size = 16"}})
    program = detail::replaced(program, what, with);
  std::ofstream(path) << program;
  std::uint64_t seed = 1;
  for (const auto& [name, rows] : std::vector<std::pair<std::string, std::uint32_t>>{
           {"train", 103}, {"t10k", 37}}) {  // plain where gzip may stand
    detail::write_idx(folder / (name + "-images-idx3-ubyte.gz"), {rows, 3, 11}, 256, seed++);
    detail::write_idx(folder / (name + "-labels-idx1-ubyte.gz"), {rows}, 10, seed++);
  }
  return path;
}

}  // namespace nnc::test
