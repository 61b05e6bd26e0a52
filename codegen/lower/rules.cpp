// The rule table, and the rules that serve many ops: elementwise bodies and views.
#include "codegen/lower/rules.h"

#include "ir/core/op_def.h"

namespace weft {

#define R(op) Result<int> rule_##op(SpecBuilder&, const Op&, int, const Index&);
#include "codegen/lower/rules.def"
#undef R

static Result<int> rule_pointwise(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  ScalarProgram body;
  op_def(op).scalar(op, body);
  const Shape& out = op.result(result)->type.shape;
  std::vector<int> inputs;
  for (int i = 0; i < op.num_operands(); ++i) {
    const Value* v = op.operands[i];
    if (!v) {
      inputs.push_back(-1);
      continue;
    }
    TRY_ASSIGN(int x, r.emit(v, broadcast_index(v->type.shape, out, idx)));
    inputs.push_back(x);
  }
  return r.program().splice(body, inputs)[result];
}

// The same elements in the same row-major order under other dims: through the linear index, group by group so that
// untouched dims keep their plain axes.
static Result<int> rule_view(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  return r.emit(v, reshape_index(r, op.result()->type.shape, v->type.shape, idx));
}

Index broadcast_index(const Shape& from, const Shape& to, const Index& idx) {
  Index out;
  for (size_t k = 0; k < from.size(); ++k) {
    size_t j = to.size() - from.size() + k;
    if (from[k] == to[j] || (from[k].is_const() && !from[k].is(1))) out.push_back(idx[j]);
    else out.push_back(from[k].is(1) ? Dim(0) : min(idx[j], from[k] - Dim(1)));  // a dim that may turn out to be 1
  }
  return out;
}

std::vector<SpecGuard> not_empty(const Shape& dims) {
  std::vector<SpecGuard> g;
  for (const Dim& d : dims)
    if (!d.is_const()) g.push_back({Dim(0), Dim(0), d});
  return g;
}

Index reshape_index(SpecBuilder& r, const Shape& to, const Shape& from, const Index& idx) {
  Index out(from.size(), Dim(0));
  size_t i = 0, j = 0;
  auto rest = [&](size_t i0, size_t i1, size_t j0, size_t j1) {
    // Dims [j0, j1) of `to` and [i0, i1) of `from` hold the same elements.
    Dim lin(0);
    for (size_t k = j0; k < j1; ++k) lin = lin * to[k] + idx[k];
    for (size_t k = i1; k-- > i0;) {
      out[k] = k == i0 ? r.simplify(lin) : r.simplify(mod(lin, from[k]));
      lin = r.simplify(floordiv(lin, from[k]));
    }
  };
  while (i < from.size() && j < to.size()) {
    if (from[i].is(1)) {
      ++i;
      continue;
    }
    if (to[j].is(1)) {
      ++j;
      continue;
    }
    size_t i0 = i, j0 = j;
    Dim a = from[i++], b = to[j++];
    while (a != b) {
      bool grow_to = a.is_const() && b.is_const() ? b.value() < a.value() : j < to.size() && j - j0 <= i - i0;
      if (grow_to && j < to.size()) {
        b *= to[j++];
      } else if (i < from.size()) {
        a *= from[i++];
      } else if (j < to.size()) {
        b *= to[j++];
      } else {
        // Not provable group by group: everything from here on as one group.
        i = from.size();
        break;
      }
    }
    rest(i0, i, j0, j);
  }
  return out;
}

Rule rule_of(OpKind k) {
  switch (k) {
#define R(op) case OpKind::op: return rule_##op;
#include "codegen/lower/rules.def"
#undef R
    default: break;
  }
  const OpDef& d = op_def(k);
  if (d.scalar) return rule_pointwise;
  if (d.traits & kViewLike) return rule_view;
  return nullptr;
}
bool has_rule(const Op& op) { return rule_of(op.kind) != nullptr; }

Result<int> rule_identity(SpecBuilder& r, const Op& op, int, const Index& idx) { return r.emit(op.operands[0], idx); }

}  // namespace weft
