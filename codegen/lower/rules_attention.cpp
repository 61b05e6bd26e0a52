// attention, as passes/rewrite/expand.cpp leaves it: keys and values whole, one result.
#include <cmath>
#include <limits>

#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/attention.h"

namespace weft {

namespace {

struct AttentionRule {
  SpecBuilder& r;
  const Op& op;
  const AttentionAttrs& a;
  AttentionShape s;
  DType t;            // of scores
  Dim b, h, i, d;     // the element of [B, heads, queries, v_head] that is asked for

  // x at [b, head, position, c], whose heads lie beside each other in the last dim when packed.
  Result<int> element(const Value* x, const Dim& head, const Dim& position, const Dim& size, const Dim& c) const {
    TRY_ASSIGN(int v, r.emit(x, s.packed ? Index{b, position, r.simplify(head * size + c)} : Index{b, head, position, c}));
    return r.program().cast(v, t);
  }

  // The score of key j: scaled, capped, biased; minus infinity where the query does not see it.
  Result<int> score(const Dim& j, const Dim& kv_head) const {
    TRY_ASSIGN(int dot, r.inner_sum(s.head, t, [&](const Dim& c) -> Result<int> {
      TRY_ASSIGN(int x, element(op.operands[0], h, i, s.head, c));
      TRY_ASSIGN(int y, element(op.operands[1], kv_head, j, s.head, c));
      return r.program().add(Prim::mul, x, y);
    }));
    double scale = a.has_scale ? a.scale : 1 / std::sqrt(static_cast<double>(s.head.value()));
    S x = r.at(dot) * scale;
    if (a.softcap > 0) x = r.at(r.program().add(Prim::tanh, (x / a.softcap).id)) * a.softcap;
    TRY_ASSIGN(S biased, masked(x, j));
    return visible(biased, j);
  }
  Result<S> masked(S x, const Dim& j) const {
    const Value* mask = op.operand(3);
    if (!mask) return x;
    // A mask with fewer columns than keys says that the others are not seen; one column is no exception.
    const Shape& dims = mask->type.shape;
    Index at = broadcast_index({dims.begin(), dims.end() - 1}, {s.batch, s.q_heads, s.queries}, {b, h, i});
    at.push_back(j);
    const bool yes = mask->type.dtype == DType::b1;
    const double none = yes ? 0 : -std::numeric_limits<double>::infinity();
    std::vector<SpecGuard> within;
    if (dims.back() != s.keys) within.push_back({j, Dim(0), dims.back()});
    TRY_ASSIGN(int m, r.guarded(within, none, mask->type.dtype, [&] { return r.emit(mask, at); }));
    if (!yes) return x + r.at(m).cast(t);
    return r.at(r.program().add(Prim::select, m, x.id, hidden()));
  }
  int hidden() const { return r.program().constant(t, -std::numeric_limits<double>::infinity()); }
  int number(const Dim& n) const { return r.index_value(n); }

  Result<int> visible(S x, const Dim& j) const {
    ScalarProgram& p = r.program();
    int seen = -1, position = -1;
    auto need = [&](int c) { seen = seen < 0 ? c : p.add(Prim::bit_and, seen, c); };
    if (const Value* lengths = op.operand(6)) {
      TRY_ASSIGN(int n, r.emit(lengths, {b}));
      n = p.cast(n, DType::i64);
      need(p.add(Prim::lt, number(j), n));
      position = p.add(Prim::add, n, number(i - s.queries));
    } else {
      position = number(a.queries_last ? i + s.keys - s.queries : i);
    }
    if (a.is_causal) need(p.add(Prim::le, number(j), position));
    if (a.left_window_size >= 0) need(p.add(Prim::le, position, number(j + Dim(a.left_window_size))));
    if (a.right_window_size >= 0) need(p.add(Prim::le, number(j - Dim(a.right_window_size)), position));
    return seen < 0 ? x.id : p.add(Prim::select, seen, x.id, hidden());
  }
};

}  // namespace

Result<int> rule_attention(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  TRY_ASSIGN(AttentionShape s, attention_shape(op));
  if (result != 0 || op.operand(4)) return r.refuse(op, "attention with a past");
  if (!s.q_heads.is_const() || !s.kv_heads.is_const() || !s.head.is_const() || !s.v_head.is_const())
    return r.refuse(op, "attention with an unknown number or size of heads");
  AttentionRule rule{r, op, op.attr<AttentionAttrs>(), s, wide_float(op.operands[0]->type.dtype), idx[0], {}, {}, {}};
  if (s.packed) {
    rule.h = r.simplify(floordiv(idx[2], s.v_head));
    rule.i = idx[1];
    rule.d = r.simplify(mod(idx[2], s.v_head));
  } else {
    rule.h = idx[1];
    rule.i = idx[2];
    rule.d = idx[3];
  }
  const Dim kv_head = r.simplify(floordiv(rule.h, Dim(s.q_heads.value() / s.kv_heads.value())));
  return r.attend(SpecBuilder::key_of(op, "attend", idx), s.keys, [&](const Dim& j) -> Result<std::vector<int>> {
    TRY_ASSIGN(int score, rule.score(j, kv_head));
    TRY_ASSIGN(int value, rule.element(op.operands[2], kv_head, j, s.v_head, rule.d));
    return std::vector<int>{score, value};
  });
}

}  // namespace weft
