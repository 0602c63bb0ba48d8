// A tiny net in one piece: one kernel for the whole program. Every element that a value has in one row is a value of
// its own, so products and sums over small axes are straight lines of instructions; what is left of loops is the rows
// of the batch, along which everything is vectorised. Folds over rows (the loss, the gradients) are folds of a stage
// over rows; what only they decide (the update) is a last stage. With one row there is no loop at all.
//
// The order of additions is the graph's: what is summed within a row is added in the order and the lanes that it would
// have had, and folds over rows keep their lanes and chunks.
#include <algorithm>
#include <map>
#include <optional>

#include "ir/op.h"
#include "ir/order.h"
#include "ir/scalar/builder.h"
#include "passes/buffers.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

// What is still tiny. Every element costs instructions, and every fold over rows an accumulator.
constexpr std::int64_t most_elements = 32;
constexpr std::size_t most_instructions = 2000, most_folds = 32;

/// Every extent a number; nodes keep their numbers.
Graph with_numbers(Graph graph, std::int64_t rows) {
  for (Node& node : graph.nodes)
    for (Extent& extent : node.type.shape)
      if (extent.batched) extent = {extent.count * rows, false};
  return graph;
}

/// The net, and what is known of its values before anything is emitted.
class Net {
 public:
  Net(const Graph& opt, std::int64_t rows) : opt_(opt), graph_(with_numbers(opt, rows)), rows_(rows) {}

  /// False where it is not tiny, or has an op that is not a straight line.
  bool fits() {
    double work = 0;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      if (!fits(id)) return false;
      work += static_cast<double>(count_of(shape(id))) * cost(id);
      if (work > most_instructions) return false;
    }
    return true;
  }

  const Graph& graph() const { return graph_; }
  std::int64_t rows() const { return rows_; }
  /// Whether axis 0 is the rows; with one row it is an axis of one element like any other.
  bool by_rows(NodeId id) const { return rows_ > 1 && counts_rows(id); }
  /// Whether axis 0 counts rows from the start of the data.
  bool counts_rows(NodeId id) const { return !opt_[id].type.shape.empty() && opt_[id].type.shape[0].batched; }
  /// Extents of what one row has.
  Dims shape(NodeId id) const {
    Dims dims = dims_of(graph_[id].type);
    if (by_rows(id)) dims[0] = 1;
    return dims;
  }
  /// How many folds over rows follow one another before a value is known.
  int level(NodeId id) const { return levels_[id]; }
  /// Whether a node is a fold over rows.
  bool folds_rows(NodeId id) const {
    const Node& node = graph_[id];
    if (node.operands.empty() || !by_rows(node.operands[0])) return false;
    if (const auto* dot = std::get_if<Dot>(&node.attributes)) return std::ranges::find(dot->a, 0) != dot->a.end();
    const auto* reduce = std::get_if<Reduce>(&node.attributes);
    return reduce && std::ranges::find(reduce->axes, 0) != reduce->axes.end();
  }

 private:
  bool fits(NodeId id) {
    const Node& node = graph_[id];
    const Shape& shape = opt_[id].type.shape;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
      if (shape[axis].batched && (axis > 0 || shape[axis].count != 1)) return false;
    const std::int64_t elements = count_of(this->shape(id));
    if (elements == 0 || elements > most_elements || rows_ == 0) return false;
    int level = 0;
    for (NodeId operand : node.operands) level = std::max(level, levels_[operand]);
    levels_.push_back(level + (folds_rows(id) ? 1 : 0));
    switch (definition(node.op).cls) {
      case OpClass::leaf:
        return node.op != Op::carry;
      case OpClass::generate:
      case OpClass::elementwise:
      case OpClass::view:
        return true;
      case OpClass::reduce:
        return reduces(id);
      case OpClass::contract:
        return contracts(id);
      case OpClass::index:
      case OpClass::control:
      case OpClass::loop:
      case OpClass::formula:
        return false;
    }
    return false;
  }

  /// A fold over rows is over nothing else, and in lanes, along which the rows go.
  bool reduces(NodeId id) const {
    const Node& node = graph_[id];
    const auto* reduce = std::get_if<Reduce>(&node.attributes);
    if (!reduce || node.op == Op::argmax || node.operands.size() > 1) return false;
    if (!folds_rows(id)) return true;
    if (node.op == Op::sum && reduce->order != Order::lanes) return false;
    return count_of(shape(id)) == count_of(shape(node.operands[0]));
  }
  bool contracts(NodeId id) const {
    const auto& dot = std::get<Dot>(graph_[id].attributes);
    return !folds_rows(id) || (dot.order == Order::lanes && dot.a.size() == 1 && dot.batch_a.empty());
  }

  double cost(NodeId id) const {
    const Node& node = graph_[id];
    const auto* dot = std::get_if<Dot>(&node.attributes);
    if (!dot || folds_rows(id)) return cost_of(graph_, id);
    double steps = 1;
    for (int axis : dot->a) steps *= static_cast<double>(shape(node.operands[0])[static_cast<std::size_t>(axis)]);
    return steps;
  }

  const Graph& opt_;
  Graph graph_;
  std::int64_t rows_;
  std::vector<int> levels_;
};

