// Products of matrices, rows by their numbers, systems of equations.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/loops.h"
#include "ir/text.h"
#include "tests/support/random_grower.h"

namespace nnc::test {

std::optional<Value> Grower::grow_dot() {
  const auto a = pick(random_.chance(0.1) ? DType::f64 : real_, 1);
  if (!a) return std::nullopt;
  const Type type = a->type();
  std::vector<int> axes{random_.below(type.rank())};
  if (type.rank() > 1 && random_.chance(0.2)) {
    const int second = random_.below(type.rank());
    if (second != axes[0]) axes.push_back(second);
  }
  std::vector<int> batch;
  for (int axis = 0; axis < type.rank() && random_.chance(0.5); ++axis)
    if (std::ranges::find(axes, axis) == axes.end() && random_.chance(0.6)) batch.push_back(axis);
  if (random_.chance(0.3)) std::ranges::reverse(batch);
  Shape contracted, paired;
  for (const int axis : axes) contracted.push_back(type.shape[axis]);
  paired = contracted;
  for (const int axis : batch) paired.push_back(type.shape[axis]);
  const auto axes_of_other = [&](const Shape& shape) {
    std::vector<int> found;
    for (const Extent& extent : paired)
      for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
        if (shape[axis] == extent && std::ranges::find(found, axis) == found.end()) {
          found.push_back(axis);
          break;
        }
    return found.size() == paired.size() ? std::optional(found) : std::nullopt;
  };
  std::optional<Value> b;
  if (random_.chance(0.6) || is_batched(paired))
    b = pick([&](const Type& other) { return other.dtype == type.dtype && axes_of_other(other.shape); });
  else if (type.dtype == real_) {
    Shape shape = paired;
    for (const Extent& extent : some_shape(2)) shape.push_back(extent);
    random_.shuffle(shape);
    if (affordable(shape)) b = add_variable(Op::param, shape);
  }
  if (!b) return std::nullopt;
  std::vector<int> axes_b = *axes_of_other(b->type().shape);
  const std::vector<int> batch_b(axes_b.begin() + static_cast<std::ptrdiff_t>(axes.size()), axes_b.end());
  axes_b.resize(axes.size());
  if (size_at_most_rows(type.shape) * size_at_most_rows(b->type().shape) /
          std::max<std::int64_t>(1, size_at_most_rows(paired)) >
      most_products)
    return std::nullopt;
  if (random_.chance(0.3)) return made(Op::dot, {*b, *a}, Dot{axes_b, axes, Order::unset, batch_b, batch});
  return made(Op::dot, {*a, *b}, Dot{axes, axes_b, Order::unset, batch, batch_b});
}

std::optional<Value> Grower::some_ids() {
  if (random_.chance(0.6))
    if (const auto ids = pick(DType::i32)) return ids;
  Shape shape = some_shape(1);
  if (random_.chance(0.7)) {
    shape.insert(shape.begin(), batch_extent);
    keep(builder_.leaf(Op::input, fmt::format("i{}", ++names_), {DType::i32, shape}));
  } else {
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < element_count(shape).count; ++i) numbers.push_back(random_.between(-1, 17));
    keep(builder_.constant(numbers, {DType::i32, shape}));
  }
  return value(values_.back());
}

std::optional<Value> Grower::grow_gather() {
  const auto ids = some_ids();
  if (!ids) return std::nullopt;
  const auto fits = [&](const Type& type) { return type.rank() > 0 && !type.shape[0].batched; };
  if (random_.chance(0.6))
    if (const auto table = pick(fits)) return made(Op::gather, {*table, *ids});
  Shape shape = some_shape(1);
  shape.insert(shape.begin(), random_.one_of(extents_));
  return made(Op::gather, {add_variable(Op::param, shape), *ids});
}

std::optional<Value> Grower::grow_scatter() {
  const auto ids = some_ids();
  if (!ids) return std::nullopt;
  const Shape shape = ids->type().shape;
  const auto x = pick([&](const Type& type) {
    return type.dtype != DType::boolean && type.rank() >= static_cast<int>(shape.size()) &&
           std::equal(shape.begin(), shape.end(), type.shape.begin());
  });
  if (!x) return std::nullopt;
  return made(Op::scatter_add, {*x, *ids}, Scatter{random_.one_of(extents_).count});
}

std::optional<Value> Grower::grow_solve() {
  const auto few = [](const Extent& extent) { return !extent.batched && extent.count > 0 && extent.count <= 33; };
  auto m = pick([&](const Type& type) {
    return type.dtype == real_ && type.rank() == 2 && few(type.shape[0]) && !type.shape[1].batched;
  });
  if (!m) {
    const Extent n = random_.one_of(extents_);
    if (!few(n)) return std::nullopt;
    m = add_variable(Op::param, {n, random_.one_of(extents_)});
  }
  const Extent n = m->type().shape[0];
  const Type square{real_, {n, n}}, places{DType::i32, square.shape};
  const Value on_diagonal =
      apply(Op::equal, *made(Op::iota, {}, Iota{0}, places), *made(Op::iota, {}, Iota{1}, places));
  const Value identity = *made(
      Op::select, {on_diagonal, builder_.constant(static_cast<double>(n.count), real_), builder_.constant(0, real_)});
  const Value a = builder_.dot(*m, *m, {1}, {1}) + identity;
  auto b = pick([&](const Type& type) {
    return type.dtype == real_ && (type.rank() == 1 || type.rank() == 2) && type.shape[0] == n;
  });
  if (!b) {
    Shape shape = some_shape(1);
    shape.insert(shape.begin(), n);
    b = add_variable(Op::param, shape);
  }
  return made(Op::solve, {a, *b});
}

}  // namespace nnc::test
