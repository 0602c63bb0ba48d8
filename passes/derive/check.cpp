// Whether each line of a derivation is true: both sides as numbers. Formulas are read back from what is printed, and a
// name means what its own line says. Values are compared with those of the program; a derivative is measured along
// random directions, with what its expression holds (stop_gradient) held where it is.
#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/derive/derivation.h"
#include "passes/derive/read_back.h"
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

/// Infinities of one sign are equal; what is no number is equal to nothing.
double relative_distance(double left, double right, double scale) {
  if (std::isinf(left) && left == right) return 0;
  if (!std::isfinite(left) || !std::isfinite(right)) return INFINITY;
  return std::abs(left - right) / std::max({std::abs(left), std::abs(right), scale, 1e-300});
}

/// A number stands for values that are all alike.
double element(const Tensor& x, std::int64_t i) { return x.at(x.dims.empty() ? 0 : i); }

Sides compare_slope(const Derivation& derivation, const DerivationLine& line, const Tensor& gradient,
                    const Environment& at, std::mt19937_64& random) {
  Moved moved(derivation.marked, *line.slope, at);
  Sides worst;
  if (!gradient.dims.empty() && moved.here().dims != gradient.dims) return {NAN, NAN, INFINITY};
  for (int i = 0; i < 2; ++i) {
    std::vector<double> direction;
    double derived = 0, scale = 0;
    for (std::int64_t k = 0; k < moved.here().count(); ++k) {
      direction.push_back(static_cast<double>(random() >> 11) * 0x1p-52 - 1);
      derived += direction.back() * element(gradient, k);
      scale += std::abs(direction.back() * element(gradient, k));
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
  if (left.dims != right.dims && !left.dims.empty() && !right.dims.empty()) return {NAN, NAN, INFINITY};
  const std::int64_t count = std::max(left.count(), right.count());
  double scale = 0;
  for (std::int64_t i = 0; i < count; ++i)
    if (std::isfinite(element(left, i))) scale = std::max(scale, std::abs(element(left, i)));
  Sides worst;
  for (std::int64_t i = 0; i < count; ++i) {
    const double apart = relative_distance(element(left, i), element(right, i), scale);
    if (apart >= worst.apart) worst = {element(left, i), element(right, i), apart};
  }
  return worst;
}

// The page

/// A line among all lines.
struct PageLine {
  const DerivationLine* line = nullptr;
  std::size_t root = 0;
  std::string left;                     ///< as text; that of the line which it goes on from
  std::optional<std::size_t> before{};  ///< the line which it goes on from
};

std::vector<PageLine> lines_of(const Derivation& derivation) {
  std::vector<PageLine> lines;
  std::size_t last = 0;  // that is no use of a law
  for (const DerivationPart& part : derivation.parts)
    for (const DerivationLine& line : part.lines) {
      PageLine entry{&line, part.root, line.left ? as_text(*line.left) : lines.at(last).left};
      if (!line.left) entry.before = last;
      if (!line.detail) last = lines.size();
      lines.push_back(std::move(entry));
    }
  return lines;
}

std::string side_name(char side, std::size_t line) { return side + std::to_string(line); }

/// What is printed of one root, as a graph: result "r3" is the right side of line 3, "l3" its left one where that is a
/// formula.
class Page {
 public:
  Page(const Derivation& derivation, const std::vector<PageLine>& lines, std::size_t root, double noise)
      : derivation_(derivation), lines_(lines), root_(root), noise_(noise) {
    define();
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].root != root || lines[i].line->given) continue;
      add(side_name('r', i), i, lines[i].line->right);
      if (lines[i].line->detail) add(side_name('l', i), i, *lines[i].line->left);
    }
  }

  Graph graph() && { return std::move(builder_).finish(); }
  /// Lines that cannot be computed, and why.
  const std::map<std::size_t, std::string>& unreadable() const { return unreadable_; }

 private:
  /// Of a name and of a derivative the first line that begins with it says what it is.
  void define() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const DerivationLine& line = *lines_[i].line;
      if (lines_[i].root != root_ || line.detail || !line.left) continue;
      const bool both = line.left->kind == Formula::Kind::relation;
      std::set<std::string> names{as_text(both ? line.left->parts[0] : *line.left)};
      if (both) names.insert(as_text(line.left->parts[1]));
      for (const std::string& name : names)
        if (!defined_.emplace(name, i).second) unreadable_[i] = name + " is said twice";
    }
  }

  void add(std::string output, std::size_t line, const Formula& formula) {
    try {
      builder_.output(OutputKind::result, std::move(output), read(formula));
    } catch (const Unreadable& problem) {
      unreadable_.try_emplace(line, problem.why);
    }
  }

  Value read(const Formula& formula) {
    return ReadBack(builder_, [this](const std::string& name) { return value_of(name); }, noise_)(formula);
  }

  Value value_of(const std::string& name) {
    const auto known = values_.find(name);
    if (known != values_.end()) {
      if (!known->second) throw Unreadable{name + " is said by itself"};
      return *known->second;
    }
    const auto& leaves = derivation_.leaves.at(root_);
    if (const auto leaf = leaves.find(name); leaf != leaves.end()) {
      Node node = derivation_.values[leaf->second];
      if (node.type.dtype == DType::f32) node.type.dtype = DType::f64;
      return *(values_[name] = copy_node(builder_, node, {}));
    }
    const auto line = defined_.find(name);
    if (line == defined_.end()) throw Unreadable{"nothing says what " + name + " is"};
    values_[name] = std::nullopt;
    try {
      return *(values_[name] = read(lines_[line->second].line->right));
    } catch (const Unreadable&) {
      values_.erase(name);
      throw;
    }
  }

  const Derivation& derivation_;
  const std::vector<PageLine>& lines_;
  std::size_t root_;
  double noise_;
  Builder builder_{"page"};
  std::map<std::string, std::size_t> defined_;
  std::map<std::string, std::optional<Value>> values_;  ///< nothing: it is being read
  std::map<std::size_t, std::string> unreadable_;
};