/// Calls visit(index) for every index of a box, in row-major order.
template <class Visit>
void each_index(const Dims& extents, const Visit& visit) {
  Dims index(extents.size(), 0);
  for (std::int64_t left = count_of(extents); left > 0; --left) {
    visit(index);
    for (std::size_t axis = extents.size(); axis-- > 0 && ++index[axis] == extents[axis];) index[axis] = 0;
  }
}

std::size_t place(const Dims& index, const Dims& extents) {
  const Dims strides = dense_strides(extents);
  std::int64_t at = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * strides[axis];
  return static_cast<std::size_t>(at);
}

/// A sum in the making, within a row: one accumulator, or one for each lane that has an element. Lanes without one are
/// +0, and adding that changes nothing.
class Accumulator {
 public:
  Accumulator(ScalarBuilder& builder, const Node& node, DType dtype, const Dims& extents)
      : builder_(builder),
        type_(scalar_type(dtype)),
        lanes_(order_of(node) == Order::lanes ? order_lanes(dtype) : 1),
        lane_axis_(order_lane_axis(extents)),
        sums_(static_cast<std::size_t>(lanes_)) {}

  void add(const Dims& index, Scalar value) {
    std::optional<Scalar>& sum = at(index);
    const Scalar before = sum ? *sum : builder_.constant(0, type_);
    sum = is_float(type_) ? before + value : int_add(before, value);
  }
  void add_product(const Dims& index, Scalar a, Scalar b) {
    std::optional<Scalar>& sum = at(index);
    const Scalar before = sum ? *sum : builder_.constant(0, type_);
    sum = is_float(type_) ? fma(a, b, before) : int_add(before, int_mul(a, b));
  }
  /// Of a contraction in lanes the total begins with +0 in f64, so it is never -0.
  Scalar total(bool from_zero) {
    for (std::size_t width = sums_.size() / 2; width > 0; width /= 2)
      for (std::size_t lane = 0; lane < width; ++lane)
        if (std::optional<Scalar>& low = sums_[lane], &high = sums_[lane + width]; low && high)
          low = is_float(type_) ? *low + *high : int_add(*low, *high);
        else if (high)
          low = high;
    const Scalar zero = builder_.constant(0, type_);
    if (!sums_[0]) return zero;
    return from_zero && is_float(type_) ? zero + *sums_[0] : *sums_[0];
  }

 private:
  std::optional<Scalar>& at(const Dims& index) {
    const std::int64_t lane = lane_axis_ < 0 ? 0 : index[static_cast<std::size_t>(lane_axis_)] % lanes_;
    return sums_[static_cast<std::size_t>(lane)];
  }

