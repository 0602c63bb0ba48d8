#include "passes/body_writer.h"

#include <algorithm>
#include <cassert>

#include "ir/op.h"

namespace nnc {

ScalarId BodyWriter::result(NodeId node, const IndexMap& map, bool inside) {
  return result_of(only_inside(node, map.guards, inside ? computed(node, map) : emit(node, map)));
}

std::size_t BodyWriter::computed_loop(NodeId ids, const IndexMap& map, std::int64_t rows) {
  const Scalar value = clamped(emit(ids, node_at(ids).type.shape.empty() ? IndexMap{} : map), rows);
  const ScalarId result = result_of(value);
  for (std::size_t i = 0; i < indices_.size(); ++i)
    if (indices_[i].value == result && indices_[i].extent == rows) return nest_ + i;
  indices_.push_back({result, rows});
  index_values_.push_back(value);
  loops_.push_back(rows);
  return loops_.size() - 1;
}

void BodyWriter::finish(Stage& stage) && {
  const auto widen = [&](Access& access) {
    IndexMap map = widened({std::move(access.map), std::move(access.guards)}, loops_.size());
    access.map = std::move(map.rows);
    access.guards = std::move(map.guards);
  };
  for (BodyInput& input : inputs_) {
    if (auto* access = std::get_if<Access>(&input)) widen(*access);
    if (auto* inside = std::get_if<Inside>(&input))
      inside->guards = widened({{}, std::move(inside->guards)}, loops_.size()).guards;
  }
  for (Store& store : stage.stores) widen(store.to);
  for (Fold& fold : stage.folds)
    if (fold.carry) widen(*fold.carry);
  stage.body = {std::move(builder_).finish(results_), std::move(inputs_), std::move(indices_)};
}

ScalarId BodyWriter::result_of(Scalar value) {
  for (std::size_t i = 0; i < results_.size(); ++i)
    if (results_[i].id == value.id) return static_cast<ScalarId>(i);
  results_.push_back(value);
  return static_cast<ScalarId>(results_.size() - 1);
}

Scalar BodyWriter::input(BodyInput which, ScalarType type) {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i] == which) return input_values_[i];
  inputs_.push_back(std::move(which));
  input_values_.push_back(builder_.input(type));
  return input_values_.back();
}

Scalar BodyWriter::load(BufferId buffer, const IndexMap& map) {
  IndexMap at = narrowed(map, nest_);
  return input(Access{buffer, std::move(at.rows), std::move(at.guards)},
               scalar_type(context_.program.buffers[buffer].dtype));
}

bool BodyWriter::is_guarded(Scalar value, const std::vector<Guard>& guards) const {
  const ScalarInstruction& made = builder_.program().code[value.id];
  if (made.op == ScalarOp::select) {
    const auto operand = [&](int i) { return Scalar{value.builder, made.operands[static_cast<std::size_t>(i)]}; };
    const ScalarInstruction& otherwise = builder_.program().code[made.operands[2]];
    const bool zero = otherwise.op == ScalarOp::constant && otherwise.bits == 0;
    return is_guarded(operand(0), guards) && (zero || is_guarded(operand(2), guards));
  }
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (const auto* access = std::get_if<Access>(&inputs_[i]); access && input_values_[i].id == value.id)
      return std::ranges::all_of(
          guards, [&](const Guard& guard) { return std::ranges::find(access->guards, guard) != access->guards.end(); });
  return false;
}

Scalar BodyWriter::where(const std::vector<Guard>& guards, Scalar value, Scalar otherwise) {
  if (guards.empty()) return value;
  return select(input(Inside{guards}, ScalarType::boolean), value, otherwise);
}

Scalar BodyWriter::only_inside(NodeId node, const std::vector<Guard>& guards, Scalar value) {
  return is_guarded(value, guards) ? value : where(guards, value, zero_of(node));
}

