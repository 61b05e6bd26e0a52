// The interpreter of ScalarPrograms: one register per instruction, holding a chunk of elements in the carrier of the
// instruction's type. Integer instructions wrap to their dtype; float instructions stay f64 until a `cast` or the final
// store rounds them. Inputs broadcast by strides; after merging dims the innermost stride of each is 0 or 1.
//
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/eval/evaluator.h"
#include "ir/ops/common.h"

namespace weft {

namespace {
constexpr int64_t kChunk = 1024;
using Complex = std::complex<double>;

struct Register {
  std::vector<double> f;
  std::vector<int64_t> i;
  std::vector<uint64_t> u;
  std::vector<Complex> c;
  template <class T>
  T* as() {
    if constexpr (std::is_same_v<T, double>) return f.data();
    else if constexpr (std::is_same_v<T, int64_t>) return i.data();
    else if constexpr (std::is_same_v<T, uint64_t>) return u.data();
    else return c.data();
  }
  void resize(DType t, int64_t n) {
    with_carrier(t, [&](auto x) {
      using T = decltype(x);
      if constexpr (std::is_same_v<T, double>) f.resize(n);
      else if constexpr (std::is_same_v<T, int64_t>) i.resize(n);
      else if constexpr (std::is_same_v<T, uint64_t>) u.resize(n);
      else c.resize(n);
    });
  }
};

// One input over the merged dims of the result.
struct Reader {
  const Tensor* tensor = nullptr;
  std::vector<int64_t> strides;
};

struct Space {
  std::vector<int64_t> dims;  // merged; never empty
  std::vector<Reader> readers;
};
}  // namespace

// Drops dims of 1 and merges neighbours that every input walks as one.
static Space merge_dims(const std::vector<const Tensor*>& inputs, const std::vector<int64_t>& dims) {
  std::vector<std::vector<int64_t>> strides;
  Space s;
  for (const Tensor* t : inputs) {
    s.readers.push_back({t, {}});
    strides.push_back(t ? broadcast_strides(t->dims, dims) : std::vector<int64_t>(dims.size(), 0));
  }
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    bool joins = !s.dims.empty();
    for (size_t k = 0; joins && k < inputs.size(); ++k) joins = s.readers[k].strides.back() == strides[k][d] * dims[d];
    if (joins) s.dims.back() *= dims[d];
    else s.dims.push_back(dims[d]);
    for (size_t k = 0; k < inputs.size(); ++k) {
      if (joins) s.readers[k].strides.back() = strides[k][d];
      else s.readers[k].strides.push_back(strides[k][d]);
    }
  }
  if (s.dims.empty()) {
    s.dims.push_back(1);
    for (Reader& r : s.readers) r.strides.push_back(0);
  }
  return s;
}

// Elements [begin, begin + n) of the result's order, of one input.
template <class T>
static void gather(const Reader& r, const std::vector<int64_t>& dims, int64_t begin, int64_t n, T* dst) {
  const int64_t inner = dims.back(), step = r.strides.back();
  for (int64_t done = 0; done < n;) {
    int64_t row = (begin + done) / inner, column = (begin + done) % inner, offset = column * step;
    for (int d = static_cast<int>(dims.size()) - 2; d >= 0; --d) {
      offset += row % dims[d] * r.strides[d];
      row /= dims[d];
    }
    int64_t m = std::min(n - done, inner - column);
    load_row(*r.tensor, offset, dst + done, step ? m : 1);
    if (!step) std::fill(dst + done + 1, dst + done + m, dst[done]);
    done += m;
  }
}

// --- integers ---------------------------------------------------------------------------------------------------

template <class T>
static T wrap(DType t, T v) {
  if (t == DType::b1) return v != 0;
  int bits = bit_width(t);
  if (bits == 64) return v;
  uint64_t u = static_cast<uint64_t>(v) << (64 - bits);
  if (is_signed_int(t)) return static_cast<T>(static_cast<int64_t>(u) >> (64 - bits));
  return static_cast<T>(u >> (64 - bits));
}

