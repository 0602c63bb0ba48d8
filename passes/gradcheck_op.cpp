// Every op's gradient rule alone, on generated shapes and points.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/op.h"
#include "passes/differences.h"
#include "passes/gradcheck.h"
#include "passes/passes.h"

namespace nnc {

using namespace differences;

namespace {

/// Values at which ops are smooth: at least 0.3 from 0 and 0.06 from each other, of both signs if allowed.
void fill(Tensor& x, Generator& random, bool negatives) {
  std::vector<int> places(static_cast<std::size_t>(x.count()));
  std::iota(places.begin(), places.end(), 0);
  for (std::size_t i = places.size(); i > 1; --i) std::swap(places[i - 1], places[draw(random, static_cast<int>(i))]);
  for (std::int64_t i = 0; i < x.count(); ++i) {
    const double jitter = static_cast<double>(draw(random, 1000)) / 1000 * 0.04;
    const double magnitude = 0.3 + 0.1 * places[static_cast<std::size_t>(i)] + jitter;
    x.set(i, negatives && draw(random, 2) ? -magnitude : magnitude);
  }
}

/// An application of an op to inputs x0, x1, ... with attributes drawn for its class.
struct Application {
  std::vector<Type> operands;
  Attributes attributes;
  Type wanted;
};

Shape draw_shape(Generator& random, int least_rank, int most_rank) {
  constexpr int most_elements = 24;
  Shape shape;
  const int rank = least_rank + draw(random, most_rank - least_rank + 1);
  int left = most_elements;
  for (int axis = 0; axis < rank; ++axis) {
    const int extent = 1 + draw(random, std::min(left, 5));
    shape.push_back({extent});
    left = std::max(1, left / extent);
  }
  return shape;
}

std::vector<int> draw_axes(Generator& random, int rank) {
  std::vector<int> axes;
  for (int axis = 0; axis < rank; ++axis)
    if (draw(random, 2)) axes.push_back(axis);
  return axes;
}

std::vector<int> draw_permutation(Generator& random, int rank) {
  std::vector<int> order(static_cast<std::size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw(random, static_cast<int>(i))]);
  return order;
}

/// Operands of one shape, or one of them of rank 0; those that must be truth values are.
Application elementwise_application(Op op, Generator& random) {
  const OpDef& def = definition(op);
  Application result{.operands = {}, .attributes = NoAttributes{}, .wanted = {DType::f64, {}}};
  const Shape shape = draw_shape(random, 0, 3);
  const int alone = draw(random, 2) ? draw(random, def.arity) : -1;
  for (int i = 0; i < def.arity; ++i)
    result.operands.push_back({DType::f64, def.arity > 1 && i == alone ? Shape{} : shape});
  const ShapeQuery query{.operands = result.operands, .attributes = result.attributes, .wanted = result.wanted};
  const TypeOrError type = infer_type(op, query);
  if (const auto* error = std::get_if<ShapeError>(&type); error && error->kind == ShapeError::Kind::element_type)
    result.operands[static_cast<std::size_t>(error->a)].dtype = DType::boolean;
  return result;
}

/// A sum may start from a carry; a maximum's carry takes no part in its gradient, by definition.
Application reduce_application(Op op, Generator& random) {
  const Shape shape = draw_shape(random, 1, 3);
  const int rank = static_cast<int>(shape.size());
  Reduce reduce{.axes = draw_axes(random, rank)};
  if (reduce.axes.empty()) reduce.axes.push_back(draw(random, rank));
  Application result{.operands = {{DType::f64, shape}}, .attributes = reduce, .wanted = {}};
  if (op == Op::sum && draw(random, 3) == 0) {
    Type carry{DType::f64, {}};
    for (int axis = 0; axis < rank; ++axis)
      if (std::ranges::find(reduce.axes, axis) == reduce.axes.end()) carry.shape.push_back(shape[axis]);
    result.operands.push_back(carry);
  }
  return result;
}

Application contract_application(Generator& random) {
  Dot dot;
  Application result{.operands = {{DType::f64, {}}, {DType::f64, {}}}, .attributes = dot, .wanted = {}};
  const int contracted = 1 + draw(random, 2), paired = contracted + draw(random, 2);
  const auto order_a = draw_permutation(random, paired + draw(random, 3));
  const auto order_b = draw_permutation(random, paired + draw(random, 3));
  result.operands[0].shape.resize(order_a.size());
  result.operands[1].shape.resize(order_b.size());
  for (std::size_t i = 0; i < std::max(order_a.size(), order_b.size()); ++i) {
    const Extent extent{1 + draw(random, 3)}, other{1 + draw(random, 3)};
    const int at = static_cast<int>(i);
    if (at < paired) {
      (at < contracted ? dot.a : dot.batch_a).push_back(order_a[i]);
      (at < contracted ? dot.b : dot.batch_b).push_back(order_b[i]);
    }
    if (i < order_a.size()) result.operands[0].shape[order_a[i]] = extent;
    if (i < order_b.size()) result.operands[1].shape[order_b[i]] = at < paired ? extent : other;
  }
  result.attributes = dot;
  return result;
}

/// Ids of any shape; what has rows is read, or added to, along its first axis. Ids are drawn within 0 .. 3.
Application index_application(Op op, Generator& random) {
  constexpr int rows = 4;
  const Shape ids = draw_shape(random, 0, 2), rest = draw_shape(random, 0, 2);
  Shape table = rest, gathered = ids;
  table.insert(table.begin(), Extent{rows});
  gathered.insert(gathered.end(), rest.begin(), rest.end());
  if (op == Op::gather) return {{{DType::f64, table}, {DType::i32, ids}}, NoAttributes{}, {}};
  Application result{{{DType::f64, gathered}, {DType::i32, ids}}, Scatter{rows}, {}};
  if (draw(random, 3) == 0) result.operands.push_back({DType::f64, table});  // a carry
  return result;
}

/// The attributes of a view say which of them it is.
Application view_application(Op op, Generator& random) {
  const Shape shape = draw_shape(random, 0, 3);
  const int rank = static_cast<int>(shape.size());
  const auto fits = [&](const Application& x) {
    return std::holds_alternative<Type>(
        infer_type(op, {.operands = x.operands, .attributes = x.attributes, .wanted = x.wanted}));
  };
  Application transposed{{{DType::f64, shape}}, Transpose{draw_permutation(random, rank)}, {}};
  if (fits(transposed)) return transposed;

  Application repeated{{{DType::f64, {}}}, Broadcast{}, {DType::f64, shape}};
  const std::vector<int> axes = draw_axes(random, rank);
  for (int axis : axes) repeated.operands[0].shape.push_back(shape[axis]);
  repeated.attributes = Broadcast{axes};
  if (fits(repeated)) return repeated;

  Shape other = shape;  // the same elements with two axes made one, or an axis of 1 more
  if (rank > 1) {
    other[0].count *= other[1].count;
    other.erase(other.begin() + 1);
  }
  other.insert(other.begin() + draw(random, static_cast<int>(other.size()) + 1), Extent{1});
  return {{{DType::f64, shape}}, NoAttributes{}, {DType::f64, other}};
}

Application part_application(Op op, Generator& random) {
  const int rank = 1 + draw(random, 3);
  Application result{
      .operands = {{DType::f64, draw_shape(random, rank, rank)}}, .attributes = NoAttributes{}, .wanted = {}};
  Shape& shape = result.operands[0].shape;
  if (op == Op::slice) {
    Slice slice;
    for (const Extent& extent : shape) {
      const std::int64_t n = extent.count, step = 1 + draw(random, 3);
      const std::int64_t count = 1 + draw(random, static_cast<int>((n - 1) / step + 1)), reach = step * (count - 1);
      const std::int64_t low = draw(random, static_cast<int>(n - reach));
      const bool turned = draw(random, 2) == 0;
      slice.starts.push_back(turned ? low + reach : low);
      slice.steps.push_back(turned ? -step : step);
      result.wanted.shape.push_back({count});
    }
    result.attributes = slice;
    result.wanted.dtype = DType::f64;
    return result;
  }
  Pad pad;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    pad.low.push_back(draw(random, 3));
    pad.high.push_back(draw(random, 3));
    pad.between.push_back(draw(random, 3));
  }
  result.attributes = pad;
  return result;
}

