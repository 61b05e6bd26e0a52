#include "ir/expand/expand.h"

#include "ir/expand/expansions.h"

namespace weft {

static Expansion expansion_of(OpKind k) {
  switch (k) {
    case OpKind::attention: return expand_attention;
    case OpKind::rotary_embedding: return expand_rotary_embedding;
    case OpKind::linear_attention: return expand_linear_attention;
    case OpKind::causal_conv_with_state: return expand_causal_conv;
    case OpKind::lstm: case OpKind::gru: case OpKind::rnn: return expand_rnn;
    case OpKind::dynamic_quantize_linear: return expand_dynamic_quantize;
    case OpKind::dft: return expand_dft;
    case OpKind::stft: return expand_stft;
    case OpKind::hann_window: case OpKind::hamming_window: case OpKind::blackman_window: return expand_window;
    case OpKind::mel_weight_matrix: return expand_mel;
    default: return nullptr;
  }
}

static bool all_ranked(const Op& op) {
  for (const Value* v : op.operands)
    if (v && !v->type.is_ranked()) return false;
  return true;
}

// What an expansion that gave up has built so far.
static void drop_unused(Graph& g, Op* until, Op* after) {
  while (until->self != g.ops.begin() && std::prev(until->self)->get() != after) g.erase(std::prev(until->self)->get());
}

static Result<bool> expand_op(Op& op) {
  Expansion f = expansion_of(op.kind);
  if (!f || !all_ranked(op)) return false;
  if (op.kind == OpKind::attention && op.num_results() == 1 && !op.operand(4) && has_attention_kernel(op)) return false;
  Graph& g = *op.graph;
  Op* before = op.self == g.ops.begin() ? nullptr : std::prev(op.self)->get();
  Emit e(&g, &op);
  auto values = f(e, op);
  Status s = values.ok() ? e.status() : Status(std::move(values.error()));
  if (!s.ok()) {
    drop_unused(g, &op, before);
    if (s.error().code == Code::kUnsupported) return false;
    return std::move(s.error());
  }
  for (size_t k = 0; k < op.results.size(); ++k) {
    Value *from = op.result(static_cast<int>(k)), *to = (*values)[k];
    CHECK(to || from->unused());
    if (!to) continue;
    if (to->name.empty()) to->name = from->name;
    g.replace_uses(from, to);
  }
  g.erase(&op);
  return true;
}

Result<bool> expand_composites(Graph& g) {
  bool changed = false;
  for (auto it = g.ops.begin(); it != g.ops.end();) {
    Op& op = **it++;
    for (auto& sub : op.graphs) {
      TRY_ASSIGN(bool inner, expand_composites(*sub));
      changed = changed || inner;
    }
    TRY_ASSIGN(bool done, expand_op(op));
    changed = changed || done;
  }
  return changed;
}

}  // namespace weft
