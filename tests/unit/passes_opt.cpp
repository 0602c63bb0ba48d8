// The graphs that programs mean: each tests/golden/opt/*.nn ends with its step's `opt` graph, as `#|` lines.
// NNC_BLESS=1 writes the graphs that come out now. Beside what they look like, this tests that they are right: against
// differences, against the derivative as it was derived, without each law in turn, and in f32 far from the origin.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/gradcheck.h"
#include "passes/laws.h"
#include "passes/pipeline.h"
#include "passes/record.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

struct Case {
  fs::path path;
  std::string program, expected;
  Graph step;
};

Case load(const fs::path& path) {
  Case result{.path = path, .program = "", .expected = "", .step = {}};
  std::istringstream lines(read(path));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#|"))
      result.expected += line.substr(line.size() > 2 ? 3 : 2) + "\n";
    else
      result.program += line + "\n";
  }
  Diagnostics diagnostics;
  const auto blocks = elaborate_file(path.string(), {}, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  result.step = blocks[0].step;
  return result;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(fs::path(NNC_SOURCE_DIR) / "tests/golden/opt"))
      if (entry.path().extension() == ".nn") paths.push_back(entry.path());
    std::ranges::sort(paths);
    std::vector<Case> result;
    for (const fs::path& path : paths) result.push_back(load(path));
    return result;
  }();
  return all;
}

std::string as_comment(const std::string& text) {
  std::string result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) result += line.empty() ? "#|\n" : "#| " + line + "\n";
  return result;
}

Graph opt(const Graph& step, std::vector<std::string> disabled = {}, Record* record = nullptr) {
  PipelineOptions options;
  options.verify_each = true;
  options.simplify = {.disabled_laws = std::move(disabled), .record = record};
  return optimise(step, options);
}

/// The derivative as it was derived.
Graph without_simplify(const Graph& step) {
  return assign_order(fold_constants(expand(differentiate(stabilise(fold_constants(step))))));
}

/// Exponentials that are computed, alone or at the beginning of logistic and softplus, which share it for x and -x.
std::size_t exponentials(const Graph& graph) {
  std::set<NodeId> of_size;
  std::size_t count = 0;
  for (const Node& node : graph.nodes) {
    count += node.op == Op::exp;
    if (node.op != Op::logistic && node.op != Op::softplus) continue;
    NodeId x = node.operands[0];
    if (graph[x].op == Op::neg) x = graph[x].operands[0];
    of_size.insert(x);
  }
  return count + of_size.size();
}

int count_of(const Graph& graph, Op op) { return static_cast<int>(std::ranges::count(graph.nodes, op, &Node::op)); }

/// Inputs, parameters and state for a graph: normal-looking numbers around `middle`; labels in range; states positive.
Environment draw(const Graph& graph, std::uint64_t seed, double middle) {
  Environment at;
  at.batch = 5;
  at.scalars = {{"step", 1}, {"epoch", 1}, {"steps_per_epoch", 10}, {"total_steps", 100}};
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  for (const Node& node : graph.nodes) {
    if (node.op != Op::input && node.op != Op::param && node.op != Op::state) continue;
    std::vector<std::int64_t> dims;
    for (const Extent& extent : node.type.shape) dims.push_back(extent.count * (extent.batched ? at.batch : 1));
    Tensor x = Tensor::zeros(node.type.dtype, dims);
    for (std::int64_t i = 0; i < x.count(); ++i) {
      // Rounded, so that f32 and f64 start from the same numbers.
      if (node.op == Op::input && is_float(node.type.dtype))
        x.set(i, static_cast<float>(middle + uniform()));
      else if (node.op == Op::input)
        x.set(i, static_cast<double>(random() % 3));
      else
        x.set(i, static_cast<float>(node.op == Op::state ? 0.5 + uniform() : 2 * uniform() - 1));
    }
    auto& values = node.op == Op::input ? at.inputs : node.op == Op::param ? at.params : at.state;
    values.emplace(std::get<Named>(node.attributes).name, std::move(x));
  }
  return at;
}

