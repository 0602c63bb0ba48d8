#include "tests/support/loop_graphs.h"

#include "ir/builder.h"
#include "ir/loops.h"

namespace nnc::test {
namespace {

Shape fixed(std::initializer_list<std::int64_t> extents) {
  Shape shape;
  for (std::int64_t extent : extents) shape.push_back({extent, false});
  return shape;
}

Value sum_of_all(Value x) {
  std::vector<int> axes;
  for (int axis = 0; axis < x.type().rank(); ++axis) axes.push_back(axis);
  return x.builder->sum(x, axes);
}
Value square_norm(Value x) { return sum_of_all(x * x); }

/// The loss, and every parameter a step against its gradient.
Graph trained(Builder builder, Value loss, const std::vector<Value>& params) {
  loss.builder = &builder;
  builder.output(OutputKind::result, "loss", loss);
  for (const Value& written : params) {
    const Value param{&builder, written.id};
    const std::string name = std::get<Named>(builder[param.id].attributes).name;
    builder.output(OutputKind::update, name, param - 0.1 * builder.make(Op::grad, {{loss, param}}));
  }
  return std::move(builder).finish();
}

/// All results of a loop: carries first.
std::vector<Value> run_loop(Builder& builder, const Builder& cell, const std::vector<std::string>& names,
                            const std::vector<Value>& results, const std::vector<Value>& operands, Scan scan) {
  std::vector<NodeId> ids;
  for (Value result : results) ids.push_back(result.id);
  scan.body = loop_body(cell.graph(), names, ids);
  std::vector<Value> made;
  for (scan.result = 0; scan.result < static_cast<int>(results.size()); ++scan.result)
    made.push_back(builder.make(Op::scan, operands, scan));
  return made;
}

Scan loop_of(int carries, int sequences, std::int64_t steps, bool backwards = false) {
  return {
      .body = ScanBody(Graph{}), .carries = carries, .sequences = sequences, .steps = steps, .backwards = backwards};
}

/// For each of `outer` rows: s' = tanh(s V + h), over the row's pieces; h' is the last s, then.
Graph loop_in_loop(std::int64_t outer, std::int64_t inner) {
  const Type row{DType::f32, {batch_extent, {5}}}, square{DType::f32, fixed({5, 5})};
  Builder deep("deep");
  const Value s = deep.leaf(Op::input, "s", row), piece = deep.leaf(Op::input, "piece", row);
  const Value next = apply(Op::tanh, deep.dot(s, deep.leaf(Op::input, "V", square), {1}, {0}) + piece);

  Builder cell("cell");
  const Value h = cell.leaf(Op::input, "h", row), V = cell.leaf(Op::input, "V", square);
  const Value pieces = cell.leaf(Op::input, "x", {DType::f32, {{inner}, batch_extent, {5}}});
  const std::vector<Value> found =
      run_loop(cell, deep, {"s", "piece", "V"}, {next, s * piece}, {h, pieces, V}, loop_of(1, 1, inner, true));

  Builder builder("nested");
  const Value rows = builder.leaf(Op::input, "x", {DType::f32, {batch_extent, {outer}, {inner}, {5}}});
  const Value x = builder.transpose(rows, {1, 2, 0, 3});
  const Value weights = builder.leaf(Op::param, "V", square);
  const Value first = builder.spread(builder.constant(0.5, DType::f32), row.shape);
  const std::vector<Value> made = run_loop(builder, cell, {"h", "x", "V"}, {found[0] * 0.5 + h, found[1]},
                                           {first, x, weights}, loop_of(1, 1, outer));
  const Value loss = square_norm(made[0]) + square_norm(made[1]);
  return trained(std::move(builder), loss, {weights});
}

/// Carries that take each other's places, one that takes what the step reads, and one that stays as it is; all are
/// handed out before the step, and one after it. A table of numbers is scanned too. The last ones are updates.
Graph changing_places(bool backwards) {
  const Type row{DType::f32, fixed({9})}, number{DType::f32, {}};
  Builder cell("cell");
  const Value a = cell.leaf(Op::input, "a", row), b = cell.leaf(Op::input, "b", row);
  const Value c = cell.leaf(Op::input, "c", row), same = cell.leaf(Op::input, "same", number);
  const Value x = cell.leaf(Op::input, "x", row), factor = cell.leaf(Op::input, "factor", number);
  const Value whole = cell.leaf(Op::input, "whole", row);
  Builder builder("places");
  const Value P = builder.leaf(Op::param, "P", row), Q = builder.leaf(Op::param, "Q", row);
  const Value sequence = builder.leaf(Op::param, "S", {DType::f32, fixed({4, 9})});
  const Value numbers = builder.constant({1, -2, 3, 0.5}, {DType::f32, fixed({4})});
  const std::vector<Value> made =
      run_loop(builder, cell, {"a", "b", "c", "same", "x", "factor", "whole"},
               {b, a, x, same, a, b, c * same, factor * x + apply(Op::exp, whole), x},
               {P, Q, P + Q, builder.constant(2, DType::f32), sequence, numbers, Q * 0.5}, loop_of(4, 2, 4, backwards));
  builder.output(OutputKind::update, "P", made[0]);
  builder.output(OutputKind::update, "Q", made[1] + made[2]);
  builder.output(OutputKind::update, "S", made[8] * made[3]);
  for (std::size_t i = 2; i < 8; ++i) builder.output(OutputKind::result, "r" + std::to_string(i), made[i]);
  return std::move(builder).finish();
}

/// A network whose layers are a stack of matrices, and the same matrix as both factors of a product.
Graph stack_of_layers(std::int64_t layers) {
  const Type row{DType::f32, {batch_extent, {17}}}, square{DType::f32, fixed({17, 17})};
  Builder cell("cell");
  const Value h = cell.leaf(Op::input, "h", row), W = cell.leaf(Op::input, "W", square);
  const Value M = cell.leaf(Op::input, "M", square);
  const Value next = apply(Op::tanh, cell.dot(h, W, {1}, {0}) + cell.dot(h, cell.dot(M, M, {1}, {0}), {1}, {1}));
  const Value mixed = cell.dot(M, W, {0}, {0});
  Builder builder("layers");
  const Value x = builder.leaf(Op::input, "x", row);
  const Value weights = builder.leaf(Op::param, "W", {DType::f32, fixed({layers, 17, 17})});
  const Value matrix = builder.leaf(Op::param, "M", square);
  const std::vector<Value> made = run_loop(builder, cell, {"h", "W", "M"}, {next, cell.sum(mixed, {1})},
                                           {x, weights, matrix}, loop_of(1, 1, layers));
  const Value loss = square_norm(made[0]) + sum_of_all(made[1]);
  return trained(std::move(builder), loss, {weights, matrix});
}

}  // namespace

Graph recurrent_step(bool again, std::int64_t steps, DType dtype) {
  const Extent width{3}, features{2};
  Builder cell("cell");
  const Value h = cell.leaf(Op::input, "h", {dtype, {batch_extent, width}});
  const Value x = cell.leaf(Op::input, "x", {dtype, {batch_extent, features}});
  const Value W = cell.leaf(Op::input, "W", {dtype, {features, width}});
  const Value U = cell.leaf(Op::input, "U", {dtype, {width, width}});
  const Value b = cell.leaf(Op::input, "b", {dtype, {width}});
  const Value z = cell.dot(x, W, {1}, {0}) + cell.dot(h, U, {1}, {0}) + cell.spread(b, {batch_extent, width});
  const Value next = apply(Op::tanh, z);

  Builder builder("step");
  const Value first = builder.spread(builder.constant(0, dtype), {batch_extent, width});
  const Value rows = builder.leaf(Op::input, "x", {dtype, {batch_extent, {steps}, features}});
  const Value sequence = builder.transpose(rows, {1, 0, 2});
  const std::vector<Value> params{builder.leaf(Op::param, "W", {dtype, {features, width}}),
                                  builder.leaf(Op::param, "U", {dtype, {width, width}}),
                                  builder.leaf(Op::param, "b", {dtype, {width}})};
  const std::vector<Value> made = run_loop(builder, cell, {"h", "x", "W", "U", "b"}, {next, next},
                                           {first, sequence, params[0], params[1], params[2]}, loop_of(1, 1, steps));
  Value loss = sum_of_all(made[0] * made[0] * made[0]) + square_norm(made[1]);
  if (again) loss = square_norm(builder.make(Op::grad, {{loss, params[1]}}));
  return trained(std::move(builder), loss, params);
}

Graph solving_step(bool again, DType dtype) {
  Builder builder("step");
  const Shape square = fixed({3, 3});
  const Value m = builder.leaf(Op::param, "M", {dtype, square});
  const Value b = builder.leaf(Op::param, "b", {dtype, fixed({3, 2})});
  const Value row = builder.make(Op::iota, {}, Iota{0}, {DType::i32, square});
  const Value column = builder.make(Op::iota, {}, Iota{1}, {DType::i32, square});
  const Value diagonal = builder.cast(apply(Op::equal, row, column), dtype);
  const Value a = builder.dot(m, m, {1}, {1}) + 2 * diagonal + 0.1 * m;  // the symmetric part is positive definite
  const Value x = builder.make(Op::solve, {{a, b}});
  Value loss = square_norm(x);
  if (again) loss = square_norm(builder.make(Op::grad, {{loss, m}}));
  return trained(std::move(builder), loss, {m, b});
}

std::vector<std::pair<std::string, Graph>> graphs_with_loops() {
  return {
      {"a recurrent cell", recurrent_step(false, 4, DType::f32)},
      {"of one step", recurrent_step(false, 1, DType::f32)},
      {"of two steps", recurrent_step(false, 2, DType::f32)},
      {"a recurrent cell's gradient's gradient", recurrent_step(true, 5, DType::f32)},
      {"equations", solving_step(false, DType::f32)},
      {"equations' gradient's gradient", solving_step(true, DType::f32)},
      {"a loop in a loop", loop_in_loop(3, 4)},
      {"a loop in a loop of one step", loop_in_loop(2, 1)},
      {"carries that change places", changing_places(false)},
      {"carries that change places, backwards", changing_places(true)},
      {"layers as a stack", stack_of_layers(3)},
  };
}

}  // namespace nnc::test
