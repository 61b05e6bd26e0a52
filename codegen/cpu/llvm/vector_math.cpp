// Vector maths as straight-line IR for float and double, scalars and vectors alike: no calls, no tables but one (the
// reduction of large sine arguments in double). Float results are within 2 ULP over all inputs (tests sweep them); the
// polynomial coefficients are minimax fits made for these ranges. Subnormals, infinities, NaN and signed zeros behave as in C.
//
// Also the conversions between float and the narrow float types, which hardware has for few of them.
#include <cmath>

#include "codegen/cpu/llvm/emit.h"
#include "ir/base/check.h"

namespace weft {

namespace {

// One function's worth of context: the type at hand and short names for its instructions.
struct M {
  Emitter& e;
  llvm::IRBuilder<>& b;
  llvm::Type* ty;   // of x, possibly a vector
  bool dbl;
  llvm::Type* ity;  // integers of the same width
  int mant, bias;

  M(Emitter& em, Val x) : e(em), b(em.b), ty(x->getType()), dbl(ty->getScalarType()->isDoubleTy()) {
    int lanes = ty->isVectorTy() ? static_cast<int>(llvm::cast<llvm::FixedVectorType>(ty)->getNumElements()) : 1;
    ity = e.vec(b.getIntNTy(dbl ? 64 : 32), lanes);
    mant = dbl ? 52 : 23;
    bias = dbl ? 1023 : 127;
  }
  Val c(double v) { return llvm::ConstantFP::get(ty, v); }
  Val ci(int64_t v) { return llvm::ConstantInt::get(ity, static_cast<uint64_t>(v), true); }
  Val add(Val x, Val y) { return b.CreateFAdd(x, y); }
  Val sub(Val x, Val y) { return b.CreateFSub(x, y); }
  Val mul(Val x, Val y) { return b.CreateFMul(x, y); }
  Val div(Val x, Val y) { return b.CreateFDiv(x, y); }
  Val fma(Val x, Val y, Val z) { return e.target.fma ? b.CreateIntrinsic(llvm::Intrinsic::fma, {ty}, {x, y, z}) : add(mul(x, y), z); }
  Val poly(Val x, std::initializer_list<double> low_first) {
    const double* p = low_first.end();
    Val r = c(*--p);
    while (p != low_first.begin()) r = fma(r, x, c(*--p));
    return r;
  }
  Val abs(Val x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); }
  Val copysign(Val m, Val s) { return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, m, s); }
  Val round(Val x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x); }
  Val sqrt(Val x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x); }
  Val select(Val k, Val x, Val y) { return b.CreateSelect(k, x, y); }
  Val lt(Val x, Val y) { return b.CreateFCmpOLT(x, y); }
  Val bits(Val x) { return b.CreateBitCast(x, ity); }
  Val real(Val i) { return b.CreateBitCast(i, ty); }
  // Keeps NaN.
  Val clamp(Val x, double lo, double hi) {
    x = select(lt(x, c(lo)), c(lo), x);
    return select(lt(c(hi), x), c(hi), x);
  }
  Val pow2(Val n) { return real(b.CreateShl(b.CreateAdd(n, ci(bias)), ci(mant))); }  // n an integer of normal exponents
  // x * 2^n for n over twice the exponent range, in two exact-ish steps.
  Val scale(Val x, Val n) {
    Val half = b.CreateAShr(n, ci(1));
    return mul(mul(x, pow2(half)), pow2(b.CreateSub(n, half)));
  }

  struct Reduced {
    Val r, n;  // x = r + n ln 2
  };
  Reduced reduce_exp(Val x) {
    Val nf = round(mul(x, c(1.4426950408889634)));
    Val r = dbl ? fma(nf, c(-6.93147180369123816490e-01), x) : fma(nf, c(-0.693359375), x);
    r = dbl ? fma(nf, c(-1.90821492927058770002e-10), r) : fma(nf, c(2.12194440e-4), r);
    return {r, b.CreateFPToSI(nf, ity)};
  }
  // (exp(r) - 1 - r) / r^2 on |r| <= ln2/2
  Val exp_tail(Val r) {
    if (!dbl) return poly(r, {5.e-01, 1.6666666e-01, 4.166636e-02, 8.33339e-03, 1.3940915e-03, 1.9845899e-04});
    return poly(r, {1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
                       1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0});
  }
  struct Sum {
    Val hi, lo;  // lo: what rounding hi lost
  };
  // Of a number: fptosi of NaN is poison.
  Sum exp_sum(Val x) {
    Reduced q = reduce_exp(clamp(x, dbl ? -746.0 : -105.0, dbl ? 710.5 : 89.5));
    Val t = fma(mul(q.r, q.r), exp_tail(q.r), q.r), v = add(t, c(1));
    return {scale(v, q.n), scale(sub(t, sub(v, c(1))), q.n)};
  }
  Val exp(Val x) {
    Val nan = b.CreateFCmpUNO(x, x);
    return select(nan, x, exp_sum(select(nan, c(0), x)).hi);
  }
  Val expm1(Val x) {
    Val nan = b.CreateFCmpUNO(x, x);
    Val y = clamp(select(nan, c(0), x), dbl ? -745.0 : -104.0, dbl ? 710.5 : 89.5);
    Reduced q = reduce_exp(y);
    Val em = fma(mul(q.r, q.r), exp_tail(q.r), q.r);
    // 2^n em + (2^n - 1), halved so that 2^n does not overflow before its time.
    Val h = pow2(b.CreateSub(b.CreateSelect(b.CreateICmpSLT(q.n, ci(-100)), ci(-100), q.n), ci(1)));
    Val r = mul(add(mul(h, em), sub(h, c(0.5))), c(2));
    r = select(b.CreateICmpEQ(q.n, ci(0)), em, r);
    // Signed zero and tiny arguments pass through.
    r = select(lt(abs(x), c(dbl ? 1e-17 : 1e-8)), x, r);
    return select(nan, x, r);
  }

  struct Split {
    Val f, n;  // x = (1 + f) 2^n, 1 + f in [sqrt(1/2), sqrt 2); n as a float
  };
  Split split(Val x) {
    // Subnormals are scaled into the normal range first.
    Val tiny = lt(x, c(dbl ? 2.2250738585072014e-308 : 1.17549435e-38));
    Val y = select(tiny, mul(x, c(dbl ? 4503599627370496.0 : 8388608.0)), x);
    Val i = bits(y);
    // Subtracting the bits of sqrt(1/2) makes the exponent field floor(log2(y / sqrt(1/2))).
    int64_t root = dbl ? 0x3fe6a09e667f3bcdLL : 0x3f3504f3LL;
    Val d = b.CreateSub(i, ci(root));
    Val n = b.CreateAShr(d, ci(mant));
    Val m = real(b.CreateSub(i, b.CreateShl(n, ci(mant))));
    Val nf = b.CreateSIToFP(n, ty);
    nf = select(tiny, sub(nf, c(mant)), nf);
    return {sub(m, c(1)), nf};
  }
  Val log_of(Split q) {
    Val f = q.f;
    if (dbl) {
      // 2 atanh(s), s = f / (2 + f)
      Val s = div(f, add(f, c(2))), z = mul(s, s);
      Val t = poly(z, {1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23});
      // log(1+f) = f - s (f - 2 z t): keeps f exact
      Val l = sub(f, mul(s, sub(f, mul(mul(c(2), z), t))));
      return add(mul(q.n, c(6.93147180369123816490e-01)), add(l, mul(q.n, c(1.90821492927058770002e-10))));
    }
    Val z = mul(f, f);
    Val t = poly(f, {3.3333313e-01, -2.500001e-01, 2.0002119e-01, -1.6667996e-01, 1.4219543e-01, -1.2405574e-01,
                        1.1888212e-01, -1.1675769e-01, 6.746675e-02});
    Val r = mul(mul(z, f), t);
    r = fma(q.n, c(-2.12194440e-4), r);
    r = fma(z, c(-0.5), r);
    r = add(f, r);
    return fma(q.n, c(0.693359375), r);
  }
  Val log(Val x) {
    Val r = log_of(split(x));
    r = select(b.CreateFCmpOEQ(x, c(INFINITY)), x, r);
    r = select(b.CreateFCmpOEQ(x, c(0)), c(-INFINITY), r);
    r = select(lt(x, c(0)), c(NAN), r);
    return select(b.CreateFCmpUNO(x, x), x, r);
  }
  Val log1p(Val x) {
    Val u = add(x, c(1));
    // What rounding 1 + x lost, relative to u.
    Val lost = div(sub(x, sub(u, c(1))), u);
    Val r = add(log_of(split(u)), lost);
    r = select(lt(abs(x), c(dbl ? 1e-16 : 5e-8)), x, r);
    r = select(b.CreateFCmpOEQ(x, c(INFINITY)), x, r);
    r = select(b.CreateFCmpOEQ(x, c(-1)), c(-INFINITY), r);
    r = select(lt(x, c(-1)), c(NAN), r);
    return select(b.CreateFCmpUNO(x, x), x, r);
  }
  Val tanh(Val x) {
    Val a = abs(x);
    Val big;
    if (dbl) {
      Val t = expm1(mul(clamp(a, 0, 22), c(2)));
      return select(b.CreateFCmpUNO(x, x), x, copysign(div(t, add(t, c(2))), x));
    }
    big = sub(c(1), div(c(2), add(exp(mul(clamp(a, 0, 10), c(2))), c(1))));
    Val z = mul(x, x);
    Val small = fma(mul(x, z), poly(z, {-3.333328e-01, 1.3331442e-01, -5.373971e-02, 2.0639079e-02, -5.7049785e-03}), x);
    return copysign(select(lt(a, c(0.625)), small, big), x);
  }
  // 1 / (1 + z) or z / (1 + z), z = exp(-|x|), and a first-order correction for what rounding z and 1 + z lost.
  Val sigmoid(Val x) {
    Val nan = b.CreateFCmpUNO(x, x), negative = lt(x, c(0));
    Sum z = exp_sum(b.CreateFNeg(abs(select(nan, c(0), x))));
    Val s = add(z.hi, c(1)), lost = add(sub(z.hi, sub(s, c(1))), z.lo);
    Val q = div(select(negative, z.hi, c(1)), s), inverse = select(negative, sub(c(1), q), q);
    Val r = fma(fma(b.CreateFNeg(q), lost, select(negative, z.lo, c(0))), inverse, q);
    return select(nan, x, r);
  }
  Val erf(Val x) {
    Val a = abs(x);
    if (dbl) return erf_double(x, a);
    Val z = mul(x, x);
    Val small = fma(x, poly(z, {1.2837917e-01, -3.7612626e-01, 1.12835854e-01, -2.6853811e-02, 5.1883273e-03, -8.0101914e-04, 7.853854e-05}), x);
    Val t = clamp(a, 0, 4);
    Val q = poly(t, {1.1285415e+00, 6.3567317e-01, 1.051695e-01, -2.2575615e-02, 2.869121e-03, -2.7435142e-05, -4.9940485e-05, 5.297003e-06});
    Val big = sub(c(1), exp(b.CreateFNeg(mul(t, q))));
    return select(lt(a, c(0.95)), small, copysign(big, x));
  }
  // Series for |x| < 2.5; beyond, the continued fraction of erfc.
  Val erf_double(Val x, Val a) {
    Val z = mul(x, x), ez = exp(b.CreateFNeg(z));
    // erf = 2/sqrt(pi) x exp(-z) sum (2z)^k / (1 3 5 ... (2k+1))
    Val term = c(1), sum = c(1);
    for (int k = 1; k <= 45; ++k) {
      term = mul(term, mul(z, c(2.0 / (2 * k + 1))));
      sum = add(sum, term);
    }
    Val small = mul(mul(x, c(1.1283791670955126)), mul(ez, sum));
    Val t = clamp(a, 2.5, 6.5), zt = mul(t, t);
    Val f = t;
    for (int k = 40; k >= 1; --k) f = add(t, div(c(k / 2.0), f));
    Val big = sub(c(1), div(mul(exp(b.CreateFNeg(zt)), c(0.5641895835477563)), f));
    Val r = select(lt(a, c(2.5)), small, copysign(big, x));
    return select(b.CreateFCmpUNO(x, x), x, r);
  }
  Val atan(Val x) {
    Val a = abs(x);
    if (dbl) {
      // |x| > 1 by the complement, then two halvings, then the series.
      Val inv = lt(c(1), a);
      Val y = select(inv, div(c(1), a), a);
      for (int k = 0; k < 2; ++k) y = div(y, add(c(1), sqrt(add(c(1), mul(y, y)))));
      Val z = mul(y, y);
      Val s = poly(z, {-1.0 / 3, 1.0 / 5, -1.0 / 7, 1.0 / 9, -1.0 / 11, 1.0 / 13, -1.0 / 15, 1.0 / 17, -1.0 / 19, 1.0 / 21, -1.0 / 23});
      Val r = mul(c(4), fma(mul(y, z), s, y));
      r = select(inv, sub(c(1.5707963267948966), r), r);
      return select(b.CreateFCmpUNO(x, x), x, copysign(r, x));
    }
    // |x| > 1 by the complement; pi/2 as two floats.
    Val big = lt(c(1), a), y = select(big, div(c(1), a), a), z = mul(y, y);
    Val p = poly(z, {-0.333332991, 0.199985483, -0.142642417, 0.109521859, -0.0840345052, 0.0579575965, -0.0311778483, 0.0109146069, -0.00179362192});
    Val r = add(y, fma(mul(y, z), p, select(big, c(4.371139e-08), c(0))));
    return copysign(select(big, sub(c(1.57079637), r), r), x);
  }

  // sin or cos in double: quadrant and remainder, then the series on |r| <= pi/4.
  // narrow: x was a float.
  Val sin_cos_double(Val x, bool cosine, bool narrow) {
    Val nan = b.CreateFCmpUNO(x, x);
    Val bad = b.CreateOr(nan, b.CreateFCmpOEQ(abs(x), c(INFINITY)));
    Val y = select(bad, c(0), x);
    Val big = b.CreateFCmpOGT(abs(y), c(1e5));
    Val n = round(mul(y, c(0.6366197723675814)));
    Val r = fma(n, c(-1.5707963109016418), y);
    r = fma(n, c(-1.5893254712295857e-08), r);
    r = fma(n, c(-6.123233995736766e-17), r);
    Val q = b.CreateFPToSI(select(big, c(0), n), ity);
    Large l = narrow ? reduce_float(y) : reduce_double(y);
    r = select(big, l.r, r);
    q = b.CreateSelect(big, l.q, q);
    if (cosine) q = b.CreateAdd(q, ci(1));
    Val z = mul(r, r);
    Val odd = poly(z, {-1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800.0, -1.0 / 1307674368000.0,
                       1.0 / 355687428096000.0});
    Val even = poly(z, {1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200.0, 1.0 / 20922789888000.0});
    Val s = fma(mul(r, z), odd, r), k = add(fma(z, c(-0.5), c(1)), mul(mul(z, z), even));
    Val zero = ci(0);
    Val v = select(b.CreateICmpNE(b.CreateAnd(q, ci(1)), zero), k, s);
    v = select(b.CreateICmpNE(b.CreateAnd(q, ci(2)), zero), b.CreateFNeg(v), v);
    return select(bad, c(NAN), v);
  }
  struct Large {
    Val r, q;
  };
  // |x| = m 2^e with an integer m. Of 2/pi 2^e the bits above 2 make whole turns with m and are left out; a window of the
  // bits that follow times m, modulo 2^(its length), is the angle in quarters of a turn.
  static constexpr uint32_t kTwoOverPi[] = {
      0,          0,          0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561, 0xB7246E3A,
      0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484, 0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4,
      0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F, 0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7,
      0xEBE5F17B, 0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB};
  Val and32(Val v) { return b.CreateAnd(v, ci(0xffffffff)); }
  Val high32(Val v) { return b.CreateLShr(v, ci(32)); }
  // 32 bits of the words a, b from bit `off` on.
  Val funnel(Val hi, Val lo, Val off) { return high32(b.CreateShl(b.CreateOr(b.CreateShl(hi, ci(32)), lo), off)); }
  // The word number and bit where the window for m 2^e begins, kLead zero bits standing before 2/pi.
  static constexpr int kLead = 64;
  Val window_start(Val e) {
    Val s = b.CreateAdd(e, ci(kLead - 2));
    return b.CreateSelect(b.CreateICmpSLT(s, ci(0)), ci(0), s);
  }
  Val exponent(Val i) { return b.CreateSub(b.CreateAnd(b.CreateLShr(i, ci(52)), ci(0x7ff)), ci(1023)); }
  // hi: the angle modulo 4 quarters, times 2^62; below: bits behind it, times 2^126.
  Large from_quarters(Val i, Val hi, Val below) {
    Val q = b.CreateLShr(b.CreateAdd(hi, ci(int64_t{1} << 61)), ci(62));
    Val f = b.CreateAShr(b.CreateShl(hi, ci(2)), ci(2));
    Val r = mul(b.CreateSIToFP(f, ty), c(0x1p-62 * 1.5707963267948966));
    if (below) r = add(r, mul(b.CreateSIToFP(b.CreateLShr(below, ci(1)), ty), c(0x1p-125 * 1.5707963267948966)));
    Val neg = b.CreateICmpSLT(i, ci(0));
    return {select(neg, b.CreateFNeg(r), r), b.CreateSelect(neg, b.CreateNeg(q), q)};
  }
  // 24 bits of m and 96 of the window, which is chosen by word numbers 0 to 5.
  Large reduce_float(Val x) {
    Val i = bits(x);
    Val start = window_start(b.CreateSub(exponent(i), ci(23))), word = b.CreateLShr(start, ci(5)), off = b.CreateAnd(start, ci(31));
    auto bit = [&](int64_t k) { return b.CreateICmpNE(b.CreateAnd(word, ci(k)), ci(0)); };
    Val one = bit(1), two = bit(2), four = bit(4), w[8];
    for (int k = 0; k < 8; ++k) w[k] = b.CreateSelect(four, ci(kTwoOverPi[k + 4]), ci(kTwoOverPi[k]));
    for (int k = 0; k < 6; ++k) w[k] = b.CreateSelect(two, w[k + 2], w[k]);
    for (int k = 0; k < 4; ++k) w[k] = b.CreateSelect(one, w[k + 1], w[k]);
    Val m = b.CreateLShr(b.CreateOr(b.CreateAnd(i, ci((int64_t{1} << 52) - 1)), ci(int64_t{1} << 52)), ci(29));
    Val low = b.CreateMul(m, funnel(w[2], w[3], off));
    Val mid = b.CreateAdd(b.CreateMul(m, funnel(w[1], w[2], off)), high32(low));
    Val top = b.CreateAdd(b.CreateMul(m, funnel(w[0], w[1], off)), high32(mid));
    return from_quarters(i, b.CreateOr(b.CreateShl(top, ci(32)), and32(mid)), nullptr);
  }
  // 53 bits of m and 192 of the window: the double nearest to a multiple of pi/2 is 2^-61 away from it.
  Large reduce_double(Val x) {
    auto* g = e.module->getNamedGlobal("two_over_pi");
    if (!g) {
      auto* data = llvm::ConstantDataArray::get(e.cx, llvm::ArrayRef<uint32_t>(kTwoOverPi));
      g = new llvm::GlobalVariable(*e.module, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data, "two_over_pi");
      g->setAlignment(llvm::Align(64));
    }
    Val i = bits(x);
    Val start = window_start(b.CreateSub(exponent(i), ci(52))), word = b.CreateLShr(start, ci(5)), off = b.CreateAnd(start, ci(31));
    auto fetch = [&](int64_t plus) -> Val {
      Val at = b.CreateAdd(word, ci(plus));
      auto load = [&](Val k) { return b.CreateZExt(b.CreateLoad(b.getInt32Ty(), b.CreateGEP(b.getInt32Ty(), g, k)), b.getInt64Ty()); };
      if (!ty->isVectorTy()) return load(at);
      Val v = llvm::PoisonValue::get(ity);
      for (unsigned k = 0; k < llvm::cast<llvm::FixedVectorType>(ty)->getNumElements(); ++k)
        v = b.CreateInsertElement(v, load(b.CreateExtractElement(at, k)), k);
      return v;
    };
    constexpr int kWords = 6;
    Val w[kWords + 1], window[kWords], product[kWords];
    for (int k = 0; k <= kWords; ++k) w[k] = fetch(k);
    for (int k = 0; k < kWords; ++k) window[k] = funnel(w[k], w[k + 1], off);
    Val m = b.CreateOr(b.CreateAnd(i, ci((int64_t{1} << 52) - 1)), ci(int64_t{1} << 52)), m0 = and32(m), m1 = high32(m), carry = ci(0);
    for (int k = kWords - 1; k >= 0; --k) {
      Val p = b.CreateAdd(b.CreateMul(m0, window[k]), carry);
      product[k] = and32(p);
      carry = high32(p);
    }
    carry = ci(0);
    for (int k = kWords - 2; k >= 0; --k) {
      Val p = b.CreateAdd(b.CreateAdd(b.CreateMul(m1, window[k + 1]), product[k]), carry);
      product[k] = and32(p);
      carry = high32(p);
    }
    auto pair = [&](int k) { return b.CreateOr(b.CreateShl(product[k], ci(32)), product[k + 1]); };
    return from_quarters(i, pair(0), pair(2));
  }
};

