// A whole step's gradients, from its parameters to its loss, after every pass; and what failures say.
#include "passes/gradcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "ir/builder.h"
#include "ir/loops.h"
#include "passes/differences.h"
#include "passes/passes.h"
#include "passes/pipeline.h"

namespace nnc {

using namespace differences;

namespace {

/// The gradients that a graph asks for, by the parameter; and what they are gradients of.
struct Asked {
  NodeId of = 0, by = 0;
  std::string name;
};

std::vector<Asked> gradients_asked(const Graph& graph) {
  std::vector<Asked> asked;
  for (const Node& node : graph.nodes) {
    if (node.op != Op::grad) continue;
    const Node& by = graph[node.operands[1]];
    if (by.op != Op::param) continue;
    asked.push_back({node.operands[0], node.operands[1], std::get<Named>(by.attributes).name});
  }
  return asked;
}

// What differences are of

/// A value with what `stop_gradient` stops as inputs of their own: their differences are none of the gradient's
/// business. (Those in the bodies of loops move with the rest.)
struct Held {
  Graph value;                     ///< ready to be evaluated
  std::optional<Graph> stopped{};  ///< the values of those inputs, where there are any
};

constexpr std::string_view held = "held/";

Graph evaluable(const Graph& graph) {
  Graph now = graph;
  for (const PassStep& pass : defining_passes()) {
    if (pass.name == "simplify") break;
    now = pass.name == "differentiate" ? differentiate(now) : pass.run(now, {});
  }
  return assign_order(now);
}

Held hold_stopped(const Graph& step, NodeId of) {
  Builder cut("value"), whole("stopped");
  const std::vector<Value> as_it_is = rebuild(
      step, whole, [&](NodeId id, const std::vector<Value>& operands) { return copy_node(whole, step[id], operands); });
  int count = 0;
  const std::vector<Value> made = rebuild(step, cut, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = step[id];
    if (node.op != Op::stop_gradient || id > of) return copy_node(cut, node, operands);
    const std::string name = fmt::format("{}{}", held, count++);
    whole.output(OutputKind::result, name, as_it_is[node.operands[0]]);
    return cut.leaf(Op::input, name, node.type);
  });
  cut.output(OutputKind::result, "value", made[of]);
  Held result{evaluable(std::move(cut).finish())};
  if (count > 0) result.stopped = evaluable(std::move(whole).finish());
  return result;
}

// The gradients

/// The expression and its gradient as they are after a pass, ready to be evaluated.
struct CheckedStage {
  std::string_view pass;
  Graph graph;
};

/// After each pass that has a gradient before it, `differentiate` first.
std::vector<CheckedStage> stages_of(const Graph& step, const Asked& asked, const GradcheckOptions& options) {
  Builder builder("gradcheck");
  const std::vector<Value> made = rebuild(step, builder, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(builder, step[id], operands);
  });
  builder.output(OutputKind::result, "value", made[asked.of]);
  builder.output(OutputKind::result, "gradient", builder.make(Op::grad, {{made[asked.of], made[asked.by]}}));
  for (const Obligation& obligation : step.obligations) builder.oblige(obligation);
  const Graph graph = std::move(builder).finish();
  const auto spoilt = [&](std::string_view pass, Graph result) {
    return options.spoil ? options.spoil(pass, std::move(result)) : result;
  };
  const std::span<const PassStep> passes = defining_passes();
  const auto derives = std::ranges::find(passes, "differentiate", &PassStep::name);
  Graph now = graph;
  for (auto pass = passes.begin(); pass != derives; ++pass) now = pass->run(now, {});
  now = spoilt(derives->name, differentiate(now, options.hook));
  std::vector<CheckedStage> stages{{derives->name, assign_order(now)}};
  for (auto pass = std::next(derives); pass != passes.end(); ++pass) {
    now = spoilt(pass->name, pass->run(now, {}));
    stages.push_back({pass->name, assign_order(now)});
  }
  return stages;
}

