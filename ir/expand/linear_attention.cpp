// linear_attention as a scan over the steps; causal_conv_with_state as a convolution.
#include <cmath>

#include "ir/expand/expansions.h"
#include "ir/ops/attention.h"
#include "ir/ops/control.h"
#include "ir/ops/conv.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"

namespace weft {

namespace {

struct LinearStep {
  Emit& e;
  DType t;
  int64_t hq, hk;
  double scale;

  // [B, heads * n] as [B, heads, n]
  Value* split(Value* v, int64_t heads) const {
    return v ? e.reshape(e.cast(v, t), {DimPart(v, 0), heads, v->type.dim(-1).value() / heads}) : nullptr;
  }
  // The state becomes the next one; returns [B, Hq * dv].
  Value* run(Value*& state, Value* q, Value* k, Value* v, Value* decay, Value* beta) const {
    k = split(k, hk);
    v = split(v, hk);
    if (decay) state = e.mul(state, e.unsqueeze(e.op(OpKind::exp, {split(decay, hk)}), {3}));
    if (beta) {
      Value* rate = beta->type.dim(-1).is(1) ? e.unsqueeze(e.cast(beta, t), {2}) : split(beta, hk);
      v = e.mul(rate, e.sub(v, e.contract("bhij,bhi->bhj", state, k, t)));
    }
    state = e.add(state, e.mul(e.unsqueeze(k, {3}), e.unsqueeze(v, {2})));
    Value* grouped = e.reshape(e.cast(q, t), {DimPart(q, 0), hk, hq / hk, DimPart(k, 2)});
    Value* y = e.contract("bhgi,bhij->bhgj", grouped, state, t, scale);
    return e.reshape(y, {DimPart(q, 0), DimPart(v, 2, hq)});
  }
};

}  // namespace

Result<std::vector<Value*>> expand_linear_attention(Emit& e, Op& op) {
  const LinearAttentionAttrs& a = op.attr<LinearAttentionAttrs>();
  const Dim &kd = type_of(op, 1).shape[2], &vd = type_of(op, 2).shape[2];
  bool known = kd.is_const() && vd.is_const();
  for (int i : {4, 5}) known = known && (!op.operand(i) || type_of(op, i).shape[2].is_const());
  if (!known) return unsupported("linear_attention with heads of unknown size");
  int64_t dk = kd.value() / a.kv_num_heads, dv = vd.value() / a.kv_num_heads;
  DType in = type_of(op, 0).dtype, kept = op.operand(3) ? type_of(op, 3).dtype : in, t = in == DType::f64 ? in : DType::f32;
  Value* past = e.cast(op.operand(3), t);
  if (!past) past = e.op(OpKind::expand, {e.scalar(t, 0), e.dims({DimPart(op.operands[0], 0), a.kv_num_heads, dk, dv})});
  if (!past) return e.status().error();
  auto body = std::make_unique<Graph>();
  body->name = "body";
  body->module = e.b.graph()->module;
  Emit inner(body.get(), nullptr);
  inner.b.provenance = op.provenance;
  std::vector<Value*> operands{past}, slices(6);
  Value* state = body->add_input(past->type, "state");
  for (int i : {0, 1, 2, 4, 5}) {
    if (!op.operand(i)) continue;
    Type slice = type_of(op, i);
    slice.shape.erase(slice.shape.begin() + 1);
    slices[i] = body->add_input(slice, "step");
    operands.push_back(op.operands[i]);
  }
  LinearStep step{inner, t, a.q_num_heads, a.kv_num_heads, a.scale != 0 ? a.scale : 1 / std::sqrt(static_cast<double>(dk))};
  Value* y = inner.cast(step.run(state, slices[0], slices[1], slices[2], slices[4], slices[5]), in);
  TRY(inner.status());
  body->outputs = {state, y};
  ScanAttrs at;
  at.num_carried = 1;
  at.num_scan_inputs = static_cast<int64_t>(operands.size()) - 1;
  at.scan_input_axes.assign(at.num_scan_inputs, 1);
  at.scan_output_axes = {1};
  std::vector<std::unique_ptr<Graph>> graphs;
  graphs.push_back(std::move(body));
  Op* scan = e.create(OpKind::scan, std::move(operands), std::make_unique<ScanAttrs>(at), 2, std::move(graphs));
  TRY(e.status());
  return std::vector<Value*>{scan->result(1), e.cast(scan->result(0), kept)};
}

Result<std::vector<Value*>> expand_causal_conv(Emit& e, Op& op) {
  Value *x = op.operands[0], *w = op.operands[1];
  const Dim &channels = x->type.shape[1], &k = w->type.shape[2];
  if (!channels.is_const() || !k.is_const()) return unsupported("causal_conv_with_state with an unknown number of channels");
  Value* padded;
  if (op.operand(3)) padded = e.concat({op.operands[3], x}, 2);
  else padded = e.op(OpKind::pad, {x, e.ints({0, 0, k.value() - 1, 0, 0, 0}), e.scalar(x->type.dtype, 0)});
  ConvAttrs conv;
  conv.group = channels.value();
  Value* y = e.op(OpKind::conv, {padded, w, op.operand(2)}, conv);
  if (op.attr<CausalConvAttrs>().activation != "none") y = e.op(OpKind::swish, {y}, AlphaAttrs());
  return std::vector<Value*>{y, e.slice_from(padded, 2, e.dims({DimPart(x, 2)}))};
}

}  // namespace weft