/// Greatest |a - b| and |b| over all updates.
struct Distance {
  double difference = 0, magnitude = 0;
};
Distance distance(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  Distance result;
  for (const auto& [name, x] : b) {
    const Tensor& y = a.at(name);
    REQUIRE(y.dims == x.dims);
    for (std::int64_t i = 0; i < x.count(); ++i) {
      const double difference = std::abs(y.at(i) - x.at(i));
      result.difference = std::max(result.difference, std::isnan(difference) ? INFINITY : difference);
      result.magnitude = std::max(result.magnitude, std::abs(x.at(i)));
    }
  }
  return result;
}

/// The gradients of a step and nothing else, so that p - lr g does not hide their errors.
Graph gradients_of(const Graph& step) { return separate(step).grads; }

TEST_CASE("steps come out in their published form") {
  const bool bless = std::getenv("NNC_BLESS") != nullptr;
  for (const Case& test : cases()) {
    INFO(test.path.filename().string());
    const std::string text = print(opt(test.step));
    if (bless) {
      std::ofstream(test.path, std::ios::binary) << test.program << as_comment(text);
      continue;
    }
    CHECK(text == test.expected);
  }
}

TEST_CASE("printed graphs read back at graph, grad and opt") {
  for (const Case& test : cases()) {
    INFO(test.path.filename().string());
    for (const Graph& graph : {test.step, optimise_until(test.step, "differentiate"), opt(test.step)}) {
      const auto parsed = parse_graph(print(graph));
      REQUIRE(std::holds_alternative<Graph>(parsed));
      CHECK(same_graph(std::get<Graph>(parsed), graph));
      CHECK(print(std::get<Graph>(parsed)) == print(graph));
    }
  }
}

/// Whether an exponential is in the value, if so told within sums too.
bool has_exponential(const Graph& graph, NodeId id, bool in_sums) {
  const Node& node = graph[id];
  if (node.op == Op::exp) return true;
  const OpClass cls = definition(node.op).cls;
  if (cls != OpClass::elementwise && cls != OpClass::view && !(in_sums && cls == OpClass::reduce)) return false;
  return std::ranges::any_of(node.operands, [&](NodeId operand) { return has_exponential(graph, operand, in_sums); });
}

/// Whether a value is made, element by element, of a quotient of exponentials such as e / sum e or 1 / (1 + e): an
/// activation. What is summed or contracted on the way is a value of its own.
bool has_activation(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  const OpClass cls = definition(node.op).cls;
  if (cls != OpClass::elementwise && cls != OpClass::view && cls != OpClass::control) return false;
  if (node.op == Op::logistic) return true;
  if (node.op == Op::div && has_exponential(graph, node.operands[0], false)) return true;
  if (node.op == Op::div && has_exponential(graph, node.operands[1], true)) return true;
  return std::ranges::any_of(node.operands, [&](NodeId operand) { return has_activation(graph, operand); });
}

TEST_CASE("an activation is found under a broadcast, a product or a choice") {
  Builder b("divisors");
  const Value z = b.leaf(Op::input, "z", {DType::f32, {{4}, {3}}});
  const Value e = apply(Op::exp, z), sums = b.broadcast(b.sum(e, {1}), {0}, {{4}, {3}});
  const Value a = e / sums;
  const Value row = 1 / b.sum(e, {0});
  b.output(OutputKind::result, "product", a * 2);
  b.output(OutputKind::result, "choice", b.select(apply(Op::less, z, e), z, 1 - a));
  b.output(OutputKind::result, "repeated", b.broadcast(row, {1}, {{4}, {3}}) * e);
  b.output(OutputKind::result, "mean", z / 3);
  b.output(OutputKind::result, "sums", sums * e);
  b.output(OutputKind::result, "of sums", apply(Op::sqrt, b.sum(a, {1}) / 3));
  const Graph graph = std::move(b).finish();
  for (const Output& output : graph.outputs) {
    INFO(output.name);
    CHECK(has_activation(graph, output.node) ==
          (output.name != "mean" && output.name != "sums" && output.name != "of sums"));
  }
}

TEST_CASE("one exponential over the logits, no more than the forward pass has, and nothing divides by an activation") {
  for (const Case& test : cases()) {
    INFO(test.path.filename().string());
    Graph forward = test.step;
    std::erase_if(forward.outputs, [](const Output& output) { return output.kind != OutputKind::result; });
    const Graph whole = opt(test.step);
    // The derivatives of erf and of the normal distribution are exponentials that these themselves do not have.
    const auto integrals = static_cast<std::size_t>(count_of(forward, Op::erf) + count_of(forward, Op::normal_cdf));
    CHECK(exponentials(whole) == exponentials(opt(forward)) + integrals);
    for (const Node& node : whole.nodes)
      if (node.op == Op::div && node.derived) CHECK_FALSE(has_activation(whole, node.operands[1]));
  }
}

