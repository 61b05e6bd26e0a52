// contract: packs both operands into matrices, batch by batch, and multiplies them.
#include "ir/ops/contract.h"

#include <algorithm>
#include <cctype>

#include "ir/ops/common.h"
#include "ir/ops/gemm.h"
#include "ir/ops/sharding.h"

namespace weft {

Result<ContractSpec> parse_contract(const std::string& spec) {
  size_t comma = spec.find(','), arrow = spec.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || arrow < comma) return invalid("contract has the spec '" + spec + "'");
  ContractSpec c{spec.substr(0, comma), spec.substr(comma + 1, arrow - comma - 1), spec.substr(arrow + 2), {}};
  for (const std::string* s : {&c.a, &c.b, &c.out})
    for (size_t k = 0; k < s->size(); ++k)
      if (!std::isalpha(static_cast<unsigned char>((*s)[k])) || s->find((*s)[k], k + 1) != std::string::npos)
        return invalid("contract has the spec '" + spec + "'");
  for (char l : c.out)
    if (c.a.find(l) == std::string::npos && c.b.find(l) == std::string::npos)
        return invalid("contract's result has a letter of its own in '" + spec + "'");
  for (char l : c.a + c.b)
    if (c.out.find(l) == std::string::npos && c.sum.find(l) == std::string::npos) c.sum += l;
  return c;
}

static bool is_small(DType t) { return bit_width(t) <= 8; }
Result<DType> product_type(DType a, DType b, bool has_out_type, DType out_type) {
  bool numbers = (is_float(a) || is_int(a)) && (is_float(b) || is_int(b));
  bool fits = numbers &&
      (a == b || (is_int(a) == is_int(b) && is_small(a) && is_small(b)) || (is_float(a) && is_small(b)) || (is_float(b) && is_small(a)));
  if (!fits) return invalid(std::string("no product of ") + dtype_name(a) + " and " + dtype_name(b));
  if (has_out_type) {
    if (!is_float(out_type) && (!is_int(out_type) || is_float(a) || is_float(b)))
        return invalid(std::string("no product of type ") + dtype_name(out_type));
    return out_type;
  }
  if (is_int(a) && is_int(b)) return is_small(a) ? DType::i32 : a;
  if (!is_float(a) || !is_float(b)) return is_float(a) ? a : b;
  return bit_width(a) >= bit_width(b) ? a : b;
}
Status check_tf32(const Op& op, bool tf32) {
  const DType a = type_of(op, 0).dtype, b = type_of(op, 1).dtype;
  if (!tf32 || (a == DType::f32 && b == DType::f32)) return {};
  return invalid(std::string(op_name(op.kind)) + " rounds " + dtype_name(a) + " and " + dtype_name(b) + " to tf32, which only f32 can be");
}
bool sums_in_double(DType a, DType b) { return is_float(a) || is_float(b) || (bit_width(a) <= 16 && bit_width(b) <= 16); }

// --- infer ----------------------------------------------------------------------------------------------------------

// A dim of 1 is broadcast; one that may turn out to be 1 is, too, unless it is summed over.
static Result<Dim> dim_of_letter(char l, const ContractSpec& s, const Shape& a, const Shape& b, Facts& facts) {
  size_t i = s.a.find(l), j = s.b.find(l);
  if (i == std::string::npos || (j != std::string::npos && a[i].is(1))) return b[j];
  if (j == std::string::npos || b[j].is(1)) return a[i];
  bool summed = s.sum.find(l) != std::string::npos;
  std::string what = "contract's " + std::string(summed ? "summed " : "") + "dims `" + l + "`";
  if (summed) {
    TRY(facts.equal(a[i], b[j], what));
    return a[i].is_const() ? a[i] : b[j];
  }
  Shape x{a[i]}, y{b[j]};
  TRY_ASSIGN(Shape both, broadcast_shapes({&x, &y}, facts, what));
  return both[0];
}
static Result<Shape> contracted_shape(const ContractSpec& s, const Shape& a, const Shape& b, Facts& facts) {
  if (a.size() != s.a.size() || b.size() != s.b.size())
    return invalid("contract takes ranks " + std::to_string(s.a.size()) + " and " + std::to_string(s.b.size()) + ", got " +
        std::to_string(a.size()) + " and " + std::to_string(b.size()));
  for (char l : s.sum) TRY(dim_of_letter(l, s, a, b, facts));
  Shape out;
  for (char l : s.out) {
    TRY_ASSIGN(Dim d, dim_of_letter(l, s, a, b, facts));
    out.push_back(d);
  }
  return out;
}
static std::string letters_outside(const std::string& letters, const std::string& of) {
  std::string out;
  for (char l : letters)
    if (of.find(l) == std::string::npos) out += l;
  return out;
}