Scalar BodyWriter::emit(NodeId node, const IndexMap& map) {
  const Node& at = node_at(node);
  if (at.op == Op::constant && at.type.shape.empty())
    return builder_.constant(std::get<Constant>(at.attributes).values[0], scalar_type(at.type.dtype));
  if (context_.buffers.is_leaf(node)) {
    const bool copied = context_.clusters.home[node] >= 0 && !member(node);
    return load(copied ? context_.buffers.arena(node) : context_.buffers.leaf(node), map);
  }
  if (context_.clusters.home[node] >= 0 && !member(node)) return load(context_.buffers.arena(node), map);
  if (member(node)) {
    if (is_core(at)) return input(CoreValue{}, scalar_type(at.type.dtype));
    if (is_fold(at)) return input(context_.folds.at(node), scalar_type(at.type.dtype));
    const Dims& outer = context_.clusters.clusters[context_.cluster].outer;
    if (context_.crossing[node] && context_.levels.stage(node, outer) != key_)
      return load(context_.buffers.arena(node), map);
  }
  return computed(node, map);
}

Scalar BodyWriter::computed(NodeId node, const IndexMap& wide) {
  const IndexMap map = narrowed(wide, nest_);
  for (const Emitted& earlier : emitted_)
    if (earlier.node == node && earlier.map == map) return earlier.value;
  const Scalar value = compute(node, map);
  emitted_.push_back({node, map, value});
  return value;
}

Scalar BodyWriter::compute(NodeId node, const IndexMap& map) {
  const Node& at = node_at(node);
  if (is_view(at)) return through(node, widened(map, loops_.size()));
  if (at.op == Op::gather) return gathered(node, map);
  if (at.operands.empty() && definition(at.op).cls == OpClass::leaf) return emit(node, map);
  if (is_core(at) || is_fold(at)) return emit(node, map);
  std::vector<DType> dtypes;
  std::vector<Scalar> operands;
  if (definition(at.op).cls == OpClass::generate) {
    operands = indices(at, map);
  } else {
    for (NodeId operand : at.operands) {
      const Type& type = node_at(operand).type;
      dtypes.push_back(type.dtype);
      operands.push_back(emit(operand, type.shape.empty() ? IndexMap{} : map));
    }
  }
  const ScalarProgram program = definition(at.op).scalar(dtypes, at.type.dtype, at.attributes);
  return builder_.inline_program(program, operands)[0];
}

std::optional<BodyWriter::Piece> BodyWriter::piece(NodeId view, std::size_t operand, const IndexMap& map) {
  // The piece before may have computed an index, which is one loop more.
  const IndexMap inner = *through_view(context_.graph, view, widened(map, loops_.size()), loops_, operand);
  std::vector<Guard> added(inner.guards.begin() + static_cast<std::ptrdiff_t>(map.guards.size()), inner.guards.end());
  if (std::ranges::any_of(added, [&](const Guard& guard) { return never_holds(guard, loops_); })) return std::nullopt;
  added = narrowed({{}, std::move(added)}, nest_).guards;
  return Piece{emit(node_at(view).operands[operand], inner), std::move(added)};
}

Scalar BodyWriter::padded(NodeId node, const IndexMap& map) {
  const auto inside = piece(node, 0, map);
  return inside ? only_inside(node, inside->guards, inside->value) : zero_of(node);
}

Scalar BodyWriter::joined(NodeId node, const IndexMap& map) {
  std::optional<Scalar> value;
  for (std::size_t i = node_at(node).operands.size(); i-- > 0;) {
    const auto here = piece(node, i, map);
    if (here) value = value ? where(here->guards, here->value, *value) : here->value;
  }
  return value ? *value : zero_of(node);
}