  ScalarBuilder& builder_;
  ScalarType type_;
  int lanes_;
  int lane_axis_;
  std::vector<std::optional<Scalar>> sums_;
};

using FoldsOfNodes = std::map<NodeId, std::vector<FoldResult>>;

/// Writes the body of one stage: over rows, or without a loop.
class PieceWriter {
 public:
  PieceWriter(const Net& net, const Buffers& buffers, const Program& program, const FoldsOfNodes& folds, bool rows)
      : net_(net), graph_(net.graph()), buffers_(buffers), program_(program), folds_(folds), loops_(rows ? 1 : 0) {}

  /// The elements that a node has in one row.
  const std::vector<Scalar>& elements(NodeId id) {
    if (const auto found = known_.find(id); found != known_.end()) return found->second;
    return known_[id] = made(id);
  }
  /// Where an element lies in a buffer of the node's type.
  std::vector<AffineRow> map_of(NodeId id, const Dims& index) const {
    std::vector<AffineRow> map;
    for (std::size_t axis = 0; axis < index.size(); ++axis) {
      map.push_back({index[axis], Dims(loops_, 0)});
      if (axis == 0 && net_.by_rows(id)) map[0].coefficients[0] = 1;
    }
    return map;
  }
  ScalarId result(Scalar value) {
    for (std::size_t i = 0; i < results_.size(); ++i)
      if (results_[i].id == value.id) return static_cast<ScalarId>(i);
    results_.push_back(value);
    return static_cast<ScalarId>(results_.size() - 1);
  }
  Body finish() && { return {std::move(builder_).finish(results_), std::move(inputs_)}; }

 private:
  std::vector<Scalar> made(NodeId id) {
    const Node& node = graph_[id];
    if (const auto fold = folds_.find(id); fold != folds_.end()) {
      std::vector<Scalar> values;
      for (const FoldResult& at : fold->second) values.push_back(input(at, scalar_type(node.type.dtype)));
      return values;
    }
    switch (definition(node.op).cls) {
      case OpClass::leaf:
        return leaf(id);
      case OpClass::view:
        return node.op == Op::reshape ? elements(node.operands[0]) : viewed(id);
      case OpClass::reduce:
        return reduced(id);
      case OpClass::contract:
        return contracted(id);
      default:
        return computed(id);
    }
  }

