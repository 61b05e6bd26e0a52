// raise-attention: softmax(alpha * q k' + mask) v, as two products around a softmax, becomes attention. Dims may stand in
// any order: the letters of the products say which are batch and heads. A mask that is where(seen, 0, -inf) becomes the
// condition. Rows of which all is masked are zeros then, where the exporter's ops gave NaN.
#include <algorithm>
#include <cmath>

#include "ir/ops/attention.h"
#include "ir/ops/contract.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

struct AttentionMatch {
  Op *scores = nullptr, *softmax = nullptr;
  Value* mask = nullptr;
  std::vector<Op*> ops;  // between the two products
};

// A product of two operands alone.
std::optional<ContractSpec> plain_spec(const Op& op) {
  const ContractAttrs& a = op.attr<ContractAttrs>();
  for (int i = 3; i < op.num_operands(); ++i)
    if (op.operands[i]) return std::nullopt;
  DType t = op.operands[0]->type.dtype;
  if (!is_float(t) || op.operands[1]->type.dtype != t || op.result()->type.dtype != t || a.has_out_type) return std::nullopt;
  auto spec = parse_contract(a.spec);
  return spec.ok() ? std::optional<ContractSpec>(*spec) : std::nullopt;
}

// where(isnan(p), 0, p), which some exporters put behind a softmax: p.
Value* without_guard(Value* v, std::vector<Op*>& ops) {
  Op* w = def_of(v, OpKind::where);
  Op* test = w ? def_of(w->operands[0], OpKind::is_nan) : nullptr;
  if (!test || test->operands[0] != w->operands[2] || !is_uniform(w->operands[1], 0) ||
      w->operands[2]->uses.size() != 2 || !has_one_use(test->result()))
    return v;
  ops.insert(ops.end(), {test, w});
  return w->operands[2];
}

std::optional<AttentionMatch> match_weights(Value* p) {
  AttentionMatch m;
  if (!has_one_use(p)) return std::nullopt;
  Value* s = without_guard(p, m.ops);
  m.softmax = def_of(s, OpKind::softmax);
  if (!m.softmax || (s == p && !has_one_use(s))) return std::nullopt;
  auto axis = normalize_axis(m.softmax->attr<SoftmaxAttrs>().axis, s->type.rank());
  if (!axis.ok() || *axis != s->type.rank() - 1) return std::nullopt;
  m.ops.push_back(m.softmax);
  Value* x = m.softmax->operands[0];
  if (!has_one_use(x)) return std::nullopt;
  if (Op* add = def_of(x, OpKind::add)) {
    int i = def_of(add->operands[0], OpKind::contract) && has_one_use(add->operands[0]) && same_type(add->operands[0]->type, x->type) ? 0 : 1;
    m.mask = add->operands[1 - i];
    m.ops.push_back(add);
    x = add->operands[i];
  }
  m.scores = def_of(x, OpKind::contract);
  if (!m.scores || !has_one_use(x) || !same_type(x->type, s->type)) return std::nullopt;
  if (Value* bias = m.scores->operand(2)) {
    if (m.mask) return std::nullopt;
    m.mask = bias;
  }
  m.ops.push_back(m.scores);
  return m;
}

// What each letter of the scores is. Batch letters come first, in their order.
struct Letters {
  std::string batch;
  char q = 0, k = 0, d = 0, v = 0;
  std::string query, key, value, out;  // the operands' and the result's dims in those letters
};

std::optional<Letters> letters_of(const ContractSpec& first, const ContractSpec& second) {
  if (first.sum.size() != 1 || second.sum.size() != 1 || first.out.size() != second.a.size() || first.out.size() < 3) return std::nullopt;
  Letters l;
  l.query = first.a;
  l.key = first.b;
  l.d = first.sum[0];
  l.k = first.out.back();
  l.q = first.out[first.out.size() - 2];
  l.batch = first.out.substr(0, first.out.size() - 2);
  if (l.query.find(l.q) == std::string::npos) std::swap(l.query, l.key);
  // The second product's letters in those of the first; what only its value has is a new one.
  auto rename = [&](const std::string& s) {
    std::string r;
    for (char c : s) {
      size_t at = second.a.find(c);
      r += at == std::string::npos ? '*' : first.out[at];
    }
    return r;
  };
  l.value = rename(second.b);
  l.out = rename(second.out);
  l.v = '*';
  auto sorted = [](std::string s) {
    std::sort(s.begin(), s.end());
    return s;
  };
  auto has = [&](const std::string& s, std::string rest) { return sorted(s) == sorted(l.batch + rest); };
  bool fits = has(l.query, {l.q, l.d}) && has(l.key, {l.k, l.d}) && has(l.value, {l.k, l.v}) && has(l.out, {l.q, l.v});
  return fits && l.batch.size() <= 2 ? std::optional<Letters>(l) : std::nullopt;
}

