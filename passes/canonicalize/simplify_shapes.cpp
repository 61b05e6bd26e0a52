// simplify-shapes: values of which inference knows every element become constants, so that shape arithmetic vanishes. A
// `where` between two known values is decided element by element as far as the ranges of symbols allow; exporters write
// expand(x, where(shape == -1, 1, shape)).
#include "passes/rewrite/captures.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool replace_by_ints(Op& op, const std::vector<Dim>& known) {
  if (op.num_results() != 1 || op.kind == OpKind::constant) return false;
  const Type& t = op.result()->type;
  if (!t.is_ranked() || !is_static(t.shape) || (!is_int(t.dtype) && t.dtype != DType::b1)) return false;
  if (numel(t.shape).value() != static_cast<int64_t>(known.size())) return false;
  std::vector<int64_t> values;
  for (const Dim& d : known) {
    if (!d.is_const()) return false;
    values.push_back(d.value());
  }
  std::vector<std::byte> bytes(values.size() * byte_size(t.dtype));
  int64_t n = static_cast<int64_t>(values.size());
  if (is_unsigned_int(t.dtype)) store_row_u64(t.dtype, reinterpret_cast<const uint64_t*>(values.data()), bytes.data(), n);
  else store_row_i64(t.dtype, values.data(), bytes.data(), n);
  Builder b = build_before(op);
  return replace_op(op, b.constant(b.module().constants.add_bytes(op.result()->name, t.dtype, static_dims(t.shape), std::move(bytes))));
}

// Whether a and b are equal, where that is certain.
static std::optional<bool> equal_dims(const Dim& a, const Dim& b, const SymbolTable& symbols) {
  if (a == b) return true;
  Interval r = range_of(a - b, symbols);
  if (r.lo > 0 || r.hi < 0) return false;
  return std::nullopt;
}

static const Dim& element(const std::vector<Dim>& v, size_t i) { return v[v.size() == 1 ? 0 : i]; }

// where(equal(a, b), x, y) that always is x, or always y.
static bool decide_where(Op& op) {
  if (op.kind != OpKind::where) return false;
  Op* test = def_of(op.operands[0], OpKind::equal);
  if (!test) return false;
  const std::vector<Dim> *a = known_of(test->operands[0]), *b = known_of(test->operands[1]);
  const std::vector<Dim> *x = known_of(op.operands[1]), *y = known_of(op.operands[2]);
  const Type& t = op.result()->type;
  if (!a || !b || !x || !y || !is_static(t.shape) || t.rank() > 1) return false;
  bool all_x = true, all_y = true;
  for (size_t i = 0; i < static_cast<size_t>(numel(t.shape).value()); ++i) {
    auto equal = equal_dims(element(*a, i), element(*b, i), op.graph->module->symbols);
    bool same = element(*x, i) == element(*y, i);
    all_x = all_x && (same || (equal && *equal));
    all_y = all_y && (same || (equal && !*equal));
  }
  return (all_y && replace_op(op, op.operands[2])) || (all_x && replace_op(op, op.operands[1]));
}

// A capture that is a constant is read inside the body from a constant of its own, where inference sees it.
static bool sink_constants(Op& op) {
  bool changed = false;
  for (int i = 0; i < op.num_operands(); ++i) {
    int input = captured_input(op, i);
    if (input < 0 || !constant_of(op.operands[i])) continue;
    const Op& constant = *op.operands[i]->def;
    for (auto& g : op.graphs) {
      Value* in = g->inputs[input].get();
      if (in->unused()) continue;
      Builder b(g.get(), g->ops.empty() ? nullptr : g->ops.front().get());
      b.provenance = constant.provenance;
      g->replace_uses(in, b.constant(constant.attr<ConstantAttrs>().value.id));
      changed = true;
    }
  }
  return changed;
}

Result<bool> pass_simplify_shapes(Module& m, PassContext&) {
  bool decided = false;
  bool changed = rewrite_ops(m, [&](Op& op) {
    const std::vector<Dim>* known = op.num_results() == 1 ? known_of(op.result()) : nullptr;
    if ((known && replace_by_ints(op, *known)) || (!op.graphs.empty() && sink_constants(op))) return true;
    bool d = decide_where(op);
    decided = decided || d;
    return d;
  });
  // Dims behind a decision have had symbols of their own so far.
  for (auto& g : m.graphs)
    if (decided) TRY(infer_graph(*g));
  return changed;
}

}  // namespace weft
