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

// A where that always gives one of its operands as it is.
static bool decide_where(Op& op) {
  const std::vector<Dim>* known = op.kind == OpKind::where ? known_of(op.result()) : nullptr;
  for (int i : {2, 1})
    if (known && known_of(op.operands[i]) && *known_of(op.operands[i]) == *known && replace_op(op, op.operands[i])) return true;
  return false;
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