/// The graphs of all that is printed, and of what the program makes of the same names.
struct Pages {
  std::vector<Graph> clean, noisy;
  Graph program;
  std::map<std::size_t, std::string> unreadable;
};

Pages pages_of(const Derivation& derivation, const std::vector<PageLine>& lines) {
  constexpr double noise = 1e-14;
  Pages pages;
  for (std::size_t root = 0; root < derivation.leaves.size(); ++root) {
    Page clean(derivation, lines, root, 0), noisy(derivation, lines, root, noise);
    pages.unreadable.insert(clean.unreadable().begin(), clean.unreadable().end());
    pages.clean.push_back(std::move(clean).graph());
    pages.noisy.push_back(std::move(noisy).graph());
  }
  pages.program = derivation.values;
  pages.program.outputs.clear();
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (lines[i].line->value)
      pages.program.outputs.push_back({OutputKind::result, side_name('v', i), *lines[i].line->value});
  pages.program = in_double_precision(pages.program);
  return pages;
}

// Points

struct Point {
  Environment at;
  std::map<std::string, Tensor> values{};  ///< of all outputs
  bool finite = true, steady = true;       ///< all are numbers; rounding does not matter
};

bool is_finite(const Tensor& x) {
  for (std::int64_t i = 0; i < x.count(); ++i)
    if (!std::isfinite(x.at(i))) return false;
  return true;
}

Point point_at(const Pages& pages, Environment at) {
  Point point{std::move(at)};
  for (std::size_t root = 0; root < pages.clean.size(); ++root) {
    const auto noisy = evaluate(pages.noisy[root], point.at, true);
    for (auto& [name, value] : evaluate(pages.clean[root], point.at, true)) {
      point.steady = point.steady && compare_values(value, noisy.at(name)).apart < agreement / 10;
      point.finite = point.finite && is_finite(value);
      point.values.emplace(name, std::move(value));
    }
  }
  for (auto& [name, value] : evaluate(pages.program, point.at, true)) {
    point.finite = point.finite && is_finite(value);
    point.values.emplace(name, std::move(value));
  }
  return point;
}

/// A point at which all values are numbers and none is lost in rounding, whether sides agree or not. Where a logarithm
/// or a root wants positive numbers, it gets them; where values saturate, parameters are taken smaller.
Point draw_point(const Derivation& derivation, const Pages& pages, std::uint64_t seed) {
  std::optional<Point> best;
  for (double scale : {1.0, 0.5, 0.25, 0.0625})
    for (bool positive : {false, true}) {
      Environment at = random_point(derivation.values, rows_of_a_point, seed, positive);
      for (auto& [name, x] : at.params)
        for (std::int64_t i = 0; i < x.count(); ++i) x.set(i, scale * x.at(i));
      Point point = point_at(pages, std::move(at));
      if (point.finite && point.steady) return point;
      if (!best || (point.steady && !best->steady)) best = std::move(point);
    }
  return *std::move(best);
}

// Lines

void compare_line(const Sides& sides, const PageLine& line, DerivationReport& report) {
  ++report.checked;
  report.worst = std::max(report.worst, sides.apart);
  if (sides.apart > agreement)
    report.failures.push_back(
        {line.left + " = " + as_text(line.line->right), line.line->reasons, sides.left, sides.right});
}

}  // namespace

/// A line whose derivative has a kink at the point is compared at another one.
DerivationReport check(const Derivation& derivation, std::uint64_t seed) {
  constexpr std::uint64_t most_points = 3;
  const std::vector<PageLine> lines = lines_of(derivation);
  const Pages pages = pages_of(derivation, lines);
  DerivationReport report;
  std::vector<bool> done(lines.size(), false);
  for (std::size_t i = 0; i < lines.size(); ++i) done[i] = lines[i].line->given;
  for (const auto& [i, why] : pages.unreadable) {
    done[i] = true;
    ++report.checked;
    report.failures.push_back(
        {lines[i].left + " = " + as_text(lines[i].line->right), lines[i].line->reasons, NAN, NAN, why});
  }
  std::mt19937_64 random(seed);
  for (std::uint64_t i = 0; i < most_points && std::ranges::count(done, false) > 0; ++i) {
    const Point point = draw_point(derivation, pages, seed + i);
    const auto value = [&](char side, std::size_t line) -> const Tensor* {
      const auto found = point.values.find(side_name(side, line));
      return found == point.values.end() ? nullptr : &found->second;
    };
    for (std::size_t k = 0; k < lines.size(); ++k) {
      if (done[k]) continue;
      const DerivationLine& line = *lines[k].line;
      const Tensor& right = *value('r', k);
      const Tensor* left = line.value ? value('v', k) : line.detail ? value('l', k) : nullptr;
      if (lines[k].before) left = value('r', *lines[k].before);
      if (!line.slope && !left) {  // that line has been told of
        done[k] = true;
        continue;
      }
      const Sides sides =
          line.slope ? compare_slope(derivation, line, right, point.at, random) : compare_values(*left, right);
      done[k] = sides.smooth || sides.apart <= agreement;
      if (done[k]) compare_line(sides, lines[k], report);
    }
  }
  report.on_kinks = std::ranges::count(done, false);
  return report;
}

}  // namespace nnc