TEST_CASE("simplifying is done once and for all, whatever leaves are called") {
  for (const Case& test : cases()) {
    INFO(test.path.filename().string());
    const Graph graph = optimise_until(test.step, "simplify");
    CHECK(same_graph(simplify(graph), graph));

    Graph renamed = optimise_until(test.step, "differentiate"), expected = graph;
    for (Graph* g : {&renamed, &expected})
      for (Node& node : g->nodes) {
        node.origin.name.clear();
        if (auto* named = std::get_if<Named>(&node.attributes); named && node.op != Op::scalar)
          named->name = "q" + std::to_string(std::hash<std::string>{}(named->name) % 1000);
      }
    for (Graph* g : {&renamed, &expected})
      for (Obligation& promise : g->obligations)
        promise.input = "q" + std::to_string(std::hash<std::string>{}(promise.input) % 1000);
    CHECK(same_graph(simplify(renamed), expected));
  }
}

TEST_CASE("the order of operands does not change what is left to compute") {
  for (const Case& test : cases()) {
    INFO(test.path.filename().string());
    Graph swapped = optimise_until(test.step, "differentiate");
    for (Node& node : swapped.nodes)
      if (node.op == Op::add || node.op == Op::mul) std::swap(node.operands[0], node.operands[1]);
    const Graph straight = optimise_until(test.step, "simplify"), after = simplify(swapped);
    for (Op op : all_ops()) CHECK(count_of(after, op) == count_of(straight, op));
  }
}

TEST_CASE("every law has an effect on some golden graph, and none changes a value") {
  std::vector<Law> laws(stabilise_laws().begin(), stabilise_laws().end());
  laws.insert(laws.end(), simplify_laws().begin(), simplify_laws().end());
  for (const Law& law : laws) {
    INFO(law.name << ": " << law.identity);
    int changed = 0;
    for (const Case& test : cases()) {
      const Graph with = opt(test.step), without = opt(test.step, {std::string(law.name)});
      if (same_graph(with, without)) continue;
      ++changed;
      // In f64, left against right, at random points.
      const Graph left = opt(in_double_precision(test.step), {std::string(law.name)});
      const Graph right = opt(in_double_precision(test.step));
      for (std::uint64_t seed : {1, 2, 3, 4}) {
        const Environment at = draw(left, seed, 0);
        const Distance apart = distance(evaluate(left, at), evaluate(right, at));
        INFO(test.path.filename().string());
        CHECK(apart.difference <= 1e-12 * std::max(1.0, apart.magnitude));
      }
    }
    CHECK(changed > 0);
  }
}

TEST_CASE("laws are logged by names from the table") {
  std::set<std::string> known;
  for (const Law& law : stabilise_laws()) known.emplace(law.name);
  for (const Law& law : simplify_laws()) known.emplace(law.name);
  std::set<std::string> seen;
  for (const Case& test : cases()) {
    Record record;
    opt(test.step, {}, &record);
    const LawLog& log = record.uses;
    const auto has_place = [](const LawUse& use) { return use.at.line > 0; };
    CHECK((log.empty() || std::ranges::any_of(log, has_place)));
    for (const LawUse& use : log) {
      CHECK(known.contains(use.law));
      CHECK(use.before != use.after);
      seen.insert(use.law);
    }
  }
  for (const char* law : {"maximum-out", "log-exp", "one-hot", "like-terms", "powers", "pull-out"})
    CHECK(seen.contains(law));
}

TEST_CASE("golden steps agree with differences") {
  for (const Case& test : cases()) {
    INFO(test.path.filename().string());
    const GradcheckReport report = gradcheck_step(test.step);
    for (const GradcheckFailure& failure : report.failures)
      FAIL_CHECK(failure.where << ": derived " << failure.derived << ", measured " << failure.measured);
    CHECK(report.checked > 0);
  }
}

