#include "passes/derive/read_back.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "ir/op.h"

namespace nnc {

namespace {

constexpr std::string_view prime = "′";

std::vector<int> axes_from(int first, int count) {
  std::vector<int> axes(static_cast<std::size_t>(count));
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

int axis_of(char letter) {
  for (int axis = 0; axis < 9; ++axis)
    if (index_letter(axis)[0] == letter) return axis;
  throw Unreadable{fmt::format("no index is called {}", letter)};
}

const Argument* argument(const Formula& x, const std::string& name) {
  const auto found = std::ranges::find(x.arguments, name, &Argument::name);
  return found == x.arguments.end() ? nullptr : &*found;
}
std::int64_t told(const Formula& x, const std::string& name, std::int64_t otherwise) {
  const Argument* found = argument(x, name);
  return found ? found->numbers.at(0) : otherwise;
}
std::vector<std::int64_t> told_of_axes(const Formula& x, const std::string& name, int rank) {
  const Argument* found = argument(x, name);
  return found ? found->numbers : std::vector<std::int64_t>(static_cast<std::size_t>(rank), 0);
}
std::vector<int> axes_told(const Formula& x, const std::string& name) {
  const Argument* found = argument(x, name);
  if (!found) throw Unreadable{fmt::format("{} does not say `{}`", x.text, name)};
  return {found->numbers.begin(), found->numbers.end()};
}

Op function_named(const std::string& name) {
  if (name == "σ") return Op::logistic;
  if (name == "√") return Op::sqrt;
  if (name == "Φ") return Op::normal_cdf;
  const auto op = op_named(name);
  if (!op) throw Unreadable{fmt::format("no function is called {}", name)};
  return *op;
}

}  // namespace

Value ReadBack::made(Op op, std::vector<Value> operands, Attributes attributes, const Type& wanted) {
  std::vector<NodeId> ids;
  std::vector<Type> types;
  for (const Value& operand : operands) {
    ids.push_back(operand.id);
    types.push_back(operand.type());
  }
  const ValueOrError result = builder_.try_make(op, ids, std::move(attributes), wanted);
  if (const auto* error = std::get_if<ShapeError>(&result)) throw Unreadable{describe(op, *error, types)};
  return std::get<Value>(result);
}

Value ReadBack::as_number(Value x) {
  if (is_float(x.type().dtype)) return x;
  const Type type{DType::f64, x.type().shape};
  return made(Op::cast, {x}, {}, type);
}
Value ReadBack::as_whole(Value x) {
  const Type type{DType::i32, x.type().shape};
  return x.type().dtype == DType::i32 ? x : made(Op::cast, {x}, {}, type);
}
Value ReadBack::as_truth(Value x) {
  if (x.type().dtype == DType::boolean) return x;
  const Value none = builder_.constant(0, x.type().dtype);
  return made(Op::logical_not, {by_elements(Op::equal, x, none)});
}

Value ReadBack::spread_like(Value x, Value like) {
  const Shape shape = like.type().shape;
  return x.type().rank() == 0 && !shape.empty() ? builder_.spread(x, shape) : x;
}

Value ReadBack::by_elements(Op op, Value a, Value b) {
  a = spread_like(a, b);
  b = spread_like(b, a);
  return made(op, {a, b});
}

/// The same expression is the same node, and gets the same share.
Value ReadBack::rounded(Value x) {
  if (noise_ == 0 || !is_float(x.type().dtype)) return x;
  const double share = static_cast<double>((x.id * 2654435761U) % 2000) / 1000 - 1;
  return x * (1 + noise_ * share);
}

Value ReadBack::operator()(const Formula& x) {
  Value value = unseen(x);
  for (const Sight& sight : x.seen) value = seen(value, sight);
  return value;
}

Value ReadBack::seen(Value x, const Sight& sight) {
  const Shape shape = x.type().shape;
  if (shape.size() != sight.axes.size())
    throw Unreadable{fmt::format("a value of {} axes stands where one of {} is", shape.size(), sight.axes.size())};
  Shape kept;
  std::vector<int> axes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (sight.axes[i] < 0) continue;
    kept.push_back(shape[i]);
    axes.push_back(sight.axes[i]);
  }
  if (kept != shape) x = made(Op::reshape, {x}, {}, {x.type().dtype, kept});
  const Type there{x.type().dtype, sight.shape};
  return kept == sight.shape ? x : made(Op::broadcast, {x}, Broadcast{axes}, there);
}

Value ReadBack::unseen(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::number:
      return builder_.constant(x.value, DType::f64);
    case Formula::Kind::symbol:
      return symbol(x);
    case Formula::Kind::slope:
      return names_(as_text(x));
    case Formula::Kind::call:
      return call(x);
    case Formula::Kind::sum:
      return sum(x);
    case Formula::Kind::product:
      return product(x);
    case Formula::Kind::matrix:
      return matrix(x);
    case Formula::Kind::quotient:
      return rounded(by_elements(Op::div, number(x, 0), number(x, 1)));
    case Formula::Kind::power:
      return power(x);
    case Formula::Kind::transpose:
      return made(Op::transpose, {part(x, 0)}, Transpose{x.axes});
    case Formula::Kind::large:
      return large(x);
    case Formula::Kind::truth: {
      const Value truth = as_truth(part(x, 0));
      const Type type{DType::f64, truth.type().shape};
      return made(Op::cast, {truth}, {}, type);
    }
    case Formula::Kind::relation:
      return relation(x);
    case Formula::Kind::choice:
      return choice(x);
    case Formula::Kind::entry:
      return made(Op::gather, {part(x, 0), as_whole(part(x, 1))});
    case Formula::Kind::stretch:
      return stretch(x);
    case Formula::Kind::operation:
      return operation(x);
    case Formula::Kind::indexed:
      return indexed(x);
  }
  throw Unreadable{"no such formula"};
}

