// Data and train blocks: the jobs that they state, and what the fit and feed graphs compute, by the reference
// evaluator.
#include <fmt/format.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

/// A program in a file of its own, elaborated; messages where it is wrong.
struct Program {
  Diagnostics diagnostics;
  std::vector<Elaborated> blocks;

  explicit Program(const std::string& text, bool double_precision = false) {
    static int count = 0;
    const auto path =
        std::filesystem::temp_directory_path() / fmt::format("nnc_frontend_data_{}_{}.nn", getpid(), count++);
    std::ofstream(path) << text;
    ElaborateOptions options;
    options.double_precision = double_precision;
    blocks = elaborate_file(path.string(), options, diagnostics);
    std::filesystem::remove(path);
  }
  const Elaborated& block() {
    INFO(diagnostics.render(false));
    REQUIRE(blocks.size() == 1);
    return blocks[0];
  }
};

/// A data block with these lines, and a model of two features that is trained on it.
std::string with_data(const std::string& lines, const std::string& settings = "") {
  return "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1, init = zeros) }\ndata d {\n" + lines +
         "\n}\ntrain Net on d {\n  let z = Net(x)\n  loss = half_mse(z, y)\n  output z = z\n  optimizer = sgd(lr = "
         "0.1)\n  epochs = 3\n" +
         settings + "\n}\n";
}

Tensor tensor(DType dtype, std::vector<std::int64_t> dims, const std::vector<double>& values) {
  Tensor result = Tensor::zeros(dtype, std::move(dims));
  REQUIRE(result.count() == static_cast<std::int64_t>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) result.set(static_cast<std::int64_t>(i), values[i]);
  return result;
}

std::vector<double> values(const Tensor& tensor) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < tensor.count(); ++i) result.push_back(tensor.at(i));
  return result;
}

bool near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= tolerance)) return false;
  return true;
}

const Split& split(const DataJob& job, const std::string& name) {
  for (const Split& one : job.splits)
    if (one.name == name) return one;
  FAIL("no split " << name);
  return job.splits.front();
}

}  // namespace