/// The same values in f64.
Environment widened(const Environment& at) {
  Environment wide = at;
  for (auto* values : {&wide.inputs, &wide.params, &wide.state})
    for (auto& [name, x] : *values) {
      if (x.dtype != DType::f32) continue;
      Tensor w = Tensor::zeros(DType::f64, x.dims);
      for (std::int64_t i = 0; i < x.count(); ++i) w.set(i, x.at(i));
      x = w;
    }
  return wide;
}

/// Rows that pick one feature, and parameters that are -1000, 0 or 1000: what is linear in them is exact, in f32 too.
Environment draw_saturated(const Graph& graph, std::uint64_t seed) {
  Environment at = draw(graph, seed, 0);
  std::mt19937_64 random(seed);
  for (auto& [name, x] : at.params)
    for (std::int64_t i = 0; i < x.count(); ++i) x.set(i, 1000 * (static_cast<double>(random() % 3) - 1));
  if (at.inputs.contains("x"))
    for (std::int64_t i = 0, columns = at.inputs.at("x").dims.back(); i < at.inputs.at("x").count(); ++i)
      at.inputs.at("x").set(i, i % columns == i / columns % columns);
  return at;
}

bool all_finite(const std::map<std::string, Tensor>& values) {
  for (const auto& [name, value] : values)
    for (std::int64_t i = 0; i < value.count(); ++i)
      if (!std::isfinite(value.at(i))) return false;
  return true;
}

TEST_CASE("gradients are finite and right at logits of a thousand") {
  std::set<std::string> without_value;
  for (const Case& test : cases()) {
    const Graph grads = gradients_of(test.step);
    const Graph simple = opt(grads), exact = opt(in_double_precision(grads));
    for (std::uint64_t seed : {1, 2, 3}) {
      INFO(test.path.filename().string() << ", seed " << seed);
      const Environment at = draw_saturated(simple, seed);
      const auto truth = evaluate(exact, widened(at));
      if (!all_finite(truth)) {
        without_value.insert(test.path.stem().string());
        continue;
      }
      const Distance apart = distance(evaluate(simple, at), truth);
      CHECK(apart.difference <= std::ldexp(std::max(1.0, apart.magnitude), -21));
    }
  }
  // The label may have no probability at all; an exponential that is no part of a sigmoid overflows.
  CHECK(without_value == std::set<std::string>{"one_hot_log", "share_of_sum"});
}

TEST_CASE("gradients of normalisations and smooth activations get no larger than they were derived") {
  for (const char* name : {"batch_norm", "layer_norm", "gelu", "tanh_cubed"}) {
    const auto test =
        std::ranges::find(cases(), std::string(name), [](const Case& c) { return c.path.stem().string(); });
    INFO(name);
    REQUIRE(test != cases().end());
    const Graph raw = optimise_until(test->step, "differentiate"), simple = simplify(raw);
    CHECK(work_of(simple) <= work_of(raw));
    CHECK(simple.nodes.size() <= raw.nodes.size());
  }
}

TEST_CASE("alone, no law makes an error more than twice as large") {
  std::vector<std::string> laws;
  for (const Law& law : simplify_laws()) laws.emplace_back(law.name);
  for (const std::string& law : laws)
    for (const Case& test : cases()) {
      std::vector<std::string> others = laws;
      std::erase(others, law);
      const Graph grads = gradients_of(test.step);
      const Graph raw = opt(grads, laws), simple = opt(grads, others);
      if (same_graph(raw, simple)) continue;
      const Graph exact = opt(in_double_precision(grads), laws);
      for (double middle : {0.0, 1e4, -1.0})
        for (std::uint64_t seed : {1, 2}) {
          INFO(law << ", " << test.path.filename().string() << " around " << middle);
          const Environment at = middle < 0 ? draw_saturated(simple, seed) : draw(simple, seed, middle);
          const auto truth = evaluate(exact, widened(at));
          if (!all_finite(truth)) continue;  // as it was derived it has none
          const Distance of_raw = distance(evaluate(raw, at), truth), of_simple = distance(evaluate(simple, at), truth);
          CHECK(of_simple.difference <= 2 * of_raw.difference + 4 * std::ldexp(of_raw.magnitude, -23));
        }
    }
}

