#include "codegen/draws.h"

#include "codegen/scalar.h"
#include "ir/scalar/builder.h"

namespace nnc {

namespace {

constexpr int words_of_group = 4;
constexpr std::size_t counters = 4;  ///< the first inputs of PhiloxParts::words

/// An integer of a body as a sum of loop indices; nothing where it is anything else.
std::optional<Affine> index_form(const ScalarProgram& body, const std::vector<BodyInput>& inputs, ScalarId id,
                                 std::size_t loops) {
  const ScalarInstruction& x = body.code[id];
  Affine form{0, std::vector<std::int64_t>(loops, 0)};
  if (x.op == ScalarOp::constant) {
    form.offset = static_cast<std::int64_t>(x.bits);
    return form;
  }
  if (x.op == ScalarOp::input) {
    const auto* loop = std::get_if<LoopIndex>(&inputs[x.bits]);
    if (loop == nullptr) return std::nullopt;
    form.coefficients[loop->loop] = 1;
    return form;
  }
  if (x.op != ScalarOp::int_add && x.op != ScalarOp::int_mul) return std::nullopt;
  const auto a = index_form(body, inputs, x.operands[0], loops), b = index_form(body, inputs, x.operands[1], loops);
  if (!a || !b) return std::nullopt;
  if (x.op == ScalarOp::int_add) {
    form.offset = a->offset + b->offset;
    for (std::size_t loop = 0; loop < loops; ++loop)
      form.coefficients[loop] = a->coefficients[loop] + b->coefficients[loop];
    return form;
  }
  const auto number = [](const Affine& of) {
    return std::ranges::all_of(of.coefficients, [](auto by) { return by == 0; });
  };
  if (!number(*a) && !number(*b)) return std::nullopt;
  const Affine& along = number(*a) ? *b : *a;
  const std::int64_t factor = number(*a) ? a->offset : b->offset;
  form.offset = factor * along.offset;
  for (std::size_t loop = 0; loop < loops; ++loop) form.coefficients[loop] = factor * along.coefficients[loop];
  return form;
}

}  // namespace

std::optional<Affine> column_of_groups(const ScalarProgram& body, const std::vector<BodyInput>& inputs, ScalarId column,
                                       const Nest& nest, std::span<const std::int64_t> extents) {
  if (nest.vector_loop < 0 || nest.lanes % words_of_group != 0) return std::nullopt;
  std::optional<Affine> form = index_form(body, inputs, column, extents.size());
  if (!form || nest.depends_on_computed(*form, false)) return std::nullopt;
  bool whole = form->offset % words_of_group == 0;
  for (std::size_t loop = 0; loop < extents.size(); ++loop) {
    if (extents[loop] == 1) form->coefficients[loop] = 0;
    const std::int64_t by = form->coefficients[loop];
    // The vector loop's index is a multiple of the lanes.
    whole = whole && (static_cast<int>(loop) == nest.vector_loop ? by == 1 : by % words_of_group == 0);
  }
  return whole ? form : std::nullopt;
}

DrawKeys::DrawKeys(Emitter& emit, llvm::Value* key) : emit_(emit) {
  const ScalarProgram& program = philox_parts().keys;
  const Carried values = emit_values(emit, program, [&](std::size_t) { return key; }, 1);
  memory_ = emit.scratch(emit.ir.getInt64Ty(), static_cast<std::int64_t>(program.results.size()));
  for (std::size_t i = 0; i < program.results.size(); ++i)
    emit.ir.CreateAlignedStore(values[program.results[i]],
                               emit.element(emit.ir.getInt64Ty(), memory_, emit.index(static_cast<std::int64_t>(i))),
                               llvm::Align(8));
}

llvm::Value* DrawKeys::round_key(std::size_t number) const {
  llvm::Type* i64 = emit_.ir.getInt64Ty();
  return emit_.ir.CreateAlignedLoad(i64, emit_.element(i64, memory_, emit_.index(static_cast<std::int64_t>(number))),
                                    llvm::Align(8));
}

DrawsOfRow::DrawsOfRow(Emitter& emit, const DrawKeys& keys, llvm::Value* row, bool wide)
    : emit_(emit), keys_(keys), row_(row), row_high_(emit.ir.CreateLShr(row, emit.index(32))), wide_(wide) {
  const ScalarProgram& program = philox_parts().words;
  known_ = emit_values(emit, program, [&](std::size_t number) { return input(number, nullptr); }, 1);
  for (std::size_t id = 0; id < program.code.size(); ++id)
    if (program.code[id].op == ScalarOp::input) known_[id] = nullptr;
}

/// `group` is null where it is not known yet.
llvm::Value* DrawsOfRow::input(std::size_t number, llvm::Value* group) const {
  switch (number) {
    case 0:
      return group;
    case 1:
      if (!wide_) return emit_.index(0);
      return group ? emit_.ir.CreateLShr(group, llvm::ConstantInt::get(group->getType(), 32)) : nullptr;
    case 2:
      return row_;
    case 3:
      return row_high_;
    default:
      return keys_.round_key(number - counters);
  }
}

llvm::Value* DrawsOfRow::words(llvm::Value* column, int lanes) const {
  llvm::IRBuilder<>& ir = emit_.ir;
  const int groups = lanes / words_of_group;
  llvm::Value* group = ir.CreateLShr(column, emit_.index(2));
  if (groups > 1) {
    llvm::SmallVector<llvm::Constant*, 8> steps;
    for (int i = 0; i < groups; ++i) steps.push_back(emit_.index(i));
    group = ir.CreateAdd(emit_.splat(group, groups), llvm::ConstantVector::get(steps));
  }
  llvm::Value* thirty_two = llvm::ConstantInt::get(group->getType(), 32);
  const ScalarProgram& program = philox_parts().words;
  const Carried values =
      emit_values(emit_, program, [&](std::size_t number) { return input(number, group); }, groups, known_);
  const auto pair = [&](std::size_t first) {
    llvm::Value *low = values[program.results[first]], *above = values[program.results[first + 1]];
    return ir.CreateOr(low, ir.CreateShl(above, thirty_two));
  };
  llvm::Value* pairs[] = {pair(0), pair(2)};
  llvm::Value* all = nullptr;
  if (groups == 1) {
    all = llvm::PoisonValue::get(lanes_type(ir.getInt64Ty(), 2));
    for (std::uint64_t i = 0; i < 2; ++i) all = ir.CreateInsertElement(all, pairs[i], i);
  } else {
    llvm::SmallVector<int, 16> order;
    for (int i = 0; i < groups; ++i) order.append({i, groups + i});
    all = ir.CreateShuffleVector(pairs[0], pairs[1], order);
  }
  all = ir.CreateBitCast(all, lanes_type(ir.getInt32Ty(), lanes));
  return ir.CreateZExt(all, lanes_type(ir.getInt64Ty(), lanes));
}

}  // namespace nnc
