// Loops, and loops within their steps.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/loops.h"
#include "ir/text.h"
#include "tests/support/random_grower.h"

namespace nnc::test {

std::optional<Value> Grower::grow_loop() {
  const auto all = pick([&](const Type& type) {
    return type.dtype == real_ && type.rank() >= 1 && !type.shape[0].batched && type.shape[0].count >= 1 &&
           type.shape[0].count <= 17;
  });
  if (!all) return std::nullopt;
  Type one = all->type();
  const std::int64_t steps = one.shape[0].count;
  one.shape.erase(one.shape.begin());
  const auto same = pick([&](const Type& type) { return type == one; });
  const Value first = same ? *same : builder_.spread(number(real_), one.shape);

  Builder step("step");
  const Value carried = step.leaf(Op::input, "carried", one), found = step.leaf(Op::input, "found", one);
  std::vector<std::string> names{"carried", "found"};
  std::vector<Value> operands{first, *all};
  Value next = random_.chance(0.5) ? carried * 0.5 + found : apply(Op::max, carried, found) - found * carried;
  if (!one.shape.empty() && !one.shape.back().batched && one.shape.back().count <= 33 && random_.chance(0.4)) {
    const Shape square{one.shape.back(), one.shape.back()};
    operands.push_back(add_variable(Op::param, square));
    names.emplace_back("weights");
    next = next + step.dot(carried, step.leaf(Op::input, "weights", {real_, square}), {one.rank() - 1}, {0}) * 0.1;
  }
  if (one.rank() > 0 && random_.chance(0.3)) {
    const std::vector<int> axes = some_axes(random_, one.rank());
    std::vector<int> kept;
    for (int axis = 0; axis < one.rank(); ++axis)
      if (std::ranges::find(axes, axis) == axes.end()) kept.push_back(axis);
    next = next + step.broadcast(step.sum(carried, axes), kept, one.shape) * 0.01;
  }
  if (options_.nested_loops && random_.chance(0.6))
    if (const auto inner = inner_loop(step, found)) next = next + *inner * 0.1;
  if (random_.chance(0.5)) next = apply(Op::tanh, next);
  const Value handed = random_.chance(0.5) ? next : found * carried;
  const Scan scan{.body = loop_body(step.graph(), names, std::vector{next.id, handed.id}),
                  .carries = 1,
                  .sequences = 1,
                  .steps = steps,
                  .backwards = random_.chance(0.5),
                  .result = random_.below(2)};
  return builder_.make(Op::scan, operands, scan);
}

std::optional<Value> Grower::inner_loop(Builder& step, Value found) {
  const Type all = found.type();
  if (all.shape.empty() || all.shape[0].batched || all.shape[0].count < 1 || all.shape[0].count > 17)
    return std::nullopt;
  Type one = all;
  one.shape.erase(one.shape.begin());
  Builder inner("inner");
  const Value carried = inner.leaf(Op::input, "carried", one), here = inner.leaf(Op::input, "found", one);
  const Value next = random_.chance(0.5) ? carried * 0.5 + here : apply(Op::max, carried * here, here);
  const std::vector<std::string> names{"carried", "found"};
  const bool stacked = random_.chance(0.5);
  const Scan scan{.body = loop_body(inner.graph(), names, std::vector{next.id, (next - here).id}),
                  .carries = 1,
                  .sequences = 1,
                  .steps = all.shape[0].count,
                  .backwards = random_.chance(0.5),
                  .result = stacked ? 1 : 0};
  const Value first = step.spread(step.constant(0.25, real_), one.shape);
  const Value made = step.make(Op::scan, std::vector{first, found}, scan);
  if (stacked) return made;
  std::vector<int> behind(one.shape.size());
  std::iota(behind.begin(), behind.end(), 1);
  return step.broadcast(made, behind, all.shape);
}

}  // namespace nnc::test