llvm::Type* with_scalar(Emitter& e, Val x, llvm::Type* scalar) {
  auto* v = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  return e.vec(scalar, v ? static_cast<int>(v->getNumElements()) : 1);
}

}  // namespace

Val Emitter::math(Prim p, Val x) {
  M m(*this, x);
  switch (p) {
    case Prim::exp: return m.exp(x);
    case Prim::expm1: return m.expm1(x);
    case Prim::log: return m.log(x);
    case Prim::log1p: return m.log1p(x);
    case Prim::tanh: return m.tanh(x);
    case Prim::sigmoid: return m.sigmoid(x);
    case Prim::erf: return m.erf(x);
    case Prim::atan: return m.atan(x);
    case Prim::sin:
    case Prim::cos: {
      if (m.dbl) return m.sin_cos_double(x, p == Prim::cos, false);
      Val wide = b.CreateFPExt(x, with_scalar(*this, x, b.getDoubleTy()));
      Val r = b.CreateFPTrunc(M(*this, wide).sin_cos_double(wide, p == Prim::cos, true), x->getType());
      // The sign of zero.
      return p == Prim::sin ? m.select(b.CreateFCmpOEQ(x, m.c(0)), x, r) : r;
    }
    default: break;
  }
  UNREACHABLE();
}

