// Leaves, and what is made of elements one by one or folds them.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/loops.h"
#include "ir/text.h"
#include "tests/support/random_grower.h"

namespace nnc::test {

void Grower::add_input() {
  Shape shape{batch_extent};
  for (const Extent& extent : some_shape(2)) shape.push_back(extent);
  if (!affordable(shape)) shape.resize(1);
  const DType dtype = random_.chance(0.8) ? real_ : some_dtype({DType::i32, DType::boolean, DType::f32});
  keep(builder_.leaf(Op::input, fmt::format("x{}", ++names_), {dtype, shape}));
}

Value Grower::add_variable(Op op, const Shape& shape, std::optional<DType> dtype) {
  const Value made =
      builder_.leaf(op, fmt::format("{}{}", op == Op::param ? "p" : "s", ++names_), {dtype.value_or(real_), shape});
  keep(made);
  return made;
}

Value Grower::partner(Value like) {
  const Type type = like.type();
  if (random_.chance(0.6))
    if (const auto same = pick([&](const Type& other) { return other == type; })) return *same;
  if (random_.chance(0.6)) {
    const auto part = pick([&](const Type& other) {
      return other.dtype == type.dtype && other.rank() < type.rank() && axes_within(other.shape, type.shape);
    });
    if (part && part->type().rank() == 0 && random_.chance(0.5)) return *part;
    if (part) return builder_.broadcast(*part, *axes_within(part->type().shape, type.shape), type.shape);
  }
  if (is_float(type.dtype) && !is_batched(type.shape) && random_.chance(0.5))
    return add_variable(random_.chance(0.8) ? Op::param : Op::state, type.shape, type.dtype);
  return number(type.dtype);
}

Value Grower::number(DType dtype) {
  const double whole = random_.between(-3, 3);
  if (dtype == DType::boolean) return builder_.constant(random_.below(2), dtype);
  return builder_.constant(dtype == DType::i32 || random_.chance(0.4) ? whole : random_.uniform(-2, 2), dtype);
}

std::optional<Value> Grower::grow_unary() {
  const auto x = pick_number();
  if (!x) return std::nullopt;
  static const std::vector<Op> ops{Op::neg, Op::exp, Op::log,  Op::sqrt, Op::tanh, Op::logistic, Op::softplus, Op::sin,
                                   Op::cos, Op::abs, Op::sign, Op::tanh, Op::erf,  Op::expm1,    Op::log1p};
  if (options_.newer && random_.chance(0.05)) return made(Op::normal_cdf, {*x});
  return made(random_.one_of(ops), {*x});
}

std::optional<Value> Grower::grow_binary() {
  const auto x = pick_number();
  if (!x) return std::nullopt;
  static const std::vector<Op> ops{Op::add, Op::add, Op::sub, Op::sub, Op::mul,
                                   Op::mul, Op::div, Op::max, Op::min, Op::pow};
  const Value y = partner(*x);
  const Op op = random_.one_of(ops);
  return random_.chance(0.5) ? made(op, {*x, y}) : made(op, {y, *x});
}

std::optional<Value> Grower::grow_comparison() {
  const auto x = pick_number();
  if (!x) return std::nullopt;
  static const std::vector<Op> ops{Op::equal, Op::less, Op::less_equal};
  return made(random_.one_of(ops), {*x, partner(*x)});
}

std::optional<Value> Grower::grow_logical() {
  const auto x = pick(DType::boolean);
  if (!x) return std::nullopt;
  if (random_.chance(0.3)) return made(Op::logical_not, {*x});
  return made(random_.chance(0.5) ? Op::logical_and : Op::logical_or, {*x, partner(*x)});
}

std::optional<Value> Grower::grow_select() {
  const auto condition = pick(DType::boolean);
  if (!condition) return std::nullopt;
  const Shape shape = condition->type().shape;
  const auto yes =
      pick([&](const Type& type) { return is_float(type.dtype) && (shape.empty() || type.shape == shape); });
  if (!yes) return made(Op::select, {*condition, number(real_), number(real_)});
  return made(Op::select, {*condition, *yes, partner(*yes)});
}

std::optional<Value> Grower::grow_cast() {
  const auto x = pick([](const Type&) { return true; });
  if (!x) return std::nullopt;
  // Mostly back to the graph's own float type, so that whole numbers and truths go on being used.
  const DType to = x->type().dtype == real_ ? some_dtype({DType::i32, DType::f32, DType::f64}) : real_;
  if (to == x->type().dtype) return std::nullopt;
  return made(Op::cast, {*x}, NoAttributes{}, {to, {}});
}

std::optional<Value> Grower::grow_sum() {
  const auto x = pick_number(1);
  if (!x) return std::nullopt;
  return made(Op::sum, {*x}, Reduce{.axes = some_axes(random_, x->type().rank())});
}

std::optional<Value> Grower::grow_maximum() {
  const auto x = pick_number(1);
  if (!x) return std::nullopt;
  return made(Op::reduce_max, {*x}, Reduce{.axes = some_axes(random_, x->type().rank())});
}

std::optional<Value> Grower::grow_argmax() {
  const auto x = pick_number(1);
  if (!x) return std::nullopt;
  return made(Op::argmax, {*x}, Reduce{.axes = {random_.below(x->type().rank())}});
}

std::optional<Value> Grower::grow_generated() {
  if (!options_.random_ops) return std::nullopt;
  const auto like = pick([](const Type& type) { return type.rank() > 0; });
  if (!like) return std::nullopt;
  const Shape shape = like->type().shape;
  if (random_.chance(0.5)) return made(Op::random, {}, nnc::Random{random_.bits()}, {real_, shape});
  const DType dtype = random_.chance(0.5) ? real_ : DType::i32;
  return made(Op::iota, {}, Iota{random_.below(static_cast<int>(shape.size()))}, {dtype, shape});
}

std::optional<Value> Grower::grow_number() {
  if (random_.chance(0.4)) return builder_.size({random_.between(1, 3), true}, real_);
  static const std::vector<std::string> names{"step", "epoch", "steps_per_epoch", "total_steps"};
  return builder_.cast(builder_.leaf(Op::scalar, random_.one_of(names), {DType::f64, {}}), real_);
}

std::optional<Value> Grower::grow_carried() {
  if (!options_.carries || !options_.updates) return std::nullopt;
  const auto x = pick([&](const Type& type) { return type.dtype == real_ && is_batched(type.shape); });
  if (!x) return std::nullopt;
  const Shape shape = x->type().shape;
  std::vector<int> axes;
  Shape kept;
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
    if (shape[axis].batched || random_.chance(0.3))
      axes.push_back(axis);
    else
      kept.push_back(shape[axis]);
  const Op op = random_.chance(0.7) ? Op::sum : Op::reduce_max;
  const std::string name = fmt::format("c{}", ++names_);
  const Value carry = builder_.leaf(Op::carry, name, {op == Op::sum ? DType::f64 : real_, kept});
  const auto folded = made(op, {*x, carry}, Reduce{.axes = axes});
  if (folded) builder_.output(OutputKind::update, name, *folded);
  return folded;
}

}  // namespace nnc::test