TEST_CASE("f32 stays as close to f64 as the derivative that was derived, also far from the origin") {
  for (const Case& test : cases()) {
    const Graph grads = gradients_of(test.step);
    const Graph exact = without_simplify(in_double_precision(grads));
    const Graph simple = opt(grads), raw = without_simplify(grads);
    for (double middle : {0.0, 1e4})
      for (std::uint64_t seed : {1, 2, 3, 4, 5, 6}) {
        INFO(test.path.filename().string() << " around " << middle);
        const Environment at = draw(simple, seed, middle);
        const auto truth = evaluate(exact, widened(at));
        const Distance of_raw = distance(evaluate(raw, at), truth), of_simple = distance(evaluate(simple, at), truth);
        const double ulp = std::ldexp(of_raw.magnitude, -23);
        CHECK(of_simple.difference <= 2 * of_raw.difference + 4 * ulp);
      }
  }
}

/// Softmax written with plain exponentials, and its cross-entropy, of logits that are parameters.
Graph cross_entropy_of_logits() {
  Builder b("logits");
  const Shape rows{{4}, {3}};
  const Value z = b.leaf(Op::param, "z", {DType::f32, rows});
  const Value y = b.leaf(Op::input, "Y", {DType::f32, rows});
  const Value e = apply(Op::exp, z);
  const Value a = e / b.broadcast(b.sum(e, {1}), {0}, rows);
  const Value loss = -(b.sum(y * apply(Op::log, a), {0, 1}) / 4);
  b.output(OutputKind::result, "gradient", b.make(Op::grad, {{loss, z}}));
  return std::move(b).finish();
}

TEST_CASE("logits of a thousand have finite and right gradients") {
  const Graph written = cross_entropy_of_logits();
  Environment at;
  at.params.emplace("z", Tensor::zeros(DType::f32, {4, 3}));
  at.inputs.emplace("Y", Tensor::zeros(DType::f32, {4, 3}));
  for (int row = 0; row < 4; ++row) {
    at.params.at("z").set(row * 3 + 0, -1000);
    at.params.at("z").set(row * 3 + 2, 1000);
    at.inputs.at("Y").set(row * 3 + 0, 1);
  }
  const Tensor raw = evaluate(assign_order(differentiate(written)), at).at("gradient");
  CHECK(std::isnan(raw.at(0)));
  const Tensor good = evaluate(opt(written), at).at("gradient");
  for (int row = 0; row < 4; ++row) {
    CHECK(good.at(row * 3 + 0) == -0.25);
    CHECK(good.at(row * 3 + 1) == 0);
    CHECK(good.at(row * 3 + 2) == 0.25);
  }
}

TEST_CASE("a class without probability that is not the label does no harm") {
  Builder b("zero");
  const Shape rows{{2}, {3}};
  const Value p = b.leaf(Op::param, "p", {DType::f32, rows});
  const Value y = b.leaf(Op::input, "y", {DType::i32, {{2}}});
  const Value index = b.make(Op::iota, {}, Iota{1}, Type{DType::i32, rows});
  const Value hot = b.cast(apply(Op::equal, b.broadcast(y, {0}, rows), index), DType::f32);
  const Value loss = -b.sum(hot * apply(Op::log, p), {0, 1});
  b.output(OutputKind::result, "loss", loss);
  b.output(OutputKind::result, "gradient", b.make(Op::grad, {{loss, p}}));
  Environment at;
  at.params.emplace("p", Tensor::zeros(DType::f32, {2, 3}));
  at.inputs.emplace("y", Tensor::zeros(DType::i32, {2}));
  for (int row = 0; row < 2; ++row) at.params.at("p").set(row * 3, 0.5);
  const auto values = evaluate(opt(std::move(b).finish()), at);
  CHECK_THAT(values.at("loss").at(0), Catch::Matchers::WithinRel(2 * std::log(2.0), 1e-6));
  for (int i = 0; i < 6; ++i) CHECK(values.at("gradient").at(i) == (i % 3 == 0 ? -2 : 0));
}

TEST_CASE("a user's own arithmetic is left alone") {
  Builder b("plain");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {{4}}});
  const Value m = b.leaf(Op::input, "m", {DType::f32, {{4}}});
  b.output(OutputKind::result, "r", ((x - m) + m) * 1 + 0 * x + x / x);
  const Graph graph = std::move(b).finish();
  CHECK(same_graph(simplify(graph), graph));
}

}  // namespace
}  // namespace nnc
