// integer-products: matrix products and convolutions of dequantised values become products of what was quantised, of integers or
// floats of 8 bits, whose sums are scaled behind. With zero points, where letters k are summed,
//
//   sum (a - za)(b - zb) sa sb = (sum a b - za sum b - zb sum a + K za zb) sa sb,
//
// so scales and zero points may go along dims that are not summed. What these terms are of weights is prepared once. Products
// that the model itself states over integers less their zero points are the same without scales. The integers' sums are
// exact where this pass makes them; floats of 8 bits are only paired without zero points.
//
// A padded convolution whose input has a zero point is padded with it, by an op of its own. Scales of blocks along the sum stay
// where they are: kernels apply them to the factor that they read.
#include <algorithm>

#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/quantize.h"
#include "ir/ops/reduce.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

bool is_small_int(DType t) { return is_int(t) && bit_width(t) <= 8; }
bool is_small_float(DType t) { return t == DType::f8e4m3fn || t == DType::f8e5m2; }

Value* cast_to(Builder& b, Value* v, DType t) {
  CastAttrs a;
  a.to = t;
  return v->type.dtype == t ? v : b.op(OpKind::cast, {v}, a);
}
Value* without_dims(Builder& b, Value* v, const std::vector<int64_t>& axes) { return axes.empty() ? v : b.op(OpKind::squeeze, {v, b.ints(axes)}); }
Value* with_dims(Builder& b, Value* v, const std::vector<int64_t>& axes) { return axes.empty() ? v : b.op(OpKind::unsqueeze, {v, b.ints(axes)}); }

// Whether v is a constant of zeros alone: integers may be looked into.
bool is_zero(const Value* v) {
  const Constant* c = constant_of(v);
  constexpr int64_t kMost = 1 << 20;
  if (!c || !(is_int(c->dtype) || is_small_float(c->dtype)) || c->numel() > kMost) return false;
  bool ok;
  const std::vector<double> x = constant_floats(*c, kMost, &ok);
  return ok && std::all_of(x.begin(), x.end(), [](double e) { return e == 0; });
}

// A factor of a product as (elements - zero) * scale. zero (i32) and scale (f32) are of rank 0, or have the elements' rank, with
// dims of 1 where they are the same for all; null: 0, and 1. fill: a zero of rank 0 in the elements' type, where that holds it.
struct Factor {
  Value *elements = nullptr, *zero = nullptr, *scale = nullptr, *fill = nullptr;
};

// One element, or what lies along `axis` of a tensor of that rank.
Value* spread(Builder& b, Value* v, const ScaleMap& map, int rank) {
  const int own = v->type.rank();
  std::vector<int64_t> axes;
  if (map.kind == ScaleMap::Kind::one) {
    for (int d = 0; d < own; ++d) axes.push_back(d);
    return without_dims(b, v, axes);
  }
  for (int d = 0; d < rank; ++d)
    if (d != map.axis) axes.push_back(d);
  return with_dims(b, v, axes);
}

std::optional<Factor> dequantised(Builder& b, Op& op) {
  const DequantizeAttrs& a = op.attr<DequantizeAttrs>();
  Factor f{op.operands[0]};
  const Type& x = f.elements->type;
  const bool integer = is_small_int(x.dtype);
  Facts facts;
  auto map = scale_map(x.shape, op.operands[1]->type.shape, a.axis, a.block_size, facts);
  Value* zero = op.operand(2);
  if (zero && is_zero(zero)) zero = nullptr;
  if (!(integer || (is_small_float(x.dtype) && !zero)) || !map.ok() || map->kind == ScaleMap::Kind::blocks) return std::nullopt;
  f.scale = spread(b, cast_to(b, op.operands[1], DType::f32), *map, x.rank());
  if (zero) f.zero = spread(b, cast_to(b, zero, DType::i32), *map, x.rank());
  if (zero && map->kind == ScaleMap::Kind::one) f.fill = spread(b, zero, *map, x.rank());
  return f;
}