Value ReadBack::symbol(const Formula& x) {
  if (!x.shape.empty()) return made(Op::iota, {}, Iota{x.axes.at(0)}, {DType::i32, x.shape});
  if (x.text == "n" && x.sub.empty() && x.super.empty()) return builder_.size(batch_extent, DType::f64);
  return names_(as_text(x));
}

Value ReadBack::call(const Formula& x) {
  if (x.text == "not") return made(Op::logical_not, {as_truth(part(x, 0))});
  if (x.text == "trunc") return as_whole(part(x, 0));
  if (x.text.ends_with(prime)) return slope_of(x.text.substr(0, x.text.size() - prime.size()), number(x, 0));
  if (x.parts.size() == 1) return rounded(function(x.text, number(x, 0)));
  if (x.parts.size() != 2) throw Unreadable{fmt::format("{} takes one value or two", x.text)};
  return rounded(by_elements(function_named(x.text), number(x, 0), number(x, 1)));
}

Value ReadBack::function(const std::string& name, Value x) {
  if (name != "relu") return made(function_named(name), {x});
  const Value none = spread_like(builder_.constant(0, DType::f64), x);
  return made(Op::select, {made(Op::less_equal, {x, none}), none, x});
}

/// By the rule of its op, which the lines that are measured hold.
Value ReadBack::slope_of(const std::string& name, Value x) {
  const Value one = spread_like(builder_.constant(1, DType::f64), x);
  const Value none = spread_like(builder_.constant(0, DType::f64), x);
  if (name == "relu") return made(Op::select, {made(Op::less_equal, {x, none}), none, one});
  const Value y = function(name, x);
  const auto rule = definition(function_named(name)).gradient;
  if (!rule) throw Unreadable{fmt::format("{} has no derivative", name)};
  const Gradients gradients = rule({builder_, y.id, one.id});
  if (!gradients.at(0)) throw Unreadable{fmt::format("{} has no derivative", name)};
  return rounded(*gradients[0]);
}

Value ReadBack::sum(const Formula& x) {
  std::optional<Value> total;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    const Value term = number(x, i);
    if (total)
      total = by_elements(x.minus.at(i) ? Op::sub : Op::add, *total, term);
    else
      total = x.minus.at(i) ? made(Op::neg, {term}) : term;
  }
  return rounded(total.value());
}

Value ReadBack::product(const Formula& x) {
  Value product = number(x, 0);
  for (std::size_t i = 1; i < x.parts.size(); ++i) product = rounded(by_elements(Op::mul, product, number(x, i)));
  return product;
}

