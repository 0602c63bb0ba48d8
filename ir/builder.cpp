// Nodes are found again by their hash, so an equal one is never made twice. A rule's error inside the compiler aborts
// with the op and its operands' types: user's shapes are checked before, through try_make.
#include "ir/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numeric>

namespace nnc {

namespace {

/// A value as an element of that type holds it; every NaN is one NaN, so that constants compare by bits.
double rounded(double value, DType dtype) {
  if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
  return dtype == DType::f32 ? static_cast<double>(static_cast<float>(value)) : value;
}

std::vector<int> identity_axes(std::size_t rank) {
  std::vector<int> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

[[noreturn]] void die(const std::string& message) {
  fmt::print(stderr, "nnc: a graph was built wrongly: {}\n", message);
  std::abort();
}

Value number_beside(Value x, double number) { return x.builder->constant(number, x.type().dtype); }

/// A name that prints without quotes: paths keep their dots, a slash becomes one.
std::string label_of(std::string path) {
  std::ranges::replace(path, '/', '.');
  return path;
}

}  // namespace

const Type& Value::type() const { return (*builder)[id].type; }

ValueOrError Builder::try_make(Op op, std::span<const NodeId> operands, Attributes attributes, const Type& wanted) {
  std::vector<Type> types;
  types.reserve(operands.size());
  for (NodeId operand : operands) types.push_back(graph_.nodes[operand].type);
  const TypeOrError inferred = infer_type(op, {.operands = types, .attributes = attributes, .wanted = wanted});
  if (const auto* error = std::get_if<ShapeError>(&inferred)) return *error;

  Node node{.op = op,
            .operands = {operands.begin(), operands.end()},
            .attributes = std::move(attributes),
            .type = std::get<Type>(inferred),
            .derived = derived_ && definition(op).cls != OpClass::leaf,
            .origin = origin_};
  const std::size_t hash = hash_of(node.op, node.operands, node.attributes, node.type);
  for (auto [at, last] = by_hash_.equal_range(hash); at != last; ++at) {
    Node& known = graph_.nodes[at->second];
    if (known.op != node.op || known.operands != node.operands || known.type != node.type ||
        known.attributes != node.attributes)
      continue;
    known.derived = known.derived && node.derived;
    if (known.origin.line == 0 && known.origin.name.empty() && !is_number(known)) known.origin = node.origin;
    name_node(at->second, node.origin.name);
    return Value{this, at->second};
  }
  if (is_number(node)) node.origin = {};
  const auto id = static_cast<NodeId>(graph_.nodes.size());
  graph_.nodes.push_back(std::move(node));
  by_hash_.emplace(hash, id);
  return Value{this, id};
}

Value Builder::make(Op op, std::span<const Value> operands, Attributes attributes, const Type& wanted) {
  std::vector<NodeId> ids;
  ids.reserve(operands.size());
  for (const Value& operand : operands) ids.push_back(operand.id);
  const ValueOrError made = try_make(op, ids, std::move(attributes), wanted);
  if (const auto* value = std::get_if<Value>(&made)) return *value;
  std::vector<Type> types;
  for (const Value& operand : operands) types.push_back(operand.type());
  std::string message = describe(op, std::get<ShapeError>(made), types);
  for (const Type& type : types) message += fmt::format("\n  operand {}", to_string(type));
  die(message);
}

Value Builder::constant(double value, DType dtype) {
  return make(Op::constant, {}, Constant{{rounded(value, dtype)}}, Type{dtype, {}});
}

Value Builder::constant(std::vector<double> values, const Type& type) {
  for (double& value : values) value = rounded(value, type.dtype);
  return make(Op::constant, {}, Constant{std::move(values)}, type);
}

Value Builder::leaf(Op op, std::string name, const Type& type) {
  std::string label = label_of(name);
  const Value made = make(op, {}, Named{std::move(name)}, type);
  name_node(made.id, std::move(label));
  return made;
}

Value Builder::size(Extent extent, DType dtype) {
  if (!extent.batched) return constant(static_cast<double>(extent.count), dtype);
  return make(Op::size, {}, Size{extent}, Type{dtype, {}});
}

Value Builder::broadcast(Value x, std::vector<int> axes, const Shape& shape) {
  if (x.type().shape == shape && axes == identity_axes(shape.size())) return x;
  return make(Op::broadcast, {{x}}, Broadcast{std::move(axes)}, Type{x.type().dtype, shape});
}

Value Builder::spread(Value x, const Shape& shape) {
  std::vector<int> axes = identity_axes(x.type().shape.size());
  const int missing = static_cast<int>(shape.size()) - x.type().rank();
  for (int& axis : axes) axis += missing;
  return broadcast(x, std::move(axes), shape);
}

Value Builder::reshape(Value x, const Shape& shape) {
  if (x.type().shape == shape) return x;
  return make(Op::reshape, {{x}}, NoAttributes{}, Type{x.type().dtype, shape});
}

Value Builder::transpose(Value x, std::vector<int> permutation) {
  if (permutation == identity_axes(x.type().shape.size())) return x;
  return make(Op::transpose, {{x}}, Transpose{std::move(permutation)});
}

Value Builder::slice(Value x, std::vector<std::int64_t> starts, std::vector<std::int64_t> steps, const Shape& extents) {
  // Steps and starts that say nothing have one form.
  for (std::size_t axis = 0; axis < extents.size(); ++axis) {
    if (extents[axis].batched || extents[axis].count > 1) continue;
    steps[axis] = 1;
    if (extents[axis].count == 0) starts[axis] = 0;
  }
  const auto all = [](const std::vector<std::int64_t>& list, std::int64_t number) {
    return std::ranges::all_of(list, [&](std::int64_t each) { return each == number; });
  };
  if (x.type().shape == extents && all(starts, 0) && all(steps, 1)) return x;
  return make(Op::slice, {{x}}, Slice{std::move(starts), std::move(steps)}, Type{x.type().dtype, extents});
}

Value Builder::pad(Value x, std::vector<std::int64_t> low, std::vector<std::int64_t> high,
                   std::vector<std::int64_t> between) {
  const Shape& shape = x.type().shape;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (!shape[axis].batched && shape[axis].count <= 1) between[axis] = 0;  // no neighbours
  const auto none = [](const std::vector<std::int64_t>& list) {
    return std::ranges::all_of(list, [](std::int64_t each) { return each == 0; });
  };
  if (none(low) && none(high) && none(between)) return x;
  return make(Op::pad, {{x}}, Pad{std::move(low), std::move(high), std::move(between)});
}

Value Builder::concat(std::span<const Value> pieces, int axis) {
  return pieces.size() == 1 ? pieces[0] : make(Op::concat, pieces, Concat{axis});
}

Value Builder::window(Value x, int axis, std::int64_t size, std::int64_t stride, std::int64_t dilation) {
  if (size == 1) dilation = 1;
  if (size == 1 && stride == 1) {
    Shape shape = x.type().shape;
    shape.insert(shape.begin() + axis + 1, Extent{1});
    return reshape(x, shape);
  }
  return make(Op::window, {{x}}, Window{axis, size, stride, dilation});
}

Value Builder::overlap_add(Value y, int axis, std::int64_t extent, std::int64_t stride, std::int64_t dilation) {
  return make(Op::overlap_add, {{y}}, OverlapAdd{axis, extent, stride, dilation});
}

Value Builder::cast(Value x, DType dtype) {
  if (x.type().dtype == dtype) return x;
  return make(Op::cast, {{x}}, NoAttributes{}, Type{dtype, {}});
}

Value Builder::sum(Value x, std::vector<int> axes) {
  if (axes.empty()) return x;
  std::ranges::sort(axes);
  return make(Op::sum, {{x}}, Reduce{.axes = std::move(axes)});
}

Value Builder::dot(Value a, Value b, std::vector<int> axes_a, std::vector<int> axes_b, std::vector<int> batch_a,
                   std::vector<int> batch_b) {
  return make(Op::dot, {{a, b}},
              Dot{.a = std::move(axes_a),
                  .b = std::move(axes_b),
                  .batch_a = std::move(batch_a),
                  .batch_b = std::move(batch_b)});
}

Value Builder::gather(Value table, Value ids) { return make(Op::gather, {{table, ids}}); }

Value Builder::scatter_add(Value x, Value ids, std::int64_t rows) {
  return make(Op::scatter_add, {{x, ids}}, Scatter{rows});
}

Value Builder::select(Value condition, Value yes, Value no) { return make(Op::select, {{condition, yes, no}}); }

void Builder::output(OutputKind kind, std::string name, Value value) {
  graph_.outputs.push_back({kind, std::move(name), value.id});
}

void Builder::oblige(Obligation obligation) {
  const auto same = [&](const Obligation& known) {
    return known.input == obligation.input && known.low == obligation.low && known.high == obligation.high;
  };
  if (std::ranges::none_of(graph_.obligations, same)) graph_.obligations.push_back(std::move(obligation));
}

void Builder::name_node(NodeId id, std::string name) {
  Node& node = graph_.nodes[id];
  if (node.origin.name.empty() && !is_number(node)) node.origin.name = std::move(name);
}

Graph Builder::finish() && {
  std::vector<bool> needed(graph_.nodes.size(), false);
  for (const Output& output : graph_.outputs) needed[output.node] = true;
  for (NodeId id = static_cast<NodeId>(graph_.nodes.size()); id-- > 0;)
    if (needed[id])
      for (NodeId operand : graph_.nodes[id].operands) needed[operand] = true;

  Graph result;
  result.name = std::move(graph_.name);
  std::vector<NodeId> renumbered(graph_.nodes.size(), 0);
  std::vector<std::string> inputs;
  for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
    if (!needed[id]) continue;
    Node& node = graph_.nodes[id];
    for (NodeId& operand : node.operands) operand = renumbered[operand];
    if (node.op == Op::input) inputs.push_back(std::get<Named>(node.attributes).name);
    renumbered[id] = static_cast<NodeId>(result.nodes.size());
    result.nodes.push_back(std::move(node));
  }
  for (Output& output : graph_.outputs) {
    output.node = renumbered[output.node];
    result.outputs.push_back(std::move(output));
  }
  // A promise about an input that nothing reads protects nothing.
  for (Obligation& obligation : graph_.obligations)
    if (std::ranges::find(inputs, obligation.input) != inputs.end())
      result.obligations.push_back(std::move(obligation));
  return result;
}

Value operator+(Value a, Value b) { return apply(Op::add, a, b); }
Value operator-(Value a, Value b) { return apply(Op::sub, a, b); }
Value operator*(Value a, Value b) { return apply(Op::mul, a, b); }
Value operator/(Value a, Value b) { return apply(Op::div, a, b); }
Value operator-(Value a) { return apply(Op::neg, a); }
Value operator+(Value a, double b) { return a + number_beside(a, b); }
Value operator-(Value a, double b) { return a - number_beside(a, b); }
Value operator*(Value a, double b) { return a * number_beside(a, b); }
Value operator/(Value a, double b) { return a / number_beside(a, b); }
Value operator+(double a, Value b) { return number_beside(b, a) + b; }
Value operator-(double a, Value b) { return number_beside(b, a) - b; }
Value operator*(double a, Value b) { return number_beside(b, a) * b; }
Value operator/(double a, Value b) { return number_beside(b, a) / b; }

Value apply(Op op, Value x) { return x.builder->make(op, {{x}}); }
Value apply(Op op, Value a, Value b) { return a.builder->make(op, {{a, b}}); }

Value copy_node(Builder& builder, const Node& node, std::span<const Value> operands) {
  const bool derived = builder.derived();
  Origin origin = builder.origin();
  builder.set_derived(node.derived);
  builder.set_origin(node.origin);
  const Value made = builder.make(node.op, operands, node.attributes, node.type);
  builder.set_derived(derived);
  builder.set_origin(std::move(origin));
  return made;
}

}  // namespace nnc
