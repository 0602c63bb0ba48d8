// Masks come from comparisons of full vectors and are never turned into integers: LLVM 22 rewrites a mask that is made
// of sign bits and moved to a general register into a move of the signs, and loses the mask's other uses.
#include "codegen/scalar.h"

#include <fmt/format.h>
#include <llvm/IR/Intrinsics.h>

#include <numeric>

#include "ir/scalar/builder.h"

namespace nnc {

namespace {

llvm::Value* emit_compare(Emitter& emit, ScalarOp op, ScalarType type, llvm::Value* a, llvm::Value* b) {
  using Predicate = llvm::CmpInst::Predicate;
  const bool floats = is_float(type), booleans = type == ScalarType::boolean;
  if (op == ScalarOp::equal) return floats ? emit.ir.CreateFCmpOEQ(a, b) : emit.ir.CreateICmpEQ(a, b);
  if (floats) return op == ScalarOp::less ? emit.ir.CreateFCmpOLT(a, b) : emit.ir.CreateFCmpOLE(a, b);
  if (op == ScalarOp::less) return emit.ir.CreateICmp(booleans ? Predicate::ICMP_ULT : Predicate::ICMP_SLT, a, b);
  return emit.ir.CreateICmp(booleans ? Predicate::ICMP_ULE : Predicate::ICMP_SLE, a, b);
}

llvm::Value* emit_convert(Emitter& emit, ScalarType from, ScalarType to, llvm::Value* a, int lanes) {
  llvm::Type* type = llvm_type(emit.context, to, lanes);
  if (from == to) return a;
  if (to == ScalarType::boolean) {
    llvm::Value* zero = llvm::Constant::getNullValue(a->getType());
    return is_float(from) ? emit.ir.CreateFCmpUNE(a, zero) : emit.ir.CreateICmpNE(a, zero);
  }
  if (is_float(from)) {
    if (!is_float(to)) return emit.ir.CreateFPToSI(a, type);
    return to == ScalarType::f64 ? emit.ir.CreateFPExt(a, type) : emit.ir.CreateFPTrunc(a, type);
  }
  if (from == ScalarType::boolean) {
    if (!is_float(to)) return emit.ir.CreateZExt(a, type);
    return emit.ir.CreateSelect(a, llvm::ConstantFP::get(type, 1.0), llvm::ConstantFP::get(type, 0.0));
  }
  if (is_float(to)) return emit.ir.CreateSIToFP(a, type);
  return to == ScalarType::i64 ? emit.ir.CreateSExt(a, type) : emit.ir.CreateTrunc(a, type);
}

}  // namespace

llvm::Constant* emit_constant(Emitter& emit, const ScalarInstruction& instruction, int lanes) {
  llvm::Type* element = llvm_type(emit.context, instruction.type);
  llvm::Constant* value = nullptr;
  switch (instruction.type) {
    case ScalarType::f32:
      value = llvm::ConstantFP::get(
          emit.context, llvm::APFloat(llvm::APFloat::IEEEsingle(), llvm::APInt(32, instruction.bits & 0xffffffffU)));
      break;
    case ScalarType::f64:
      value = llvm::ConstantFP::get(emit.context,
                                    llvm::APFloat(llvm::APFloat::IEEEdouble(), llvm::APInt(64, instruction.bits)));
      break;
    case ScalarType::i32:
      value = llvm::ConstantInt::get(element, instruction.bits & 0xffffffffU);
      break;
    case ScalarType::i64:
      value = llvm::ConstantInt::get(element, instruction.bits);
      break;
    case ScalarType::boolean:
      value = llvm::ConstantInt::get(element, instruction.bits & 1);
      break;
  }
  if (lanes == 1) return value;
  return llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(static_cast<unsigned>(lanes)), value);
}

llvm::Value* emit_fma(Emitter& emit, llvm::Value* a, llvm::Value* b, llvm::Value* c) {
  return emit.ir.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()}, {a, b, c});
}