// v, whose dims are `from`, with its dims in the order `to`.
Value* permuted_to(Builder& b, Value* v, const std::string& from, const std::string& to) {
  if (from == to) return v;
  TransposeAttrs t;
  for (char c : to) t.perm.push_back(static_cast<int64_t>(from.find(c)));
  return b.op(OpKind::transpose, {v}, t);
}

// The condition of where(seen, 0, -inf); null for another mask.
Value* condition_of(Value* mask) {
  Op* w = def_of(mask, OpKind::where);
  if (!w || !is_uniform(w->operands[1], 0)) return nullptr;
  auto hidden = uniform_value(w->operands[2]);
  return hidden && std::isinf(*hidden) && *hidden < 0 ? w->operands[0] : nullptr;
}

// A mask that attention takes: its last dim is that of the keys, which a broadcast does not give.
bool fits_mask(const Value* mask, const Type& scores) {
  return mask->type.is_ranked() && mask->type.rank() >= 1 && mask->type.rank() <= scores.rank() && mask->type.dim(-1) == scores.dim(-1);
}

// Kernels take the number and the size of heads as constants.
bool has_known_heads(const Type& query, const Type& value, const Letters& l) {
  auto known = [](const Type& t, const std::string& letters, char c) { return t.dim(static_cast<int>(letters.find(c))).is_const(); };
  return known(query, l.query, l.d) && known(value, l.value, l.v) && (l.batch.size() < 2 || known(query, l.query, l.batch[1]));
}

bool raise_attention(Op& op) {
  if (op.kind != OpKind::contract || op.operand(2) || op.attr<ContractAttrs>().alpha != 1) return false;
  auto second = plain_spec(op);
  auto m = second ? match_weights(op.operands[0]) : std::nullopt;
  auto first = m ? plain_spec(*m->scores) : std::nullopt;
  auto l = first ? letters_of(*first, *second) : std::nullopt;
  if (!l) return false;
  const Type& scores = m->scores->result()->type;
  for (size_t i = 0; i < l->batch.size(); ++i)
    for (int k = 0; k < 2; ++k) {  // equal dims: attention broadcasts none of them
      size_t at = (k == 0 ? first->a : first->b).find(l->batch[i]);
      if (!(m->scores->operands[k]->type.shape[at] == scores.shape[i])) return false;
    }
  const bool swapped = l->query != first->a;
  if (!has_known_heads(m->scores->operands[swapped]->type, op.operands[1]->type, *l)) return false;
  Value* mask = m->mask;
  if (mask && condition_of(mask) && fits_mask(condition_of(mask), scores)) mask = condition_of(mask);
  if (mask && !fits_mask(mask, scores)) return false;
  std::vector<Op*> from(m->ops.rbegin(), m->ops.rend());
  Builder b = build_before(op, from);
  Value *q = permuted_to(b, m->scores->operands[swapped], l->query, l->batch + l->q + l->d);
  Value *k = permuted_to(b, m->scores->operands[!swapped], l->key, l->batch + l->k + l->d);
  Value *v = permuted_to(b, op.operands[1], l->value, l->batch + l->k + l->v);
  bool one_batch = l->batch.size() == 1;
  auto with_head = [&](Value* x) { return one_batch ? b.op(OpKind::unsqueeze, {x, b.ints({1})}) : x; };
  if (mask && mask->type.rank() == 3) mask = with_head(mask);
  AttentionAttrs a;
  a.has_scale = true;
  a.scale = m->scores->attr<ContractAttrs>().alpha;
  Value* y = try_build(b, OpKind::attention, {with_head(q), with_head(k), with_head(v), mask}, attrs_of(a));
  if (!y) return false;
  if (one_batch) y = b.op(OpKind::squeeze, {y, b.ints({1})});
  y = permuted_to(b, y, l->batch + l->q + l->v, l->out);
  return replace_op(op, y);
}

}  // namespace

Result<bool> pass_raise_attention(Module& m, PassContext&) { return rewrite_ops(m, raise_attention); }

}  // namespace weft