Val Emitter::pow(Val x, Val y) {
  // Floats through doubles, so that the product y log x keeps the bits that the result needs.
  if (x->getType()->getScalarType()->isFloatTy()) {
    llvm::Type* wide = with_scalar(*this, x, b.getDoubleTy());
    return b.CreateFPTrunc(pow(b.CreateFPExt(x, wide), b.CreateFPExt(y, wide)), x->getType());
  }
  M m(*this, x);
  Val a = m.abs(x);
  Val r = m.exp(m.mul(y, m.log(a)));
  Val whole = b.CreateFCmpOEQ(b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, y), y);
  Val half = m.mul(y, m.c(0.5));
  Val odd = b.CreateAnd(whole, b.CreateFCmpONE(b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, half), half));
  Val neg = b.CreateICmpSLT(m.bits(x), m.ci(0));
  Val minus = m.lt(x, m.c(0));
  r = m.select(b.CreateAnd(neg, odd), b.CreateFNeg(r), r);
  Val infinite = b.CreateFCmpOEQ(a, m.c(INFINITY));
  r = m.select(b.CreateAnd(minus, b.CreateAnd(b.CreateNot(whole), b.CreateNot(infinite))), m.c(NAN), r);
  Val one = b.CreateOr(b.CreateFCmpOEQ(x, m.c(1)), b.CreateFCmpOEQ(y, m.c(0)));
  one = b.CreateOr(one, b.CreateAnd(b.CreateFCmpOEQ(x, m.c(-1)), b.CreateFCmpOEQ(m.abs(y), m.c(INFINITY))));
  return m.select(one, m.c(1), r);
}

