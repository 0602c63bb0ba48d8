// What a page says of the model: its drawing, the time of its kernels, and answers in the units of the file.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "driver/model_drawing.h"
#include "driver/profile.h"
#include "tests/support/command.h"
#include "tests/support/html.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using namespace nnc::driver;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using Json = nlohmann::ordered_json;

// ---- the drawing

OutlineStep step(const std::string& text, std::vector<std::size_t> from) {
  OutlineStep made{.text = text, .name = "", .within = "", .line = 7};
  made.type = {DType::f32, {batch_extent, Extent{8}}};
  made.from = std::move(from);
  if (made.from.empty()) made.kind = OutlineStep::Kind::column;
  return made;
}

/// x, then `blocks` times Dense, relu and their sum with what came in, then a loss that also reads y.
Outline residual(std::size_t blocks) {
  Outline outline{step("x", {})};
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t in = outline.size() - 1;
    outline.push_back(step("Dense(8)", {in}));
    outline.push_back(step("relu", {in + 1}));
    outline.push_back(step("x + h", {in, in + 2}));
  }
  outline.push_back(step("y", {}));
  outline.push_back(step("mse", {outline.size() - 2, outline.size() - 1}));
  return outline;
}

struct Box {
  double left, top, right, bottom;
};
std::vector<Box> boxes_of(const std::string& svg) {
  const std::regex rect("<rect [^>]* x=\"([-0-9.]+)\" y=\"([-0-9.]+)\" width=\"([0-9.]+)\" height=\"([0-9.]+)\"");
  std::vector<Box> boxes;
  for (std::sregex_iterator found(svg.begin(), svg.end(), rect), end; found != end; ++found) {
    const double x = std::stod((*found)[1]), y = std::stod((*found)[2]);
    boxes.push_back({x, y, x + std::stod((*found)[3]), y + std::stod((*found)[4])});
  }
  return boxes;
}

TEST_CASE("every step has a box, no two boxes meet, and each stands below what it reads", "[drawing]") {
  for (std::size_t blocks : {0U, 1U, 4U}) {
    const Outline outline = residual(blocks);
    const std::string svg = model_svg(outline);
    CHECK(nnc::test::ill_formed(svg) == "");
    const std::vector<Box> boxes = boxes_of(svg);
    REQUIRE(boxes.size() == outline.size());
    const std::regex view("viewBox=\"0 0 ([0-9]+) ([0-9]+)\"");
    std::smatch size;
    REQUIRE(std::regex_search(svg, size, view));
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      CHECK(boxes[i].left >= 0);
      CHECK(boxes[i].right <= std::stod(size[1]) + 1);
      CHECK(boxes[i].bottom <= std::stod(size[2]) + 1);
      for (std::size_t k = 0; k < i; ++k)
        CHECK((boxes[i].left >= boxes[k].right || boxes[k].left >= boxes[i].right || boxes[i].top >= boxes[k].bottom ||
               boxes[k].top >= boxes[i].bottom));
      for (std::size_t from : outline[i].from) CHECK(boxes[i].top > boxes[from].bottom);
    }
  }
  CHECK(model_svg({}).empty());
}

TEST_CASE("what repeats is drawn once where a model is deep", "[drawing]") {
  const std::vector<DrawnStep> few = repeats_once(residual(4));
  CHECK(few.size() == residual(4).size());
  const std::vector<DrawnStep> drawn = repeats_once(residual(40));
  std::string text;
  for (const DrawnStep& one : drawn) {
    text += fmt::format("{} {}:", one.step.text, one.times);
    for (std::size_t from : one.step.from) text += fmt::format(" {}", from);
    text += "\n";
  }
  CHECK(text ==
        "x 1:\n"
        "Dense(8) 40: 0\n"
        "relu 40: 1\n"
        "x + h 40: 0 2\n"
        "y 1:\n"
        "mse 1: 3 4\n");
  CHECK(model_svg(residual(40)).find("Dense(8)  ×40") != std::string::npos);
}

// ---- time per kernel

