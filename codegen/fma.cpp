// LLVM makes llvm.fma a call of libm where the processor has no instruction. Here it is computed instead:
//
// f32 in f64, where a product of two f32 is exact. The sum is rounded to odd (a sum that is not exact gets an odd last
// bit), which keeps on which side of every f32, and of the middle between two of them, it lies; so rounding again, to
// f32, gives what one rounding would have given (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums",
// 2008; 53 >= 24 + 2 bits).
//
// f64 in integers of 128 bits, one lane after the other: product and addend with their leading bits at one place, the
// smaller one shifted right with a last bit that says whether anything was lost, then one rounding.
#include "codegen/fma.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/PatternMatch.h>

#include <map>

#include "codegen/emitter.h"

namespace nnc {

namespace {

using llvm::Value;

/// Writes the functions that the calls go to, each when it is first asked for.
class FmaFunctions {
 public:
  explicit FmaFunctions(llvm::Module& module) : module_(module) {}

  llvm::Function* of(llvm::Type* type) {
    llvm::Function*& made = functions_[type];
    if (made) return made;
    made = llvm::Function::Create(llvm::FunctionType::get(type, {type, type, type}, false),
                                  llvm::Function::InternalLinkage, "fma", module_);
    made->addFnAttr(llvm::Attribute::NoInline);
    llvm::IRBuilder<> ir(llvm::BasicBlock::Create(module_.getContext(), "entry", made));
    Value *a = made->getArg(0), *b = made->getArg(1), *c = made->getArg(2);
    if (type->getScalarType()->isFloatTy())
      ir.CreateRet(single(ir, a, b, c));
    else if (!type->isDoubleTy())
      ir.CreateRet(lane_by_lane(ir, a, b, c));
    else
      ir.CreateRet(twice(ir, a, b, c));
    return made;
  }

 private:
  /// f32: the exact product plus c, rounded to odd in f64, then to f32.
  static Value* single(llvm::IRBuilder<>& ir, Value* a, Value* b, Value* c) {
    llvm::Type* narrow = a->getType();
    llvm::Type* wide = narrow->getWithNewType(ir.getDoubleTy());
    llvm::Type* bits_type = narrow->getWithNewType(ir.getInt64Ty());
    Value* zero = llvm::ConstantFP::get(wide, 0.0);
    const auto whole = [&](std::int64_t value) {
      return llvm::ConstantInt::get(bits_type, static_cast<std::uint64_t>(value), true);
    };
    Value* product = ir.CreateFMul(ir.CreateFPExt(a, wide), ir.CreateFPExt(b, wide));
    Value* addend = ir.CreateFPExt(c, wide);
    Value* sum = ir.CreateFAdd(product, addend);
    // What the sum lost, exactly (Knuth's two-sum); not a number where the sum is infinite or not a number.
    Value* part = ir.CreateFSub(sum, product);
    Value* lost = ir.CreateFAdd(ir.CreateFSub(product, ir.CreateFSub(sum, part)), ir.CreateFSub(addend, part));
    Value* bits = ir.CreateBitCast(sum, bits_type);
    Value* even = ir.CreateICmpEQ(ir.CreateAnd(bits, whole(1)), whole(0));
    Value* inwards = ir.CreateXor(ir.CreateFCmpOLT(lost, zero), ir.CreateFCmpOLT(sum, zero));
    Value* odd = ir.CreateAdd(bits, ir.CreateSelect(inwards, whole(-1), whole(1)));
    Value* rounded = ir.CreateSelect(ir.CreateAnd(ir.CreateFCmpONE(lost, zero), even), odd, bits);
    return ir.CreateFPTrunc(ir.CreateBitCast(rounded, wide), narrow);
  }

  Value* lane_by_lane(llvm::IRBuilder<>& ir, Value* a, Value* b, Value* c) {
    auto* type = llvm::cast<llvm::FixedVectorType>(a->getType());
    Value* result = llvm::PoisonValue::get(type);
    for (std::uint64_t lane = 0; lane < type->getNumElements(); ++lane) {
      const auto at = [&](Value* vector) { return ir.CreateExtractElement(vector, lane); };
      result = ir.CreateInsertElement(result, ir.CreateCall(of(type->getElementType()), {at(a), at(b), at(c)}), lane);
    }
    return result;
  }

