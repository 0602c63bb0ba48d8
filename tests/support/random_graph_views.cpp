// Views: the same elements under other shapes, parts of them, several in one, and what overlaps added up.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/loops.h"
#include "ir/text.h"
#include "tests/support/random_grower.h"

namespace nnc::test {

std::optional<Value> Grower::grow_broadcast() {
  const auto x = pick([](const Type& type) { return type.rank() < 3; });
  if (!x) return std::nullopt;
  Shape shape = x->type().shape;
  std::vector<int> axes(shape.size());
  std::iota(axes.begin(), axes.end(), 0);
  const int at = random_.between(0, static_cast<int>(shape.size()));
  const bool rows = !is_batched(shape) && random_.chance(0.4);
  shape.insert(shape.begin() + at, rows ? batch_extent : random_.one_of(extents_));
  for (int& axis : axes) axis += axis >= at;
  return made(Op::broadcast, {*x}, Broadcast{axes}, {x->type().dtype, shape});
}

std::optional<Value> Grower::grow_transpose() {
  const auto x = pick([](const Type& type) { return type.rank() >= 2; });
  if (!x) return std::nullopt;
  std::vector<int> permutation(x->type().shape.size());
  std::iota(permutation.begin(), permutation.end(), 0);
  random_.shuffle(permutation);
  return made(Op::transpose, {*x}, Transpose{permutation});
}

std::optional<Value> Grower::grow_reshape() {
  const auto x = pick([](const Type&) { return true; });
  if (!x) return std::nullopt;
  Shape shape = x->type().shape;
  const auto place = [&] { return static_cast<std::ptrdiff_t>(random_.below(shape.size())); };
  switch (random_.below(4)) {
    case 0: {
      if (shape.size() < 2) return std::nullopt;
      const auto at = shape.begin() + static_cast<std::ptrdiff_t>(random_.below(shape.size() - 1));
      *at = {at[0].count * at[1].count, at[0].batched || at[1].batched};
      shape.erase(at + 1);
      break;
    }
    case 1: {
      if (shape.empty()) return std::nullopt;
      const auto at = shape.begin() + place();
      std::vector<std::int64_t> divisors;
      for (std::int64_t d = 2; d <= at->count; ++d)
        if (at->count % d == 0) divisors.push_back(d);
      if (divisors.empty()) return std::nullopt;
      const std::int64_t d = random_.one_of(divisors);
      *at = {at->count / d, at->batched};
      shape.insert(at + random_.below(2), Extent{d, false});
      break;
    }
    case 2:
      shape.insert(shape.begin() + random_.between(0, static_cast<int>(shape.size())), Extent{1, false});
      break;
    default: {
      if (shape.empty()) return std::nullopt;
      const auto at = shape.begin() + place();
      if (*at != Extent{1, false}) return std::nullopt;
      shape.erase(at);
    }
  }
  return made(Op::reshape, {*x}, NoAttributes{}, {x->type().dtype, shape});
}

std::optional<Value> Grower::grow_slice() {
  const auto x = pick([](const Type& type) { return type.rank() > 0; });
  if (!x) return std::nullopt;
  Shape shape = x->type().shape;
  Slice slice{repeated(shape.size(), 0), repeated(shape.size(), 1)};
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::int64_t n = shape[axis].count;
    if (shape[axis].batched || n == 0 || random_.chance(0.4)) continue;
    const std::int64_t step = random_.one_of(std::vector<std::int64_t>{1, 1, 1, 2, 3});
    const std::int64_t count = random_.between(1, static_cast<int>((n - 1) / step + 1)), reach = step * (count - 1);
    const std::int64_t low = random_.between(0, static_cast<int>(n - 1 - reach));
    const bool turned = random_.chance(0.3);
    slice.starts[axis] = turned ? low + reach : low;
    slice.steps[axis] = turned ? -step : step;
    shape[axis].count = count;
  }
  return made(Op::slice, {*x}, slice, {x->type().dtype, shape});
}

std::optional<Value> Grower::grow_pad() {
  const auto x = pick([](const Type& type) { return type.rank() > 0; });
  if (!x) return std::nullopt;
  Shape shape = x->type().shape;
  Pad pad{repeated(shape.size(), 0), repeated(shape.size(), 0), repeated(shape.size(), 0)};
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis].batched || random_.chance(0.5)) continue;
    pad.low[axis] = random_.below(3);
    pad.high[axis] = random_.chance(0.2) ? 17 : random_.below(3);
    pad.between[axis] = random_.chance(0.2) ? random_.below(3) : 0;
  }
  return made(Op::pad, {*x}, pad);
}

std::optional<Value> Grower::grow_concat() {
  const auto first = pick([](const Type& type) { return type.rank() > 0; });
  if (!first) return std::nullopt;
  const Type type = first->type();
  const int axis = random_.below(type.rank());
  std::vector<Value> pieces{*first};
  for (int more = random_.between(0, 2); more > 0; --more) {
    const auto next = pick([&](const Type& other) {
      if (other.dtype != type.dtype || other.rank() != type.rank()) return false;
      for (int i = 0; i < type.rank(); ++i)
        if (i != axis && other.shape[i] != type.shape[i]) return false;
      return true;
    });
    if (next) pieces.push_back(*next);
  }
  random_.shuffle(pieces);
  return made(Op::concat, pieces, Concat{axis});
}

std::optional<Value> Grower::grow_window() {
  const auto x = pick([](const Type& type) { return type.rank() > 0; });
  if (!x) return std::nullopt;
  const int axis = random_.below(x->type().rank());
  return made(Op::window, {*x},
              Window{axis, random_.between(1, 5), random_.between(1, 3), random_.chance(0.3) ? 2 : 1});
}

std::optional<Value> Grower::grow_overlap_add() {
  const auto x = pick_number(2);
  if (!x) return std::nullopt;
  const Shape& shape = x->type().shape;
  const int axis = random_.below(x->type().rank() - 1);
  const std::int64_t stride = random_.between(1, 3), dilation = random_.chance(0.3) ? 2 : 1;
  const std::int64_t extent =
      (shape[axis].count - 1) * stride + (shape[axis + 1].count - 1) * dilation + random_.between(1, 3);
  return made(Op::overlap_add, {*x}, OverlapAdd{axis, extent, stride, dilation});
}

}  // namespace nnc::test
