// cast and bitcast. Strings have no scalar carrier: to and from them each element is parsed or printed. Numbers print as
// the shortest text that reads back equal in their own type, positional between 1e-4 and 1e16 (as NumPy does); text that
// is not a number is an error. A float8e8m0 target rounds by `round_mode`.
#include <charconv>
#include <cmath>
#include <cstdio>

#include "ir/ops/common.h"
#include "ir/ops/pointwise.h"

namespace weft {

static bool is_positional(double v) { return v == 0 || (std::fabs(v) >= 1e-4 && std::fabs(v) < 1e16); }

template <class T>
static std::string shortest(T v) {
  char buf[64];
  auto r = std::to_chars(buf, buf + sizeof buf, v, is_positional(static_cast<double>(v)) ? std::chars_format::fixed : std::chars_format::scientific);
  return {buf, r.ptr};
}
static std::string float_string(DType t, double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v < 0 ? "-inf" : "inf";
  std::string s;
  if (t == DType::f64) {
    s = shortest(v);
  } else if (t == DType::f32) {
    s = shortest(static_cast<float>(v));
  } else {
    // Narrower types have at most 5 significant digits.
    char buf[32];
    for (int digits = 1; digits <= 5; ++digits) {
      std::snprintf(buf, sizeof buf, "%.*e", digits - 1, v);
      double back = std::strtod(buf, nullptr);
      if (round_to(t, back) != v) continue;
      s = shortest(back);
      break;
    }
  }
  return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;
}

static Result<Tensor> to_strings(const Tensor& x) {
  TRY_ASSIGN(Tensor y, Tensor::make(DType::str, x.dims));
  std::vector<std::string>& out = *y.strings;
  if (is_float(x.dtype)) {
    std::vector<double> v = load_all<double>(x);
    for (size_t k = 0; k < v.size(); ++k) out[k] = float_string(x.dtype, v[k]);
  } else if (is_complex(x.dtype)) {
    return unsupported("cast of complex numbers to strings");
  } else {
    std::vector<int64_t> v = load_all<int64_t>(x);
    for (size_t k = 0; k < v.size(); ++k)
      out[k] = x.dtype == DType::b1 ? (v[k] ? "True" : "False")
               : is_unsigned_int(x.dtype) ? std::to_string(static_cast<uint64_t>(v[k])) : std::to_string(v[k]);
  }
  return y;
}

// A number in plain or scientific notation with optional sign; inf and nan in any case. Blanks around it are ignored.
template <class T>
static bool parse_number(std::string_view s, T* v) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  if (s.size() > 1 && s.front() == '+' && s[1] != '-') s.remove_prefix(1);
  if (s.empty()) return false;
  auto r = std::from_chars(s.data(), s.data() + s.size(), *v);
  if (r.ptr != s.data() + s.size()) return false;
  if constexpr (std::is_floating_point_v<T>) {
    // Out of range: from_chars leaves *v alone; strtod gives the infinity or the zero it rounds to.
    if (r.ec == std::errc::result_out_of_range) *v = static_cast<T>(std::strtod(std::string(s).c_str(), nullptr));
    return true;
  } else {
    return r.ec == std::errc();
  }
}
static Error not_a_number(const std::string& s) { return invalid("cast: " + quote(s.substr(0, 80)) + " is not a number"); }

// Integers parse exactly; a real number given for an integer is converted as any float is.
template <class T>
static Result<Tensor> integers_from_strings(const Tensor& x, DType t) {
  std::vector<T> v;
  for (const std::string& s : *x.strings) {
    T n = 0;
    double d = 0;
    if (!parse_number(s, &n)) {
      if (!parse_number(s, &d)) return not_a_number(s);
      d = std::isnan(d) ? 0 : std::trunc(d);
      constexpr double lo = static_cast<double>(std::numeric_limits<T>::min()), hi = static_cast<double>(std::numeric_limits<T>::max());
      n = d <= lo ? std::numeric_limits<T>::min() : d >= hi ? std::numeric_limits<T>::max() : static_cast<T>(d);
    }
    v.push_back(t == DType::b1 ? n != 0 : n);
  }
  return store_all(t, x.dims, v);
}
static Result<Tensor> from_strings(const Tensor& x, const CastAttrs& a) {
  if (is_complex(a.to)) return unsupported("cast of strings to complex numbers");
  if (is_unsigned_int(a.to)) return integers_from_strings<uint64_t>(x, a.to);
  if (!is_float(a.to)) return integers_from_strings<int64_t>(x, a.to);
  TRY_ASSIGN(Tensor y, Tensor::make(a.to, x.dims));
  for (int64_t k = 0; k < y.numel(); ++k) {
    double d = 0;
    if (!parse_number((*x.strings)[k], &d)) return not_a_number((*x.strings)[k]);
    store_row(y, k, &d, 1, a.saturate);
  }
  return y;
}

