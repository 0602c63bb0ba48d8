// Whether each line of a derivation is true: both sides as numbers. Formulas are read back from what is printed, and a
// name means what its own line says. Values are compared with those of the program; a derivative is measured along
// random directions, with what its expression holds (stop_gradient) held where it is.
#include <algorithm>
#include <cmath>
#include <numeric>
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
    if (nearest < 1e-11 * scale) break;
  }
  constexpr double one_sided = 1e-6;
  const double here = f(0), right = (f(one_sided) - here) / one_sided, left = (here - f(-one_sided)) / one_sided;
  best.smooth = std::abs(right - left) < 1e-4 * scale && nearest < 1e-7 * scale;
  return best;
}

/// One expression as a function of one of the values in it. What does not depend on that value, and what is held
/// (stop_gradient), is computed once.
class Moved {
 public:
  Moved(const Graph& marked, DerivationLine::Slope slope, const Environment& at, const Tensor* here = nullptr)
      : at_(at) {
    const std::vector<bool> moves = what_moves(marked, slope);
    Graph base = marked;
    base.outputs = {{OutputKind::result, moved_name, slope.by}};
    std::vector<bool> is_held(marked.nodes.size(), false);
    const auto hold = [&](NodeId id) {
      if (moves[id] || is_held[id]) return;
      is_held[id] = true;
      base.outputs.push_back({OutputKind::result, held_name(id), id});
    };
    for (NodeId id = 0; id <= slope.of; ++id)
      if (moves[id] && id != slope.by) std::ranges::for_each(marked[id].operands, hold);
    hold(slope.of);
    for (auto& [name, value] : evaluate(in_double_precision(base), at, true)) at_.inputs.insert_or_assign(name, value);
    here_ = here ? *here : at_.inputs.at(moved_name);
    at_.inputs.insert_or_assign(moved_name, here_);

    Builder builder("moved");
    const Value unused = builder.constant(0, DType::f64);
    const std::vector<Value> made = rebuild(marked, builder, [&](NodeId id, const std::vector<Value>& operands) {
      if (id == slope.by) return builder.leaf(Op::input, moved_name, marked[id].type);
      if (is_held[id]) return builder.leaf(Op::input, held_name(id), marked[id].type);
      return moves[id] ? copy_node(builder, marked[id], operands) : unused;
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
  /// Nodes from the value up to the expression that depend on it.
  static std::vector<bool> what_moves(const Graph& marked, DerivationLine::Slope slope) {
    std::vector<bool> moves(marked.nodes.size(), false);
    for (NodeId id = slope.by; id <= slope.of; ++id)
      moves[id] = id == slope.by || (marked[id].op != Op::stop_gradient &&
                                     std::ranges::any_of(marked[id].operands, [&](NodeId x) { return moves[x]; }));
    return moves;
  }

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
                    const Environment& at, std::mt19937_64& random, const Tensor* here = nullptr) {
  Moved moved(derivation.marked, *line.slope, at, here);
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

  /// Line `line` alone, where the name `given` is an input.
  Page(const Derivation& derivation, const std::vector<PageLine>& lines, std::size_t root, std::size_t line,
       const std::string& given, const Type& type)
      : derivation_(derivation), lines_(lines), root_(root), noise_(0) {
    define();
    values_[given] = builder_.leaf(Op::input, moved_name, {DType::f64, type.shape});
    add(side_name('r', line), line, lines[line].line->right);
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
      const bool result = lines_[line].line->loop.has_value();
      builder_.output(OutputKind::result, std::move(output), result ? result_of(*lines_[line].line) : read(formula));
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
    if (name.ends_with(at_every_step)) return steps_of(name.substr(0, name.size() - at_every_step.size()));
    const auto line = defined_.find(name);
    if (line == defined_.end()) throw Unreadable{"nothing says what " + name + " is"};
    values_[name] = std::nullopt;
    try {
      const DerivationLine& says = *lines_[line->second].line;
      return *(values_[name] = says.loop ? result_of(says) : read(says.right));
    } catch (const Unreadable&) {
      values_.erase(name);
      throw;
    }
  }

  /// What the steps take from a sequence, or what they compute, under a name with a t.
  Value steps_of(const std::string& name) {
    std::set<std::size_t> loops;
    for (const PageLine& line : lines_)
      if (line.root == root_ && line.line->loop) loops.insert(*line.line->loop);
    for (std::size_t loop : loops) {
      for (const DerivationLoop::Sequence& sequence : derivation_.loops.at(loop).sequences)
        if (as_text(sequence.name) == name) return stack_of(sequence);
      for (const DerivationLoop::Carry& carry : derivation_.loops.at(loop).carries)
        if (as_text(carry.before) == name) return all_of(carry.before, loop);
    }
    const auto line = defined_.find(name);
    if (line == defined_.end() || !lines_[line->second].line->loop)
      throw Unreadable{"no step says what " + name + " is"};
    const Formula& one = *lines_[line->second].line->left;
    return all_of(one.kind == Formula::Kind::relation ? one.parts[0] : one, *lines_[line->second].line->loop);
  }

  Value all_of(const Formula& one, std::size_t loop) {
    return result_of({.right = {.kind = Formula::Kind::operation, .text = "all", .parts = {one}}, .loop = loop});
  }

  /// The steps along its first axis.
  Value stack_of(const DerivationLoop::Sequence& sequence) {
    if (sequence.handed_out_by) return all_of(sequence.name, *sequence.handed_out_by);
    const Value of = read(sequence.of);
    return sequence.axis == 1 ? builder_.transpose(of, swapped_first(of.type().rank())) : of;
  }

  /// "all x" or "last x" of a loop, whose steps are read from its part.
  Value result_of(const DerivationLine& line) {
    const DerivationLoop& loop = derivation_.loops.at(*line.loop);
    Step step{Builder("step"), {}, {}};
    for (const DerivationLoop::Carry& carry : loop.carries) {
      const Type type{DType::f64, carry.type.shape};
      Value first = read(carry.first);
      if (first.type().rank() == 0 && type.rank() > 0) first = builder_.spread(first, type.shape);
      step.values.emplace(as_text(carry.before), step.leaf(first, type));
    }
    for (const DerivationLoop::Sequence& sequence : loop.sequences) {
      const Value of = stack_of(sequence);
      Type type = of.type();
      type.shape.erase(type.shape.begin());
      step.values.emplace(as_text(sequence.name), step.leaf(of, type));
    }
    std::vector<Value> results;
    for (const DerivationLoop::Carry& carry : loop.carries) results.push_back(in_step(step, carry.next));
    const std::string one = as_text(line.right.parts.at(0));
    Scan scan{.body = ScanBody(Graph{}), .carries = static_cast<int>(loop.carries.size())};
    scan.sequences = static_cast<int>(loop.sequences.size());
    scan.steps = loop.steps;
    scan.backwards = loop.backwards;
    if (line.right.text == "all") {
      scan.result = static_cast<int>(results.size());
      results.push_back(in_step(step, line.right.parts[0]));
    } else {
      const auto carry = std::ranges::find(loop.carries, one, [](const auto& x) { return as_text(x.after); });
      if (carry == loop.carries.end()) throw Unreadable{"no step leaves " + one};
      scan.result = static_cast<int>(carry - loop.carries.begin());
    }
    for (std::size_t i = 0; i < results.size(); ++i)
      step.body.output(OutputKind::result, std::to_string(i), results[i]);
    scan.body = ScanBody(std::move(step.body).finish());
    return builder_.make(Op::scan, step.operands, std::move(scan));
  }

  /// What a step reads: what it takes along and its elements of sequences; all else is whole at every step.
  struct Step {
    Builder body;
    std::vector<Value> operands;  ///< of the loop, on the page
    std::map<std::string, Value> values;

    Value leaf(Value operand, const Type& type) {
      operands.push_back(operand);
      return body.make(Op::input, {}, Named{std::to_string(operands.size() - 1)}, type);
    }
  };

  Value in_step(Step& step, const Formula& formula) {
    const auto named = [&](const std::string& name) {
      if (const auto known = step.values.find(name); known != step.values.end()) return known->second;
      const auto line = defined_.find(name);
      // What a step of another loop computes is computed here again.
      const bool inside = line != defined_.end() && lines_[line->second].line->given && lines_[line->second].line->loop;
      Value value;
      if (inside) {
        value = in_step(step, lines_[line->second].line->right);
      } else {
        const Value whole = value_of(name);
        const Type type = whole.type();
        value = step.leaf(whole, type);
      }
      return step.values.emplace(name, value).first->second;
    };
    return ReadBack(step.body, named, noise_)(formula);
  }

  static std::vector<int> swapped_first(int rank) {
    std::vector<int> axes(static_cast<std::size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
    std::swap(axes.at(0), axes.at(1));
    return axes;
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

/// The right side of one line where the value that it is the derivative by is given and not computed.
Graph with_given(const Derivation& derivation, const std::vector<PageLine>& lines, std::size_t line,
                 const std::string& given, const Type& type) {
  return Page(derivation, lines, lines[line].root, line, given, type).graph();
}

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

/// What a value like the greatest of several zeros is made of puts it on a kink wherever the point lies. There the
/// value itself is drawn, as numbers of which no two are near, and all that follows from it is computed from that.
Sides compare_at_drawn(const Derivation& derivation, const std::vector<PageLine>& lines, std::size_t line,
                       const Environment& at, std::mt19937_64& random) {
  const DerivationLine& claim = *lines[line].line;
  const Formula& slope = claim.left->kind == Formula::Kind::relation ? claim.left->parts[1] : *claim.left;
  const Type type = derivation.marked[claim.slope->by].type;
  std::vector<std::int64_t> dims;
  for (Extent extent : type.shape) dims.push_back(extent.count * (extent.batched ? at.batch : 1));
  Tensor here = Tensor::zeros(DType::f64, dims);
  std::vector<std::int64_t> places(static_cast<std::size_t>(here.count()));
  std::iota(places.begin(), places.end(), 0);
  for (std::size_t i = places.size(); i > 1; --i) std::swap(places[i - 1], places[random() % i]);
  for (std::int64_t i = 0; i < here.count(); ++i)
    here.set(
        i, (2 * static_cast<double>(places[static_cast<std::size_t>(i)]) + 1) / static_cast<double>(here.count()) - 1);
  Environment drawn = at;
  drawn.inputs.insert_or_assign(moved_name, here);
  const Graph graph = with_given(derivation, lines, line, as_text(slope.parts[1]), type);
  const auto values = evaluate(graph, drawn, true);
  return compare_slope(derivation, claim, values.begin()->second, drawn, random, &here);
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
      if (!done[k] && i + 1 == most_points) {
        const Sides drawn = compare_at_drawn(derivation, lines, k, point.at, random);
        done[k] = drawn.smooth || drawn.apart <= agreement;
        if (done[k]) compare_line(drawn, lines[k], report);
      } else if (done[k]) {
        compare_line(sides, lines[k], report);
      }
    }
  }
  for (std::size_t k = 0; k < lines.size(); ++k)
    if (!done[k]) report.on_kinks.push_back(lines[k].left + " = " + as_text(lines[k].line->right));
  return report;
}

}  // namespace nnc