template <class T>
static T int_pow(T base, T exponent) {
  if (std::is_signed_v<T> && static_cast<int64_t>(exponent) < 0) {
    if (base == T(1)) return 1;
    if (base == static_cast<T>(-1)) return exponent % 2 ? base : 1;
    return 0;  // as 1/x truncates; 0 to a negative power is 0 too
  }
  uint64_t result = 1, b = static_cast<uint64_t>(base);
  for (uint64_t e = static_cast<uint64_t>(exponent); e; e >>= 1, b *= b)
    if (e & 1) result *= b;
  return static_cast<T>(result);
}

// Quotient and remainder that are defined for every pair: x/0 is 0, and the most negative number by -1 wraps.
template <class T>
static T int_div(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return static_cast<T>(0 - static_cast<uint64_t>(a));
  return a / b;
}
template <class T>
static T int_rem(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return a % b;
}
template <class T>
static T int_mod(T a, T b) {
  T r = int_rem(a, b);
  if constexpr (std::is_signed_v<T>)
    if (r != 0 && (r < 0) != (b < 0)) r += b;
  return r;
}

template <class T>
static T int_shift(Prim p, DType t, T a, T b) {
  uint64_t n = static_cast<uint64_t>(b);
  if (n >= static_cast<uint64_t>(bit_width(t))) return 0;
  return p == Prim::shl ? static_cast<T>(static_cast<uint64_t>(a) << n) : static_cast<T>(a >> n);
}

template <class T>
static T int_op(Prim p, DType t, T a, T b, T c) {
  uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  switch (p) {
    case Prim::add: return static_cast<T>(x + y);
    case Prim::sub: return static_cast<T>(x - y);
    case Prim::mul: return static_cast<T>(x * y);
    case Prim::fma: return static_cast<T>(x * y + static_cast<uint64_t>(c));
    case Prim::div: return int_div(a, b);
    case Prim::mod: return int_mod(a, b);
    case Prim::rem: return int_rem(a, b);
    case Prim::pow: return int_pow(a, b);
    case Prim::min: return std::min(a, b);
    case Prim::max: return std::max(a, b);
    case Prim::neg: return static_cast<T>(0 - x);
    case Prim::abs: return std::is_signed_v<T> && static_cast<int64_t>(a) < 0 ? static_cast<T>(0 - x) : a;
    case Prim::sign: return std::is_signed_v<T> && static_cast<int64_t>(a) < 0 ? static_cast<T>(-1) : static_cast<T>(a != 0);
    case Prim::floor:
    case Prim::ceil:
    case Prim::round:
    case Prim::trunc: return a;
    case Prim::bit_and: return a & b;
    case Prim::bit_or: return a | b;
    case Prim::bit_xor: return a ^ b;
    case Prim::bit_not: return t == DType::b1 ? static_cast<T>(a == 0) : static_cast<T>(~x);
    case Prim::shl:
    case Prim::shr: return int_shift(p, t, a, b);
    default: UNREACHABLE();  // transcendental functions of integers: bodies cast first
  }
}

// --- floats -----------------------------------------------------------------------------------------------------

static double float_mod(double a, double b) {
  double r = std::fmod(a, b);
  if (r != 0 && (r < 0) != (b < 0)) return r + b;
  return r == 0 ? std::copysign(0.0, b) : r;
}
static double float_sign(double a) { return std::isnan(a) ? a : (a > 0) - (a < 0); }
static double float_sigmoid(double a) {
  if (a >= 0) return 1 / (1 + std::exp(-a));
  double e = std::exp(a);
  return e / (1 + e);
}
static double float_min(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : std::min(a, b); }
static double float_max(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b); }