Application concat_application(Generator& random) {
  const int rank = 1 + draw(random, 3), axis = draw(random, rank);
  Application result{.operands = {}, .attributes = Concat{axis}, .wanted = {}};
  const Shape shape = draw_shape(random, rank, rank);
  for (int piece = 1 + draw(random, 3); piece-- > 0;) {
    result.operands.push_back({DType::f64, shape});
    result.operands.back().shape[static_cast<std::size_t>(axis)].count = 1 + draw(random, 3);
  }
  return result;
}

/// A window and its adjoint are drawn alike: over an axis with some elements to spare.
Application window_application(Op op, Generator& random) {
  const int rank = 1 + draw(random, 3), axis = draw(random, rank);
  const std::int64_t size = 1 + draw(random, 3), stride = 1 + draw(random, 3), dilation = 1 + draw(random, 2);
  const std::int64_t count = 1 + draw(random, 3);
  const std::int64_t extent = (count - 1) * stride + (size - 1) * dilation + 1 + draw(random, static_cast<int>(stride));
  Shape shape = draw_shape(random, rank, rank);
  const auto place = shape.begin() + axis;
  if (op == Op::window) {
    *place = {extent};
    return {{{DType::f64, shape}}, Window{axis, size, stride, dilation}, {}};
  }
  *place = {count};
  shape.insert(place + 1, Extent{size});
  return {{{DType::f64, shape}}, OverlapAdd{axis, extent, stride, dilation}, {}};
}