  Scalar input(BodyInput which, ScalarType type) {
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i] == which) return input_values_[i];
    inputs_.push_back(std::move(which));
    input_values_.push_back(builder_.input(type));
    return input_values_.back();
  }

  std::vector<Scalar> leaf(NodeId id) {
    const Node& node = graph_[id];
    const ScalarType type = scalar_type(node.type.dtype);
    std::vector<Scalar> values;
    if (const auto* constant = std::get_if<Constant>(&node.attributes))
      for (double value : constant->values) values.push_back(builder_.constant(value, type));
    else if (const auto* size = std::get_if<Size>(&node.attributes))
      values.push_back(
          builder_.constant(static_cast<double>(size->extent.count * (size->extent.batched ? net_.rows() : 1)), type));
    else
      each_index(net_.shape(id), [&](const Dims& index) {
        const BufferId buffer = buffers_.leaf(id);
        values.push_back(input(Access{buffer, map_of(id, index)}, scalar_type(program_.buffers[buffer].dtype)));
      });
    return values;
  }

  /// Elements are taken from where a view shows them: every index but the row's is a number.
  std::vector<Scalar> viewed(NodeId id) {
    const Node& node = graph_[id];
    const Dims loops(loops_, net_.rows());
    std::vector<Scalar> values;
    each_index(net_.shape(id), [&](const Dims& index) {
      const IndexMap here{map_of(id, index)};
      std::optional<Scalar> value;
      for (std::size_t operand = 0; operand < node.operands.size() && !value; ++operand) {
        const IndexMap there = *through_view(graph_, id, here, loops, operand);
        if (std::ranges::any_of(there.guards, [&](const Guard& guard) { return never_holds(guard, loops); })) continue;
        const NodeId of = node.operands[operand];
        Dims at;
        for (const AffineRow& row : there.rows) at.push_back(row.offset / row.divisor);
        value = elements(of)[place(at, net_.shape(of))];
      }
      values.push_back(value ? *value : builder_.constant(0, scalar_type(node.type.dtype)));
    });
    return values;
  }

  std::vector<Scalar> computed(NodeId id) {
    const Node& node = graph_[id];
    const OpDef& op = definition(node.op);
    std::vector<DType> dtypes;
    for (NodeId operand : node.operands) dtypes.push_back(graph_[operand].type.dtype);
    const ScalarProgram program = op.scalar(dtypes, node.type.dtype, node.attributes);
    std::vector<Scalar> values;
    each_index(net_.shape(id), [&](const Dims& index) {
      std::vector<Scalar> operands;
      if (op.cls == OpClass::generate) operands = indices(id, index);
      for (NodeId operand : node.operands) {
        const std::vector<Scalar>& all = elements(operand);
        operands.push_back(all[all.size() == 1 ? 0 : values.size()]);
      }
      values.push_back(builder_.inline_program(program, operands)[0]);
    });
    return values;
  }

  /// The inputs of a generate op's program (ir/scalar/program.h).
  std::vector<Scalar> indices(NodeId id, const Dims& index) {
    const Scalar zero = whole(0);
    const auto along = [&](std::size_t axis) {
      if (axis > 0 || !net_.counts_rows(id)) return whole(index[axis]);
      const Scalar offset = number(CallValue::Which::row_offset);
      return net_.by_rows(id) ? int_add(input(LoopIndex{0}, ScalarType::i64), offset) : offset;
    };
    if (const auto* iota = std::get_if<Iota>(&graph_[id].attributes))
      return {zero, zero, along(static_cast<std::size_t>(iota->axis)), zero, zero, zero};
    const Dims strides = dense_strides(net_.shape(id));
    std::int64_t column = 0;
    for (std::size_t axis = 1; axis < index.size(); ++axis) column += index[axis] * strides[axis];
    const auto* random = std::get_if<Random>(&graph_[id].attributes);
    return {index.empty() ? zero : along(0),
            whole(column),
            zero,
            number(CallValue::Which::seed),
            number(CallValue::Which::step),
            random ? input(RandomStream{random->stream}, ScalarType::i64) : zero};
  }
  Scalar whole(std::int64_t value) { return builder_.bits(static_cast<std::uint64_t>(value), ScalarType::i64); }
  Scalar number(CallValue::Which which) { return input(CallValue{which}, ScalarType::i64); }

  /// A sum or a maximum within a row.
  std::vector<Scalar> reduced(NodeId id) {
    const Node& node = graph_[id];
    const NodeId of = node.operands[0];
    const std::vector<Scalar>& all = elements(of);
    const auto& axes = std::get<Reduce>(node.attributes).axes;
    const Dims shape = net_.shape(of);
    Dims kept = shape, removed;
    for (int axis : axes) {
      kept[static_cast<std::size_t>(axis)] = 1;
      removed.push_back(shape[static_cast<std::size_t>(axis)]);
    }
    std::vector<Scalar> values;
    each_index(kept, [&](const Dims& first) {
      Accumulator sum(builder_, node, graph_[of].type.dtype, removed);
      std::optional<Scalar> greatest;
      each_index(removed, [&](const Dims& step) {
        Dims index = first;
        for (std::size_t i = 0; i < axes.size(); ++i) index[static_cast<std::size_t>(axes[i])] = step[i];
        const Scalar value = all[place(index, shape)];
        if (node.op == Op::sum)
          sum.add(step, value);
        else
          greatest = greatest ? maximum(*greatest, value) : value;
      });
      values.push_back(node.op == Op::sum ? sum.total(false) : *greatest);
    });
    return values;
  }

  /// A contraction within a row. Result axes: the pairs that are kept, then a's free axes, then b's.
  std::vector<Scalar> contracted(NodeId id) {
    const Node& node = graph_[id];
    const auto& dot = std::get<Dot>(node.attributes);
    const NodeId a = node.operands[0], b = node.operands[1];
    const std::vector<Scalar>&of_a = elements(a), &of_b = elements(b);
    const Dims shape_a = net_.shape(a), shape_b = net_.shape(b);
    const auto free_axes = [](const Dims& shape, const std::vector<int>& paired, const std::vector<int>& kept) {
      std::vector<int> free;
      for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
        if (std::ranges::find(paired, axis) == paired.end() && std::ranges::find(kept, axis) == kept.end())
          free.push_back(axis);
      return free;
    };
    const std::vector<int> free_a = free_axes(shape_a, dot.a, dot.batch_a),
                           free_b = free_axes(shape_b, dot.b, dot.batch_b);
    Dims steps;
    for (int axis : dot.a) steps.push_back(shape_a[static_cast<std::size_t>(axis)]);
    std::vector<Scalar> values;
    each_index(net_.shape(id), [&](const Dims& index) {
      Accumulator sum(builder_, node, graph_[a].type.dtype, steps);
      each_index(steps, [&](const Dims& step) {
        Dims at_a(shape_a.size(), 0), at_b(shape_b.size(), 0);
        std::size_t next = 0;
        const auto put = [&](const std::vector<int>& axes, Dims& at) {
          for (int axis : axes) at[static_cast<std::size_t>(axis)] = index[next++];
        };
        put(dot.batch_a, at_a);
        for (std::size_t i = 0; i < dot.batch_a.size(); ++i) at_b[static_cast<std::size_t>(dot.batch_b[i])] = index[i];
        put(free_a, at_a);
        put(free_b, at_b);
        for (std::size_t i = 0; i < steps.size(); ++i) {
          at_a[static_cast<std::size_t>(dot.a[i])] = step[i];
          at_b[static_cast<std::size_t>(dot.b[i])] = step[i];
        }
        sum.add_product(step, of_a[place(at_a, shape_a)], of_b[place(at_b, shape_b)]);
      });
      values.push_back(sum.total(dot.order == Order::lanes));
    });
    return values;
  }

  const Net& net_;
  const Graph& graph_;
  const Buffers& buffers_;
  const Program& program_;
  const FoldsOfNodes& folds_;
  std::size_t loops_;
  ScalarBuilder builder_;
  std::vector<BodyInput> inputs_;
  std::vector<Scalar> input_values_, results_;
  std::map<NodeId, std::vector<Scalar>> known_;
};