static double float_op(Prim p, double a, double b, double c) {
  switch (p) {
    case Prim::add: return a + b;
    case Prim::sub: return a - b;
    case Prim::mul: return a * b;
    case Prim::div: return a / b;
    case Prim::mod: return float_mod(a, b);
    case Prim::rem: return std::fmod(a, b);
    case Prim::min: return float_min(a, b);
    case Prim::max: return float_max(a, b);
    case Prim::pow: return std::pow(a, b);
    case Prim::fma: return std::fma(a, b, c);
    case Prim::neg: return -a;
    case Prim::abs: return std::fabs(a);
    case Prim::sign: return float_sign(a);
    case Prim::floor: return std::floor(a);
    case Prim::ceil: return std::ceil(a);
    case Prim::round: return std::nearbyint(a);  // the default mode: ties to even
    case Prim::trunc: return std::trunc(a);
    case Prim::round_tf32: return round_to_tf32(a);
    case Prim::sqrt: return std::sqrt(a);
    case Prim::exp: return std::exp(a);
    case Prim::expm1: return std::expm1(a);
    case Prim::log: return std::log(a);
    case Prim::log1p: return std::log1p(a);
    case Prim::sin: return std::sin(a);
    case Prim::cos: return std::cos(a);
    case Prim::atan: return std::atan(a);
    case Prim::tanh: return std::tanh(a);
    case Prim::erf: return std::erf(a);
    case Prim::sigmoid: return float_sigmoid(a);
    default: UNREACHABLE();
  }
}

static Complex complex_op(Prim p, Complex a, Complex b, Complex c) {
  switch (p) {
    case Prim::add: return a + b;
    case Prim::sub: return a - b;
    case Prim::mul: return a * b;
    case Prim::div: return a / b;
    case Prim::fma: return a * b + c;
    case Prim::neg: return -a;
    case Prim::pow: return std::pow(a, b);
    case Prim::sqrt: return std::sqrt(a);
    case Prim::exp: return std::exp(a);
    case Prim::log: return std::log(a);
    case Prim::sin: return std::sin(a);
    case Prim::cos: return std::cos(a);
    case Prim::tanh: return std::tanh(a);
    default: UNREACHABLE();  // complex numbers have no order
  }
}

template <class T>
static int64_t compare(Prim p, T a, T b) {
  switch (p) {
    case Prim::eq: return a == b;
    case Prim::ne: return a != b;
    default: break;
  }
  if constexpr (std::is_same_v<T, double>) {
    if (p == Prim::is_nan) return std::isnan(a);
    if (p == Prim::is_inf) return std::isinf(a);
  }
  if constexpr (!std::is_same_v<T, Complex>) {
    if (p == Prim::lt) return a < b;
    if (p == Prim::le) return a <= b;
    return 0;  // is_nan, is_inf of an integer
  } else {
    UNREACHABLE();
  }
}

// --- conversions ------------------------------------------------------------------------------------------------

// An integer as a double that rounds further to any narrower float as the integer itself would: beyond 53 bits the lost
// bits are kept as a sticky last bit.
static double sticky_double(bool negative, uint64_t magnitude) {
  int excess = 64 - 53 - (magnitude ? __builtin_clzll(magnitude) : 64);
  double d;
  if (excess <= 0) {
    d = static_cast<double>(magnitude);
  } else {
    uint64_t lost = magnitude & ((uint64_t{1} << excess) - 1);
    d = std::ldexp(static_cast<double>((magnitude >> excess) | (lost != 0)), excess);
  }
  return negative ? -d : d;
}
template <class T>
static double int_to_float(T v, DType to, bool saturate) {
  if (to == DType::f64) return static_cast<double>(v);
  bool negative = std::is_signed_v<T> && static_cast<int64_t>(v) < 0;
  return round_to(to, sticky_double(negative, negative ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v)), saturate);
}

static int64_t float_to_signed(double v, DType to) {
  if (std::isnan(v)) return 0;
  if (is_subbyte(to)) return wrap(to, float_to_signed(v, DType::i64));
  v = std::trunc(v);
  if (v <= static_cast<double>(int_min(to))) return int_min(to);
  // 2^63 is not an int64 but is a double, hence >=.
  return v >= static_cast<double>(int_max(to)) ? int_max(to) : static_cast<int64_t>(v);
}
static uint64_t float_to_unsigned(double v, DType to) {
  if (is_subbyte(to)) return wrap(to, static_cast<uint64_t>(float_to_signed(v, DType::i64)));
  if (std::isnan(v) || v <= 0) return 0;
  uint64_t top = bit_width(to) == 64 ? UINT64_MAX : (uint64_t{1} << bit_width(to)) - 1;
  return v >= static_cast<double>(top) ? top : static_cast<uint64_t>(v);
}