  /// A finite f64 is mantissa * 2^(field - 1075), with a sign.
  struct Number {
    Value *bits, *field, *mantissa;
    Value* finite(llvm::IRBuilder<>& ir) const { return ir.CreateICmpNE(field, ir.getInt64(0x7ff)); }
    Value* zero(llvm::IRBuilder<>& ir) const { return ir.CreateICmpEQ(mantissa, ir.getInt64(0)); }
  };
  static Number taken_apart(llvm::IRBuilder<>& ir, Value* x) {
    Number number{};
    number.bits = ir.CreateBitCast(x, ir.getInt64Ty());
    Value* field = ir.CreateAnd(ir.CreateLShr(number.bits, 52), 0x7ff);
    Value* fraction = ir.CreateAnd(number.bits, (std::uint64_t{1} << 52) - 1);
    Value* denormal = ir.CreateICmpEQ(field, ir.getInt64(0));
    number.field = ir.CreateSelect(denormal, ir.getInt64(1), field);
    number.mantissa = ir.CreateSelect(denormal, fraction, ir.CreateOr(fraction, std::uint64_t{1} << 52));
    return number;
  }

  static Value* leading_zeros(llvm::IRBuilder<>& ir, Value* x) {
    return ir.CreateTrunc(ir.CreateIntrinsic(llvm::Intrinsic::ctlz, {x->getType()}, {x, ir.getFalse()}),
                          ir.getInt64Ty());
  }
  static Value* limited(llvm::IRBuilder<>& ir, Value* x, std::int64_t low, std::int64_t high) {
    Value* least = llvm::ConstantInt::getSigned(x->getType(), low);
    Value* most = llvm::ConstantInt::getSigned(x->getType(), high);
    x = ir.CreateSelect(ir.CreateICmpSLT(x, least), least, x);
    return ir.CreateSelect(ir.CreateICmpSGT(x, most), most, x);
  }
  /// x >> by, with the last bit set where a bit that is lost was.
  static Value* shifted(llvm::IRBuilder<>& ir, Value* x, Value* by) {
    by = ir.CreateZExtOrTrunc(by, x->getType());
    Value* less = ir.CreateLShr(x, by);
    return ir.CreateOr(less, ir.CreateZExt(ir.CreateICmpNE(ir.CreateShl(less, by), x), x->getType()));
  }

  /// A positive number of 128 bits whose leading bit is bit 125 and stands for 2^exponent.
  struct Wide {
    Value *bits, *exponent;
  };
  /// bits * 2^scale, where bits < 2^126.
  static Wide normalised(llvm::IRBuilder<>& ir, Value* bits, Value* scale) {
    Value* zeros = leading_zeros(ir, bits);
    Value* by = ir.CreateZExt(limited(ir, ir.CreateSub(zeros, ir.getInt64(2)), 0, 126), bits->getType());
    return {ir.CreateShl(bits, by), ir.CreateSub(ir.CreateAdd(scale, ir.getInt64(127)), zeros)};
  }

