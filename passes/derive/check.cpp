// Whether each line of a derivation is true: both sides as numbers. Values are evaluated as they stand in the record;
// a derivative is measured along random directions, with what its expression holds (stop_gradient) held where it is.
#include <algorithm>
#include <cmath>
#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/derive/derivation.h"
#include "passes/gradcheck.h"

namespace nnc {

namespace {

constexpr double agreement = 1e-9;
constexpr std::int64_t rows_of_a_point = 5;
constexpr const char* moved_name = "the value that is moved";

std::string held_name(NodeId id) { return "held " + std::to_string(id); }

struct Measured {
  double slope = 0;
  bool smooth = true;  ///< f has one derivative there, not one for each side
};

/// The derivative of f at 0 by differences of eighth order; the length of their steps is that at which two lengths
/// agree best, so that it neither straddles a kink nor drowns in rounding.
template <class F>
Measured measured_slope(F&& f, double scale) {
  const auto difference = [&](double h) {
    constexpr double weights[] = {4.0 / 5, -1.0 / 5, 4.0 / 105, -1.0 / 280};
    double total = 0;
    for (int i = 0; i < 4; ++i) total += weights[i] * (f((i + 1) * h) - f(-(i + 1) * h));
    return total / h;
  };
  Measured best{NAN};
  double nearest = INFINITY, longer = difference(3e-2);
  for (double h : {1e-2, 1e-3, 1e-4, 1e-5, 1e-6}) {
    const double shorter = difference(h), apart = std::abs(shorter - longer);
    if (apart < nearest) {
      nearest = apart;
      best.slope = longer;
    }
    longer = shorter;
    if (nearest < 1e-12 * scale) break;
  }
  constexpr double one_sided = 1e-6;
  const double here = f(0), right = (f(one_sided) - here) / one_sided, left = (here - f(-one_sided)) / one_sided;
  best.smooth = std::abs(right - left) < 1e-4 * scale && nearest < 1e-7 * scale;
  return best;
}

/// One expression as a function of one of the values in it.
class Moved {
 public:
  Moved(const Graph& marked, DerivationLine::Slope slope, const Environment& at) : at_(at) {
    Graph base = marked;
    base.outputs = {{OutputKind::result, moved_name, slope.by}};
    for (NodeId id = 0; id <= slope.of; ++id)
      if (marked[id].op == Op::stop_gradient) base.outputs.push_back({OutputKind::result, held_name(id), id});
    for (auto& [name, value] : evaluate(in_double_precision(base), at, true)) at_.inputs.insert_or_assign(name, value);
    here_ = at_.inputs.at(moved_name);

    Builder builder("moved");
    const std::vector<Value> made = rebuild(marked, builder, [&](NodeId id, const std::vector<Value>& operands) {
      const Node& node = marked[id];
      if (id == slope.by) return builder.leaf(Op::input, moved_name, node.type);
      if (node.op == Op::stop_gradient && id <= slope.of) return builder.leaf(Op::input, held_name(id), node.type);
      return copy_node(builder, node, operands);
    });
    builder.output(OutputKind::result, "value", made[slope.of]);
    graph_ = in_double_precision(std::move(builder).finish());
  }

  const Tensor& here() const { return here_; }
  double value(const std::vector<double>& direction, double by) {
    Tensor& x = at_.inputs.at(moved_name);
    for (std::int64_t i = 0; i < x.count(); ++i) x.set(i, here_.at(i) + by * direction[static_cast<std::size_t>(i)]);
    return evaluate(graph_, at_, true).at("value").at(0);
  }