namespace {
struct NarrowFormat {
  int exp, mant, bias;
  bool inf;      // has infinities (all-ones exponent)
  bool fnuz;     // one NaN at the sign bit, no negative zero
};
NarrowFormat format_of(DType t) {
  switch (t) {
    case DType::f16: return {5, 10, 15, true, false};
    case DType::bf16: return {8, 7, 127, true, false};
    case DType::f8e4m3fn: return {4, 3, 7, false, false};
    case DType::f8e4m3fnuz: return {4, 3, 8, false, true};
    case DType::f8e5m2: return {5, 2, 15, true, false};
    case DType::f8e5m2fnuz: return {5, 2, 16, false, true};
    case DType::f4e2m1: return {2, 1, 1, false, false};
    default: UNREACHABLE();
  }
}
}  // namespace

Val Emitter::narrow_to_float(DType t, Val h) {
  llvm::Type* i32 = with_scalar(*this, h, b.getInt32Ty());
  llvm::Type* f32 = with_scalar(*this, h, b.getFloatTy());
  auto ci = [&](int64_t v) { return llvm::ConstantInt::get(i32, static_cast<uint64_t>(v), true); };
  if (t == DType::bf16) return b.CreateBitCast(b.CreateShl(b.CreateZExt(h, i32), ci(16)), f32);
  if (t == DType::f16 && target.f16c) return b.CreateFPExt(b.CreateBitCast(h, with_scalar(*this, h, b.getHalfTy())), f32);
  if (t == DType::f8e8m0) {
    // A power of two; 255 is NaN and 0 is 2^-127, a subnormal float.
    Val x = b.CreateZExt(h, i32);
    Val r = b.CreateSelect(b.CreateICmpEQ(x, ci(0)), ci(0x400000), b.CreateShl(x, ci(23)));
    return b.CreateBitCast(b.CreateSelect(b.CreateICmpEQ(x, ci(255)), ci(0x7fc00000), r), f32);
  }
  NarrowFormat n = format_of(t);
  int width = 1 + n.exp + n.mant;
  Val x = b.CreateZExt(h, i32);
  Val mag = b.CreateAnd(x, ci((1 << (width - 1)) - 1));
  Val sign = b.CreateShl(b.CreateAnd(x, ci(1 << (width - 1))), ci(32 - width));
  // The magnitude's bits as a float are too small by 2^(127 - bias): one exact multiplication, subnormals included.
  Val f = b.CreateFMul(b.CreateBitCast(b.CreateShl(mag, ci(23 - n.mant)), f32), llvm::ConstantFP::get(f32, std::ldexp(1.0, 127 - n.bias)));
  Val bits = b.CreateBitCast(f, i32);
  int top = ((1 << n.exp) - 1) << n.mant;
  if (n.inf) {
    Val special = b.CreateICmpUGE(mag, ci(top));
    bits = b.CreateSelect(special, b.CreateOr(ci(0x7f800000), b.CreateShl(mag, ci(23 - n.mant))), bits);
  } else if (n.fnuz) {
    bits = b.CreateSelect(b.CreateICmpEQ(x, ci(1 << (width - 1))), ci(0x7fc00000), bits);
  } else if (t != DType::f4e2m1) {
    bits = b.CreateSelect(b.CreateICmpEQ(mag, ci((1 << (width - 1)) - 1)), ci(0x7fc00000), bits);
  }
  return b.CreateBitCast(b.CreateOr(bits, sign), f32);
}

