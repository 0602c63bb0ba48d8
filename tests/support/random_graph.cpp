#include "tests/support/random_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <set>

#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/text.h"
#include "tests/support/random.h"

namespace nnc::test {

namespace {

constexpr std::int64_t most_rows = 33;             // of random_batch
constexpr std::int64_t most_elements = 40'000;     // of a value
constexpr std::int64_t most_products = 3'000'000;  // of a contraction
constexpr int most_axes = 4;

std::int64_t size_at_most_rows(const Shape& shape) {
  const Extent count = element_count(shape);
  return count.batched ? count.count * most_rows : count.count;
}

bool affordable(const Shape& shape) {
  return shape.size() <= most_axes && std::ranges::count_if(shape, &Extent::batched) <= 1 &&
         size_at_most_rows(shape) <= most_elements;
}

/// Axes of `whole` that `part` is, in order; nothing if it is not.
std::optional<std::vector<int>> axes_within(const Shape& part, const Shape& whole) {
  std::vector<int> axes;
  std::size_t next = 0;
  for (std::size_t axis = 0; axis < whole.size() && next < part.size(); ++axis)
    if (whole[axis] == part[next]) {
      axes.push_back(static_cast<int>(axis));
      ++next;
    }
  if (next < part.size()) return std::nullopt;
  return axes;
}

/// A subset of 0 ... rank - 1, not empty, ascending.
std::vector<int> some_axes(Random& random, int rank) {
  std::vector<int> axes;
  while (axes.empty())
    for (int axis = 0; axis < rank; ++axis)
      if (random.chance(0.5)) axes.push_back(axis);
  return axes;
}

/// Grows one graph. Every grow_* adds one value made of those there are, or nothing where they do not fit.
class Grower {
 public:
  Grower(std::uint64_t seed, const RandomGraphOptions& options)
      : random_(seed), options_(options), builder_(fmt::format("random{}", seed)) {}

  Graph grow() {
    real_ = random_.chance(0.3) ? DType::f64 : DType::f32;
    std::vector<std::int64_t> counts{1, 2, 15, 16, 17, 31, 33, 64, 127};
    std::erase_if(counts, [&](std::int64_t count) { return count > options_.most_extent; });
    random_.shuffle(counts);
    counts.resize(static_cast<std::size_t>(random_.between(2, 4)));
    for (const std::int64_t count : counts) extents_.push_back({count, false});
    if (options_.newer && random_.chance(0.08)) extents_.push_back({0, false});

    for (int i = random_.between(1, 3); i > 0; --i) add_input();
    for (int i = random_.between(0, 2); i > 0; --i) add_variable(Op::param, some_shape(2));
    const int nodes = random_.between(1, options_.most_nodes);
    for (int tries = 0; tries < 40 * nodes && static_cast<int>(builder_.graph().nodes.size()) < nodes + 4; ++tries)
      grow_something();
    add_outputs();
    return std::move(builder_).finish();
  }

 private:
  using Grow = std::optional<Value> (Grower::*)();
  struct Choice {
    int weight;
    Grow grow;
  };

  void grow_something() {
    const int pieces = options_.pieces ? 1 : 0;
    const std::vector<Choice> choices{
        {20, &Grower::grow_unary},
        {24, &Grower::grow_binary},
        {6, &Grower::grow_comparison},
        {3, &Grower::grow_logical},
        {6, &Grower::grow_select},
        {5, &Grower::grow_cast},
        {12, &Grower::grow_sum},
        {5, &Grower::grow_maximum},
        {3, &Grower::grow_argmax},
        {7, &Grower::grow_broadcast},
        {6, &Grower::grow_transpose},
        {7, &Grower::grow_reshape},
        {14, &Grower::grow_dot},
        {options_.nested_loops ? 8 : 3, &Grower::grow_loop},
        {4, &Grower::grow_generated},
        {2, &Grower::grow_number},
        {3, &Grower::grow_carried},
        {5, &Grower::grow_normalised},
        {pieces * 5, &Grower::grow_slice},
        {pieces * 4, &Grower::grow_pad},
        {pieces * 4, &Grower::grow_concat},
        {pieces * 4, &Grower::grow_window},
        {pieces * 3, &Grower::grow_overlap_add},
        {pieces * 5, &Grower::grow_gather},
        {pieces * 4, &Grower::grow_scatter},
        {5, &Grower::grow_formula},
    };
    int total = 0;
    for (const Choice& choice : choices) total += choice.weight;
    int at = random_.below(total);
    const auto* chosen = choices.data();
    while (at >= chosen->weight) at -= (chosen++)->weight;
    if (const std::optional<Value> value = (this->*chosen->grow)()) keep(*value);
  }