template <class To, class From>
static To convert(From v, DType to, bool saturate) {
  if constexpr (std::is_same_v<To, Complex>) {
    if constexpr (std::is_same_v<From, Complex>)
      return to == DType::c64 ? Complex(round_to(DType::f32, v.real()), round_to(DType::f32, v.imag())) : v;
    else return Complex(static_cast<double>(v), 0);
  } else if constexpr (std::is_same_v<From, Complex>) {
    return convert<To, double>(v.real(), to, saturate);
  } else if constexpr (std::is_same_v<To, double>) {
    if constexpr (std::is_same_v<From, double>) return round_to(to, v, saturate);
    else return int_to_float(v, to, saturate);
  } else if constexpr (std::is_same_v<From, double>) {
    if (to == DType::b1) return v != 0;
    if constexpr (std::is_same_v<To, int64_t>) return float_to_signed(v, to);
    else return float_to_unsigned(v, to);
  } else {
    return wrap(to, static_cast<To>(v));
  }
}

// --- one instruction over a chunk -------------------------------------------------------------------------------

template <class T>
static T one_op(const ScalarInst& x, T a, T b, T c) {
  if constexpr (std::is_same_v<T, double>) return float_op(x.prim, a, b, c);
  else if constexpr (std::is_same_v<T, Complex>) return complex_op(x.prim, a, b, c);
  else return wrap(x.type, int_op(x.prim, x.type, a, b, c));
}

template <class T>
static void run_arithmetic(const ScalarInst& x, std::vector<Register>& regs, Register& out, int64_t n) {
  T* o = out.as<T>();
  const T* a = regs[x.args[0]].as<T>();
  const T* b = x.args[1] >= 0 ? regs[x.args[1]].as<T>() : a;
  const T* c = x.args[2] >= 0 ? regs[x.args[2]].as<T>() : a;
  for (int64_t k = 0; k < n; ++k) o[k] = one_op<T>(x, a[k], b[k], c[k]);
}

static Status run_bitcast(const ScalarInst& x, DType from, Register& src, Register& out, int64_t n) {
  CHECK(bit_width(from) == bit_width(x.type));
  TRY_ASSIGN(Tensor t, Tensor::make(from, {n}));
  with_carrier(from, [&](auto v) {
    if constexpr (std::is_same_v<decltype(v), double>) store_row(t, 0, src.f.data(), n, false);
    else store_row(t, 0, src.as<decltype(v)>(), n);
  });
  t.dtype = x.type;
  if (is_subbyte(x.type)) {
    // Through the packed form, which drops the extension bits of the other signedness.
    std::vector<std::byte> packed(packed_bytes(x.type, n));
    pack_subbyte(from, t.data.get(), packed.data(), n);
    unpack_subbyte(x.type, packed.data(), t.data.get(), n);
  }
  with_carrier(x.type, [&](auto v) { load_row(t, 0, out.as<decltype(v)>(), n); });
  return {};
}

static bool is_comparison(Prim p) {
  return p == Prim::eq || p == Prim::ne || p == Prim::lt || p == Prim::le || p == Prim::is_nan || p == Prim::is_inf;
}

static Status run_inst(const ScalarProgram& p, const ScalarInst& x, std::vector<Register>& regs, Register& out, int64_t n) {
  if (x.prim == Prim::bitcast) return run_bitcast(x, p.type(x.args[0]), regs[x.args[0]], out, n);
  if (x.prim == Prim::cast) {
    with_carrier(p.type(x.args[0]), [&](auto f) {
      with_carrier(x.type, [&](auto t) {
        auto* src = regs[x.args[0]].template as<decltype(f)>();
        auto* dst = out.template as<decltype(t)>();
        for (int64_t k = 0; k < n; ++k) dst[k] = convert<decltype(t)>(src[k], x.type, x.i != 0);
      });
    });
  } else if (is_comparison(x.prim)) {
    with_carrier(p.type(x.args[0]), [&](auto f) {
      using T = decltype(f);
      const T* a = regs[x.args[0]].template as<T>();
      const T* b = x.args[1] >= 0 ? regs[x.args[1]].template as<T>() : a;
      int64_t* o = out.as<int64_t>();
      for (int64_t k = 0; k < n; ++k) o[k] = compare(x.prim, a[k], b[k]);
    });
  } else if (x.prim == Prim::select) {
    const int64_t* cond = regs[x.args[0]].as<int64_t>();
    with_carrier(x.type, [&](auto f) {
      using T = decltype(f);
      const T *a = regs[x.args[1]].template as<T>(), *b = regs[x.args[2]].template as<T>();
      T* o = out.template as<T>();
      for (int64_t k = 0; k < n; ++k) o[k] = cond[k] ? a[k] : b[k];
    });
  } else {
    with_carrier(x.type, [&](auto f) { run_arithmetic<decltype(f)>(x, regs, out, n); });
  }
  return {};
}

