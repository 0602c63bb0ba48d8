// The library against NumPy and PyTorch: each activation, layer, loss, metric and optimizer in a small net that takes
// 20 steps in f64 from given weights. tests/reference/make_library.py has the formulas and wrote the programs and the
// numbers; make_torch.py beside it let PyTorch's own functions train the same nets, where it has them.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::read_weights;
using nnc::test::run_nnc;
using nnc::test::write_file;
namespace fs = std::filesystem;

/// Start weights as a safetensors file, which is how a user gives them.
void write_weights(const fs::path& path, const json& tensors) {
  json header = json::object();
  std::string bytes;
  for (const auto& [name, tensor] : tensors.items()) {
    const std::size_t begin = bytes.size();
    for (const double value : tensor["values"]) {
      const auto bits = std::bit_cast<std::uint64_t>(value);
      for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(bits >> shift & 0xff);
    }
    header[name] = {{"dtype", "F64"}, {"shape", tensor["shape"]}, {"data_offsets", {begin, bytes.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::ofstream file(path, std::ios::binary);
  for (int shift = 0; shift < 64; shift += 8) file.put(static_cast<char>(text.size() >> shift & 0xff));
  file << text << bytes;
}

void flatten(const json& value, std::vector<double>& into) {
  if (value.is_array())
    for (const json& element : value) flatten(element, into);
  else
    into.push_back(value.get<double>());
}

/// All numbers within 1e-9, relatively where they are large.
void check_close(const json& value, const json& expected) {
  std::vector<double> a, b;
  flatten(value, a);
  flatten(expected, b);
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    INFO("element " << i << ": " << a[i] << ", expected " << b[i]);
    REQUIRE(std::abs(a[i] - b[i]) <= 1e-9 * std::max(1.0, std::abs(b[i])));
  }
}

/// The losses before each step and the last weights; metrics after each step where there are any.
void check_run(const std::vector<json>& epochs, const fs::path& last, const json& expected) {
  REQUIRE(epochs.size() == expected["losses"].size());
  for (std::size_t step = 0; step < epochs.size(); ++step) {
    const json& figures = epochs[step];
    INFO("step " << step + 1 << ": " << figures.dump());
    check_close(figures.at("train.loss"), expected["losses"][step]);
    if (!expected.contains("metrics")) continue;
    const json& metrics = expected["metrics"][step];
    for (std::size_t i = 0; i < metrics.size(); ++i) check_close(figures.at(fmt::format("train.m{}", i)), metrics[i]);
  }

  const auto weights = read_weights(last);
  for (const auto& [name, values] : expected["weights"].items()) {
    INFO(name);
    REQUIRE(weights.contains(name));
    check_close(weights.at(name), values);
  }
}

/// Trains the case's program and compares it with each of the references.
void check_case(const json& given, const std::vector<json>& references) {
  const nnc::test::Scratch scratch;
  write_file(scratch.path() / "case.nn", given["program"]);
  write_weights(scratch.path() / "start.safetensors", given["start"]);
  const auto result = run_nnc("train case.nn --init start.safetensors --dtype f64 --out run", scratch.path());
  INFO(given["program"].get<std::string>() << result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.find("warning[") == std::string::npos);  // of the program; 20 steps may well learn nothing
  const std::vector<json> epochs = json_lines(read_file(scratch.path() / "run/metrics.jsonl"));
  for (const json& expected : references) check_run(epochs, scratch.path() / "run/last.safetensors", expected);
}

json reference(const std::string& name) {
  return json::parse(read_file(fs::path(NNC_SOURCE_DIR) / "tests/reference" / name));
}

}  // namespace

TEST_CASE("the library trains as its formulas do in NumPy, and as PyTorch: 20 steps in f64 to 1e-9", "[reference]") {
  const json numpy = reference("library.json"), torch = reference("torch.json");
  CHECK(numpy["cases"].size() >= 92);
  CHECK(torch["cases"].size() >= 87);
  std::set<std::string> with_torch;
  for (const json& given : numpy["cases"]) {
    const std::string name = given["name"];
    INFO(name);
    std::vector<json> references{given};
    for (const json& expected : torch["cases"])
      if (expected["name"] == name) references.push_back(expected);
    // What PyTorch has no function for is listed, with the reason.
    CHECK((references.size() == 2) != torch["without"].contains(name));
    with_torch.insert(name);
    check_case(given, references);
  }
  for (const json& expected : torch["cases"]) {  // and what PyTorch alone was asked for
    if (with_torch.contains(expected["name"])) continue;
    INFO(expected["name"].get<std::string>());
    check_case(expected, {expected});
  }
}