static Result<Tensor> to_e8m0(const Tensor& x, const CastAttrs& a) {
  if (is_complex(x.dtype)) return unsupported("cast of complex numbers to f8e8m0");
  E8m0Round round = a.round_mode == "up" ? E8m0Round::up : a.round_mode == "down" ? E8m0Round::down : E8m0Round::nearest;
  TRY_ASSIGN(Tensor y, Tensor::make(a.to, x.dims));
  std::vector<double> v = load_all<double>(x);
  for (size_t k = 0; k < v.size(); ++k) y.data.get()[k] = static_cast<std::byte>(float_to_e8m0(v[k], round, a.saturate));
  return y;
}

static Result<std::vector<HostValue>> eval_cast(EvalCall& call) {
  const CastAttrs& a = call.attr<CastAttrs>();
  const Tensor& x = call.tensor(0);
  if (x.dtype == a.to) return one(x);
  if (a.to == DType::str) return one(to_strings(x));
  if (x.dtype == DType::str) return one(from_strings(x, a));
  if (a.to == DType::f8e8m0) return one(to_e8m0(x, a));
  return eval_pointwise(call);
}

static Status infer_cast(Op& op, InferContext& cx) {
  const std::string& r = op.attr<CastAttrs>().round_mode;
  if (r != "up" && r != "down" && r != "nearest") return invalid("cast's round_mode must be \"up\", \"down\" or \"nearest\", is " + quote(r));
  return infer_pointwise(op, cx);
}
// The power of two that the round mode asks for, so that the cast, which rounds up, has nothing left to round.
static S power_of_two(S x, bool nearest) {
  S f = x.cast(DType::f32), bits{f.p, f.p->bitcast(f.id, DType::i32)};
  if (nearest) bits = bits + 0x400000;
  S power{f.p, f.p->bitcast(bits.bin(Prim::bit_and, bits.lit(0x7f800000)).id, DType::f32)};
  return select(f.un(Prim::is_nan), f, power);
}
OpDef def_cast() {
  OpDef d = pointwise("Cast", 1, [](const Op& op, ScalarProgram& p) {
    const auto& a = op.attr<CastAttrs>();
    S x = in(op, p, 0);
    if (a.to == DType::f8e8m0 && a.round_mode != "up") x = power_of_two(x, a.round_mode == "nearest");
    out(p, S{&p, p.cast(x.id, a.to, a.saturate)});
  });
  d.attrs = make_attrs<CastAttrs>;
  d.infer = infer_cast;
  d.eval = eval_cast;
  return d;
}

static Status infer_bitcast(Op& op, InferContext& cx) {
  if (type_of(op, 0).is_tensor() && (type_of(op, 0).dtype == DType::str || op.attr<BitcastAttrs>().to == DType::str))
    return invalid("bitcast does not take strings");
  return infer_pointwise(op, cx);
}
// Bytes as they are: a carrier would quieten NaNs.
static Result<std::vector<HostValue>> eval_bitcast(EvalCall& call) {
  DType to = call.attr<BitcastAttrs>().to;
  Tensor x = call.tensor(0);
  if (is_subbyte(to) && x.dtype != to) return eval_pointwise(call);
  x.dtype = to;
  return one(x);
}
OpDef def_bitcast() {
  OpDef d = pointwise("BitCast", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, S{&p, p.bitcast(x.id, op.attr<BitcastAttrs>().to)});
  });
  d.attrs = make_attrs<BitcastAttrs>;
  d.infer = infer_bitcast;
  d.eval = eval_bitcast;
  return d;
}

}  // namespace weft
