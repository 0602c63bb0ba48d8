// Formulas of several ops, which fusion and stabilise are made for.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/loops.h"
#include "ir/text.h"
#include "tests/support/random_grower.h"

namespace nnc::test {

std::optional<Value> Grower::grow_normalised() {
  const auto x = pick(real_, 1);
  if (!x) return std::nullopt;
  const Shape shape = x->type().shape;
  const int last = static_cast<int>(shape.size()) - 1;
  std::vector<int> kept(static_cast<std::size_t>(last));
  std::iota(kept.begin(), kept.end(), 0);
  if (random_.chance(0.5)) {
    const auto greatest = made(Op::reduce_max, {*x}, Reduce{.axes = {last}});
    const Value e = apply(Op::exp, *x - builder_.broadcast(*greatest, kept, shape));
    return e / builder_.broadcast(builder_.sum(e, {last}), kept, shape);
  }
  const Value count = builder_.size(shape[last], real_);
  return *x - builder_.broadcast(builder_.sum(*x, {last}) / count, kept, shape);
}

std::optional<Value> Grower::grow_formula() {
  const auto x = pick(real_, 1);
  if (!x) return std::nullopt;
  const Shape shape = x->type().shape;
  const int axis = random_.below(static_cast<int>(shape.size()));
  std::vector<int> kept;
  for (int other = 0; other < static_cast<int>(shape.size()); ++other)
    if (other != axis) kept.push_back(other);
  const Value e = apply(Op::exp, *x);
  const auto summed = [&] { return builder_.sum(e, {axis}); };
  const auto spread = [&](Value sum) { return builder_.broadcast(sum, kept, shape); };
  switch (random_.below(9)) {
    case 0:
      return e / spread(summed());
    case 1:
      return apply(Op::log, summed());
    case 2:
      return *x - spread(apply(Op::log, summed()));
    case 3:
      return apply(Op::log, e / spread(summed()));
    case 4:
      return 1 / (1 + apply(Op::exp, -*x));
    case 5:
      return partner(*x) / (1 + e);
    case 6:
      return apply(Op::log, 1 + e);
    case 7:
      return apply(Op::log, apply(Op::logistic, *x));
    default:
      return builder_.cast(apply(Op::less, *x, number(real_)), real_) * apply(Op::log, apply(Op::abs, *x));
  }
}

}  // namespace nnc::test