/// Small whole exponents are so many factors.
Value ReadBack::power(const Formula& x) {
  constexpr double most_factors = 16;
  const Value base = number(x, 0);
  const Formula& exponent = x.parts.at(1);
  const double times = std::abs(exponent.value);
  if (exponent.kind != Formula::Kind::number || times != std::trunc(times) || times < 1 || times > most_factors)
    return rounded(by_elements(Op::pow, base, number(x, 1)));
  Value power = base;
  for (int i = 1; i < static_cast<int>(times); ++i) power = power * base;
  return rounded(exponent.value < 0 ? 1 / power : power);
}

Value ReadBack::matrix(const Formula& x) {
  const Value a = number(x, 0), b = number(x, 1);
  const int pairs = x.axes.at(0), along = x.axes.at(1);
  if (a.type().rank() < pairs + along || b.type().rank() < pairs + along)
    throw Unreadable{"a factor of a product of matrices has too few axes"};
  Dot dot{.a = axes_from(a.type().rank() - pairs, pairs), .b = axes_from(along, pairs)};
  dot.batch_a = dot.batch_b = axes_from(0, along);
  return rounded(made(Op::dot, {a, b}, dot));
}

/// A part whose axes are counted: there no axis may come, go or be repeated that is not written.
Value ReadBack::whole(const Formula& x, std::size_t i) {
  if (!x.parts.at(i).seen.empty())
    throw Unreadable{
        fmt::format("{} has other axes where axes are counted, and nothing says which", as_text(x.parts[i]))};
  return part(x, i);
}

/// "ijl,ilk,ijk": of both and of the result. What both have goes along where the result has it, and is summed
/// elsewhere.
Value ReadBack::indexed(const Formula& x) {
  const Value a = as_number(whole(x, 0)), b = as_number(whole(x, 1));
  const std::size_t first = x.text.find(','), second = x.text.find(',', first + 1);
  if (second == std::string::npos) throw Unreadable{"a sum of products names no indices"};
  const std::string of_a = x.text.substr(0, first), of_b = x.text.substr(first + 1, second - first - 1);
  const std::string of_result = x.text.substr(second + 1);
  Dot dot;
  const auto pair = [&](char letter, std::vector<int>& axes_a, std::vector<int>& axes_b) {
    const std::size_t in_a = of_a.find(letter), in_b = of_b.find(letter);
    if (in_a == std::string::npos || in_b == std::string::npos) return;
    axes_a.push_back(static_cast<int>(in_a));
    axes_b.push_back(static_cast<int>(in_b));
  };
  for (char letter : of_result) pair(letter, dot.batch_a, dot.batch_b);
  for (char letter : of_a)
    if (of_result.find(letter) == std::string::npos) pair(letter, dot.a, dot.b);
  return rounded(made(Op::dot, {a, b}, dot));
}

/// Σₜ aₜᵀ bₜ, as one product of what the steps make of both.
Value ReadBack::over_steps(const Formula& product) {
  if (product.kind != Formula::Kind::matrix) throw Unreadable{"over steps only products of matrices are added up"};
  const auto stack = [&](const Formula& factor) {
    const bool turned = factor.kind == Formula::Kind::transpose;
    const Formula& element = turned ? factor.parts.at(0) : factor;
    if (element.kind != Formula::Kind::symbol && element.kind != Formula::Kind::slope)
      throw Unreadable{fmt::format("{} is no name of what a step makes", as_text(element))};
    const Value steps = as_number(names_(as_text(element) + std::string(at_every_step)));
    if (!turned) return steps;
    std::vector<int> axes{0};
    for (int axis : factor.axes) axes.push_back(axis + 1);
    return made(Op::transpose, {steps}, Transpose{axes});
  };
  const Value a = stack(product.parts.at(0)), b = stack(product.parts.at(1));
  const int pairs = product.axes.at(0);
  Dot dot{.a = axes_from(a.type().rank() - pairs, pairs), .b = axes_from(1, pairs)};
  dot.a.insert(dot.a.begin(), 0);
  dot.b.insert(dot.b.begin(), 0);
  return rounded(made(Op::dot, {a, b}, dot));
}

Value ReadBack::large(const Formula& x) {
  if (x.sub == "t") return over_steps(x.parts.at(0));
  Value of = number(x, 0);
  if (of.type().rank() == 0 && !x.shape.empty()) of = builder_.spread(of, x.shape);
  std::vector<int> axes;
  for (char letter : x.sub) axes.push_back(axis_of(letter));
  if (x.sub.empty()) axes = axes_from(0, of.type().rank());
  if (axes.empty()) return of;
  if (x.text == "Σ") return rounded(made(Op::sum, {of}, Reduce{axes}));
  if (x.text == "max") return made(Op::reduce_max, {of}, Reduce{axes});
  throw Unreadable{fmt::format("{} is no sum and no maximum", x.text)};
}