// Of sub(cast(elements), zero), or of the cast alone, in i32.
std::optional<Factor> centred(Builder& b, Op& op) {
  Op* wide = op.kind == OpKind::sub ? def_of(op.operands[0], OpKind::cast) : &op;
  if (!wide || wide->kind != OpKind::cast || wide->result()->type.dtype != DType::i32) return std::nullopt;
  Factor f{wide->operands[0]};
  const Type& x = f.elements->type;
  if (!x.is_ranked() || !is_small_int(x.dtype)) return std::nullopt;
  if (op.kind == OpKind::cast || is_zero(op.operands[1])) return f;
  const Type& zero = op.operands[1]->type;
  if (!is_static(zero.shape) || zero.rank() > x.rank()) return std::nullopt;
  if (numel(zero.shape).is(1)) {
    f.zero = spread(b, op.operands[1], {}, x.rank());
    const Op* narrow = def_of(op.operands[1], OpKind::cast);
    if (narrow && narrow->operands[0]->type.dtype == x.dtype) f.fill = spread(b, narrow->operands[0], {}, x.rank());
    else if (auto z = uniform_value(op.operands[1]); z && *z >= static_cast<double>(int_min(x.dtype)) && *z <= static_cast<double>(int_max(x.dtype)))
      f.fill = b.scalar(x.dtype, *z);
  } else {
    std::vector<int64_t> missing;
    for (int d = zero.rank(); d < x.rank(); ++d) missing.push_back(d - zero.rank());
    f.zero = with_dims(b, op.operands[1], missing);
  }
  return f;
}

std::optional<Factor> factor_of(Builder& b, Value* v) {
  if (!v->def || !v->type.is_ranked()) return std::nullopt;
  if (v->def->kind == OpKind::dequantize_linear) return dequantised(b, *v->def);
  return v->def->kind == OpKind::sub || v->def->kind == OpKind::cast ? centred(b, *v->def) : std::nullopt;
}

// --- terms of the result ------------------------------------------------------------------------------------------------------

// v, whose dims are `letters`, with the result's dims in their order. False where a letter is more than one element and the result
// lacks it.
bool reaches(const Value* v, const std::string& letters, const std::string& out) {
  if (!v || v->type.rank() == 0) return true;
  for (size_t d = 0; d < letters.size(); ++d)
    if (out.find(letters[d]) == std::string::npos && !v->type.shape[d].is(1)) return false;
  return true;
}
Value* as_result(Builder& b, Value* v, const std::string& letters, const std::string& out) {
  if (v->type.rank() == 0) return v;
  std::vector<int64_t> gone, missing;
  std::string left;
  for (size_t d = 0; d < letters.size(); ++d) {
    if (out.find(letters[d]) == std::string::npos) gone.push_back(static_cast<int64_t>(d));
    else left += letters[d];
  }
  v = without_dims(b, v, gone);
  TransposeAttrs order;
  for (size_t d = 0; d < out.size(); ++d) {
    const size_t at = left.find(out[d]);
    if (at == std::string::npos) missing.push_back(static_cast<int64_t>(d));
    else order.perm.push_back(static_cast<int64_t>(at));
  }
  if (!std::is_sorted(order.perm.begin(), order.perm.end())) v = b.op(OpKind::transpose, {v}, order);
  return with_dims(b, v, missing);
}

// The sum of the elements over the letters that are summed, those dims as 1.
Value* sum_of(Builder& b, const Factor& f, const std::string& letters, const std::string& sum) {
  std::vector<int64_t> axes;
  for (size_t d = 0; d < letters.size(); ++d)
    if (sum.find(letters[d]) != std::string::npos) axes.push_back(static_cast<int64_t>(d));
  return b.op(OpKind::reduce_sum, {cast_to(b, f.elements, DType::i32), b.ints(axes)});
}

// The dims of both operands, of the result, and those that are summed.
struct Letters {
  std::string a, b, out, sum;
};

