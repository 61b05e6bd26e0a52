#include "passes/fusion/roles.h"

#include <algorithm>

#include "ir/core/builder.h"
#include "ir/ops/conv.h"
#include "ir/ops/norm.h"
#include "passes/layout/tensor_cores.h"

namespace weft {

Role role_of(const Op& op) {
  const OpDef& def = op_def(op);
  for (const Value* v : op.operands)
    if (v && !v->type.is_ranked()) return Role::none;
  for (const auto& r : op.results)
    if (!r->type.is_ranked() || r->known || r->type.dtype == DType::str) return Role::none;
  if (has_trait(op, kNondeterministic) || has_trait(op, kHostOnly)) return Role::none;
  if (op.num_results() != 1) return Role::none;
  if (def.scalar) return Role::pointwise;
  switch (op.kind) {
    case OpKind::batch_normalization: return op.attr<BatchNormAttrs>().training_mode ? Role::none : Role::pointwise;
    case OpKind::quantize_linear: case OpKind::dequantize_linear: return Role::pointwise;
    case OpKind::contract: case OpKind::conv: case OpKind::attention: case OpKind::gather: return Role::source;
    case OpKind::max_pool: case OpKind::average_pool: return Role::source;
    case OpKind::softmax: case OpKind::log_softmax: case OpKind::layer_normalization: case OpKind::rms_normalization: return Role::row;
    case OpKind::reduce_sum: case OpKind::reduce_mean: case OpKind::reduce_max: case OpKind::reduce_min: case OpKind::reduce_l2: return Role::row;
    case OpKind::pad: return Role::sink;
    default: return Role::none;
  }
}

bool is_cheap(const Op& op) {
  switch (op.kind) {
    case OpKind::add: case OpKind::sub: case OpKind::mul: case OpKind::relu: case OpKind::max: case OpKind::min: case OpKind::clip:
    case OpKind::neg: case OpKind::cast: case OpKind::dequantize_linear: case OpKind::leaky_relu: case OpKind::batch_normalization: return true;
    default: return false;
  }
}

bool stays_quantised(const Op& op) {
  if (op.kind != OpKind::dequantize_linear || bit_width(op.operands[0]->type.dtype) > 8 || op.result()->is_output()) return false;
  const std::vector<Use>& uses = op.result()->uses;
  return !uses.empty() && std::all_of(uses.begin(), uses.end(), [](const Use& u) { return u.op->kind == OpKind::contract && u.index < 2; });
}

bool narrows(const Op& op) {
  if (op.kind != OpKind::cast) return false;
  const DType from = op.operands[0]->type.dtype, to = op.result()->type.dtype;
  return is_float(from) && is_float(to) && byte_size(to) < byte_size(from);
}

bool packs_operand(const Op& op, const Target& target) {
  if (op.kind != OpKind::conv || runs_on_tensor_cores(op, target)) return false;
  const auto& a = op.attr<ConvAttrs>();
  bool padded = a.auto_pad != "NOTSET" || std::any_of(a.pads.begin(), a.pads.end(), [](int64_t p) { return p != 0; });
  return a.group == 1 && !padded;
}

const Op* anchor_before(const Op& op) {
  for (const Value* v : op.operands) {
    if (!v || !v->def || v->uses.size() != 1 || v->is_output()) continue;
    Role role = role_of(*v->def);
    if (role == Role::source || role == Role::row) return v->def;
    if (const Op* anchor = role == Role::pointwise ? anchor_before(*v->def) : nullptr) return anchor;
  }
  return nullptr;
}

}  // namespace weft