/// A recurrent cell of drawn sizes and one of its results: two carries, two sequences and two wholes, one of which is
/// used in a contraction and by itself.
Application loop_application(Generator& random) {
  const Extent rows{1 + draw(random, 3)}, width{1 + draw(random, 3)}, features{1 + draw(random, 3)};
  const std::vector<std::string> names{"h", "total", "x", "b", "W", "U"};
  std::vector<Type> types{{DType::f64, {rows, width}},     {DType::f64, {}},
                          {DType::f64, {rows, features}},  {DType::f64, {width}},
                          {DType::f64, {features, width}}, {DType::f64, {width, width}}};
  Builder step("cell");
  std::vector<Value> in;
  for (std::size_t i = 0; i < names.size(); ++i) in.push_back(step.leaf(Op::input, names[i], types[i]));
  const Value z = step.dot(in[2], in[4], {1}, {0}) + step.dot(in[0], in[5], {1}, {0});
  const Value h = apply(Op::tanh, 0.2 * z + step.spread(in[3], types[0].shape));
  const Value total = 0.5 * in[1] + step.sum(h * in[0], {0, 1}) + step.sum(in[5] * in[5], {0, 1}) * in[1];
  const Value out = h * in[1];
  const std::int64_t steps = 1 + draw(random, 4);
  for (std::size_t i : {2, 3}) types[i].shape.insert(types[i].shape.begin(), Extent{steps});
  const Scan scan{.body = loop_body(step.graph(), names, std::vector{h.id, total.id, out.id, h.id}),
                  .carries = 2,
                  .sequences = 2,
                  .steps = steps,
                  .backwards = draw(random, 2) == 1,
                  .result = draw(random, 4)};
  return {.operands = types, .attributes = scan, .wanted = {}};
}

/// A matrix, and one right side or several.
Application solve_application(Generator& random) {
  const Extent n{1 + draw(random, 4)};
  Shape right{n};
  if (draw(random, 2)) right.push_back({1 + draw(random, 3)});
  return {.operands = {{DType::f64, {n, n}}, {DType::f64, right}}, .attributes = NoAttributes{}, .wanted = {}};
}

Application application_of(Op op, Generator& random) {
  if (op == Op::slice || op == Op::pad) return part_application(op, random);
  if (op == Op::concat) return concat_application(random);
  if (op == Op::window || op == Op::overlap_add) return window_application(op, random);
  switch (definition(op).cls) {
    case OpClass::elementwise:
      return elementwise_application(op, random);
    case OpClass::reduce:
      return reduce_application(op, random);
    case OpClass::view:
      return view_application(op, random);
    case OpClass::contract:
      return contract_application(random);
    case OpClass::index:
      return index_application(op, random);
    case OpClass::leaf:
    case OpClass::generate:
    case OpClass::loop:
      return loop_application(random);
    case OpClass::formula:
      return solve_application(random);
    case OpClass::control:  // a point; the others are exempt
      return {.operands = {{DType::f64, draw_shape(random, 0, 3)}}, .attributes = Numbered{1}, .wanted = {}};
  }
  return {};
}

std::string input_name(std::size_t i) { return "x" + std::to_string(i); }