// (product - za sum b - zb sum a + terms za zb) sa sb * alpha + bias, of the type that `op` has.
Value* finish(Builder& b, Op& op, Value* y, const Factor& fa, const Factor& fb, const Letters& at, int64_t terms, double alpha) {
  auto a_term = [&](Value* v) { return as_result(b, v, at.a, at.out); };
  auto b_term = [&](Value* v) { return as_result(b, v, at.b, at.out); };
  auto subtract = [&](Value* zero, Value* sum) { y = b.op(OpKind::sub, {y, b.op(OpKind::mul, {zero, sum})}); };
  if (fa.zero) subtract(a_term(fa.zero), b_term(sum_of(b, fb, at.b, at.sum)));
  if (fb.zero) {
    Value* sum = a_term(sum_of(b, fa, at.a, at.sum));
    if (fa.zero) sum = b.op(OpKind::sub, {sum, b.op(OpKind::mul, {a_term(fa.zero), b.scalar(DType::i32, static_cast<double>(terms))})});
    subtract(b_term(fb.zero), sum);
  }
  Value* bias = op.operand(2);
  const DType t = op.result()->type.dtype;
  if (bias && op.kind == OpKind::conv) {
    std::vector<int64_t> axes;
    for (int d = 1; d + 1 < op.result()->type.rank(); ++d) axes.push_back(d);
    bias = with_dims(b, bias, axes);
  }
  if (!fa.scale) return bias ? b.op(OpKind::add, {y, bias}) : y;
  Value* scale = b.op(OpKind::mul, {a_term(fa.scale), b_term(fb.scale)});
  if (alpha != 1) scale = b.op(OpKind::mul, {scale, b.scalar(DType::f32, alpha)});
  y = b.op(OpKind::mul, {cast_to(b, y, DType::f32), scale});
  if (bias) y = b.op(OpKind::add, {y, cast_to(b, bias, DType::f32)});
  return cast_to(b, y, t);
}

struct Factors {
  Factor a, b;
};

Builder build_instead(Op& op) {
  std::vector<Op*> from;
  for (int i : {0, 1})
    if (Op* def = op.operands[static_cast<size_t>(i)]->def) from.push_back(def);
  return build_before(op, from);
}

// Both factors of a product that may be one of small elements.
std::optional<Factors> factors_of(Builder& b, Op& op) {
  if (op.num_results() != 1 || op.operand(3) || op.operand(4)) return std::nullopt;
  const DType t = op.result()->type.dtype;
  auto fa = factor_of(b, op.operands[0]), fb = fa ? factor_of(b, op.operands[1]) : std::nullopt;
  if (!fb || !fa->scale != !fb->scale) return std::nullopt;
  if (fa->scale ? !is_float(t) || t == DType::f64 : t != DType::i32) return std::nullopt;
  return is_small_int(fa->elements->type.dtype) == is_small_int(fb->elements->type.dtype) ? std::optional(Factors{*fa, *fb}) : std::nullopt;
}

// --- the two products ---------------------------------------------------------------------------------------------------------

// The number of products in a sum, where i32 holds it whatever they are; of floats of 8 bits it does not matter.
std::optional<int64_t> terms_of(const Factors& f, const Dim& count) {
  if (!is_small_int(f.a.elements->type.dtype)) return 1;
  auto most = [](const Factor& x) {
    const DType t = x.elements->type.dtype;
    return static_cast<double>(x.zero ? int_max(t) - int_min(t) : std::max(int_max(t), -int_min(t)));
  };
  const bool fits = count.is_const() && static_cast<double>(count.value()) * most(f.a) * most(f.b) <= static_cast<double>(int_max(DType::i32));
  return fits ? std::optional(count.value()) : std::nullopt;
}

