// A thousand ways to write softmax with cross-entropy, all of which have the gradient (A sum(Y) - Y) / rows. A seeded
// generator composes a program from what can be written in several ways: the scale and the shift of the logits, the
// probability or its logarithm, the labels, who takes which sum, the sign, the mean, the unit, and over which functions
// and layers it is spread. What comes out is looked at as a graph: how much is computed at full size, and of what.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "ir/op.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "tests/support/random.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

constexpr int classes = 3, features = 4;

struct Spelling {
  std::string program;
  bool class_ids = false;    ///< labels are class numbers
  bool sums_to_one = true;   ///< it can be seen that labels do
  bool soft_labels = false;  ///< labels are a softmax, which has an exponential of its own
  bool normalised = false;   ///< labels are divided by their sum
  double temperature = 1;    ///< what the logits are multiplied by
  double unit = 1;           ///< what the loss is multiplied by
};

Spelling compose(test::Random& random) {
  Spelling s;
  const auto pick = [&](std::initializer_list<std::string> ways) {
    return random.one_of(std::vector<std::string>(ways));
  };

  const std::string scaled = pick({"z", "z", "z / 2", "z * 0.5", "2 * z", "z + z"});
  s.temperature = scaled == "z" ? 1 : scaled == "2 * z" || scaled == "z + z" ? 2 : 0.5;
  const std::string shifted =
      pick({"v", "v", "v - 5", "v + 2", "v - max(v, over = -1, keep = true)",
            "v - stop_gradient(max(v, over = -1, keep = true))", "v - mean(v, over = -1, keep = true)"});

  // Functions of the user's own, or the library's, or nothing but operators.
  const std::string sum_of_e = pick({"sum(e, over = -1, keep = true)", "total(e)"});
  std::string log_p =
      pick({"log(e / SUM)", "log(share(e))", "log(softmax(u))", "log_softmax(u)", "u - log(SUM)", "log(1 / SUM * e)",
            "log(e) - log(SUM)", "-log(SUM / e)", "-log(1 / softmax(u))", "u - logsumexp(u)[..., _]"});
  if (const auto at = log_p.find("SUM"); at != std::string::npos) log_p.replace(at, 3, sum_of_e);

  std::string labels, declared;
  switch (random.below(4)) {
    case 0:
      s.class_ids = true;
      labels = pick({"one_hot(y, 3)", "f32(checked(y, 3)[..., _] == c)"});
      break;
    case 1:
      s.soft_labels = true;
      labels = "softmax(y)";
      break;
    case 2:
      s.normalised = true;
      labels = "y / sum(y, over = -1, keep = true)";
      break;
    default:
      s.sums_to_one = false;
      labels = "y";
  }

  std::string rows = pick({"-sum(t * l, over = -1)", "sum(t * -l, over = -1)", "sum(-t * l, over = -1)",
                           "sum(l * -t, over = -1)", "surprise(l, t)", "-sum(l * t, over = -1)"});
  if (s.sums_to_one && random.chance(0.25)) rows = "log(sum(exp(u), over = -1)) - sum(u * t, over = -1)";
  if (s.soft_labels && random.chance(0.4))
    rows = pick({"sum(t * (log(t) - l), over = -1)", "sum(t * log(t) - t * l, over = -1)"});
  const std::string loss =
      pick({"mean(r)", "mean(r) / log(2)", "0.5 * mean(r)", "mean(2 * r)", "mean(r * 3) / 3", "-mean(-r)"});
  s.unit = loss == "mean(r) / log(2)" ? 1 / std::numbers::ln2
           : loss == "0.5 * mean(r)"  ? 0.5
           : loss == "mean(2 * r)"    ? 2
                                      : 1;

  s.program = fmt::format(
      R"(data d {{
  samples = 8
  x: f32[{}] = uniform(0, 1)
  y: {}
}}
fn total(e: float[..., C]) -> float[..., _] {{ return sum(e, over = -1, keep = true) }}
fn share(e: float[..., C]) -> float[..., C] {{ return e / total(e) }}
fn surprise(l: float[..., C], t: float[..., C]) -> float[...] {{ return -sum(t * l, over = -1) }}
model Net(x: f32[batch, {}]) -> f32[batch, {}] {{ return x |> Dense({}, bias = false) }}
train Net on d {{
  let z = Net(x)
  let c: i32[{}] = iota
  let v = {}
  let u = {}
  let e = exp(u)
  let t = {}
  let l = {}
  let r = {}
  loss = {}
  optimizer = sgd(lr = 0.1)
  epochs = 1
}}
)",
      features, s.class_ids ? "i32[] = 1" : "f32[3] = uniform(0, 1)", features, classes, classes, classes, scaled,
      shifted, labels, log_p, rows, loss);
  return s;
}

