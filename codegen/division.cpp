// With h = RN(1/y) and l = RN(RN(1 - y h) h), h + l is 1/y but for a relative error below 2^(4 - 2p) (p bits of
// precision), and so q = RN(x h + RN(x l)) is one of the two floats next to x/y, or x/y itself. Then r = x - y q is a
// float, and RN(q + r h) is RN(x/y): Markstein's theorem (Muller et al., Handbook of Floating-Point Arithmetic,
// "Software division with an FMA"), whose conditions are that h is the correctly rounded reciprocal, q next to the
// quotient, and that nothing overflows or underflows on the way. So x and y keep away from the ends of the range; of x,
// +0 is as good.
#include "codegen/division.h"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>

#include "codegen/scalar.h"

namespace nnc {

namespace {

/// Exponents that are used: y is between 2^-most_y and 2^most_y, x between 2^-most_x and 2^most_x. Of f32, whose
/// exponents go down to -149, the smallest number on the way is r with 2^-(80 + 48).
constexpr int most_exponent_x = 80, most_exponent_y = 10;
/// How often a vector is divided all the same, to how often not: the code for that stands out of the way.
constexpr std::uint32_t rarely = 1, mostly = 1000;

struct Format {
  int bits, fraction_bits, bias;
};

Format format_of(llvm::Type* type) {
  return type->getScalarType()->isFloatTy() ? Format{32, 23, 127} : Format{64, 52, 1023};
}

/// The bits of 2^exponent, without the sign's place: all moved up by one.
std::uint64_t moved_bits(const Format& format, int exponent) {
  return static_cast<std::uint64_t>(format.bias + exponent) << (format.fraction_bits + 1);
}

llvm::Type* bits_type(Emitter& emit, llvm::Type* floats) {
  llvm::Type* bits = emit.ir.getIntNTy(static_cast<unsigned>(format_of(floats).bits));
  if (const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(floats))
    return lanes_type(bits, static_cast<int>(vector->getNumElements()));
  return bits;
}

/// The numbers from 2^-most to 2^most of either sign: how many bit patterns they are, without the sign.
std::uint64_t range_of(const Format& format, int most) {
  return moved_bits(format, most) - moved_bits(format, -most) + 1;
}

/// By how much |x| is above 2^-most, in such patterns; very many where it is below.
llvm::Value* above(Emitter& emit, llvm::Value* x, int most) {
  llvm::Type* type = bits_type(emit, x->getType());
  llvm::Value* moved = emit.ir.CreateShl(emit.ir.CreateBitCast(x, type), llvm::ConstantInt::get(type, 1));
  return emit.ir.CreateSub(moved, llvm::ConstantInt::get(type, moved_bits(format_of(x->getType()), -most)));
}

llvm::Value* emit_negated_fma(Emitter& emit, llvm::Value* a, llvm::Value* b, llvm::Value* c) {
  return emit_fma(emit, emit.ir.CreateFNeg(a), b, c);
}

}  // namespace

/// Where nothing may be multiplied, the pattern of +0 is one of a NaN, whose quotients are NaN either way.
Reciprocal emit_reciprocal(Emitter& emit, llvm::Value* value) {
  llvm::Type* type = value->getType();
  llvm::Type* bits = bits_type(emit, type);
  const Format format = format_of(type);
  const auto pattern = [&](std::uint64_t number) { return llvm::ConstantInt::get(bits, number); };
  llvm::Value* between =
      emit.ir.CreateICmpULT(above(emit, value, most_exponent_y), pattern(range_of(format, most_exponent_y)));
  llvm::Value* usable = emit.ir.CreateAnd(between, emit.ir.CreateFCmpOGT(value, llvm::ConstantFP::get(type, 0)));
  llvm::Constant* one = llvm::ConstantFP::get(type, 1);
  llvm::Value* high = emit.ir.CreateFDiv(one, value);
  llvm::Value* low = emit.ir.CreateFMul(emit_negated_fma(emit, value, high, one), high);
  const std::uint64_t infinity = moved_bits(format, format.bias + 1) >> 1;
  return {high, low, emit.ir.CreateSelect(usable, pattern(range_of(format, most_exponent_x)), pattern(0)),
          emit.ir.CreateSelect(usable, pattern(0), pattern(infinity + 1))};
}

llvm::Value* emit_quotient(Emitter& emit, llvm::Value* x, llvm::Value* y, const Reciprocal& reciprocal) {
  llvm::Type* bits = bits_type(emit, x->getType());
  llvm::Value* zero = emit.ir.CreateICmpEQ(emit.ir.CreateBitCast(x, bits), reciprocal.zero);
  llvm::Value* in_range = emit.ir.CreateICmpULT(above(emit, x, most_exponent_x), reciprocal.range);
  llvm::Value* near = emit_fma(emit, x, reciprocal.high, emit.ir.CreateFMul(x, reciprocal.low));
  llvm::Value* quotient = emit_fma(emit, emit_negated_fma(emit, y, near, x), reciprocal.high, near);

  llvm::BasicBlock* before = emit.ir.GetInsertBlock();
  auto* after = llvm::BasicBlock::Create(emit.context, "quotient", &emit.function);
  auto* divide = llvm::BasicBlock::Create(emit.context, "divide", &emit.function);
  llvm::Value* all = emit.ir.CreateAndReduce(emit.ir.CreateOr(in_range, zero));
  emit.ir.CreateCondBr(all, after, divide, llvm::MDBuilder(emit.context).createBranchWeights(mostly, rarely));
  emit.ir.SetInsertPoint(divide);
  llvm::Value* divided = emit.ir.CreateFDiv(x, y);
  emit.ir.CreateBr(after);
  emit.ir.SetInsertPoint(after);
  llvm::PHINode* result = emit.ir.CreatePHI(x->getType(), 2);
  result->addIncoming(quotient, before);
  result->addIncoming(divided, divide);
  return result;
}

}  // namespace nnc