 private:
  Environment at_;
  Tensor here_;
  Graph graph_;
};

struct Sides {
  double left = 0, right = 0, apart = 0;  ///< where they differ most, relative to the largest of their elements
  bool smooth = true;
};

double relative_distance(double left, double right, double scale) {
  if (!std::isfinite(left) || !std::isfinite(right)) return INFINITY;
  return std::abs(left - right) / std::max({std::abs(left), std::abs(right), scale, 1e-300});
}

Sides compare_slope(const Derivation& derivation, const DerivationLine& line, const Tensor& gradient,
                    const Environment& at, std::mt19937_64& random) {
  Moved moved(derivation.marked, *line.slope, at);
  Sides worst;
  if (moved.here().count() != gradient.count()) return {NAN, NAN, INFINITY};
  for (int i = 0; i < 2; ++i) {
    std::vector<double> direction;
    double derived = 0, scale = 0;
    for (std::int64_t k = 0; k < gradient.count(); ++k) {
      direction.push_back(static_cast<double>(random() >> 11) * 0x1p-52 - 1);
      derived += direction.back() * gradient.at(k);
      scale += std::abs(direction.back() * gradient.at(k));
    }
    scale = std::max(scale, 1e-3);
    const auto [slope, smooth] = measured_slope([&](double by) { return moved.value(direction, by); }, scale);
    const double apart = relative_distance(slope, derived, scale);
    if (apart >= worst.apart) worst = {slope, derived, apart, worst.smooth};
    worst.smooth = worst.smooth && smooth;
  }
  return worst;
}

Sides compare_values(const Tensor& left, const Tensor& right) {
  double scale = 0;
  for (std::int64_t i = 0; i < left.count(); ++i) scale = std::max(scale, std::abs(left.at(i)));
  if (left.count() != right.count()) return {NAN, NAN, INFINITY};
  Sides worst;
  for (std::int64_t i = 0; i < left.count(); ++i) {
    const double apart = relative_distance(left.at(i), right.at(i), scale);
    if (apart >= worst.apart) worst = {left.at(i), right.at(i), apart};
  }
  return worst;
}

std::string side_name(char side, std::size_t line) { return side + std::to_string(line); }

/// All values that lines speak of, by line.
std::map<std::string, Tensor> values_at(const Derivation& derivation, const std::vector<const DerivationLine*>& lines,
                                        const Environment& at) {
  Graph graph = derivation.values;
  graph.outputs.clear();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i]->before) graph.outputs.push_back({OutputKind::result, side_name('l', i), *lines[i]->before});
    graph.outputs.push_back({OutputKind::result, side_name('r', i), lines[i]->after});
  }
  return evaluate(in_double_precision(graph), at, true);
}

bool is_finite(const Tensor& x) {
  for (std::int64_t i = 0; i < x.count(); ++i)
    if (!std::isfinite(x.at(i))) return false;
  return true;
}

/// A point at which all values are numbers. Where a logarithm or a root wants positive numbers, it gets them.
std::map<std::string, Tensor> draw_values(const Derivation& derivation, const std::vector<const DerivationLine*>& lines,
                                          std::uint64_t seed, Environment& at) {
  std::map<std::string, Tensor> values;
  for (bool positive : {false, true}) {
    at = random_point(derivation.values, rows_of_a_point, seed, positive);
    values = values_at(derivation, lines, at);
    if (std::ranges::all_of(values, [](const auto& value) { return is_finite(value.second); })) break;
  }
  return values;
}

void compare_line(const Sides& sides, const DerivationLine& line, const std::string& left, DerivationReport& report) {
  ++report.checked;
  report.worst = std::max(report.worst, sides.apart);
  if (sides.apart > agreement)
    report.failures.push_back({left + " = " + as_text(line.right), line.reasons, sides.left, sides.right});
}

}  // namespace

/// A line whose derivative has a kink at the point is compared at another one.
DerivationReport check(const Derivation& derivation, std::uint64_t seed) {
  constexpr std::uint64_t points = 3;
  std::vector<const DerivationLine*> lines;
  std::vector<std::string> lefts;
  for (const DerivationPart& part : derivation.parts)
    for (const DerivationLine& line : part.lines) {
      lines.push_back(&line);
      lefts.push_back(line.left ? as_text(*line.left) : lefts.back());
    }
  DerivationReport report;
  std::mt19937_64 random(seed);
  std::vector<bool> done(lines.size(), false);
  for (std::uint64_t point = 0; point < points && std::ranges::count(done, false) > 0; ++point) {
    Environment at;
    const std::map<std::string, Tensor> values = draw_values(derivation, lines, seed + point, at);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (done[i]) continue;
      const Tensor& right = values.at(side_name('r', i));
      const Sides sides = lines[i]->slope ? compare_slope(derivation, *lines[i], right, at, random)
                                          : compare_values(values.at(side_name('l', i)), right);
      done[i] = sides.smooth || sides.apart <= agreement;
      if (done[i]) compare_line(sides, *lines[i], lefts[i], report);
    }
  }
  report.on_kinks = std::ranges::count(done, false);
  return report;
}

}  // namespace nnc
