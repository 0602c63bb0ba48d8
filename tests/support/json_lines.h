// What commands write, read back: JSON lines, text lines, and tensors of a safetensors file.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/command.h"

namespace nnc::test {

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::vector<std::string> text_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

inline std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (const std::string& line : text_lines(text))
    if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// The tensors of a safetensors file (F32 and F64), as doubles, by name.
inline std::map<std::string, std::vector<double>> read_weights(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) throw std::runtime_error("no safetensors file: " + path.string());
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, header_size));
  std::map<std::string, std::vector<double>> weights;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const bool wide = entry.at("dtype") == "F64";
    if (!wide && entry.at("dtype") != "F32") throw std::runtime_error(name + " is neither F32 nor F64");
    const std::size_t begin = entry.at("data_offsets").at(0), end = entry.at("data_offsets").at(1);
    const auto read = [&]<class T>(T value) {
      for (std::size_t at = begin; at < end; at += sizeof value) {
        std::memcpy(&value, bytes.data() + 8 + header_size + at, sizeof value);
        weights[name].push_back(static_cast<double>(value));
      }
    };
    wide ? read(double{}) : read(float{});
  }
  return weights;
}

}  // namespace nnc::test
