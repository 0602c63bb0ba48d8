// How a random graph grows: values are picked out of those there are, and an op is tried over them. The ways to grow
// are in a file for each kind (random_graph_*.cpp). Private to the generator.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "ir/builder.h"
#include "tests/support/random.h"
#include "tests/support/random_graph.h"

namespace nnc::test {

inline constexpr std::int64_t most_rows = 33;             // of random_batch
inline constexpr std::int64_t most_elements = 40'000;     // of a value
inline constexpr std::int64_t most_products = 3'000'000;  // of a contraction
inline constexpr int most_axes = 4;

std::int64_t size_at_most_rows(const Shape& shape);
bool affordable(const Shape& shape);
/// Axes of `whole` that `part` is, in order; nothing if it is not.
std::optional<std::vector<int>> axes_within(const Shape& part, const Shape& whole);
/// A subset of 0 ... rank - 1, not empty, ascending.
std::vector<int> some_axes(Random& random, int rank);

/// Grows one graph. Every grow_* adds one value made of those there are, or nothing where they do not fit.
class Grower {
 public:
  Grower(std::uint64_t seed, const RandomGraphOptions& options)
      : random_(seed), options_(options), builder_(fmt::format("random{}", seed)) {}
  Graph grow();

 private:
  using Grow = std::optional<Value> (Grower::*)();
  struct Choice {
    int weight;
    Grow grow;
  };

  void grow_something();
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
  void add_input();
  Value add_variable(Op op, const Shape& shape, std::optional<DType> dtype = std::nullopt);
  /// Something of the type of `like`: a value of that type, one spread to it, a new parameter, or a number.
  Value partner(Value like);
  Value number(DType dtype);
  /// The op over these operands, or nothing where its rule refuses them or the result is too large.
  std::optional<Value> made(Op op, const std::vector<Value>& operands, Attributes attributes = NoAttributes{},
                            const Type& wanted = {});
  std::optional<Value> grow_unary();
  std::optional<Value> grow_binary();
  std::optional<Value> grow_comparison();
  std::optional<Value> grow_logical();
  std::optional<Value> grow_select();
  /// A loop along the first axis of a value: what a step finds is joined with a carry, one of a few ways, and one of
  /// the loop's results is kept.
  std::optional<Value> grow_loop();
  /// A loop within a step: along the first axis of what the step finds, spread to its type again.
  std::optional<Value> inner_loop(Builder& step, Value found);
  std::optional<Value> grow_cast();
  std::optional<Value> grow_sum();
  std::optional<Value> grow_maximum();
  std::optional<Value> grow_argmax();
  std::optional<Value> grow_broadcast();
  std::optional<Value> grow_transpose();
  /// Two neighbouring axes become one, one becomes two, or an axis of one element comes or goes.
  std::optional<Value> grow_reshape();
  static std::vector<std::int64_t> repeated(std::size_t count, std::int64_t number) {
    return std::vector<std::int64_t>(count, number);
  }
  /// Parts of some axes, now and then backwards or with steps.
  std::optional<Value> grow_slice();
  std::optional<Value> grow_pad();
  std::optional<Value> grow_concat();
  std::optional<Value> grow_window();
  /// Over any two neighbouring axes; often of windows, whose gradient it is.
  std::optional<Value> grow_overlap_add();
  /// Over one or two axes, and now and then with one or two pairs of axes that are kept; the other operand is a value
  /// with such axes, the same value, or a new parameter.
  std::optional<Value> grow_dot();
  /// Whole numbers that index something: mostly inputs, so that some repeat and some are outside.
  std::optional<Value> some_ids();
  /// Rows of a value, or of a new parameter.
  std::optional<Value> grow_gather();
  /// Rows added by ids whose axes a value begins with.
  std::optional<Value> grow_scatter();
  /// x with A x = b, where A is M Mt and a multiple of the identity: positive definite, whatever is in M.
  std::optional<Value> grow_solve();
  std::optional<Value> grow_generated();
  /// A number of the run, or the number of rows.
  std::optional<Value> grow_number();
  /// A fold over a split: from a carry, which it also updates.
  std::optional<Value> grow_carried();
  /// A softmax along the last axis, or the last axis freed of its mean: what fusion is made for.
  std::optional<Value> grow_normalised();
  /// What people write by hand where a function would be better: formulas that stabilise knows.
  std::optional<Value> grow_formula();
  /// What nobody uses is a result, so is now and then a value with users or a leaf; then the updates.
  void add_outputs();
  Value sum_of_all(Value x);
  /// A loss to which every result of the graph's float type adds, and a step against its gradients.
  void add_gradients();
  void add_updates();

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

}  // namespace nnc::test
