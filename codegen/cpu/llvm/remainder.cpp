// Arithmetic that takes many steps: the remainder of floats, and powers of integers.
#include <cmath>

#include "codegen/cpu/llvm/emit.h"

namespace weft {

namespace {

// Double by double: |a| without whole multiples of |c|, some bits of the quotient at a time, so that every step is exact.
struct Remainder {
  Emitter& e;
  llvm::IRBuilder<>& b;
  llvm::Type* ty;
  bool narrow;  // the numbers were floats: products of 28 bits of the quotient are exact by themselves

  Val top_bits(Val x, int low) {
    auto* ity = llvm::VectorType::getInteger(llvm::cast<llvm::VectorType>(ty));
    return b.CreateBitCast(b.CreateAnd(b.CreateBitCast(x, ity), llvm::ConstantInt::get(ity, ~((uint64_t{1} << low) - 1))), ty);
  }
  // r - q * c
  Val less(Val r, Val q, Val c) {
    if (narrow) return b.CreateFSub(r, b.CreateFMul(q, c));
    if (e.target.fma) return b.CreateIntrinsic(llvm::Intrinsic::fma, {ty}, {b.CreateFNeg(q), c, r});
    // What rounding the product lost, from exact products of halves.
    Val p = b.CreateFMul(q, c), q1 = top_bits(q, 27), q0 = b.CreateFSub(q, q1), c1 = top_bits(c, 26), c0 = b.CreateFSub(c, c1);
    Val lost = b.CreateFSub(b.CreateFMul(q1, c1), p);
    for (Val part : {b.CreateFMul(q1, c0), b.CreateFMul(q0, c1), b.CreateFMul(q0, c0)}) lost = b.CreateFAdd(lost, part);
    return b.CreateFSub(b.CreateFSub(r, p), lost);
  }
  Val run(Val a, Val c) {
    const int bits = narrow ? 28 : 50, steps = narrow ? 10 : 43;  // the largest number by the smallest: 2^277, 2^2098
    auto abs = [&](Val x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); };
    Val zero = llvm::ConstantFP::get(ty, 0), up = llvm::ConstantFP::get(ty, std::ldexp(1.0, bits)), r = abs(a);
    std::vector<Val> multiples{abs(c)};
    for (int k = 1; k < steps; ++k) multiples.push_back(b.CreateFMul(multiples.back(), up));
    for (int k = steps; k-- > 0;) {
      Val m = multiples[static_cast<size_t>(k)];
      Val next = less(r, b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, b.CreateFDiv(r, m)), m);
      next = b.CreateSelect(b.CreateFCmpOLT(next, zero), b.CreateFAdd(next, m), next);  // the quotient was rounded up
      r = b.CreateSelect(b.CreateFCmpOGE(r, m), next, r);
    }
    return b.CreateSelect(b.CreateFCmpUNO(c, c), c, b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, r, a));
  }
};

}  // namespace

Val Emitter::fmod(Val a, Val c) {
  const int lanes = is_vec(a) ? static_cast<int>(llvm::cast<llvm::FixedVectorType>(a->getType())->getNumElements()) : 1;
  llvm::Type *given = a->getType(), *ty = llvm::FixedVectorType::get(b.getDoubleTy(), static_cast<unsigned>(lanes));
  auto vector = [&](Val x) { return lanes == 1 && !is_vec(x) ? b.CreateVectorSplat(1, x) : x; };
  bool narrow = given->getScalarType()->isFloatTy();
  auto wide = [&](Val x) { return narrow ? b.CreateFPExt(vector(x), ty) : vector(x); };
  Val r = Remainder{*this, b, ty, narrow}.run(wide(a), wide(c));
  if (!given->isVectorTy()) r = b.CreateExtractElement(r, uint64_t{0});
  return narrow ? b.CreateFPTrunc(r, given) : r;
}

// By squares; wraps. A negative exponent gives what is left of 1/x when its fraction is cut off.
Val Emitter::int_pow(Val x, Val y, bool is_unsigned) {
  llvm::Type* ty = x->getType();
  auto number = [&](int64_t v) { return llvm::ConstantInt::get(ty, static_cast<uint64_t>(v), true); };
  Val zero = number(0), one = number(1), r = one, square = x;
  auto odd = [&](Val v) { return b.CreateICmpNE(b.CreateAnd(v, one), zero); };
  for (unsigned k = 0; k < ty->getScalarSizeInBits(); ++k) {
    r = b.CreateSelect(odd(b.CreateLShr(y, number(k))), b.CreateMul(r, square), r);
    square = b.CreateMul(square, square);
  }
  if (is_unsigned) return r;
  Val sign = b.CreateSelect(b.CreateICmpEQ(x, number(-1)), b.CreateSelect(odd(y), x, one), zero);
  Val root = b.CreateSelect(b.CreateICmpEQ(x, one), one, sign);
  return b.CreateSelect(b.CreateICmpSLT(y, zero), root, r);
}

}  // namespace weft