  void keep(Value value) { values_.push_back(value.id); }
  Value value(NodeId id) { return {&builder_, id}; }

  /// A value for which `fits` holds; recent ones more often, so that chains grow long.
  template <class Fits>
  std::optional<Value> pick(Fits fits) {
    std::vector<NodeId> fitting;
    for (const NodeId id : values_)
      if (fits(builder_[id].type)) fitting.push_back(id);
    if (fitting.empty()) return std::nullopt;
    const std::size_t recent = std::min<std::size_t>(4, fitting.size());
    if (random_.chance(0.5)) return value(fitting[fitting.size() - 1 - random_.below(recent)]);
    return value(random_.one_of(fitting));
  }
  std::optional<Value> pick(DType dtype, int least_rank = 0) {
    return pick([=](const Type& type) { return type.dtype == dtype && type.rank() >= least_rank; });
  }
  /// A value of f32 or f64 (mostly the graph's own), or now and then of i32.
  std::optional<Value> pick_number(int least_rank = 0) {
    if (random_.chance(0.1))
      if (const auto whole = pick(DType::i32, least_rank)) return whole;
    if (random_.chance(0.05))
      return pick([=](const Type& type) { return is_float(type.dtype) && type.rank() >= least_rank; });
    return pick(real_, least_rank);
  }
  DType some_dtype(std::initializer_list<DType> choices) { return random_.one_of(std::vector<DType>(choices)); }

  Shape some_shape(int most_rank) {
    Shape shape;
    for (int i = random_.between(0, most_rank); i > 0; --i) shape.push_back(random_.one_of(extents_));
    return shape;
  }

  void add_input() {
    Shape shape{batch_extent};
    for (const Extent& extent : some_shape(2)) shape.push_back(extent);
    if (!affordable(shape)) shape.resize(1);
    const DType dtype = random_.chance(0.8) ? real_ : some_dtype({DType::i32, DType::boolean, DType::f32});
    keep(builder_.leaf(Op::input, fmt::format("x{}", ++names_), {dtype, shape}));
  }

  Value add_variable(Op op, const Shape& shape, std::optional<DType> dtype = std::nullopt) {
    const Value made =
        builder_.leaf(op, fmt::format("{}{}", op == Op::param ? "p" : "s", ++names_), {dtype.value_or(real_), shape});
    keep(made);
    return made;
  }