Scalar BodyWriter::through(NodeId node, const IndexMap& map) {
  if (std::holds_alternative<Pad>(node_at(node).attributes)) return padded(node, map);
  if (std::holds_alternative<Concat>(node_at(node).attributes)) return joined(node, map);
  if (const auto inner = through_view(context_.graph, node, map, loops_))
    return emit(node_at(node).operands[0], *inner);
  // Elements in the same order under other dims: read the memory under these.
  const NodeId base = under_reshapes(context_.graph, node);
  const BufferId buffer = context_.buffers.under(context_.buffers.of(base), dims_of(node_at(node).type));
  return load(buffer, map);
}

Scalar BodyWriter::gathered(NodeId node, const IndexMap& map) {
  const NodeId table = node_at(node).operands[0], ids = node_at(node).operands[1];
  const IndexMap ids_map = gather_maps(context_.graph, node, map, loops_.size()).ids;
  const std::size_t loop = computed_loop(ids, ids_map, dims_of(node_at(table).type)[0]);
  return emit(table, gather_maps(context_.graph, node, map, loop).table);
}

Scalar BodyWriter::integer(ScalarOp op, Scalar a, Scalar b) {
  const Scalar operands[] = {a, b};
  return builder_.make(op, ScalarType::i64, operands);
}

Scalar BodyWriter::clamped(Scalar id, std::int64_t rows) {
  const Scalar first = builder_.constant(0, ScalarType::i32);
  const Scalar last = builder_.constant(static_cast<double>(rows - 1), ScalarType::i32);
  const Scalar above = nnc::select(nnc::less(id, first), first, id);
  return convert(nnc::select(nnc::less(last, above), last, above), ScalarType::i64);
}

Scalar BodyWriter::loop_index(std::size_t loop) {
  if (loop >= nest_) return index_values_[loop - nest_];
  return input(LoopIndex{static_cast<std::uint16_t>(loop)}, ScalarType::i64);
}

Scalar BodyWriter::affine(const AffineRow& row) {
  assert(row.divisor == 1 && "what is generated lies in memory where its index is a quotient");
  std::optional<Scalar> sum;
  const auto add = [&](Scalar term) { sum = sum ? integer(ScalarOp::int_add, *sum, term) : term; };
  for (std::size_t loop = 0; loop < row.coefficients.size(); ++loop) {
    if (row.coefficients[loop] == 0) continue;
    const Scalar index = loop_index(loop);
    add(row.coefficients[loop] == 1 ? index : integer(ScalarOp::int_mul, index, whole(row.coefficients[loop])));
  }
  if (row.offset != 0 || !sum) add(whole(row.offset));
  return *sum;
}

std::vector<Scalar> BodyWriter::indices(const Node& node, const IndexMap& narrow) {
  const IndexMap map = widened(narrow, loops_.size());
  const Dims dims = dims_of(node.type), strides = dense_strides(dims);
  const auto* iota = std::get_if<Iota>(&node.attributes);
  const auto* random = std::get_if<Random>(&node.attributes);
  const Scalar zero = whole(0);
  const auto from_start = [&](const AffineRow& row) {
    return integer(ScalarOp::int_add, affine(row), number(CallValue::Which::row_offset));
  };
  if (iota) {
    const AffineRow& row = map[iota->axis];
    return {zero, zero, iota->from_row_offset ? from_start(row) : affine(row), zero, zero, zero};
  }
  AffineRow column{0, Dims(loops_.size(), 0)};
  for (std::size_t axis = 1; axis < dims.size(); ++axis) {
    column.offset += map[axis].offset * strides[axis];
    for (std::size_t loop = 0; loop < loops_.size(); ++loop)
      column.coefficients[loop] += map[axis].coefficients[loop] * strides[axis];
  }
  const Scalar row = dims.empty() ? zero : random && random->from_row_offset ? from_start(map[0]) : affine(map[0]);
  const Scalar stream = random ? input(RandomStream{random->stream}, ScalarType::i64) : zero;
  return {row, affine(column), zero, number(CallValue::Which::seed), number(CallValue::Which::step), stream};
}

}  // namespace nnc