Value ReadBack::relation(const Formula& x) {
  const Value a = part(x, 0), b = part(x, 1);
  if (x.text == "∧") return by_elements(Op::logical_and, as_truth(a), as_truth(b));
  if (x.text == "∨") return by_elements(Op::logical_or, as_truth(a), as_truth(b));
  const Value left = as_number(a), right = as_number(b);
  if (x.text == "=") return by_elements(Op::equal, left, right);
  if (x.text == "≠") return made(Op::logical_not, {by_elements(Op::equal, left, right)});
  if (x.text == "<") return by_elements(Op::less, left, right);
  if (x.text == "≤") return by_elements(Op::less_equal, left, right);
  if (x.text == ">") return by_elements(Op::less, right, left);
  if (x.text == "≥") return by_elements(Op::less_equal, right, left);
  throw Unreadable{fmt::format("no relation is written {}", x.text)};
}

Value ReadBack::choice(const Formula& x) {
  Value condition = as_truth(part(x, 0)), yes = number(x, 1), no = number(x, 2);
  for (const Value& like : {condition, yes, no}) {
    condition = spread_like(condition, like);
    yes = spread_like(yes, like);
    no = spread_like(no, like);
  }
  return made(Op::select, {condition, yes, no});
}

Value ReadBack::stretch(const Formula& x) {
  const Value of = whole(x, 0);
  const Shape from = of.type().shape;
  if (from.size() != x.stretches.size()) throw Unreadable{"a part says nothing of some axis"};
  Slice slice;
  Shape extents;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const Stretch& axis = x.stretches[i];
    if (axis.at_step) throw Unreadable{fmt::format("{} stands where there is no step", as_text(x))};
    slice.starts.push_back(axis.whole ? 0 : axis.first);
    slice.steps.push_back(axis.whole ? 1 : axis.step);
    extents.push_back(axis.whole ? from[i] : Extent{axis.count, false});
  }
  const Value elements = made(Op::slice, {of}, slice, {of.type().dtype, extents});
  Shape kept;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (!x.stretches[i].left_out) kept.push_back(extents[i]);
  return kept == extents ? elements : made(Op::reshape, {elements}, {}, {of.type().dtype, kept});
}

Value ReadBack::operation(const Formula& x) {
  if (x.text == "ones") return builder_.spread(builder_.constant(1, DType::f64), x.shape);
  const auto op = op_named(x.text);
  if (!op) throw Unreadable{fmt::format("{} is nothing that can be computed", x.text)};
  std::vector<Value> operands;
  for (std::size_t i = 0; i < x.parts.size(); ++i) operands.push_back(*op == Op::reshape ? part(x, i) : whole(x, i));
  const int rank = operands.empty() ? 0 : operands[0].type().rank();
  const auto axis = [&] { return axes_told(x, "along").at(0); };
  if (*op == Op::reshape) return made(*op, operands, {}, {operands.at(0).type().dtype, x.shape});
  if (*op == Op::broadcast)
    return made(*op, operands, Broadcast{axes_told(x, "axes")}, {operands.at(0).type().dtype, x.shape});
  if (*op == Op::transpose) return made(*op, operands, Transpose{axes_told(x, "axes")});
  if (*op == Op::pad)
    return made(
        *op, operands,
        Pad{told_of_axes(x, "before", rank), told_of_axes(x, "behind", rank), told_of_axes(x, "between", rank)});
  if (*op == Op::concat) return made(*op, operands, Concat{axis()});
  if (*op == Op::window)
    return made(*op, operands, Window{axis(), told(x, "size", 1), told(x, "stride", 1), told(x, "dilation", 1)});
  if (*op == Op::overlap_add)
    return made(*op, operands, OverlapAdd{axis(), told(x, "extent", 1), told(x, "stride", 1), told(x, "dilation", 1)});
  if (*op == Op::argmax) return made(*op, operands, Reduce{axes_told(x, "over")});
  if (*op == Op::scatter_add) {
    operands.at(1) = as_whole(operands.at(1));
    return rounded(made(*op, operands, Scatter{told(x, "rows", 1)}));
  }
  return rounded(made(*op, operands));
}

}  // namespace nnc