Tensor draw_values(const Node& node, const Graph& graph, const GradcheckOptions& options, Generator& random) {
  Tensor x = zeros_of(node.type, options.rows);
  const std::string& name = std::get<Named>(node.attributes).name;
  std::int64_t low = 0, high = 2;
  for (const Obligation& obligation : graph.obligations)
    if (obligation.input == name) std::tie(low, high) = std::pair{obligation.low, obligation.high};
  for (std::int64_t k = 0; k < x.count(); ++k) {
    const double uniform = static_cast<double>(random() >> 11) * 0x1p-53;
    if (is_float(node.type.dtype)) {
      x.set(k, node.op == Op::state ? 0.5 + uniform : 2 * uniform - 1);  // states may be variances
    } else {
      x.set(k, static_cast<double>(low + static_cast<std::int64_t>(uniform * static_cast<double>(high - low))));
    }
  }
  return x;
}

Environment draw_environment(const Graph& graph, const GradcheckOptions& options, Generator& random) {
  Environment at;
  at.batch = options.rows;
  at.seed = options.seed;
  at.step = 1;
  at.scalars = {{"step", 1},
                {"epoch", 1},
                {"steps_per_epoch", 10},
                {"total_steps", 100},
                {"rows", static_cast<double>(options.rows)}};
  for (const Node& node : graph.nodes) {
    const auto draw_into = [&](std::map<std::string, Tensor>& values) {
      values.emplace(std::get<Named>(node.attributes).name, draw_values(node, graph, options, random));
    };
    if (node.op == Op::input) draw_into(at.inputs);
    if (node.op == Op::param) draw_into(at.params);
    if (node.op == Op::param)
      if (const auto given = options.points.find(std::get<Named>(node.attributes).name); given != options.points.end())
        at.params.insert_or_assign(given->first, given->second);
    if (node.op == Op::state) draw_into(at.state);
    if (node.op == Op::carry) draw_into(at.carry);
  }
  return at;
}

std::vector<std::int64_t> draw_elements(std::int64_t count, int most, Generator& random) {
  std::vector<std::int64_t> elements(static_cast<std::size_t>(std::min<std::int64_t>(count, most)));
  std::iota(elements.begin(), elements.end(), 0);
  if (count > most)
    for (std::int64_t& element : elements)
      element = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(count));
  return elements;
}

/// The gradient's element k by the first stage at which it is further from the measured one than is allowed, or by
/// that at which it is furthest. Before the last stage what is no number counts as open: simplify cancels 0 / 0 to what
/// it tends to.
struct Derived {
  double value = 0, relative = -1;
  std::string_view pass;
};
Derived worst_derived(const std::vector<CheckedStage>& stages, const std::vector<Tensor>& gradients, std::int64_t k,
                      double measured, double scale, double noise, double tolerance) {
  Derived worst;
  for (std::size_t i = 0; i < stages.size() && worst.relative <= tolerance; ++i) {
    const double value = gradients[i].at(k), relative = relative_error(value, measured, scale, noise);
    if (!std::isfinite(value) && i + 1 < stages.size()) continue;
    if (relative > worst.relative) worst = {value, relative, stages[i].pass};
  }
  return worst;
}

