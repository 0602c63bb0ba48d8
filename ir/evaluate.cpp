#include "ir/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "ir/builder.h"
#include "ir/index_space.h"
#include "ir/op.h"
#include "ir/order.h"
#include "ir/scalar/builder.h"

namespace nnc {

namespace {

using namespace index_space;

/// IEEE 754-2019 maximum: NaN wins, -0 < +0.
template <class T>
T greater_of(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a)) return a;
    if (std::isnan(b)) return b;
    if (a == b) return std::signbit(a) ? b : a;
  }
  return a < b ? b : a;
}

/// Calls f with a value of the C++ type of a number's element type.
template <class F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::boolean:
      throw std::invalid_argument("arithmetic on booleans");
  }
}

class Evaluation {
 public:
  Evaluation(const Graph& graph, const Environment& environment, bool assume_order)
      : graph_(graph), environment_(environment), assume_order_(assume_order) {}

  std::map<std::string, Tensor> run() {
    values_.reserve(graph_.nodes.size());
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) values_.push_back(value(id));
    std::map<std::string, Tensor> results;
    for (const Output& output : graph_.outputs)
      results[(output.kind == OutputKind::update ? "update " : "") + output.name] = values_[output.node];
    return results;
  }

 private:
  Tensor value(NodeId id) const {
    const Node& node = graph_[id];
    const OpDef& def = definition(node.op);
    switch (def.cls) {
      case OpClass::leaf:
        return leaf(node);
      case OpClass::generate:
        return generated(node);
      case OpClass::elementwise:
        return elementwise(node);
      case OpClass::reduce:
        return reduced(id);
      case OpClass::view:
        return view(node);
      case OpClass::contract:
        return contract(id);
      case OpClass::index:
        return node.op == Op::gather ? gather(node) : scatter_add(node);
      case OpClass::control:
        if (!def.scalar) throw std::invalid_argument(fmt::format("{} is to be removed before evaluation", def.name));
        return elementwise(node);
      case OpClass::loop:
        return loop(id);
      case OpClass::formula:
        return formula(node);
    }
    throw std::logic_error("an op without a class");
  }

  Tensor reduced(NodeId id) const {
    const Node& node = graph_[id];
    if (std::holds_alternative<OverlapAdd>(node.attributes)) return overlap_add(node);
    return node.op == Op::argmax ? argmax(node) : node.op == Op::sum ? sum(id) : reduce_max(node);
  }

  std::int64_t length(const Extent& extent) const {
    return extent.batched ? extent.count * environment_.batch : extent.count;
  }
  Dims lengths(const Shape& shape) const {
    Dims dims;
    for (const Extent& extent : shape) dims.push_back(length(extent));
    return dims;
  }
  Tensor empty(const Type& type) const { return Tensor::zeros(type.dtype, lengths(type.shape)); }
  const Tensor& operand(const Node& node, std::size_t index) const { return values_[node.operands[index]]; }

  Order order(NodeId id) const {
    const Order set = order_of(graph_[id]);
    if (set != Order::unset) return set;
    if (!assume_order_) throw std::invalid_argument("a sum or dot without an order");
    return natural_order(graph_, id);
  }

  const Tensor& given(const std::map<std::string, Tensor>& from, const Node& node) const {
    const std::string& name = std::get<Named>(node.attributes).name;
    const auto found = from.find(name);
    if (found == from.end())
      throw std::invalid_argument(fmt::format("{} \"{}\" is not given", definition(node.op).name, name));
    if (found->second.dtype != node.type.dtype || found->second.dims != lengths(node.type.shape))
      throw std::invalid_argument(fmt::format("{} \"{}\" is not {}, batch = {}", definition(node.op).name, name,
                                              to_string(node.type), environment_.batch));
    return found->second;
  }

  Tensor leaf(const Node& node) const {
    if (node.op == Op::param) return given(environment_.params, node);
    if (node.op == Op::state) return given(environment_.state, node);
    if (node.op == Op::carry) return given(environment_.carry, node);
    if (node.op == Op::input) return given(environment_.inputs, node);
    Tensor result = empty(node.type);
    if (const auto* size = std::get_if<Size>(&node.attributes)) {
      result.set(0, static_cast<double>(length(size->extent)));
    } else if (const auto* constant = std::get_if<Constant>(&node.attributes)) {
      for (std::int64_t i = 0; i < result.count(); ++i) result.set(i, constant->values[i]);
    } else {
      const std::string& name = std::get<Named>(node.attributes).name;
      const auto found = environment_.scalars.find(name);
      if (found == environment_.scalars.end())
        throw std::invalid_argument(fmt::format("scalar \"{}\" is not given", name));
      result.set(0, found->second);
    }
    return result;
  }

  static constexpr std::int64_t block = 1024;  // elements that a scalar program is interpreted over at once

  Tensor elementwise(const Node& node) const {
    std::vector<DType> dtypes;
    for (NodeId id : node.operands) dtypes.push_back(values_[id].dtype);
    const ScalarProgram program = definition(node.op).scalar(dtypes, node.type.dtype, node.attributes);
    Tensor result = empty(node.type);
    const std::int64_t count = result.count();
    // An operand of rank 0 meets every element: a block of copies stands in for it.
    std::vector<Tensor> copies(node.operands.size());
    for (std::size_t i = 0; i < copies.size(); ++i)
      if (operand(node, i).dims.empty() && !result.dims.empty()) copies[i] = repeated(operand(node, i), block);
    std::vector<const void*> inputs(node.operands.size());
    for (std::int64_t begin = 0; begin < count; begin += block) {
      for (std::size_t i = 0; i < inputs.size(); ++i)
        inputs[i] =
            copies[i].data.empty() ? operand(node, i).data.data() + begin * size_of(dtypes[i]) : copies[i].data.data();
      void* const output = result.data.data() + begin * size_of(result.dtype);
      interpret(program, inputs, {&output, 1}, std::min(block, count - begin));
    }
    return result;
  }

  static Tensor repeated(const Tensor& number, std::int64_t count) {
    Tensor result = Tensor::zeros(number.dtype, {count});
    const std::size_t bytes = size_of(number.dtype);
    for (std::int64_t i = 0; i < count; ++i) std::memcpy(result.data.data() + i * bytes, number.data.data(), bytes);
    return result;
  }

  Tensor generated(const Node& node) const {
    const ScalarProgram program = definition(node.op).scalar({}, node.type.dtype, node.attributes);
    Tensor result = empty(node.type);
    const Dims& dims = result.dims;
    const std::int64_t count = result.count();
    const auto* iota = std::get_if<Iota>(&node.attributes);
    const auto* random = std::get_if<Random>(&node.attributes);
    const bool specialised = (iota && iota->from_row_offset) || (random && random->from_row_offset);
    const auto first_row = [&](std::size_t axis) -> std::int64_t {
      const bool batched = specialised || (axis < dims.size() && node.type.shape[axis].batched);
      return batched ? static_cast<std::int64_t>(environment_.row_offset) : 0;
    };
    const std::int64_t columns = dims.empty() ? 1 : product(std::span(dims).subspan(1));
    std::array<std::vector<std::int64_t>, 6> inputs;
    for (std::int64_t i = 0; i < count; ++i) {
      inputs[0].push_back(i / columns + first_row(0));
      inputs[1].push_back(i % columns);
      inputs[2].push_back(
          iota ? i / product(std::span(dims).subspan(iota->axis + 1)) % dims[iota->axis] + first_row(iota->axis) : 0);
      inputs[3].push_back(static_cast<std::int64_t>(environment_.seed));
      inputs[4].push_back(static_cast<std::int64_t>(environment_.step));
      inputs[5].push_back(random ? static_cast<std::int64_t>(random->stream) : 0);
    }
    const void* pointers[6];
    for (int i = 0; i < 6; ++i) pointers[i] = inputs[i].data();
    void* const output = result.data.data();
    interpret(program, pointers, {&output, 1}, count);
    return result;
  }

  /// Where elements lie: the first one, and how far apart neighbours are along each axis.
  struct Place {
    std::int64_t first = 0;
    Dims strides;
  };
  /// Copies elements of x at `from` to those of the result at `to`, over the indices of `dims`.
  static void copy(const Tensor& x, const Place& from, Tensor& result, const Place& to,
                   std::span<const std::int64_t> dims) {
    const std::size_t bytes = size_of(x.dtype);
    const Offsets read = offsets_over(dims, from.strides), written = offsets_over(dims, to.strides);
    for (std::size_t i = 0; i < read.size(); ++i)
      std::memcpy(result.data.data() + (to.first + written[i]) * bytes, x.data.data() + (from.first + read[i]) * bytes,
                  bytes);
  }

  Tensor view(const Node& node) const {
    if (std::holds_alternative<Concat>(node.attributes)) return concat(node);
    const Tensor& x = operand(node, 0);
    Tensor result = empty(node.type);
    const Dims own = row_major_strides(x.dims);
    if (const auto* pad = std::get_if<Pad>(&node.attributes)) {
      Place to{0, row_major_strides(result.dims)};
      for (std::size_t axis = 0; axis < own.size(); ++axis) {
        to.first += pad->low[axis] * to.strides[axis];
        to.strides[axis] *= pad->between[axis] + 1;
      }
      copy(x, {0, own}, result, to, x.dims);
      return result;
    }
    Place from{0, Dims(result.dims.size(), 0)};  // of x along the axes of the result
    if (const auto* broadcast = std::get_if<Broadcast>(&node.attributes)) {
      for (std::size_t axis = 0; axis < own.size(); ++axis) from.strides[broadcast->axes[axis]] = own[axis];
    } else if (const auto* transpose = std::get_if<Transpose>(&node.attributes)) {
      from.strides = pick(own, transpose->permutation);
    } else if (const auto* slice = std::get_if<Slice>(&node.attributes)) {
      for (std::size_t axis = 0; axis < own.size(); ++axis) {
        from.first += slice->starts[axis] * own[axis];
        from.strides[axis] = slice->steps[axis] * own[axis];
      }
    } else if (const auto* window = std::get_if<Window>(&node.attributes)) {
      from.strides = own;
      from.strides[window->axis] *= window->stride;
      from.strides.insert(from.strides.begin() + window->axis + 1, own[window->axis] * window->dilation);
    } else {
      result.data = x.data;  // a reshape keeps the row-major order
      return result;
    }
    copy(x, from, result, {0, row_major_strides(result.dims)}, result.dims);
    return result;
  }

  Tensor concat(const Node& node) const {
    Tensor result = empty(node.type);
    const int axis = std::get<Concat>(node.attributes).axis;
    Place to{0, row_major_strides(result.dims)};
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      const Tensor& x = operand(node, i);
      copy(x, {0, row_major_strides(x.dims)}, result, to, x.dims);
      to.first += x.dims[axis] * to.strides[axis];
    }
    return result;
  }

  /// Element p is the sum over k of y[(p - k * dilation) / stride, k]; where there is no such window, of +0.
  Tensor overlap_add(const Node& node) const {
    const auto [axis, extent, stride, dilation] = std::get<OverlapAdd>(node.attributes);
    const Tensor& y = operand(node, 0);
    const std::int64_t count = y.dims[axis], size = y.dims[axis + 1];
    const std::int64_t inside = product(std::span(y.dims).subspan(axis + 2));
    const Walk walk(Dims{size}, Order::serial, y.dtype);
    Tensor result = empty(node.type);
    with_type(y.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t i = 0; i < result.count(); ++i) {
        const std::int64_t before = i / inside / extent, place = i / inside % extent, column = i % inside;
        const auto add = [&](T accumulator, std::int64_t k) {
          const std::int64_t from_first = place - k * dilation, window = from_first / stride;
          const bool shown = from_first >= 0 && from_first % stride == 0 && window < count;
          return plus(accumulator,
                      shown ? elements<T>(y)[((before * count + window) * size + k) * inside + column] : T{});
        };
        if constexpr (std::is_integral_v<T>) {  // wraps
          T total{};
          for (std::int64_t k = 0; k < size; ++k) total = add(total, k);
          elements<T>(result)[i] = total;
        } else {
          elements<T>(result)[i] = static_cast<T>(walk.fold<T>(0.0, add));
        }
      }
    });
    return result;
  }

  /// An operand split into kept and reduced axes, and those that it shares with another one: offsets of each, and the
  /// reduced extents.
  struct Parts {
    Offsets kept, reduced, batch;
    Dims extents;
    Parts(const Tensor& x, std::span<const int> axes, std::span<const int> shared = {}) {
      const Dims strides = row_major_strides(x.dims);
      std::vector<int> taken(axes.begin(), axes.end());
      taken.insert(taken.end(), shared.begin(), shared.end());
      const std::vector<int> rest = axes_outside(taken, x.dims.size());
      batch = offsets_over(pick(x.dims, shared), pick(strides, shared));
      kept = offsets_over(pick(x.dims, rest), pick(strides, rest));
      extents = pick(x.dims, axes);
      reduced = offsets_over(extents, pick(strides, axes));
    }
  };

  Tensor sum(NodeId id) const {
    const Node& node = graph_[id];
    const Tensor& x = operand(node, 0);
    const Parts parts(x, std::get<Reduce>(node.attributes).axes);
    const Walk walk(parts.extents, order(id), x.dtype);
    const Tensor* carry = node.operands.size() > 1 ? &operand(node, 1) : nullptr;
    Tensor result = empty(node.type);
    with_type(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const T* from = elements<T>(x);
      for (std::size_t i = 0; i < parts.kept.size(); ++i) {
        const auto add = [&](T accumulator, std::int64_t k) {
          return plus(accumulator, from[parts.kept[i] + parts.reduced[k]]);
        };
        if (std::is_integral_v<T> && !carry) {  // wraps, so any order gives the same
          T total{};
          for (std::int64_t k = 0; k < walk.count; ++k) total = add(total, k);
          elements<T>(result)[i] = total;
        } else {
          result.set(i, walk.fold<T>(carry ? carry->at(i) : 0.0, add));
        }
      }
    });
    return result;
  }

  Tensor reduce_max(const Node& node) const {
    const Tensor& x = operand(node, 0);
    const Parts parts(x, std::get<Reduce>(node.attributes).axes);
    const Tensor* carry = node.operands.size() > 1 ? &operand(node, 1) : nullptr;
    Tensor result = empty(node.type);
    with_type(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      using Limits = std::numeric_limits<T>;
      for (std::size_t i = 0; i < parts.kept.size(); ++i) {
        T greatest = carry ? elements<T>(*carry)[i] : Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
        for (std::int64_t offset : parts.reduced)
          greatest = greater_of(greatest, elements<T>(x)[parts.kept[i] + offset]);
        elements<T>(result)[i] = greatest;
      }
    });
    return result;
  }

  Tensor argmax(const Node& node) const {
    const Tensor& x = operand(node, 0);
    const Parts parts(x, std::get<Reduce>(node.attributes).axes);
    Tensor result = empty(node.type);
    for (std::size_t i = 0; i < parts.kept.size(); ++i) {
      std::int32_t best = 0;
      const auto element = [&](std::int64_t k) { return x.at(parts.kept[i] + parts.reduced[k]); };
      for (std::int32_t k = 1; k < static_cast<std::int32_t>(parts.reduced.size()); ++k) {
        if (std::isnan(element(best))) break;
        if (std::isnan(element(k)) || element(k) > element(best)) best = k;
      }
      elements<std::int32_t>(result)[i] = best;
    }
    return result;
  }

  Tensor contract(NodeId id) const {
    const Node& node = graph_[id];
    const auto& dot = std::get<Dot>(node.attributes);
    const Tensor &a = operand(node, 0), &b = operand(node, 1);
    const Parts rows(a, dot.a, dot.batch_a), columns(b, dot.b, dot.batch_b);
    const Order order = this->order(id);
    const Walk walk(rows.extents, order, a.dtype);
    Tensor result = empty(node.type);
    with_type(a.dtype, [&](auto zero) {
      using T = decltype(zero);
      std::int64_t at = 0;
      const auto element = [&](std::int64_t row, std::int64_t column) {
        const auto multiply_add = [&](T accumulator, std::int64_t k) -> T {
          return static_cast<T>(std::fma(elements<T>(a)[row + rows.reduced[k]],
                                         elements<T>(b)[column + columns.reduced[k]], accumulator));
        };
        T total{};
        if (order != Order::serial) return static_cast<T>(walk.fold<T>(0.0, multiply_add));
        for (std::int64_t k = 0; k < walk.count; ++k) total = multiply_add(total, k);
        return total;
      };
      for (std::size_t batch = 0; batch < rows.batch.size(); ++batch)
        for (std::int64_t row : rows.kept)
          for (std::int64_t column : columns.kept)
            elements<T>(result)[at++] = element(rows.batch[batch] + row, columns.batch[batch] + column);
    });
    return result;
  }

  /// The row of a table that an id means.
  static std::int64_t row_of(const Tensor& ids, std::size_t index, std::int64_t rows) {
    return std::clamp<std::int64_t>(elements<std::int32_t>(ids)[index], 0, rows - 1);
  }

  Tensor gather(const Node& node) const {
    const Tensor &table = operand(node, 0), &ids = operand(node, 1);
    Tensor result = empty(node.type);
    const std::size_t bytes =
        static_cast<std::size_t>(product(std::span(table.dims).subspan(1))) * size_of(table.dtype);
    if (bytes == 0) return result;
    for (std::size_t i = 0; i < static_cast<std::size_t>(ids.count()); ++i)
      std::memcpy(result.data.data() + i * bytes, table.data.data() + row_of(ids, i, table.dims[0]) * bytes, bytes);
    return result;
  }

  Tensor scatter_add(const Node& node) const {
    const Tensor &x = operand(node, 0), &ids = operand(node, 1);
    Tensor result = node.operands.size() > 2 ? operand(node, 2) : empty(node.type);
    const std::int64_t inside = product(std::span(result.dims).subspan(1));
    with_type(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (std::size_t i = 0; i < static_cast<std::size_t>(ids.count()); ++i) {
        T* const row = elements<T>(result) + row_of(ids, i, result.dims[0]) * inside;
        for (std::int64_t k = 0; k < inside; ++k) row[k] = plus(row[k], elements<T>(x)[i * inside + k]);
      }
    });
    return result;
  }

  /// What stands for the op once it is expanded.
  Tensor formula(const Node& node) const {
    Builder builder;
    std::vector<Value> operands;
    Environment given = environment_;
    given.inputs.clear();
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      operands.push_back(builder.leaf(Op::input, std::to_string(i), graph_[node.operands[i]].type));
      given.inputs[std::to_string(i)] = operand(node, i);
    }
    builder.output(OutputKind::result, "value", definition(node.op).formula(builder, operands));
    return evaluate(std::move(builder).finish(), given, true).at("value");
  }

  /// One result of a loop; the others are kept for the nodes that ask for them.
  Tensor loop(NodeId id) const {
    const Node& node = graph_[id];
    const auto known =
        std::ranges::find_if(loops_, [&](const auto& loop) { return same_loop(graph_[loop.first], node); });
    const auto result = static_cast<std::size_t>(std::get<Scan>(node.attributes).result);
    if (known != loops_.end()) return known->second[result];
    loops_.emplace_back(id, results_of_loop(node));
    return loops_.back().second[result];
  }

  std::vector<Tensor> results_of_loop(const Node& node) const {
    const Scan& scan = std::get<Scan>(node.attributes);
    const Graph& body = *scan.body;
    const auto carries = static_cast<std::size_t>(scan.carries), sequences = static_cast<std::size_t>(scan.sequences);
    Environment step = environment_;
    step.inputs.clear();
    for (std::size_t i = 0; i < node.operands.size(); ++i) step.inputs[std::to_string(i)] = operand(node, i);
    std::vector<Tensor> results;
    for (const Output& output : body.outputs) {
      Type type = body[output.node].type;
      if (results.size() >= carries) type.shape.insert(type.shape.begin(), Extent{scan.steps, false});
      results.push_back(empty(type));
    }
    for (std::int64_t i = 0; i < scan.steps; ++i) {
      const std::int64_t at = scan.backwards ? scan.steps - 1 - i : i;
      for (std::size_t k = carries; k < carries + sequences; ++k)
        step.inputs[std::to_string(k)] = row(operand(node, k), at);
      std::map<std::string, Tensor> made = evaluate(body, step, assume_order_);
      for (std::size_t k = 0; k < results.size(); ++k) {
        Tensor& value = made.at(std::to_string(k));
        if (k < carries)
          step.inputs[std::to_string(k)] = std::move(value);
        else
          std::ranges::copy(value.data, results[k].data.begin() + at * static_cast<std::int64_t>(value.data.size()));
      }
    }
    for (std::size_t k = 0; k < carries; ++k) results[k] = step.inputs.at(std::to_string(k));
    return results;
  }

  /// x[index] along the first axis.
  static Tensor row(const Tensor& x, std::int64_t index) {
    Tensor result = Tensor::zeros(x.dtype, {x.dims.begin() + 1, x.dims.end()});
    const auto begin = x.data.begin() + index * static_cast<std::int64_t>(result.data.size());
    std::copy(begin, begin + static_cast<std::int64_t>(result.data.size()), result.data.begin());
    return result;
  }

  const Graph& graph_;
  const Environment& environment_;
  bool assume_order_;
  std::vector<Tensor> values_;
  mutable std::vector<std::pair<NodeId, std::vector<Tensor>>> loops_;  ///< all results, by the first node that is one
};

}  // namespace

std::map<std::string, Tensor> evaluate(const Graph& graph, const Environment& environment, bool assume_order) {
  return Evaluation(graph, environment, assume_order).run();
}

}  // namespace nnc
