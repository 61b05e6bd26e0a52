// repeat-heads: attention whose heads of keys and values are fewer than ranks of tp, or not a multiple of them. Ranks can share
// its query heads out only where each has the heads that they read: a gather repeats heads, of which every rank then takes its
// own. The cache keeps the heads that it has, all of them on every rank.
#include <numeric>

#include "ir/expand/expansions.h"
#include "ir/ops/attention.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

// How often heads must stand there; 1: ranks share them out as they are, or never.
static int64_t repeats_for(const Op& op, int64_t ranks) {
  if (op.kind != OpKind::attention || !has_attention_kernel(op)) return 1;
  constexpr int64_t kMostHeads = 1 << 16;
  auto s = attention_shape(op);
  const int64_t kv = s->kv_heads.value(), q = s->q_heads.value();
  // Query heads that all read one head are shared out without repeats.
  if (kv <= 1 || q < kv || q > kMostHeads) return 1;
  const int64_t all = std::lcm(kv, ranks);
  return q % all == 0 ? all / kv : 1;
}

Result<bool> pass_repeat_heads(Module& m, PassContext& cx) {
  const int64_t ranks = cx.mesh.axis_size("tp");
  if (ranks <= 1 || !m.meshes.empty()) return false;
  return rewrite_ops(m, [&](Op& op) {
    const int64_t times = op.graph == m.main() ? repeats_for(op, ranks) : 1;  // ranks compute all of a body
    if (times == 1) return false;
    Emit e(op.graph, &op);
    auto values = repeat_kv_heads(e, op, times);
    return values.ok() && e.status().ok() && replace_op(op, *values);
  });
}

}  // namespace weft