// The dims of a scale as those of the operand it scales (`letters`), 1 where one element serves all.
static Result<Shape> spread_scale(const Shape& scale, const std::string& letters, const std::string& sum) {
  if (scale.empty() || (scale.size() == 1 && scale[0].is(1))) return Shape(letters.size(), Dim(1));
  if (scale.size() == letters.size()) return scale;
  if (scale.size() != letters_outside(letters, sum).size())
      return invalid("a scale of rank " + std::to_string(scale.size()) + " for an operand of rank " + std::to_string(letters.size()));
  Shape out;
  size_t k = 0;
  for (char l : letters) out.push_back(sum.find(l) == std::string::npos ? scale[k++] : Dim(1));
  return out;
}
static Status need_scale(const Op& op, int i, const Shape& of, const std::string& letters, const std::string& sum, Facts& facts) {
  if (!has_operand(op, i)) return {};
  TRY(need_tensor(op, i));
  if (!is_float(type_of(op, i).dtype)) return invalid("a scale must be a float, is " + type_of(op, i).to_string());
  TRY_ASSIGN(Shape dims, spread_scale(type_of(op, i).shape, letters, sum));
  for (size_t d = 0; d < dims.size(); ++d) TRY(facts.divides(dims[d], of[d], "the blocks of a scale"));
  return {};
}

static Status infer_contract(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  TRY(need_tensor(op, 1));
  const ContractAttrs& at = op.attr<ContractAttrs>();
  const Type &a = type_of(op, 0), &b = type_of(op, 1);
  TRY_ASSIGN(ContractSpec s, parse_contract(at.spec));
  TRY_ASSIGN(DType t, product_type(a.dtype, b.dtype, at.has_out_type, at.out_type));
  TRY(check_tf32(op, at.tf32));
  TRY_ASSIGN(Shape shape, contracted_shape(s, a.shape, b.shape, cx));
  TRY(need_scale(op, 3, a.shape, s.a, s.sum, cx));
  TRY(need_scale(op, 4, b.shape, s.b, s.sum, cx));
  if (has_operand(op, 2)) {
    TRY(need_tensor(op, 2));
    const Type& bias = type_of(op, 2);
    if (!is_float(bias.dtype) && !(is_int(bias.dtype) && is_int(t)))
        return invalid(std::string("a bias of type ") + dtype_name(bias.dtype) + " for a product of type " + dtype_name(t));
    if (bias.rank() > static_cast<int>(shape.size())) return invalid("contract's bias has more dims than the result");
    for (int d = 1; d <= bias.rank(); ++d) TRY(cx.broadcasts(bias.dim(-d), shape[shape.size() - d], "contract's bias and result"));
  }
  set_type(op, 0, Type::tensor(t, std::move(shape)));
  return {};
}

// --- eval -----------------------------------------------------------------------------------------------------------

// All elements as doubles, times the scale's where there is one.
static Result<std::vector<double>> scaled_elements(const Tensor& x, const Tensor* scale, const std::string& letters, const std::string& sum) {
  std::vector<double> v = load_all<double>(x);
  if (!scale) return v;
  TRY_ASSIGN(Shape spread, spread_scale(to_shape(scale->dims), letters, sum));
  std::vector<int64_t> blocks = static_dims(spread), strides = dense_strides(blocks), index(x.dims.size(), 0);
  std::vector<double> factors = load_all<double>(*scale);
  for (size_t d = 0; d < blocks.size(); ++d)
    if (blocks[d] < 1 || x.dims[d] % blocks[d] != 0)
        return invalid("a scale of " + std::to_string(blocks[d]) + " blocks for a dim of " + std::to_string(x.dims[d]));
  for (double& e : v) {
    int64_t at = 0;
    for (size_t d = 0; d < blocks.size(); ++d) at += index[d] / (x.dims[d] / blocks[d]) * strides[d];
    e *= factors[at];
    next_index(index, x.dims);
  }
  return v;
}
namespace {
// Element strides of operand `of` along each of `letters`: 0 where it lacks the letter or is broadcast.
struct LetterWalk {
  std::vector<int64_t> dims, a, b, out;
  int64_t count = 1;
  LetterWalk(const std::string& letters, const ContractSpec& s, const Tensor& x, const Tensor& y, const Tensor& z) {
    auto stride = [](char l, const std::string& of, const Tensor& t) -> int64_t {
      size_t k = of.find(l);
      return k == std::string::npos || t.dims[k] == 1 ? 0 : dense_strides(t.dims)[k];
    };
    for (char l : letters) {
      size_t i = s.a.find(l), j = s.b.find(l);
      int64_t d = i == std::string::npos ? y.dims[j] : x.dims[i];
      if (d == 1 && j != std::string::npos) d = y.dims[j];
      dims.push_back(d);
      a.push_back(stride(l, s.a, x));
      b.push_back(stride(l, s.b, y));
      out.push_back(stride(l, s.out, z));
      count *= d;
    }
  }
  // Offsets of every combination of the letters, the last one fastest.
  std::vector<int64_t> offsets(const std::vector<int64_t>& strides) const {
    std::vector<int64_t> v, index(dims.size(), 0);
    if (count == 0) return v;
    do {
      int64_t at = 0;
      for (size_t d = 0; d < dims.size(); ++d) at += index[d] * strides[d];
      v.push_back(at);
    } while (next_index(index, dims));
    return v;
  }
};
}  // namespace