/// The kernel: a stage over rows for each level of folds, then what is left.
class PieceMaker {
 public:
  PieceMaker(const Net& net, Buffers& buffers, Draft& draft)
      : net_(net), graph_(net.graph()), buffers_(buffers), program_(draft.program) {}

  /// False where it came out longer than tiny things are.
  bool make(const std::string& name) {
    Kernel kernel;
    kernel.name = name;
    int levels = 0;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      levels = std::max(levels, net_.level(id) + 1);
      if (!definition_is_leaf(id)) kernel.origin.push_back(id);
    }
    for (const Output& output : graph_.outputs)
      targets_.push_back(buffers_.output(output, dims_of(graph_[output.node].type)));
    for (int level = 0; net_.rows() > 1 && level < levels; ++level) over_rows(kernel, level);
    once(kernel);
    std::size_t instructions = 0, folds = 0;
    for (const Stage& stage : kernel.stages) {
      folds += stage.folds.size();
      for (const ScalarInstruction& x : stage.body.program.code) instructions += x.op != ScalarOp::constant;
    }
    if (kernel.stages.empty() || instructions > most_instructions || folds > most_folds) return false;
    program_.kernels.push_back(std::move(kernel));
    return true;
  }

 private:
  bool definition_is_leaf(NodeId id) const { return definition(graph_[id].op).cls == OpClass::leaf; }

  void over_rows(Kernel& kernel, int level) {
    PieceWriter body(net_, buffers_, program_, folds_, true);
    Stage stage{.inner = {net_.rows()}, .body = {}, .folds = {}, .stores = {}};
    FoldsOfNodes made;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (net_.folds_rows(id) && net_.level(id) == level + 1) add_folds(id, body, stage, made[id], kernel);
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i)
      if (const NodeId node = graph_.outputs[i].node; net_.by_rows(node) && net_.level(node) == level)
        store(node, targets_[i], body, stage);
    if (stage.folds.empty() && stage.stores.empty()) return;
    stage.body = std::move(body).finish();
    kernel.stages.push_back(std::move(stage));
    folds_.merge(made);
  }

  void add_folds(NodeId id, PieceWriter& body, Stage& stage, std::vector<FoldResult>& made, const Kernel& kernel) {
    const Node& node = graph_[id];
    const auto add = [&](FoldOp op, Scalar value, std::optional<Scalar> factor) {
      made.push_back(
          {static_cast<std::uint16_t>(kernel.stages.size()), static_cast<std::uint16_t>(stage.folds.size())});
      Fold fold;
      fold.op = op;
      fold.order = op == FoldOp::maximum ? Order::unset : Order::lanes;
      fold.dtype = graph_[node.operands[0]].type.dtype;
      fold.result = node.type.dtype;
      fold.value = body.result(value);
      if (factor) fold.factor = body.result(*factor);
      stage.folds.push_back(fold);
    };
    const std::vector<Scalar>& values = body.elements(node.operands[0]);
    if (!std::holds_alternative<Dot>(node.attributes)) {
      for (Scalar value : values) add(node.op == Op::sum ? FoldOp::sum : FoldOp::maximum, value, std::nullopt);
      return;
    }
    const std::vector<Scalar>& factors = body.elements(node.operands[1]);
    for (Scalar value : values)
      for (Scalar factor : factors) add(FoldOp::product, value, factor);
  }

  void once(Kernel& kernel) {
    PieceWriter body(net_, buffers_, program_, folds_, false);
    Stage stage;
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i)
      if (!net_.by_rows(graph_.outputs[i].node)) store(graph_.outputs[i].node, targets_[i], body, stage);
    if (stage.stores.empty()) return;
    stage.body = std::move(body).finish();
    kernel.stages.push_back(std::move(stage));
  }

  void store(NodeId node, BufferId to, PieceWriter& body, Stage& stage) const {
    const std::vector<Scalar>& values = body.elements(node);
    std::size_t i = 0;
    each_index(net_.shape(node), [&](const Dims& index) {
      stage.stores.push_back({Access{to, body.map_of(node, index)}, body.result(values[i++])});
    });
  }

  const Net& net_;
  const Graph& graph_;
  Buffers& buffers_;
  Program& program_;
  std::vector<BufferId> targets_;  // of each output
  FoldsOfNodes folds_;
};

}  // namespace

std::optional<Draft> in_one_piece(const Graph& opt, const std::string& entry, const LowerOptions& options) {
  const std::optional<Graph> straight = unrolled(opt, most_instructions);
  if (!straight) return std::nullopt;
  Net net(*straight, options.rows);
  if (!net.fits()) return std::nullopt;
  const std::size_t nodes = straight->nodes.size();
  Clusters none{{}, std::vector<int>(nodes, -1), {}, {}, {}, {}};
  none.stored = none.dense = none.in_rows = std::vector<bool>(nodes, false);
  Draft draft;
  draft.program.rows = options.rows;
  draft.program.obligations = opt.obligations;
  Buffers buffers(net.graph(), none, options, draft);
  if (!PieceMaker(net, buffers, draft).make(entry)) return std::nullopt;
  return draft;
}

}  // namespace nnc