/// y = op(x0, x1, ...), and dx0, dx1, ... by the op's rule for a given dy.
class OpCheck {
 public:
  OpCheck(Op op, const Application& what, const GradcheckOptions& options, Generator& random) : op_(op), what_(what) {
    Builder builder("gradcheck");
    std::vector<Value> operands;
    for (std::size_t i = 0; i < what.operands.size(); ++i)
      operands.push_back(builder.leaf(Op::input, input_name(i), what.operands[i]));
    const Value y = builder.make(op, operands, what.attributes, what.wanted);
    const Type type = y.type();
    builder.output(OutputKind::result, "y", y);
    forward_ = assign_order(Builder(builder).finish());

    const Value dy = builder.leaf(Op::input, "dy", type);
    const GradientQuery query{.builder = builder, .y = y.id, .dy = dy.id};
    Gradients gradients = definition(op).gradient(query);
    for (std::size_t i = 0; i < gradients.size(); ++i)  // as differentiate does it
      if (gradients[i] && builder[operands[i].id].type.rank() == 0 && gradients[i]->type().rank() > 0)
        gradients[i] = builder.sum(*gradients[i], all_axes(gradients[i]->type().rank()));
    if (options.hook) options.hook(query, gradients);
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (gradients[i]) builder.output(OutputKind::result, "d" + input_name(i), *gradients[i]);
    backward_ = assign_order(std::move(builder).finish());

    dy_ = zeros_of(type, 1);
    fill(dy_, random, true);
    for (bool negatives : {true, false}) {  // where a function wants positive arguments, it gets them
      for (std::size_t i = 0; i < what.operands.size(); ++i)
        at_.inputs.insert_or_assign(input_name(i), draw_operand(i, random, negatives));
      if (std::isfinite(value())) break;
    }
  }

  void run(const GradcheckOptions& options, GradcheckReport& report) {
    Environment backward = at_;
    backward.inputs.emplace("dy", dy_);
    const std::map<std::string, Tensor> derived = evaluate(backward_, backward);
    for (std::size_t i = 0; i < what_.operands.size(); ++i) {
      if (what_.operands[i].dtype != DType::f64) continue;
      const auto found = derived.find("d" + input_name(i));
      compare(i, found == derived.end() ? zeros_of(what_.operands[i], 1) : found->second, options, report);
    }
  }

 private:
  static std::vector<int> all_axes(int rank) {
    std::vector<int> axes(static_cast<std::size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
    return axes;
  }

  Tensor draw_operand(std::size_t i, Generator& random, bool negatives) const {
    Tensor x = zeros_of(what_.operands[i], 1);
    if (x.dtype == DType::boolean || x.dtype == DType::i32) {
      for (std::int64_t k = 0; k < x.count(); ++k) x.set(k, draw(random, x.dtype == DType::i32 ? 4 : 2));
      return x;
    }
    fill(x, random, negatives);
    if (definition(op_).cls == OpClass::formula && i == 0)  // a great diagonal makes the matrix positive definite
      for (std::int64_t k = 0; k < x.dims[0]; ++k) x.set(k * x.dims[0] + k, 3 * static_cast<double>(x.count()));
    // Two operands may not tie either: each one's grid has its own offset.
    for (std::int64_t k = 0; k < x.count(); ++k)
      x.set(k, x.at(k) + (x.at(k) < 0 ? -0.05 : 0.05) * static_cast<double>(i % 2));
    return x;
  }

  /// The number whose gradient by y is dy.
  double value() const {
    const Tensor y = evaluate(forward_, at_).at("y");
    double total = 0;
    for (std::int64_t k = 0; k < y.count(); ++k) total += y.at(k) * dy_.at(k);
    return total;
  }

  void compare(std::size_t i, const Tensor& derived, const GradcheckOptions& options, GradcheckReport& report) {
    const double scale = scale_of(derived);
    Tensor& x = at_.inputs.at(input_name(i));
    for (std::int64_t k = 0; k < x.count(); ++k) {
      const double here = x.at(k);
      const double measured = derivative(
          [&](double step) {
            x.set(k, here + step);
            const double result = value();
            x.set(k, here);
            return result;
          },
          first_step);
      const double relative = relative_error(derived.at(k), measured, scale);
      ++report.checked;
      report.worst = std::max(report.worst, relative);
      if (relative <= options.tolerance) continue;
      std::string shapes;
      for (const Type& type : what_.operands) shapes += (shapes.empty() ? "" : ", ") + to_string(type);
      report.failures.push_back(
          {fmt::format("{}, operand {}", definition(op_).name, i), "", derived.at(k), measured, relative, shapes});
    }
  }

  Op op_;
  Application what_;
  Graph forward_, backward_;
  Environment at_;
  Tensor dy_;
};

}  // namespace

std::string exempt_from_gradcheck(Op op) {
  const OpDef& def = definition(op);
  if (!def.gradient) return "it has no derivative";
  if (op == Op::stop_gradient) return "it is about the gradient itself, which differences do not see";
  return "";
}

GradcheckReport gradcheck_op(Op op, const GradcheckOptions& options) {
  GradcheckReport report;
  Generator random(options.seed * 1000 + static_cast<std::uint64_t>(op));
  for (int i = 0; i < options.cases; ++i) OpCheck(op, application_of(op, random), options, random).run(options, report);
  return report;
}

}  // namespace nnc