llvm::Value* emit_maximum(Emitter& emit, llvm::Value* a, llvm::Value* b) {
  if (a->getType()->isFPOrFPVectorTy()) return emit.ir.CreateBinaryIntrinsic(llvm::Intrinsic::maximum, a, b);
  return emit.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smax, a, b);
}

Carried emit_values(Emitter& emit, const ScalarProgram& program, InputOf input, int lanes, const Carried& known) {
  Carried values(known);
  values.resize(program.code.size(), nullptr);
  for (std::size_t id = 0; id < program.code.size(); ++id) {
    const ScalarInstruction& x = program.code[id];
    if (x.op == ScalarOp::input) values[id] = input(x.bits);
    if (x.op == ScalarOp::constant) values[id] = emit_constant(emit, x, 1);
    if (values[id]) continue;
    Carried operands;
    bool varying = false, complete = x.op != ScalarOp::input;
    for (int i = 0; i < operand_count(x.op); ++i) {
      operands.push_back(values[x.operands[i]]);
      complete = complete && operands.back();
      varying = varying || (complete && operands.back()->getType()->isVectorTy());
    }
    if (!complete) continue;
    for (llvm::Value*& operand : operands)
      if (varying && !operand->getType()->isVectorTy()) operand = emit.splat(operand, lanes);
    const ScalarType from = program.code[x.operands[0]].type;
    values[id] = emit_instruction(emit, x, from, std::span(operands.data(), operands.size()), varying ? lanes : 1);
  }
  return values;
}

namespace {

/// The results of a program over inputs that are vectors, or scalars where all lanes have the same.
Carried emit_inline(Emitter& emit, const ScalarProgram& program, const Carried& inputs, int lanes) {
  const Carried values = emit_values(emit, program, [&](std::size_t number) { return inputs[number]; }, lanes);
  Carried results;
  for (const ScalarId id : program.results) results.push_back(values[id]);
  return results;
}

/// The function of an opcode for so many lanes, made where it is first called in a module. Its last argument is a
/// scalar.
llvm::Function* function_for(Emitter& caller, const ScalarFunction& scalar, int lanes) {
  llvm::Module& module = *caller.function.getParent();
  const std::string name = fmt::format("{}_{}", scalar.name, lanes);
  if (llvm::Function* made = module.getFunction(name)) return made;
  llvm::Type* i64 = caller.ir.getInt64Ty();
  llvm::SmallVector<llvm::Type*> types(scalar.first.inputs.size(), lanes_type(i64, lanes));
  types.back() = i64;
  auto* function = llvm::Function::Create(llvm::FunctionType::get(lanes_type(i64, lanes), types, false),
                                          llvm::Function::InternalLinkage, name, module);
  Emitter emit(caller.program, *function);
  Carried operands;
  for (llvm::Argument& argument : function->args()) operands.push_back(&argument);
  Carried values =
      emit_loop(emit, emit.index(0), emit.index(scalar.steps), 1, emit_inline(emit, scalar.first, operands, lanes),
                [&](llvm::Value*, const Carried& at) { return emit_inline(emit, scalar.step, at, lanes); });
  values.append(operands);
  emit.finish(emit_inline(emit, scalar.last, values, lanes)[0]);
  return function;
}

/// Calls the function of an opcode, several times where there are many lanes.
llvm::Value* emit_call(Emitter& emit, const ScalarFunction& scalar, std::span<llvm::Value* const> operands, int lanes) {
  if (lanes > emit.most_lanes_of_call && lanes % 2 == 0) {
    const auto half = [&](llvm::Value* whole, int first) {
      llvm::SmallVector<int> chosen(static_cast<std::size_t>(lanes / 2));
      std::iota(chosen.begin(), chosen.end(), first);
      return emit.ir.CreateShuffleVector(whole, chosen);
    };
    llvm::Value* results[2];
    for (int part = 0; part < 2; ++part) {
      Carried here;
      for (llvm::Value* operand : operands) here.push_back(half(operand, part * lanes / 2));
      results[part] = emit_call(emit, scalar, std::span(here.data(), here.size()), lanes / 2);
    }
    llvm::SmallVector<int> all(static_cast<std::size_t>(lanes));
    std::iota(all.begin(), all.end(), 0);
    return emit.ir.CreateShuffleVector(results[0], results[1], all);
  }
  llvm::SmallVector<llvm::Value*> arguments(operands.begin(), operands.end());
  if (lanes > 1) arguments.back() = emit.ir.CreateExtractElement(arguments.back(), std::uint64_t{0});
  return emit.ir.CreateCall(function_for(emit, scalar, lanes), arguments);
}

}  // namespace