TEST_CASE("standardize subtracts the mean and divides by the population deviation; a constant column becomes 0") {
  for (const bool wide : {false, true}) {
    Program program(with_data("  train = table(a = [1, 2], b = [1, 2], c = [1, 2])\n"
                              "  x: f32[2] = standardize(cols(\"a\", \"b\"))\n  y: f32[1] = standardize(cols(\"c\"))"),
                    wide);
    const Elaborated& block = program.block();
    const DType dtype = wide ? DType::f64 : DType::f32;
    REQUIRE(block.data.raw.size() == 2);
    CHECK(block.data.raw[0].type == Type{dtype, {batch_extent, {2, false}}});
    Environment rows{.batch = 4, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
    const Tensor x = tensor(dtype, {4, 2}, {1, 0.1, 2, 0.1, 3, 0.1, 6, 0.1});
    rows.inputs = {{"raw.x", x}, {"raw.y", tensor(dtype, {4, 1}, {5, 5, 7, 7})}};
    auto fitted = evaluate(block.fit, rows, true);
    CHECK(near(values(fitted.at("update data.x.mean")), {3, x.at(1)}, 0));
    CHECK(near(values(fitted.at("update data.x.deviation")), {std::sqrt(3.5), 0}, wide ? 1e-15 : 1e-7));
    CHECK(values(fitted.at("update data.y.deviation")) == std::vector<double>{1});
    for (const char* path : {"data.x.mean", "data.x.deviation", "data.y.mean", "data.y.deviation"})
      rows.state[path] = fitted.at(std::string("update ") + path);
    auto columns = evaluate(block.feed, rows, true);
    const double s = 1 / std::sqrt(3.5);
    CHECK(near(values(columns.at("x")), {-2 * s, 0, -s, 0, 0, 0, 3 * s, 0}, wide ? 1e-15 : 1e-6));
    CHECK(values(columns.at("y")) == std::vector<double>{-1, -1, 1, 1});
  }
}

TEST_CASE("a large offset does not cost the fit its precision") {
  Program program(
      with_data("  train = table(a = [1], b = [1], c = [1])\n"
                "  x: f32[2] = standardize(cols(\"a\", \"b\"))\n  y: f32[1] = cols(\"c\")"));
  std::vector<double> raw;
  for (int row = 0; row < 10000; ++row) {
    raw.push_back(1e6 + row % 10);
    raw.push_back(row % 2);
  }
  Environment rows{.batch = 10000, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  rows.inputs = {{"raw.x", tensor(DType::f32, {10000, 2}, raw)}};
  auto fitted = evaluate(program.block().fit, rows, true);
  CHECK(near(values(fitted.at("update data.x.mean")), {1e6 + 4.5, 0.5}, 0.04));
  CHECK(near(values(fitted.at("update data.x.deviation")), {std::sqrt(8.25), 0.5}, 1e-6));
}

TEST_CASE("minmax maps to [0, 1], undo maps back, and nothing else is fitted") {
  Program program(
      with_data("  train = table(a = [1, 2], b = [1, 2], c = [1, 2])\n  x: f32[2] = minmax(cols(\"a\", \"b\"))\n"
                "  y: f32[1] = minmax(cols(\"c\"))",
                "  output back = undo(z, y)"));
  const Elaborated& block = program.block();
  Environment rows{.batch = 3, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  rows.inputs = {{"raw.x", tensor(DType::f32, {3, 2}, {-1, 7, 1, 7, 3, 7})},
                 {"raw.y", tensor(DType::f32, {3, 1}, {10, 20, 50})}};
  auto fitted = evaluate(block.fit, rows, true);
  CHECK(values(fitted.at("update data.x.min")) == std::vector<double>{-1, 7});
  CHECK(values(fitted.at("update data.x.max")) == std::vector<double>{3, 7});
  CHECK(fitted.size() == 4);
  for (const char* path : {"data.x.min", "data.x.max", "data.y.min", "data.y.max"})
    rows.state[path] = fitted.at(std::string("update ") + path);
  auto columns = evaluate(block.feed, rows, true);
  CHECK(values(columns.at("x")) == std::vector<double>{0, 0, 0.5, 0, 1, 0});
  CHECK(values(columns.at("y")) == std::vector<double>{0, 0.25, 1});
  Environment prediction{.batch = 2, .inputs = {}, .params = {}, .state = rows.state, .carry = {}, .scalars = {}};
  prediction.inputs = {{"x", tensor(DType::f32, {2, 2}, {1, 2, 3, 4})}};
  prediction.params = {{"Dense1.W", tensor(DType::f32, {2, 1}, {0.25, 0})}, {"Dense1.b", tensor(DType::f32, {1}, {0})}};
  auto outputs = evaluate(block.predict, prediction, true);
  CHECK(values(outputs.at("z")) == std::vector<double>{0.25, 0.75});
  CHECK(values(outputs.at("back")) == std::vector<double>{20, 40});
}

TEST_CASE("a fitted step can stand inside an expression, on another, and twice in one column") {
  Program program(
      with_data("  train = table(a = [1, 2], b = [1, 2])\n"
                "  x: f32[2] = 2 * standardize(cols(\"a\", \"b\")) + minmax(cols(\"a\", \"b\"))\n"
                "  y: f32[1] = minmax(standardize(cols(\"a\")))",
                "  output back = undo(z, y)"));
  const Elaborated& block = program.block();
  std::vector<std::string> states;
  for (const Variable& variable : block.variables)
    if (variable.is_state) states.push_back(variable.path);
  CHECK(states == std::vector<std::string>{"data.x.mean", "data.x.deviation", "data.x.2.min", "data.x.2.max",
                                           "data.y.mean", "data.y.deviation", "data.y.2.min", "data.y.2.max"});
  Environment rows{.batch = 2, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  rows.inputs = {{"raw.x", tensor(DType::f32, {2, 2}, {1, 2, 3, 6})}, {"raw.y", tensor(DType::f32, {2, 1}, {1, 3})}};
  auto fitted = evaluate(block.fit, rows, true);
  for (const std::string& path : states) rows.state[path] = fitted.at("update " + path);
  auto columns = evaluate(block.feed, rows, true);
  CHECK(values(columns.at("x")) == std::vector<double>{-2, -2, 3, 3});
  CHECK(values(columns.at("y")) == std::vector<double>{0, 1});
  Environment prediction{.batch = 1,
                         .inputs = {{"x", tensor(DType::f32, {1, 2}, {0, 0})}},
                         .params = {},
                         .state = rows.state,
                         .carry = {},
                         .scalars = {}};
  prediction.params = {{"Dense1.W", tensor(DType::f32, {2, 1}, {0, 0})}, {"Dense1.b", tensor(DType::f32, {1}, {0.5})}};
  CHECK(values(evaluate(block.predict, prediction, true).at("back")) == std::vector<double>{2});
}

TEST_CASE("classes become numbers or one-hot rows") {
  Program program(
      "model Net(x: f32[batch, 3]) -> f32[batch, 2] { return x |> Dense(2) }\n"
      "data d {\n  let rows = csv(\"sub/flowers.csv\")\n  train, valid = split(rows, 0.8, 0.2, seed = 7, by = "
      "col(\"species\"))\n"
      "  x: f32[3] = one_hot(classes(col(\"city\")))\n  y: i32[] = classes(col(\"species\"))\n}\n"
      "train Net on d {\n  let z = Net(x)\n  loss = softmax_cross_entropy(z, y)\n  metric acc = accuracy(z, y)\n"
      "  output k = argmax(z, over = -1)\n  optimizer = sgd(lr = 0.1)\n  epochs = 3\n  best = highest(valid.acc)\n"
      "  early_stop = lowest(valid.loss, patience = 2)\n  stop = train.loss < 1e-3\n  batch_size = full\n  shuffle = "
      "false\n"
      "  seed = 9\n  check_every = 4\n}\n");
  const Elaborated& block = program.block();
  const DataJob& data = block.data;
  REQUIRE(data.raw.size() == 2);
  CHECK(data.raw[0].classes);
  CHECK(data.raw[0].columns == std::vector<std::string>{"city"});
  CHECK(data.raw[1].type == Type{DType::i32, {batch_extent}});
  CHECK(data.columns[1].classes_of == "raw.y");
  CHECK(data.columns[0].classes_of.empty());
  REQUIRE(block.feed.obligations.size() == 1);
  CHECK(block.feed.obligations[0].input == "raw.x");
  CHECK(block.feed.obligations[0].high == 3);
  REQUIRE(block.step.obligations.size() == 1);
  CHECK(block.step.obligations[0].high == 2);
  CHECK(data.sources[0].path == (std::filesystem::temp_directory_path() / "sub/flowers.csv").string());
  CHECK(split(data, "valid").cuts.at(0).stratify_by == "species");
  CHECK(split(data, "valid").cuts.at(0).seed == 7);
  Environment rows{.batch = 2, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  rows.inputs = {{"raw.x", tensor(DType::i32, {2}, {2, 0})}, {"raw.y", tensor(DType::i32, {2}, {1, 0})}};
  auto columns = evaluate(block.feed, rows, true);
  CHECK(values(columns.at("x")) == std::vector<double>{0, 0, 1, 1, 0, 0});
  CHECK(values(columns.at("y")) == std::vector<double>{1, 0});

  const TrainJob& train = block.train;
  CHECK(train.name == "Net");
  CHECK(train.batch_size == 0);
  CHECK(train.epochs == 3);
  CHECK_FALSE(train.shuffle);
  CHECK(train.seed == 9);
  CHECK(train.check_every == 4);
  CHECK(train.metrics == std::vector<std::string>{"acc"});
  CHECK(train.outputs == std::vector<std::string>{"k"});
  REQUIRE((train.best && train.early_stop && train.stop));
  CHECK(train.best->metric == "valid.acc");
  CHECK(train.best->highest);
  CHECK(train.early_stop->patience == 2);
  CHECK_FALSE(train.early_stop->highest);
  CHECK(train.stop->kind == Rule::Kind::less);
  CHECK(train.stop->operands.at(0).figure == "train.loss");
  CHECK(train.stop->operands.at(1).value == 1e-3);
}

TEST_CASE("figures are evaluated every so many epochs or steps") {
  Program program(with_data(
      "  let rows = csv(\"a.csv\")\n  train = rows\n  x: f32[2] = cols(\"p\", \"q\")\n  y: f32[1] = cols(\"r\")",
      "  check_every = steps(4 * 25)\n"));
  CHECK(program.block().train.check_every_steps == 100);
  CHECK(program.block().train.check_every == 1);
}

TEST_CASE("an image is read as a row of numbers, in the type that its column declares") {
  Program program(
      "model Net(x: f32[batch, 784]) -> f32[batch, 10] { return x |> Dense(10) }\n"
      "data d {\n  let all = idx(image = \"/abs/images.gz\", label = \"labels.gz\")\n  train, valid = split(all, "
      "55000, 5000, seed = 1)\n"
      "  test = idx(image = \"t.gz\", label = \"l.gz\")\n  x: f32[784] = reshape(col(\"image\"), [784]) / 255\n  y: "
      "i32[] = col(\"label\")\n}\n"
      "train Net on d {\n  loss = softmax_cross_entropy(Net(x), y)\n  optimizer = sgd(lr = 0.1)\n  epochs = 3\n}\n");
  const Elaborated& block = program.block();
  REQUIRE(block.data.raw.size() == 2);
  CHECK(block.data.raw[0].type == Type{DType::f32, {batch_extent, {784, false}}});
  CHECK(block.data.raw[1].type == Type{DType::i32, {batch_extent}});
  CHECK(block.data.sources[0].columns[0].second == "/abs/images.gz");
  CHECK(split(block.data, "test").cuts.empty());
  CHECK(split(block.data, "test").source == 1);
  CHECK_FALSE(split(block.data, "valid").cuts.at(0).fractional);
  CHECK(split(block.data, "valid").cuts.at(0).first == 55000);
  CHECK(split(block.data, "valid").cuts.at(0).count == 5000);
  CHECK(block.train.batch_size == 32);
  CHECK(block.train.shuffle);
}

TEST_CASE("a part is split again, and every n rows go to several parts") {
  Program program(
      with_data("  let rows = npz(\"a.npz\")\n  let rest, held = split(rows, 0.8, 0.2, seed = 3)\n"
                "  train, valid = split(rest, 2, 1, every = 3)\n  test = held\n"
                "  x: f32[2] = col(\"p\")\n  y: f32[1] = col(\"q\")"));
  const DataJob& data = program.block().data;
  CHECK(data.sources.at(0).kind == Source::Kind::npz);
  REQUIRE(split(data, "valid").cuts.size() == 2);
  CHECK(split(data, "valid").cuts[0].seed == 3);
  CHECK(split(data, "valid").cuts[0].count == 0.8);
  CHECK(split(data, "valid").cuts[1].kind == Cut::Kind::every);
  CHECK(split(data, "valid").cuts[1].first == 2);
  CHECK(split(data, "test").cuts.size() == 1);
}

TEST_CASE("a table may hold words, which are classes") {
  Program program(
      with_data("  train = table(kind = [\"b\", \"a\"], p = [1, 2], q = [3, 4])\n"
                "  x: f32[2] = one_hot(classes(col(\"kind\")))\n  y: f32[1] = col(\"q\")"));
  const Source& table = program.block().data.sources.at(0);
  CHECK(table.inline_columns.at(0).texts == std::vector<std::string>{"b", "a"});
  CHECK(table.inline_columns.at(1).numbers == std::vector<double>{1, 2});
}

TEST_CASE("columns are named one by one, by a range or by exception") {
  Program program(
      with_data("  let rows = csv(\"a.csv\")\n  train, test = split(rows, every = 5)\n  fit = [train, test]\n"
                "  x: f32[2] = cols(\"p0\", to = \"p1\")\n  y: f32[1] = cols(except = [\"p0\", \"p1\"])"));
  const DataJob& data = program.block().data;
  CHECK(data.raw[0].range_from == "p0");
  CHECK(data.raw[0].range_to == "p1");
  CHECK(data.raw[0].columns.empty());
  CHECK(data.raw[1].except == std::vector<std::string>{"p0", "p1"});
  CHECK(split(data, "train").cuts.at(0).kind == Cut::Kind::every);
  CHECK(split(data, "train").cuts.at(0).count == 4);
  CHECK(split(data, "test").cuts.at(0).first == 4);
  CHECK(split(data, "test").cuts.at(0).every == 5);
  CHECK(data.fit == std::vector<std::string>{"train", "test"});
}

TEST_CASE("made columns are functions of the row and of each other") {
  Program program(
      with_data("  samples = 100\n  train, valid = split(0.75, 0.25, seed = 3)\n  x: f32[2] = uniform(0, 1)\n"
                "  let noise: f32[1] = uniform(-0.5, 0.5)\n  y: f32[1] = 0 * noise + 2 * sum(x) + 1"));
  const Elaborated& block = program.block();
  CHECK(block.data.raw.empty());
  REQUIRE(block.data.sources.size() == 1);
  CHECK(block.data.sources[0].kind == Source::Kind::generated);
  CHECK(block.data.sources[0].samples == 100);
  CHECK(split(block.data, "valid").cuts.at(0).fractional);
  CHECK(split(block.data, "valid").cuts.at(0).first == 0.75);
  Environment rows{.batch = 5, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  const auto first = evaluate(block.feed, rows, true), again = evaluate(block.feed, rows, true);
  CHECK(first == again);
  const auto x = values(first.at("x")), y = values(first.at("y"));
  for (std::size_t row = 0; row < 5; ++row) CHECK(std::abs(y[row] - (2 * (x[2 * row] + x[2 * row + 1]) + 1)) < 1e-5);
  CHECK(x[0] != x[2]);
}

TEST_CASE("a column meets what is the same for all rows: lists, numbers, values that are computed once") {
  Program program(with_data(
      "  train = table(a = [1, 2], b = [3, 5], c = [7, 11])\n"
      "  x: f32[2] = cols(\"a\", \"b\") * [1, 10] - one_hot(1, 2)\n  y: f32[1] = col(\"c\") / sum(one_hot(0, 4))"));
  Environment rows{.batch = 2, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  for (const RawColumn& raw : program.block().data.raw)
    rows.inputs.emplace(raw.input, raw.columns.size() == 2 ? tensor(DType::f32, {2, 2}, {1, 3, 2, 5})
                                                           : tensor(DType::f32, {2}, {7, 11}));
  const auto columns = evaluate(program.block().feed, rows, true);
  CHECK(values(columns.at("x")) == std::vector<double>{1, 29, 2, 49});
  CHECK(values(columns.at("y")) == std::vector<double>{7, 11});
}

TEST_CASE("scatter_add in a data block adds within a row, in any shape that it takes elsewhere") {
  Program program(
      with_data("  train = table(a = [1], b = [2], c = [0], u = [5], v = [7], w = [9])\n"
                "  ids: i32[3] = cols(\"a\", \"b\", \"c\")\n  p: f32[3] = cols(\"u\", \"v\", \"w\")\n"
                "  counts: f32[3] = scatter_add(1.0, ids, 3)\n  sums: f32[3] = scatter_add(p, ids, 3)\n"
                "  pairs: f32[3, 2] = scatter_add(concat([p[:, _], 2 * p[:, _]], axis = -1), ids, 3)\n"
                "  same: f32[3] = scatter_add([1, 2, 4], ids, 3)\n  first: f32[] = p[0]\n"
                "  times: f32[2] = scatter_add(first, ids, 2)\n  x: f32[2] = p[1:]\n  y: f32[1] = p[:1]"));
  Environment rows{.batch = 2, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  for (const RawColumn& raw : program.block().data.raw)
    rows.inputs.emplace(raw.input, raw.type.dtype == DType::i32 ? tensor(DType::i32, {2, 3}, {2, 0, 2, 1, 1, 9})
                                                                : tensor(DType::f32, {2, 3}, {5, 7, 9, 1, 2, 3}));
  const auto columns = evaluate(program.block().feed, rows, true);
  CHECK(values(columns.at("counts")) == std::vector<double>{1, 0, 2, 0, 2, 1});
  CHECK(values(columns.at("sums")) == std::vector<double>{7, 0, 14, 0, 3, 3});
  CHECK(values(columns.at("pairs")) == std::vector<double>{7, 14, 0, 0, 14, 28, 0, 0, 3, 6, 3, 6});
  CHECK(values(columns.at("same")) == std::vector<double>{2, 0, 5, 0, 3, 4});
  CHECK(values(columns.at("times")) == std::vector<double>{5, 10, 0, 3});
}

TEST_CASE("axes in a data block are those of one row, from the front as from the end, and in functions likewise") {
  Program program(
      "fn first(x: float[R, C]) -> float[C] { return sum(x, over = 0) }\n"
      "fn centred(x: float[...]) -> float[...] { return x - mean(x, over = ...) }\n" +
      with_data("  train = table(a = [1], b = [2], c = [3], e = [4])\n"
                "  m: f32[2, 2] = reshape(cols(\"a\", \"b\", \"c\", \"e\"), [2, 2])\n"
                "  over0: f32[2] = sum(m, over = 0)\n  over1: f32[2] = sum(m, over = 1)\n"
                "  last: f32[2] = sum(m, over = -1)\n  both: f32[] = sum(m, over = [0, 1])\n"
                "  free: f32[2, 2] = m - mean(m, over = 0, keep = true)\n  row: i32[2] = argmax(m, over = 0)\n"
                "  turned: f32[2, 2] = transpose(m, [1, 0])\n  joined: f32[4, 2] = concat([m, m], axis = 0)\n"
                "  wide: f32[4, 2] = pad(m, 1, 1, axis = 0)\n  seen: f32[1, 2, 2] = window(m, 2, axis = 0)\n"
                "  stacked: f32[2, 2] = [m[1], 2 * m[0]]\n  beside: f32[3] = [m[0, 0], 7, m[1, 1]]\n"
                "  index: f32[2, 2] = iota(axis = 0)\n  number: f32[] = iota\n"
                "  called: f32[2] = first(m)\n  middle: f32[2, 2] = centred(m)\n"
                "  x: f32[2] = m[0]\n  y: f32[1] = m[1, :1]"));
  Environment rows{.batch = 2, .inputs = {}, .params = {}, .state = {}, .carry = {}, .scalars = {}};
  for (const RawColumn& raw : program.block().data.raw)
    rows.inputs.emplace(raw.input, tensor(DType::f32, {2, 2, 2}, {1, 2, 3, 4, 10, 20, 40, 30}));
  const auto columns = evaluate(program.block().feed, rows, true);
  const std::vector<std::pair<std::string, std::vector<double>>> expected = {
      {"over0", {4, 6, 50, 50}},
      {"over1", {3, 7, 30, 70}},
      {"last", {3, 7, 30, 70}},
      {"both", {10, 100}},
      {"free", {-1, -1, 1, 1, -15, -5, 15, 5}},
      {"row", {1, 1, 1, 1}},
      {"turned", {1, 3, 2, 4, 10, 40, 20, 30}},
      {"joined", {1, 2, 3, 4, 1, 2, 3, 4, 10, 20, 40, 30, 10, 20, 40, 30}},
      {"wide", {0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 10, 20, 40, 30, 0, 0}},
      {"seen", {1, 2, 3, 4, 10, 20, 40, 30}},
      {"stacked", {3, 4, 2, 4, 40, 30, 20, 40}},
      {"beside", {1, 7, 4, 10, 7, 30}},
      {"index", {0, 0, 1, 1, 0, 0, 1, 1}},
      {"number", {0, 1}},
      {"called", {4, 6, 50, 50}},
      {"middle", {-1.5, -0.5, 0.5, 1.5, -15, -5, 15, 5}}};
  for (const auto& [name, wanted] : expected) {
    INFO(name);
    CHECK(values(columns.at(name)) == wanted);
  }
}

TEST_CASE("prediction does not need the target, and evaluation shares the parameters of the step") {
  Program program(
      with_data("  train = table(a = [1, 2], b = [1, 2], c = [1, 2])\n  x: f32[2] = cols(\"a\", \"b\")\n"
                "  y: f32[1] = cols(\"c\")",
                "  metric off = mae(z, y)"));
  const Elaborated& block = program.block();
  for (const Node& node : block.predict.nodes)
    if (node.op == Op::input) CHECK(std::get<Named>(node.attributes).name == "x");
  std::vector<std::string> paths;
  for (const Variable& variable : block.variables) paths.push_back(variable.path);
  CHECK(paths == std::vector<std::string>{"Dense1.W", "Dense1.b"});
  std::vector<std::string> outputs;
  for (const Output& output : block.evaluate.outputs) outputs.push_back(output.name);
  CHECK(outputs == std::vector<std::string>{"loss", "off"});
  CHECK(block.fit.outputs.empty());
}
