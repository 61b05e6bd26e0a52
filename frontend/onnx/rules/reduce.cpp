// Reductions and top_k: axes and k were attributes once.
#include "frontend/onnx/rules/rules.h"

namespace weft {

Values rule_reduce(Node& n) {
  OpKind kind = kind_of(n);
  if (n.version >= (kind == OpKind::reduce_sum ? 13 : 18)) return n.as(kind);
  std::vector<int64_t> axes = n.ints_attr("axes");
  if (axes.empty()) return n.as(kind, {n.need(0)});
  return n.as(kind, {n.need(0), n.ints(axes)});
}

Values rule_top_k(Node& n) {
  if (n.version >= 10) return n.as(OpKind::top_k);
  return n.as(OpKind::top_k, {n.need(0), n.ints({n.need_int("k")})});
}

}  // namespace weft