void compare_gradient(const std::vector<CheckedStage>& stages, const Held& held_value, const Asked& asked,
                      Environment& at, const GradcheckOptions& options, Generator& random, GradcheckReport& report) {
  std::vector<Tensor> gradients;
  for (const CheckedStage& stage : stages) gradients.push_back(evaluate(stage.graph, at).at("gradient"));
  const Tensor& derived = gradients.back();
  const double scale = scale_of(derived);
  const Graph& forward = held_value.value;
  if (held_value.stopped)
    for (auto& [name, x] : evaluate(*held_value.stopped, at)) at.inputs.insert_or_assign(name, std::move(x));

  const double value = evaluate(forward, at).at("value").at(0);
  if (!std::isfinite(value)) {
    report.failures.push_back(
        {.where = "grad/" + asked.name, .derived = NAN, .measured = value, .relative = INFINITY, .no_value = true});
    return;
  }
  // What rounding of the value does to a quotient of differences, where the derivative itself is 0.
  const double noise = 8 * std::numeric_limits<double>::epsilon() * std::abs(value) / short_step;
  Tensor& x = at.params.at(asked.name);
  for (std::int64_t k : draw_elements(x.count(), options.elements, random)) {
    const double here = x.at(k);
    const auto f = [&](double step) {
      x.set(k, here + step);
      const double result = evaluate(forward, at).at("value").at(0);
      x.set(k, here);
      return result;
    };
    const double coarse = derivative(f, first_step), fine = derivative(f, short_step);
    const bool both = std::isfinite(coarse) && std::isfinite(fine);  // else the longer step left where values are
    const bool finer = both ? std::abs(fine - derived.at(k)) < std::abs(coarse - derived.at(k)) : std::isfinite(fine);
    const double measured = finer ? fine : coarse;
    const Derived found = worst_derived(stages, gradients, k, measured, scale, noise, options.tolerance);
    const double relative = found.relative;
    // Where the two quotients themselves differ by more than rounding can explain, a kink lies in between.
    const bool numbers = both && std::isfinite(found.value);
    if (relative > options.tolerance && numbers && relative_error(coarse, fine, scale) > 1e-3) {
      ++report.near_ties;
      continue;
    }
    ++report.checked;
    report.worst = std::max(report.worst, relative);
    if (relative > options.tolerance)
      report.failures.push_back({.where = fmt::format("grad/{}[{}]", asked.name, k),
                                 .pass = std::isfinite(found.value) ? std::string(found.pass) : "",
                                 .derived = found.value,
                                 .measured = measured,
                                 .relative = relative});
  }
}

}  // namespace

std::string to_string(const GradcheckFailure& failure) {
  const auto number = [](double x) { return std::isnan(x) ? "nan" : fmt::format("{:.9g}", x); };
  const std::string where = failure.where + (failure.shapes.empty() ? "" : " of " + failure.shapes) +
                            (failure.pass.empty() ? "" : " after " + failure.pass);
  if (failure.no_value) return fmt::format("{}: what is differentiated is {} here", where, number(failure.measured));
  std::string what =
      fmt::format("{}: derived {}, measured {}, ", where, number(failure.derived), number(failure.measured));
  const bool derived = std::isfinite(failure.derived), measured = std::isfinite(failure.measured);
  if (derived && measured) return what + fmt::format("relative error {:.1e}", failure.relative);
  if (derived) return what + "the value is no finite number here";
  return what + (measured ? "the derivative is no finite number" : "neither is a finite number");
}

Environment random_point(const Graph& graph, std::int64_t rows, std::uint64_t seed, bool positive) {
  Generator random(seed);
  GradcheckOptions options;
  options.rows = rows;
  options.seed = seed;
  Environment at = draw_environment(graph, options, random);
  for (auto* values : {&at.inputs, &at.params, &at.state, &at.carry})
    for (auto& [name, x] : *values) {
      const Tensor drawn = x;
      if (x.dtype == DType::f32) x = Tensor::zeros(DType::f64, x.dims);
      for (std::int64_t i = 0; i < x.count() && is_float(x.dtype); ++i)
        x.set(i, positive ? std::abs(drawn.at(i)) : drawn.at(i));
    }
  return at;
}

/// Bodies and the loops over them change together: in between, no loop would be well typed.
Graph in_double_precision(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    Node node = graph[id];
    if (node.type.dtype == DType::f32) node.type.dtype = DType::f64;
    if (node.op == Op::cast && operands[0].type().dtype == node.type.dtype) return operands[0];
    if (auto* scan = std::get_if<Scan>(&node.attributes)) scan->body = ScanBody(in_double_precision(*scan->body));
    return copy_node(builder, node, operands);
  });
  return finish_like(graph, std::move(builder), made);
}

GradcheckReport gradcheck_step(const Graph& step, const GradcheckOptions& options) {
  const Graph graph = in_double_precision(step);
  GradcheckReport report;
  Generator random(options.seed);
  Environment at = draw_environment(graph, options, random);
  for (const Asked& asked : gradients_asked(graph))
    compare_gradient(stages_of(graph, asked, options), hold_stopped(graph, asked.of), asked, at, options, random,
                     report);
  return report;
}

}  // namespace nnc