template <class T>
static Result<std::vector<T>> product(const ContractSpec& s, const Tensor& ta, const Tensor& tb, const Tensor& out, const std::vector<T>& a,
    const std::vector<T>& b) {
  std::string rows = letters_outside(s.a, s.b + s.sum), columns = letters_outside(s.b, s.a + s.sum), batch = letters_outside(s.out, rows + columns);
  LetterWalk wb(batch, s, ta, tb, out), wm(rows, s, ta, tb, out), wn(columns, s, ta, tb, out), wk(s.sum, s, ta, tb, out);
  std::vector<int64_t> batch_a = wb.offsets(wb.a), batch_b = wb.offsets(wb.b), batch_out = wb.offsets(wb.out);
  std::vector<int64_t> m_a = wm.offsets(wm.a), m_out = wm.offsets(wm.out), n_b = wn.offsets(wn.b), n_out = wn.offsets(wn.out);
  std::vector<int64_t> k_a = wk.offsets(wk.a), k_b = wk.offsets(wk.b);
  int64_t m = wm.count, n = wn.count, k = wk.count;
  // Broadcast dims can make the matrices larger than the operands.
  if (std::max(m, n) > kMaxTensorBytes / 8 / std::max<int64_t>(k, 1)) return resources("contract's operands would take too much memory");
  std::vector<T> result(static_cast<size_t>(out.numel()), T{0}), left(static_cast<size_t>(m * k)), right(static_cast<size_t>(k * n)),
      c(static_cast<size_t>(m * n));
  if (result.empty() || k == 0) return result;
  for (size_t g = 0; g < batch_out.size(); ++g) {
    if (g == 0 || batch_a[g] != batch_a[g - 1])
      for (int64_t i = 0; i < m; ++i)
        for (int64_t p = 0; p < k; ++p) left[i * k + p] = a[batch_a[g] + m_a[i] + k_a[p]];
    if (g == 0 || batch_b[g] != batch_b[g - 1])
      for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < n; ++j) right[p * n + j] = b[batch_b[g] + k_b[p] + n_b[j]];
    std::fill(c.begin(), c.end(), T{0});
    gemm<T>(m, n, k, {left.data(), k}, {right.data(), n}, {c.data(), n});
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) result[batch_out[g] + m_out[i] + n_out[j]] = c[i * n + j];
  }
  return result;
}

template <class T>
static void add_broadcast(std::vector<T>& y, const std::vector<int64_t>& dims, const std::vector<T>& bias, const std::vector<int64_t>& bias_dims) {
  std::vector<int64_t> strides = broadcast_strides(bias_dims, dims), index(dims.size(), 0);
  for (T& e : y) {
    int64_t at = 0;
    for (size_t d = 0; d < dims.size(); ++d) at += index[d] * strides[d];
    e += bias[at];
    next_index(index, dims);
  }
}