  static Value* twice(llvm::IRBuilder<>& ir, Value* a, Value* b, Value* c) {
    llvm::Type* i128 = ir.getInt128Ty();
    const auto signed_number = [&](std::int64_t value) { return ir.getInt64(static_cast<std::uint64_t>(value)); };
    const Number x = taken_apart(ir, a), y = taken_apart(ir, b), z = taken_apart(ir, c);
    const Wide product = normalised(ir, ir.CreateMul(ir.CreateZExt(x.mantissa, i128), ir.CreateZExt(y.mantissa, i128)),
                                    ir.CreateSub(ir.CreateAdd(x.field, y.field), ir.getInt64(2150)));
    const Wide addend = normalised(ir, ir.CreateZExt(z.mantissa, i128), ir.CreateSub(z.field, ir.getInt64(1075)));

    // The smaller one has at least 20 zeros at its end (106 of 126 bits are used): where it is shifted by so much that
    // bits are lost, the sum's leading bit is bit 124 at least, far above the last one.
    Value* distance = ir.CreateSub(product.exponent, addend.exponent);
    Value* first = ir.CreateOr(
        ir.CreateICmpSGT(distance, ir.getInt64(0)),
        ir.CreateAnd(ir.CreateICmpEQ(distance, ir.getInt64(0)), ir.CreateICmpUGE(product.bits, addend.bits)));
    Value* greater = ir.CreateSelect(first, product.bits, addend.bits);
    Value* by = limited(ir, ir.CreateSelect(first, distance, ir.CreateNeg(distance)), 0, 127);
    Value* lesser = shifted(ir, ir.CreateSelect(first, addend.bits, product.bits), by);
    Value* sign_of_product = ir.CreateXor(x.bits, y.bits);
    Value* subtract = ir.CreateICmpSLT(ir.CreateXor(sign_of_product, z.bits), ir.getInt64(0));
    Value* sum = ir.CreateSelect(subtract, ir.CreateSub(greater, lesser), ir.CreateAdd(greater, lesser));
    Value* sign = ir.CreateAnd(ir.CreateSelect(first, sign_of_product, z.bits), std::uint64_t{1} << 63);
    Value* exponent_of_125 = ir.CreateSelect(first, product.exponent, addend.exponent);

    // 64 bits, the first of them set, which stands for 2^exponent; the last one tells of what is below.
    Value* zeros = leading_zeros(ir, sum);
    Value* exponent = ir.CreateSub(ir.CreateAdd(exponent_of_125, ir.getInt64(2)), zeros);
    Value* full = ir.CreateShl(sum, ir.CreateZExt(limited(ir, zeros, 0, 127), i128));
    Value* upper = ir.CreateTrunc(ir.CreateLShr(full, 64), ir.getInt64Ty());
    Value* below = ir.CreateICmpNE(ir.CreateTrunc(full, ir.getInt64Ty()), ir.getInt64(0));
    Value* kept = ir.CreateOr(upper, ir.CreateZExt(below, ir.getInt64Ty()));
    // Numbers below 2^-1022 have fewer bits.
    kept = shifted(ir, kept, limited(ir, ir.CreateSub(signed_number(-1022), exponent), 0, 63));
    Value* mantissa = ir.CreateLShr(kept, 11);
    Value* rest = ir.CreateAdd(ir.CreateAnd(kept, 2047), ir.CreateAnd(mantissa, 1));
    mantissa = ir.CreateAdd(mantissa, ir.CreateZExt(ir.CreateICmpUGT(rest, ir.getInt64(1024)), ir.getInt64Ty()));
    Value* field = limited(ir, ir.CreateAdd(exponent, ir.getInt64(1022)), 0, 2046);  // the leading bit adds one
    Value* finite = ir.CreateAdd(ir.CreateShl(field, 52), mantissa);
    Value* bits =
        ir.CreateSelect(ir.CreateICmpSGT(exponent, ir.getInt64(1023)), ir.getInt64(std::uint64_t{0x7ff} << 52), finite);
    bits =
        ir.CreateSelect(ir.CreateICmpEQ(sum, llvm::ConstantInt::get(i128, 0)), ir.getInt64(0), ir.CreateOr(bits, sign));

    // Of factors that are not finite, and of zeros, the plain operations are right; the product alone where c is a
    // zero, since it may have been rounded to a zero with another sign; c where it is infinite and the product is not.
    Value* product_alone = ir.CreateFMul(a, b);
    Value* result = ir.CreateSelect(z.zero(ir), product_alone, ir.CreateBitCast(bits, ir.getDoubleTy()));
    Value* factors = ir.CreateAnd(x.finite(ir), y.finite(ir));
    Value* plain = ir.CreateOr(ir.CreateNot(factors), ir.CreateOr(x.zero(ir), y.zero(ir)));
    result = ir.CreateSelect(plain, ir.CreateFAdd(product_alone, c), result);
    return ir.CreateSelect(ir.CreateAnd(factors, ir.CreateNot(z.finite(ir))), c, result);
  }

  llvm::Module& module_;
  std::map<llvm::Type*, llvm::Function*> functions_;
};

}  // namespace

namespace {

/// What ir/scalar/known.cpp made a fma of, product and sum again: a positive number times +0 + x. Null for others.
Value* product_of_sum(llvm::IRBuilder<>& ir, Value* factor, Value* x, Value* zero) {
  using namespace llvm::PatternMatch;
  const llvm::APFloat* number = nullptr;
  if (!match(factor, m_APFloat(number)) || !number->isFiniteNonZero() || number->isNegative()) return nullptr;
  return match(zero, m_PosZeroFP()) ? ir.CreateFMul(factor, ir.CreateFAdd(zero, x)) : nullptr;
}

}  // namespace

void expand_fma(llvm::Module& module) {
  std::vector<llvm::IntrinsicInst*> calls;
  for (llvm::Function& function : module)
    for (llvm::BasicBlock& block : function)
      for (llvm::Instruction& instruction : block)
        if (auto* call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
            call && call->getIntrinsicID() == llvm::Intrinsic::fma)
          calls.push_back(call);
  FmaFunctions functions(module);
  for (llvm::IntrinsicInst* call : calls) {
    llvm::IRBuilder<> ir(call);
    Value *a = call->getArgOperand(0), *b = call->getArgOperand(1), *c = call->getArgOperand(2);
    Value* value = product_of_sum(ir, a, b, c);
    if (!value) value = ir.CreateCall(functions.of(call->getType()), {a, b, c});
    call->replaceAllUsesWith(value);
    call->eraseFromParent();
  }
}

}  // namespace nnc