namespace {

/// The lesser or the greater of two integers says so: of a number that is read and brought within limits, as the rows
/// of a table are, LLVM would else make branches, which go wrong half of the time.
llvm::Value* emit_select(Emitter& emit, llvm::Value* condition, llvm::Value* yes, llvm::Value* no) {
  if (const auto* compare = llvm::dyn_cast<llvm::ICmpInst>(condition);
      compare && compare->getPredicate() == llvm::CmpInst::ICMP_SLT) {
    llvm::Value *a = compare->getOperand(0), *b = compare->getOperand(1);
    if (yes == a && no == b) return emit.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smin, a, b);
    if (yes == b && no == a) return emit.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smax, a, b);
  }
  return emit.ir.CreateSelect(condition, yes, no);
}

}  // namespace

llvm::Value* emit_instruction(Emitter& emit, const ScalarInstruction& x, ScalarType from,
                              std::span<llvm::Value* const> v, int lanes) {
  llvm::IRBuilder<>& ir = emit.ir;
  switch (x.op) {
    case ScalarOp::input:
    case ScalarOp::constant:
      break;
    case ScalarOp::add:
      return ir.CreateFAdd(v[0], v[1]);
    case ScalarOp::sub:
      return ir.CreateFSub(v[0], v[1]);
    case ScalarOp::mul:
      return ir.CreateFMul(v[0], v[1]);
    case ScalarOp::div:
      return ir.CreateFDiv(v[0], v[1]);
    case ScalarOp::fma:
      return emit_fma(emit, v[0], v[1], v[2]);
    case ScalarOp::sqrt:
      return ir.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, v[0]);
    case ScalarOp::neg:
      return ir.CreateFNeg(v[0]);
    case ScalarOp::abs:
      return ir.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, v[0]);
    case ScalarOp::minimum:
      return ir.CreateBinaryIntrinsic(llvm::Intrinsic::minimum, v[0], v[1]);
    case ScalarOp::maximum:
      return emit_maximum(emit, v[0], v[1]);
    case ScalarOp::equal:
    case ScalarOp::less:
    case ScalarOp::less_equal:
      return emit_compare(emit, x.op, from, v[0], v[1]);
    case ScalarOp::select:
      return emit_select(emit, v[0], v[1], v[2]);
    case ScalarOp::logical_and:
    case ScalarOp::int_and:
      return ir.CreateAnd(v[0], v[1]);
    case ScalarOp::logical_or:
    case ScalarOp::int_or:
      return ir.CreateOr(v[0], v[1]);
    case ScalarOp::logical_not:
      return ir.CreateNot(v[0]);
    case ScalarOp::int_add:
      return ir.CreateAdd(v[0], v[1]);
    case ScalarOp::int_sub:
      return ir.CreateSub(v[0], v[1]);
    case ScalarOp::int_mul:
      return ir.CreateMul(v[0], v[1]);
    case ScalarOp::int_xor:
      return ir.CreateXor(v[0], v[1]);
    case ScalarOp::shift_left:
      return ir.CreateShl(v[0], v[1]);
    case ScalarOp::shift_right:
      return ir.CreateLShr(v[0], v[1]);
    case ScalarOp::shift_right_signed:
      return ir.CreateAShr(v[0], v[1]);
    case ScalarOp::bitcast:
      return ir.CreateBitCast(v[0], llvm_type(emit.context, x.type, lanes));
    case ScalarOp::convert:
      return emit_convert(emit, from, x.type, v[0], lanes);
    case ScalarOp::philox:
      return emit_call(emit, *function_of(x.op), v, lanes);
  }
  internal_error("scalar opcode without code");
}

}  // namespace nnc