bool rewrite_contract(Op& op) {
  ContractAttrs attrs = op.attr<ContractAttrs>();
  auto spec = parse_contract(attrs.spec);
  Builder b = build_instead(op);
  auto f = spec.ok() ? factors_of(b, op) : std::nullopt;
  if (!f || (!f->a.scale && attrs.alpha != 1)) return false;
  const Letters at{spec->a, spec->b, spec->out, spec->sum};
  Dim count = 1;
  for (char l : at.sum) {
    const size_t in_a = at.a.find(l), in_b = at.b.find(l);
    if (in_a == std::string::npos || in_b == std::string::npos) return false;
    const Dim& n = f->a.elements->type.shape[in_a];
    if (!(n == f->b.elements->type.shape[in_b])) return false;
    count = count * n;
  }
  for (const Value* v : {f->a.zero, f->a.scale})
    if (!reaches(v, at.a, at.out)) return false;
  for (const Value* v : {f->b.zero, f->b.scale})
    if (!reaches(v, at.b, at.out)) return false;
  auto terms = terms_of(*f, count);
  if (!terms) return false;
  ContractAttrs plain;
  plain.spec = attrs.spec;
  plain.has_out_type = true;
  plain.out_type = is_small_int(f->a.elements->type.dtype) ? DType::i32 : DType::f32;
  Value* y = try_build(b, OpKind::contract, {f->a.elements, f->b.elements}, attrs_of(plain));
  return y && replace_op(op, finish(b, op, y, f->a, f->b, at, *terms, attrs.alpha));
}

// The convolution's input with as many zero points around it as its window reaches over the edges. Null where these are not known.
Value* padded(Builder& b, const Op& op, const Factor& x) {
  auto axes = window_axes_of(op);
  if (!axes.ok()) return nullptr;
  std::vector<int64_t> pads(2 * (axes->size() + 2), 0);
  bool any = false;
  for (size_t k = 0; k < axes->size(); ++k) {
    const WindowAxis& a = (*axes)[k];
    if (!a.pad_begin.is_const() || !a.pad_end.is_const()) return nullptr;
    pads[k + 2] = a.pad_begin.value();
    pads[k + 4 + axes->size()] = a.pad_end.value();
    any = any || pads[k + 2] != 0 || pads[k + 4 + axes->size()] != 0;
  }
  if (!any) return x.elements;
  return x.fill ? try_build(b, OpKind::pad, {x.elements, b.ints(pads), x.fill}, attrs_of(PadAttrs())) : nullptr;
}

bool rewrite_conv(Op& op) {
  Builder b = build_instead(op);
  auto f = factors_of(b, op);
  if (!f || f->b.zero || f->a.elements->type.rank() > 12) return false;
  const Type& w = f->b.elements->type;
  Letters at{"n", "o", "no", ""};  // a: its scale and zero point are one element
  Dim count = 1;
  for (int d = 1; d < w.rank(); ++d) {
    at.b += static_cast<char>('a' + d - 1);
    at.sum += static_cast<char>('a' + d - 1);
    if (d > 1) at.out += static_cast<char>('A' + d - 2);
    count = count * w.shape[static_cast<size_t>(d)];
  }
  for (const Value* v : {f->a.zero, f->a.scale})
    if (v && v->type.rank() != 0) return false;
  auto terms = terms_of(*f, count);
  if (!terms || !reaches(f->b.scale, at.b, at.out)) return false;
  ConvAttrs plain = op.attr<ConvAttrs>();
  plain.has_out_type = true;
  plain.out_type = is_small_int(f->a.elements->type.dtype) ? DType::i32 : DType::f32;
  plain.tf32 = false;
  Value* x = f->a.elements;
  if (f->a.zero) {
    x = padded(b, op, f->a);
    if (!x) return false;
    if (x != f->a.elements) {
      plain.auto_pad = "NOTSET";
      plain.pads.clear();
    }
  }
  Value* y = try_build(b, OpKind::conv, {x, f->b.elements}, attrs_of(plain));
  return y && replace_op(op, finish(b, op, y, f->a, f->b, at, *terms, 1));
}

}  // namespace

Result<bool> pass_integer_products(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) { return op.kind == OpKind::contract ? rewrite_contract(op) : op.kind == OpKind::conv && rewrite_conv(op); });
}

}  // namespace weft