void check_profile(const Scratch& scratch, const std::string& run, const std::string& program) {
  const std::string text = read_file(scratch.path() / run / "profile.json");
  const auto profile = profile_of(Json::parse(text));
  REQUIRE(profile);
  CHECK(json_of(*profile) + "\n" == text);
  CHECK(profile->steps > 0);
  const auto bench =
      run_nnc(fmt::format("bench {} --rows {} --seconds 0.01 --threads 1 --per-kernel --json", program, profile->rows),
              scratch.path());
  INFO(bench.err);
  const Json measured = Json::parse(bench.out);
  REQUIRE(measured["kernels"].size() == profile->kernels.size());
  for (std::size_t i = 0; i < profile->kernels.size(); ++i) {
    const KernelWork& kernel = profile->kernels[i];
    const Json& same = measured["kernels"][i];
    CHECK(kernel.name == same["name"].get<std::string>());
    CHECK(kernel.contracted == same["flops"].get<std::uint64_t>());
    CHECK(kernel.flops >= kernel.contracted);
    CHECK(kernel.bytes == same["bytes"].get<std::uint64_t>());
    CHECK(kernel.nanoseconds > 0);
  }
  const std::string page = read_file(scratch.path() / run / "report.html");
  std::size_t rows = 0;
  for (std::size_t at = page.find("<td class=\"words\">"); at != std::string::npos;
       at = page.find("<td class=\"words\">", at + 1))
    ++rows;
  CHECK(rows == profile->kernels.size());
}

TEST_CASE("a run remembers the time of each kernel of a step: those that bench knows", "[report]") {
  const Scratch scratch;
  for (const char* name : {"linear", "mlp"}) {
    REQUIRE(run_nnc(fmt::format("new {0} {0}", name), scratch.path()).status == 0);
    REQUIRE(
        run_nnc(fmt::format("train {0}/{0}.nn --out run-{0} --epochs 2 --threads 1", name), scratch.path()).status ==
        0);
    check_profile(scratch, fmt::format("run-{}", name), fmt::format("{0}/{0}.nn", name));
  }
}

TEST_CASE("kernels within a loop have the time of all its steps", "[report]") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "rnn.nn")
      << "data d {\n  samples = 32\n  x: f32[12, 3] = uniform(0, 1)\n  y: f32[12, 4] = uniform(0, 1)\n}\n"
         "model M(x: f32[batch, 12, 3]) -> f32[batch, 12, 4] {\n  return x |> Rnn(4)\n}\n"
         "train M on d {\n  let z = M(x)\n  loss = mse(z, y)\n  optimizer = sgd(lr = 0.1)\n  epochs = 2\n  batch_size "
         "= 16\n}\n";
  const auto trained = run_nnc("train rnn.nn --out run --threads 1", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  check_profile(scratch, "run", "rnn.nn");
}

// ---- units

TEST_CASE("answers are shown in the units of the file, whatever the model was given", "[report]") {
  const Scratch scratch;
  std::set<std::string> rows;
  std::ofstream csv(scratch.path() / "flats.csv");
  csv << "area,price\n";
  for (int i = 0; i < 40; ++i) {
    const std::string area = std::to_string(100 + 3 * i), price = std::to_string(50000 + 700 * ((i * 7) % 40));
    csv << area << "," << price << "\n";
    rows.insert(price + " of " + area);
  }
  csv.close();
  for (const char* how : {"standardize", "minmax"}) {
    std::ofstream(scratch.path() / "p.nn")
        << "data d {\n  let rows = csv(\"flats.csv\")\n  train = rows\n  x: f32[1] = " << how << "(cols(\"area\"))\n"
        << "  y: f32[1] = " << how << "(cols(\"price\"))\n}\n"
        << "model M(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\n"
        << "train M on d {\n  let z = M(x)\n  loss = mse(z, y)\n  optimizer = sgd(lr = 0.1)\n  epochs = 30\n}\n";
    REQUIRE(run_nnc(fmt::format("train p.nn --out {}", how), scratch.path()).status == 0);
    const std::string page = read_file(scratch.path() / how / "report.html");
    CHECK(page.find("in the units of the file") != std::string::npos);
    CHECK(page.find(">area</text>") != std::string::npos);
    CHECK(page.find(">price</text>") != std::string::npos);
    CHECK(page.find(">200</text>") != std::string::npos);    // an area
    CHECK(page.find(">6e+04</text>") != std::string::npos);  // a price
    // Row, what is, what was answered, by how much, and the area: the file's own numbers.
    const std::regex row("<tr><td>(\\d+)</td><td>(\\d+)</td><td>([0-9.]+)</td><td>[0-9.e+]+</td><td>(\\d+)</td></tr>");
    int found = 0;
    for (std::sregex_iterator at(page.begin(), page.end(), row), end; at != end; ++at, ++found)
      CHECK(rows.contains((*at)[2].str() + " of " + (*at)[4].str()));
    CHECK(found == 8);
  }
}

}  // namespace