Graph elaborated(const std::string& program) {
  static int count = 0;
  const auto path =
      std::filesystem::temp_directory_path() /
      fmt::format("nnc-spelling-{}-{}.nn", std::chrono::steady_clock::now().time_since_epoch().count(), ++count);
  std::ofstream(path) << program;
  Diagnostics diagnostics;
  auto blocks =
      elaborate_file(path.string(), {.overrides = {}, .double_precision = true, .train_block = ""}, diagnostics);
  std::filesystem::remove(path);
  INFO(program << diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  return blocks[0].step;
}

bool is_full_size(const Node& node) { return node.type.rank() == 2 && is_batched(node.type.shape); }

/// What the derivative computes beside A: at full size one difference, at most one product with a scale, and one with
/// the sum of the labels where that is not known; no function, no maximum, no choice.
void check_published_form(const Graph& graph, const Spelling& s) {
  int arithmetic = 0, differences = 0, sums = 0, exponentials = 0;
  for (const Node& node : graph.nodes) {
    exponentials += node.op == Op::exp;
    if (!node.derived) continue;
    const OpClass cls = definition(node.op).cls;
    if (cls == OpClass::elementwise) {
      const bool plain = node.op == Op::sub || node.op == Op::mul || node.op == Op::div;
      if (is_full_size(node)) CHECK(plain);
      arithmetic += is_full_size(node);
      differences += is_full_size(node) && node.op == Op::sub;
    }
    CHECK(node.op != Op::reduce_max);
    sums += node.op == Op::sum;
  }
  CHECK(exponentials == 1 + s.soft_labels);
  CHECK(differences == 1);
  CHECK(sums == (s.sums_to_one ? 0 : 1));
  CHECK(arithmetic <= (s.sums_to_one ? 3 : 4));  // A itself may be derived
}

/// The gradient by the formula, in f64.
std::vector<double> published(const Spelling& s, const Environment& at) {
  const Tensor &x = at.inputs.at("x"), &y = at.inputs.at("y"), &w = at.params.at("Dense1.W");
  std::vector<double> gradient(features * classes, 0);
  for (std::int64_t row = 0; row < at.batch; ++row) {
    double a[classes], t[classes], total = 0, labels = 0;
    for (int c = 0; c < classes; ++c) {
      double z = 0;
      for (int f = 0; f < features; ++f) z += x.at(row * features + f) * w.at(f * classes + c);
      total += a[c] = std::exp(s.temperature * z);
      t[c] = s.class_ids ? y.at(row) == c : s.soft_labels ? std::exp(y.at(row * classes + c)) : y.at(row * classes + c);
      labels += t[c];
    }
    const double scale = s.soft_labels || s.normalised ? 1 / labels : 1;
    for (int c = 0; c < classes; ++c)
      for (int f = 0; f < features; ++f)
        gradient[f * classes + c] += x.at(row * features + f) * scale * (a[c] / total * labels - t[c]) * s.temperature *
                                     s.unit / static_cast<double>(at.batch);
  }
  return gradient;
}

TEST_CASE("softmax and cross-entropy have their published gradient, however they are spelled") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    test::Random random(test::seed_of(seed, "spelling"));
    const Spelling s = compose(random);
    const Graph step = elaborated(s.program), opt = optimise(step);
    INFO("seed " << seed << "\n" << s.program << print(opt));
    check_published_form(opt, s);

    const Graph grads = optimise(separate(step).grads);
    Environment at;
    at.batch = 5;
    for (const Node& node : grads.nodes) {
      const auto* named = std::get_if<Named>(&node.attributes);
      if (!named || (node.op != Op::input && node.op != Op::param)) continue;
      std::vector<std::int64_t> dims;
      for (const Extent& extent : node.type.shape) dims.push_back(extent.batched ? at.batch : extent.count);
      Tensor tensor = Tensor::zeros(node.type.dtype, dims);
      for (std::int64_t i = 0; i < tensor.count(); ++i)
        tensor.set(i, node.type.dtype == DType::i32 ? random.below(classes) : random.uniform(0.1, 2));
      (node.op == Op::input ? at.inputs : at.params).emplace(named->name, std::move(tensor));
    }
    const Tensor found = evaluate(grads, at).at("grad/Dense1.W");
    const std::vector<double> expected = published(s, at);
    for (std::size_t i = 0; i < expected.size(); ++i)
      REQUIRE(std::abs(found.at(static_cast<std::int64_t>(i)) - expected[i]) <= 1e-12);
  }
}

}  // namespace
}  // namespace nnc