static Result<std::vector<HostValue>> eval_contract(EvalCall& call) {
  const ContractAttrs& at = call.attr<ContractAttrs>();
  const Tensor &a = call.tensor(0), &b = call.tensor(1);
  auto optional = [&](int i) { return call.has(i) ? &call.tensor(i) : nullptr; };
  const Tensor *bias = optional(2), *sa = optional(3), *sb = optional(4);
  TRY_ASSIGN(ContractSpec s, parse_contract(at.spec));
  TRY_ASSIGN(DType t, product_type(a.dtype, b.dtype, at.has_out_type, at.out_type));
  Facts facts;
  TRY_ASSIGN(Shape shape, contracted_shape(s, to_shape(a.dims), to_shape(b.dims), facts));
  TRY_ASSIGN(Tensor y, Tensor::make(t, static_dims(shape)));
  if (bias) {
    TRY_ASSIGN(std::vector<int64_t> dims, broadcast_dims({&bias->dims, &y.dims}));
    if (dims != y.dims) return invalid("contract's bias does not broadcast to the result");
  }
  if (!is_float(t) && !sums_in_double(a.dtype, b.dtype) && !sa && !sb && at.alpha == 1) {
    TRY_ASSIGN(std::vector<uint64_t> v, product<uint64_t>(s, a, b, y, load_all<uint64_t>(a), load_all<uint64_t>(b)));
    if (bias) add_broadcast(v, y.dims, load_all<uint64_t>(*bias), bias->dims);
    store_row(y, 0, v.data(), y.numel());
    return one(std::move(y));
  }
  TRY_ASSIGN(std::vector<double> va, scaled_elements(a, sa, s.a, s.sum));
  TRY_ASSIGN(std::vector<double> vb, scaled_elements(b, sb, s.b, s.sum));
  if (at.tf32)
    for (std::vector<double>* x : {&va, &vb}) std::transform(x->begin(), x->end(), x->begin(), round_to_tf32);
  TRY_ASSIGN(std::vector<double> v, product<double>(s, a, b, y, va, vb));
  if (at.alpha != 1)
    for (double& e : v) e *= at.alpha;
  if (bias) add_broadcast(v, y.dims, load_all<double>(*bias), bias->dims);
  store_sums(y, 0, v.data(), y.numel());
  return one(std::move(y));
}

static Cost cost_contract(const Op& op) {
  Cost c;
  const Type &a = type_of(op, 0), &b = type_of(op, 1), &y = op.result()->type;
  auto s = parse_contract(op.attr<ContractAttrs>().spec);
  if (!s.ok() || !a.is_ranked() || !b.is_ranked() || !y.is_ranked()) return c;
  c.flops = numel(y.shape) * 2;
  Facts facts;
  for (char l : s.value().sum)
    if (auto d = dim_of_letter(l, s.value(), a.shape, b.shape, facts); d.ok()) c.flops *= d.value();
  for (const Type* t : {&a, &b, &y}) c.bytes += numel(t->shape) * Dim(byte_size(t->dtype));
  return c;
}
// --- sharing out ----------------------------------------------------------------------------------------------------

static Result<ShardingRule> shard_contract(const Op& op) {
  TRY_ASSIGN(ContractSpec s, parse_contract(op.attr<ContractAttrs>().spec));
  ShardingRule rule(op);
  // A scale's dims are shared with the operand's only where there is one element for each.
  if (has_operand(op, 3) || has_operand(op, 4)) return rule;
  for (char l : s.out + s.sum) {
    std::vector<ShardingRule::Place> places;
    for (int i : {0, 1})
      if (size_t d = (i ? s.b : s.a).find(l); d != std::string::npos) places.push_back({i, static_cast<int>(d)});
    size_t d = s.out.find(l);
    if (d == std::string::npos) {
      rule.share(op, places, ShardingRule::Role::sum);
      continue;
    }
    places.push_back({ShardingRule::kResult, static_cast<int>(d)});
    int at = has_operand(op, 2) ? static_cast<int>(d) - (static_cast<int>(s.out.size()) - type_of(op, 2).rank()) : -1;
    if (at >= 0) places.push_back({2, at});
    rule.share(op, places);
  }
  return rule;
}
// Of ranks that sum up their products the first one adds the bias.
static Result<std::vector<Value*>> localize_contract(LocalOp& op) {
  if (op.operands.size() > 2) op.operands[2] = op.on_first_rank(op.operands[2]);
  return op.build();
}
OpDef def_contract() {
  return {.family = Family::contraction, .min_operands = 2, .max_operands = 5, .attrs = make_attrs<ContractAttrs>, .infer = infer_contract,
          .eval = eval_contract, .cost = cost_contract, .shard = shard_contract, .localize = localize_contract};
}

}  // namespace weft
