// Casts between types, as LLVM IR.
#include <llvm/IR/Intrinsics.h>

#include "codegen/cpu/llvm/emit.h"

namespace weft {

// The low bits of an integer, extended again by the type's sign.
static Val low_bits(Emitter& e, Val v, DType t) {
  v = e.b.CreateTrunc(v, e.vec(e.b.getInt8Ty(), lanes_of(v)));
  Val drop = llvm::ConstantInt::get(v->getType(), static_cast<uint64_t>(8 - bit_width(t)));
  v = e.b.CreateShl(v, drop);
  return is_unsigned_int(t) ? e.b.CreateLShr(v, drop) : e.b.CreateAShr(v, drop);
}

// A float to an integer of at most 16 bits; NaN gives 0. LLVM's own saturation goes element by element there.
static Val to_narrow_int(Emitter& e, Val v, DType to, bool clamped) {
  auto number = [&](double x) { return llvm::ConstantFP::get(v->getType(), x); };
  if (!clamped) {
    Val lo = number(static_cast<double>(int_min(to))), hi = number(static_cast<double>(int_max(to)));
    v = e.b.CreateSelect(e.b.CreateFCmpOLT(hi, v), hi, v);
    v = e.b.CreateSelect(e.b.CreateFCmpOGT(lo, v), lo, v);
  }
  v = e.b.CreateSelect(e.b.CreateFCmpORD(v, v), v, number(0));
  const int n = lanes_of(v);
  return e.b.CreateTrunc(e.b.CreateFPToSI(v, e.vec(e.b.getInt32Ty(), n)), e.vec(e.compute_type(to), n));
}

bool is_clamped(const ScalarProgram& p, int v, DType to) {
  // The constant operand and the other one of a primitive.
  auto split = [&](int k, Prim prim, double* bound) {
    const ScalarInst& x = p.insts[k];
    if (x.prim != prim) return -1;
    for (int i : {0, 1})
      if (const ScalarInst& c = p.insts[x.args[i]]; c.prim == Prim::constant && is_float(c.type)) {
        *bound = c.f;
        return x.args[1 - i];
      }
    return -1;
  };
  double lo = 0, hi = 0;
  const int inner = split(v, Prim::max, &lo);
  return inner >= 0 && split(inner, Prim::min, &hi) >= 0 && static_cast<double>(int_min(to)) <= lo && lo <= hi && hi <= static_cast<double>(int_max(to));
}

Val Emitter::cast(Val v, DType from, DType to, bool saturate, bool clamped) {
  int n = lanes_of(v);
  if (is_subbyte(to) && !is_float(to)) {
    DType whole = is_float(from) ? DType::i32 : is_unsigned_int(to) ? DType::u8 : DType::i8;
    return low_bits(*this, cast(v, from, whole, saturate), to);
  }
  llvm::Type* ty = vec(compute_type(to), n);
  if (is_float(from)) {
    if (to == DType::b1) return b.CreateFCmpUNE(v, llvm::Constant::getNullValue(v->getType()));
    if (is_float(to)) {
      if (v->getType() != ty) v = b.CreateFPCast(v, ty);
      // A cast rounds to its type at once.
      return to == DType::f32 || to == DType::f64 ? v : narrow_to_float(to, float_to_narrow(to, v, saturate));
    }
    if (byte_size(to) < 4) return to_narrow_int(*this, v, to, clamped);
    // Truncate and saturate; NaN gives 0.
    return b.CreateIntrinsic(is_unsigned_int(to) ? llvm::Intrinsic::fptoui_sat : llvm::Intrinsic::fptosi_sat, {ty, v->getType()}, {v});
  }
  bool uns = is_unsigned_int(from) || from == DType::b1;
  if (is_float(to)) {
    Val f = uns ? b.CreateUIToFP(v, ty) : b.CreateSIToFP(v, ty);
    return to == DType::f32 || to == DType::f64 ? f : narrow_to_float(to, float_to_narrow(to, f, saturate));
  }
  if (to == DType::b1) return b.CreateICmpNE(v, llvm::Constant::getNullValue(v->getType()));
  return uns ? b.CreateZExtOrTrunc(v, ty) : b.CreateSExtOrTrunc(v, ty);
}

}  // namespace weft