static void fill_constant(const ScalarInst& x, Register& r) {
  with_carrier(x.type, [&](auto f) {
    using T = decltype(f);
    T v;
    if constexpr (std::is_same_v<T, double>) v = x.f;
    else if constexpr (std::is_same_v<T, Complex>) v = Complex(static_cast<double>(x.i), 0);
    else v = static_cast<T>(x.i);
    std::fill(r.template as<T>(), r.template as<T>() + kChunk, v);
  });
}

// Whether instruction `id` yields values of its dtype exactly, so that storing must not saturate an infinity.
static bool is_exact(const ScalarProgram& p, int id) {
  const ScalarInst& x = p.insts[id];
  switch (x.prim) {
    case Prim::input: case Prim::cast: case Prim::bitcast: return true;
    case Prim::neg: case Prim::abs: return is_exact(p, x.args[0]);
    case Prim::min: case Prim::max: return is_exact(p, x.args[0]) && is_exact(p, x.args[1]);
    case Prim::select: return is_exact(p, x.args[1]) && is_exact(p, x.args[2]);
    default: return false;
  }
}

Result<std::vector<Tensor>> evaluate_scalar(const ScalarProgram& program, const std::vector<const Tensor*>& inputs, const std::vector<int64_t>& dims,
                                            const std::vector<DType>& output_types) {
  CHECK(output_types.size() == program.outputs.size());
  for (const ScalarInst& x : program.insts)
    if (x.type == DType::str) return unsupported("elementwise computation on strings");
  ScalarProgram p = program;
  std::vector<Tensor> out;
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    p.outputs[k] = p.cast(p.outputs[k], output_types[k]);
    TRY_ASSIGN(Tensor t, Tensor::make(output_types[k], dims));
    out.push_back(std::move(t));
  }
  std::vector<Register> regs(p.insts.size());
  for (size_t k = 0; k < regs.size(); ++k) {
    regs[k].resize(p.insts[k].type, kChunk);
    if (p.insts[k].prim == Prim::constant) fill_constant(p.insts[k], regs[k]);
  }
  Space space = merge_dims(inputs, dims);
  int64_t total = 1;
  for (int64_t d : dims) total *= d;
  for (int64_t begin = 0; begin < total; begin += kChunk) {
    int64_t n = std::min(kChunk, total - begin);
    for (size_t k = 0; k < regs.size(); ++k) {
      const ScalarInst& x = p.insts[k];
      if (x.prim == Prim::constant) continue;
      if (x.prim != Prim::input) {
        TRY(run_inst(p, x, regs, regs[k], n));
        continue;
      }
      const Reader& r = space.readers[x.index];
      CHECK(r.tensor && r.tensor->dtype == x.type);
      with_carrier(x.type, [&](auto f) { gather(r, space.dims, begin, n, regs[k].as<decltype(f)>()); });
    }
    for (size_t k = 0; k < out.size(); ++k) {
      int id = p.outputs[k];
      with_carrier(out[k].dtype, [&](auto f) {
        using T = decltype(f);
        if constexpr (std::is_same_v<T, double>) store_row(out[k], begin, regs[id].f.data(), n, !is_exact(p, id));
        else store_row(out[k], begin, regs[id].template as<T>(), n);
      });
    }
  }
  return out;
}

}  // namespace weft