Val Emitter::float_to_narrow(DType t, Val v, bool saturate) {
  llvm::Type* out = with_scalar(*this, v, element_type(t));
  llvm::Type* i32 = with_scalar(*this, v, b.getInt32Ty());
  if (v->getType()->getScalarType()->isDoubleTy()) v = b.CreateFPTrunc(v, with_scalar(*this, v, b.getFloatTy()));
  auto ci = [&](int64_t k) { return llvm::ConstantInt::get(i32, static_cast<uint64_t>(k), true); };
  if (t == DType::f16 && target.f16c) return b.CreateBitCast(b.CreateFPTrunc(v, with_scalar(*this, v, b.getHalfTy())), out);
  Val x = b.CreateBitCast(v, i32);
  Val nan = b.CreateFCmpUNO(v, v);
  Val mag = b.CreateAnd(x, ci(0x7fffffff));
  if (t == DType::bf16) {
    Val r = b.CreateLShr(b.CreateAdd(x, b.CreateAdd(ci(0x7fff), b.CreateAnd(b.CreateLShr(x, ci(16)), ci(1)))), ci(16));
    r = b.CreateSelect(nan, b.CreateOr(b.CreateLShr(x, ci(16)), ci(0x40)), r);
    return b.CreateTrunc(r, out);
  }
  if (t == DType::f8e8m0) {
    // The next power of two, as Cast's default. Subnormal floats above 2^-127 give 2^-126.
    Val r = b.CreateLShr(b.CreateAdd(mag, ci(0x7fffff)), ci(23));
    r = b.CreateSelect(b.CreateICmpULE(mag, ci(0x400000)), ci(0), r);
    r = b.CreateSelect(b.CreateICmpUGT(mag, ci(0x7f000000)), ci(saturate ? 254 : 255), r);
    if (!saturate) r = b.CreateSelect(b.CreateICmpULE(mag, ci(0x200000)), ci(255), r);
    return b.CreateTrunc(b.CreateSelect(nan, ci(255), r), out);
  }
  NarrowFormat n = format_of(t);
  int width = 1 + n.exp + n.mant, shift = 23 - n.mant;
  llvm::Type* f32 = v->getType();
  // Normal results: rebias and round to nearest even on the bits. Subnormal: let a float addition round at the right bit.
  Val rebased = b.CreateSub(mag, ci(static_cast<int64_t>(127 - n.bias) << 23));
  Val odd = b.CreateAnd(b.CreateLShr(mag, ci(shift)), ci(1));
  Val normal = b.CreateLShr(b.CreateAdd(b.CreateAdd(rebased, ci((1 << (shift - 1)) - 1)), odd), ci(shift));
  double magic = std::ldexp(1.0, 23 + 1 - n.bias - n.mant);
  Val sub = b.CreateSub(b.CreateBitCast(b.CreateFAdd(b.CreateBitCast(mag, f32), llvm::ConstantFP::get(f32, magic)), i32),
                        b.CreateBitCast(llvm::ConstantFP::get(f32, magic), i32));
  Val small = b.CreateICmpULT(mag, ci(static_cast<int64_t>(128 - n.bias) << 23));
  Val r = b.CreateSelect(small, sub, normal);
  int top = ((1 << n.exp) - 1) << n.mant;
  bool no_nan = t == DType::f4e2m1;  // its largest stands for all that is larger
  int largest = n.inf ? top - 1 : n.fnuz || no_nan ? (1 << (width - 1)) - 1 : (1 << (width - 1)) - 2;
  bool is_half = t == DType::f16;
  int over = n.inf ? (is_half || !saturate ? top : largest) : saturate || no_nan ? largest : n.fnuz ? 1 << (width - 1) : (1 << (width - 1)) - 1;
  Val inf_in = b.CreateICmpEQ(mag, ci(0x7f800000));
  r = b.CreateSelect(b.CreateOr(b.CreateICmpSGT(r, ci(largest)), inf_in), ci(over), r);
  int quiet = n.inf ? top | (1 << (n.mant - 1)) : n.fnuz ? 1 << (width - 1) : (1 << (width - 1)) - 1;
  r = b.CreateSelect(nan, ci(quiet), r);
  Val sign = b.CreateLShr(b.CreateAnd(x, ci(static_cast<int64_t>(0x80000000u))), ci(32 - width));
  // Without a NaN it becomes the zero of the other sign, as ml_dtypes has it.
  if (no_nan) {
    r = b.CreateSelect(nan, ci(0), r);
    sign = b.CreateSelect(nan, b.CreateXor(sign, ci(1 << (width - 1))), sign);
  }
  // fnuz has no negative zero and its NaN carries no sign of its own.
  if (n.fnuz) sign = b.CreateSelect(b.CreateOr(b.CreateICmpEQ(r, ci(0)), b.CreateICmpEQ(r, ci(1 << (width - 1)))), ci(0), sign);
  return b.CreateTrunc(b.CreateOr(r, sign), out);
}

}  // namespace weft