  /// Something of the type of `like`: a value of that type, one spread to it, a new parameter, or a number.
  Value partner(Value like) {
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
  Value number(DType dtype) {
    const double whole = random_.between(-3, 3);
    if (dtype == DType::boolean) return builder_.constant(random_.below(2), dtype);
    return builder_.constant(dtype == DType::i32 || random_.chance(0.4) ? whole : random_.uniform(-2, 2), dtype);
  }

  /// The op over these operands, or nothing where its rule refuses them or the result is too large.
  std::optional<Value> made(Op op, const std::vector<Value>& operands, Attributes attributes = NoAttributes{},
                            const Type& wanted = {}) {
    std::vector<NodeId> ids;
    std::vector<Type> types;
    for (const Value operand : operands) {
      ids.push_back(operand.id);
      types.push_back(operand.type());
    }
    const TypeOrError type = infer_type(op, {types, attributes, wanted});
    if (!std::holds_alternative<Type>(type) || !affordable(std::get<Type>(type).shape)) return std::nullopt;
    return std::get<Value>(builder_.try_make(op, ids, std::move(attributes), wanted));
  }

  std::optional<Value> grow_unary() {
    const auto x = pick_number();
    if (!x) return std::nullopt;
    static const std::vector<Op> ops{Op::neg,      Op::exp,      Op::log, Op::sqrt,  Op::tanh,
                                     Op::logistic, Op::softplus, Op::sin, Op::cos,   Op::abs,
                                     Op::sign,     Op::tanh,     Op::erf, Op::expm1, Op::log1p};
    if (options_.newer && random_.chance(0.05)) return made(Op::normal_cdf, {*x});
    return made(random_.one_of(ops), {*x});
  }

  std::optional<Value> grow_binary() {
    const auto x = pick_number();
    if (!x) return std::nullopt;
    static const std::vector<Op> ops{Op::add, Op::add, Op::sub, Op::sub, Op::mul,
                                     Op::mul, Op::div, Op::max, Op::min, Op::pow};
    const Value y = partner(*x);
    const Op op = random_.one_of(ops);
    return random_.chance(0.5) ? made(op, {*x, y}) : made(op, {y, *x});
  }

  std::optional<Value> grow_comparison() {
    const auto x = pick_number();
    if (!x) return std::nullopt;
    static const std::vector<Op> ops{Op::equal, Op::less, Op::less_equal};
    return made(random_.one_of(ops), {*x, partner(*x)});
  }

  std::optional<Value> grow_logical() {
    const auto x = pick(DType::boolean);
    if (!x) return std::nullopt;
    if (random_.chance(0.3)) return made(Op::logical_not, {*x});
    return made(random_.chance(0.5) ? Op::logical_and : Op::logical_or, {*x, partner(*x)});
  }

  std::optional<Value> grow_select() {
    const auto condition = pick(DType::boolean);
    if (!condition) return std::nullopt;
    const Shape shape = condition->type().shape;
    const auto yes =
        pick([&](const Type& type) { return is_float(type.dtype) && (shape.empty() || type.shape == shape); });
    if (!yes) return made(Op::select, {*condition, number(real_), number(real_)});
    return made(Op::select, {*condition, *yes, partner(*yes)});
  }

  /// A loop along the first axis of a value: what a step finds is joined with a carry, one of a few ways, and one of
  /// the loop's results is kept.
  std::optional<Value> grow_loop() {
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

  /// A loop within a step: along the first axis of what the step finds, spread to its type again.
  std::optional<Value> inner_loop(Builder& step, Value found) {
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

  std::optional<Value> grow_cast() {
    const auto x = pick([](const Type&) { return true; });
    if (!x) return std::nullopt;
    // Mostly back to the graph's own float type, so that whole numbers and truths go on being used.
    const DType to = x->type().dtype == real_ ? some_dtype({DType::i32, DType::f32, DType::f64}) : real_;
    if (to == x->type().dtype) return std::nullopt;
    return made(Op::cast, {*x}, NoAttributes{}, {to, {}});
  }

  std::optional<Value> grow_sum() {
    const auto x = pick_number(1);
    if (!x) return std::nullopt;
    return made(Op::sum, {*x}, Reduce{.axes = some_axes(random_, x->type().rank())});
  }

  std::optional<Value> grow_maximum() {
    const auto x = pick_number(1);
    if (!x) return std::nullopt;
    return made(Op::reduce_max, {*x}, Reduce{.axes = some_axes(random_, x->type().rank())});
  }

  std::optional<Value> grow_argmax() {
    const auto x = pick_number(1);
    if (!x) return std::nullopt;
    return made(Op::argmax, {*x}, Reduce{.axes = {random_.below(x->type().rank())}});
  }

  std::optional<Value> grow_broadcast() {
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

  std::optional<Value> grow_transpose() {
    const auto x = pick([](const Type& type) { return type.rank() >= 2; });
    if (!x) return std::nullopt;
    std::vector<int> permutation(x->type().shape.size());
    std::iota(permutation.begin(), permutation.end(), 0);
    random_.shuffle(permutation);
    return made(Op::transpose, {*x}, Transpose{permutation});
  }

  /// Two neighbouring axes become one, one becomes two, or an axis of one element comes or goes.
  std::optional<Value> grow_reshape() {
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

  static std::vector<std::int64_t> repeated(std::size_t count, std::int64_t number) {
    return std::vector<std::int64_t>(count, number);
  }

  /// Parts of some axes, now and then backwards or with steps.
  std::optional<Value> grow_slice() {
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

  std::optional<Value> grow_pad() {
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

  std::optional<Value> grow_concat() {
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

  std::optional<Value> grow_window() {
    const auto x = pick([](const Type& type) { return type.rank() > 0; });
    if (!x) return std::nullopt;
    const int axis = random_.below(x->type().rank());
    return made(Op::window, {*x},
                Window{axis, random_.between(1, 5), random_.between(1, 3), random_.chance(0.3) ? 2 : 1});
  }

  /// Over any two neighbouring axes; often of windows, whose gradient it is.
  std::optional<Value> grow_overlap_add() {
    const auto x = pick_number(2);
    if (!x) return std::nullopt;
    const Shape& shape = x->type().shape;
    const int axis = random_.below(x->type().rank() - 1);
    const std::int64_t stride = random_.between(1, 3), dilation = random_.chance(0.3) ? 2 : 1;
    const std::int64_t extent =
        (shape[axis].count - 1) * stride + (shape[axis + 1].count - 1) * dilation + random_.between(1, 3);
    return made(Op::overlap_add, {*x}, OverlapAdd{axis, extent, stride, dilation});
  }

  /// Over one or two axes, and now and then with one or two pairs of axes that are kept; the other operand is a value
  /// with such axes, the same value, or a new parameter.
  std::optional<Value> grow_dot() {
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

  /// Whole numbers that index something: mostly inputs, so that some repeat and some are outside.
  std::optional<Value> some_ids() {
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

  /// Rows of a value, or of a new parameter.
  std::optional<Value> grow_gather() {
    const auto ids = some_ids();
    if (!ids) return std::nullopt;
    const auto fits = [&](const Type& type) { return type.rank() > 0 && !type.shape[0].batched; };
    if (random_.chance(0.6))
      if (const auto table = pick(fits)) return made(Op::gather, {*table, *ids});
    Shape shape = some_shape(1);
    shape.insert(shape.begin(), random_.one_of(extents_));
    return made(Op::gather, {add_variable(Op::param, shape), *ids});
  }

  /// Rows added by ids whose axes a value begins with.
  std::optional<Value> grow_scatter() {
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

  std::optional<Value> grow_generated() {
    if (!options_.random_ops) return std::nullopt;
    const auto like = pick([](const Type& type) { return type.rank() > 0; });
    if (!like) return std::nullopt;
    const Shape shape = like->type().shape;
    if (random_.chance(0.5)) return made(Op::random, {}, nnc::Random{random_.bits()}, {real_, shape});
    const DType dtype = random_.chance(0.5) ? real_ : DType::i32;
    return made(Op::iota, {}, Iota{random_.below(static_cast<int>(shape.size()))}, {dtype, shape});
  }

  /// A number of the run, or the number of rows.
  std::optional<Value> grow_number() {
    if (random_.chance(0.4)) return builder_.size({random_.between(1, 3), true}, real_);
    static const std::vector<std::string> names{"step", "epoch", "steps_per_epoch", "total_steps"};
    return builder_.cast(builder_.leaf(Op::scalar, random_.one_of(names), {DType::f64, {}}), real_);
  }

  /// A fold over a split: from a carry, which it also updates.
  std::optional<Value> grow_carried() {
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

  /// A softmax along the last axis, or the last axis freed of its mean: what fusion is made for.
  std::optional<Value> grow_normalised() {
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

  /// What people write by hand where a function would be better: formulas that stabilise knows.
  std::optional<Value> grow_formula() {
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

  /// What nobody uses is a result, so is now and then a value with users or a leaf; then the updates.
  void add_outputs() {
    used_.assign(builder_.graph().nodes.size(), false);
    for (const Node& node : builder_.graph().nodes)
      for (const NodeId operand : node.operands) used_[operand] = true;
    for (const Output& output : builder_.graph().outputs) used_[output.node] = true;
    int results = 0;
    const auto give = [&](NodeId id) { builder_.output(OutputKind::result, fmt::format("r{}", ++results), value(id)); };
    for (const NodeId id : values_)
      if (definition(builder_[id].op).cls != OpClass::leaf && (!used_[id] || random_.chance(0.05))) {
        used_[id] = true;
        give(id);
      }
    if (results == 0 || random_.chance(0.1)) give(random_.one_of(values_));
    if (options_.gradients) add_gradients();
    if (options_.updates) add_updates();
  }

  Value sum_of_all(Value x) {
    std::vector<int> axes(x.type().shape.size());
    std::iota(axes.begin(), axes.end(), 0);
    return builder_.sum(x, axes);
  }

  /// A loss to which every result of the graph's float type adds, and a step against its gradients.
  void add_gradients() {
    std::optional<Value> loss;
    for (const Output& output : std::vector(builder_.graph().outputs)) {
      const Value result = value(output.node);
      if (output.kind != OutputKind::result || result.type().dtype != real_) continue;
      const Value part = sum_of_all(random_.chance(0.2) ? result * *made(Op::stop_gradient, {result}) : result);
      loss = loss ? *loss + part : part;
    }
    if (!loss) return;
    builder_.output(OutputKind::result, "loss", *loss);
    for (const NodeId id : std::vector(values_)) {
      const Value x = value(id);
      if (builder_[id].op != Op::param || x.type().dtype != real_) continue;
      const Value step = builder_.make(Op::grad, std::vector{*loss, x}) * 0.125;
      builder_.output(OutputKind::update, std::get<Named>(builder_[id].attributes).name, x - step);
      updated_.insert(id);
    }
  }

  void add_updates() {
    std::vector<NodeId> variables;
    for (NodeId id = 0; id < builder_.graph().nodes.size(); ++id)
      if (builder_[id].op == Op::param || builder_[id].op == Op::state) variables.push_back(id);
    for (const NodeId id : variables) {
      if (random_.chance(0.4) || updated_.contains(id)) continue;
      const Type type = builder_[id].type;
      const auto fits = [&](const Type& other) { return other == type; };
      const Value old = value(id), change = pick(fits).value_or(old);
      // Overwritten without being read only where something else reads it: a graph has the variables that it names.
      const bool replaced = used_[id] && change.id != id && random_.chance(0.3);
      const Value next = replaced ? change : old - change * 0.125;
      builder_.output(OutputKind::update, std::get<Named>(builder_[id].attributes).name, next);
    }
  }

  Random random_;
  RandomGraphOptions options_;
  Builder builder_;
  DType real_ = DType::f32;
  std::vector<Extent> extents_;
  std::vector<NodeId> values_;
  std::vector<bool> used_;
  std::set<NodeId> updated_;  ///< by gradients
  int names_ = 0;
};

Tensor random_tensor(const Type& type, std::int64_t batch, Random random) {
  std::vector<std::int64_t> dims;
  for (const Extent& extent : type.shape) dims.push_back(extent.batched ? extent.count * batch : extent.count);
  Tensor tensor = Tensor::zeros(type.dtype, dims);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const int kind = random.below(32);
    const double number = random.uniform(-2, 2);
    double value = number;
    if (type.dtype == DType::boolean)
      value = kind % 2;
    else if (type.dtype == DType::i32)
      value = kind % 8;
    else if (kind < 4)
      value = kind == 0 ? 0.0 : kind == 1 ? -0.0 : kind == 2 ? 1.0 : static_cast<double>(random.between(-2, 2));
    tensor.set(i, value);
  }
  return tensor;
}

}  // namespace

Graph random_graph(std::uint64_t seed, const RandomGraphOptions& options) {
  Graph graph = Grower(seed, options).grow();
  if (const std::string wrong = verify(graph); !wrong.empty()) {
    fmt::print(stderr, "random graph {}: {}\n{}\n", seed, wrong, print(graph));
    std::abort();
  }
  return graph;
}

std::int64_t random_batch(std::uint64_t seed) {
  static const std::vector<std::int64_t> batches{1, 2, 15, 16, 17, most_rows};
  return Random(seed_of(seed, "batch")).one_of(batches);
}

Environment random_environment(const Graph& graph, std::int64_t batch, std::uint64_t seed) {
  Random random(seed_of(seed, "environment"));
  Environment environment;
  environment.batch = batch;
  environment.seed = random.bits();
  environment.step = static_cast<std::uint64_t>(random.below(1000));
  environment.row_offset = static_cast<std::uint64_t>(random.below(1000));
  environment.scalars = {{"step", static_cast<double>(environment.step)},
                         {"epoch", 3},
                         {"steps_per_epoch", 10},
                         {"total_steps", 1000},
                         {"rows", static_cast<double>(batch)}};
  for (const Node& node : graph.nodes) {
    const auto* named = std::get_if<Named>(&node.attributes);
    if (!named || node.op == Op::scalar) continue;
    auto& values = node.op == Op::param   ? environment.params
                   : node.op == Op::state ? environment.state
                   : node.op == Op::carry ? environment.carry
                                          : environment.inputs;
    values[named->name] = random_tensor(node.type, batch, Random(seed_of(seed, named->name)));
  }
  return environment;
}

RandomSeeds random_seeds(std::uint64_t count) {
  const auto number = [](const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
  };
  const std::uint64_t first = number("NNC_RANDOM_FIRST", 0);
  return {first, first + number("NNC_RANDOM_GRAPHS", count)};
}

}  // namespace nnc::test
