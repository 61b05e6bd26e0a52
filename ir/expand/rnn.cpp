// lstm, gru and rnn: the inputs of all steps in one contraction, then a scan over the steps, for each direction.
#include "ir/ops/rnn.h"

#include "ir/expand/expansions.h"
#include "ir/ops/control.h"
#include "ir/ops/pointwise.h"

namespace weft {

namespace {

Value* rnn_function(Emit& e, const RnnActivation& f, double clip, Value* x) {
  if (clip > 0) x = e.op(OpKind::clip, {x, e.like(x, -clip), e.like(x, clip)});
  AlphaAttrs alpha;
  alpha.alpha = f.alpha;
  switch (f.fn) {
    case RnnFn::affine: return e.add(e.mul(x, e.like(x, f.alpha)), e.like(x, f.beta));
    case RnnFn::elu: return e.op(OpKind::elu, {x}, alpha);
    case RnnFn::hard_sigmoid: {
      HardSigmoidAttrs a;
      a.alpha = f.alpha;
      a.beta = f.beta;
      return e.op(OpKind::hard_sigmoid, {x}, a);
    }
    case RnnFn::leaky_relu: {
      LeakyReluAttrs a;
      a.alpha = f.alpha;
      return e.op(OpKind::leaky_relu, {x}, a);
    }
    case RnnFn::relu: return e.op(OpKind::relu, {x});
    case RnnFn::scaled_tanh: return e.mul(e.op(OpKind::tanh, {e.mul(x, e.like(x, f.beta))}), e.like(x, f.alpha));
    case RnnFn::sigmoid: return e.op(OpKind::sigmoid, {x});
    case RnnFn::softplus: return e.op(OpKind::softplus, {x});
    case RnnFn::softsign: return e.op(OpKind::softsign, {x});
    case RnnFn::tanh: return e.op(OpKind::tanh, {x});
    case RnnFn::thresholded_relu: return e.op(OpKind::thresholded_relu, {x}, alpha);
  }
  UNREACHABLE();
}

// One direction, in type t: x [T,B,I] or [B,T,I], the others without their direction.
struct RnnDirection {
  Emit& e;
  OpKind kind;
  const RnnAttrs& a;
  const RnnActivation* act;
  bool backward;
  int64_t hidden;
  DType t;
  Value *x, *w, *r, *b, *p, *h, *c, *lengths;  // b, p, c, lengths may be null; lengths: i64[B,1]
};

// The body of the scan under construction; values of the outside enter it as captures.
struct RnnBody {
  const RnnDirection& d;
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  std::optional<Emit> e;
  std::vector<Value*> captured;

  explicit RnnBody(const RnnDirection& direction) : d(direction) {
    graph->name = "body";
    graph->module = direction.e.b.graph()->module;
    e.emplace(graph.get(), nullptr);
    e->b.provenance = direction.e.b.provenance;
  }
  Value* input(Type t, const char* name) { return graph->add_input(std::move(t), name); }
  Value* capture(Value* v, const char* name) {
    if (!v) return nullptr;
    captured.push_back(v);
    Value* in = input(v->type, name);
    in->known = v->known;
    return in;
  }
  Value* gate(Value* gates, int64_t k) { return e->slice(gates, 1, k * d.hidden, (k + 1) * d.hidden); }
  Value* fn(int k, Value* x) { return rnn_function(*e, d.act[k], d.a.clip, x); }
};

// The next h and c from this step's inputs.
void lstm_step(RnnBody& s, Value* wx, Value*& h, Value*& c) {
  Emit& e = *s.e;
  int64_t n = s.d.hidden;
  Value *r = s.capture(s.d.r, "r"), *p = s.capture(s.d.p, "p"), *gates = e.contract("bh,gh->bg", h, r, s.d.t, 1, wx);
  auto peep = [&](int64_t k, Value* x, Value* cell) { return p ? e.add(x, e.mul(e.slice(p, 0, k * n, (k + 1) * n), cell)) : x; };
  Value* i = s.fn(0, peep(0, s.gate(gates, 0), c));
  Value* f = s.d.a.input_forget ? e.sub(e.like(i, 1), i) : s.fn(0, peep(2, s.gate(gates, 2), c));
  c = e.add(e.mul(f, c), e.mul(i, s.fn(1, s.gate(gates, 3))));
  h = e.mul(s.fn(0, peep(1, s.gate(gates, 1), c)), s.fn(2, c));
}
void gru_step(RnnBody& s, Value* wx, Value* rb, Value*& h) {
  Emit& e = *s.e;
  int64_t n = s.d.hidden;
  Value *z, *g, *r = s.capture(s.d.r, "r");
  if (s.d.a.linear_before_reset) {
    Value* rh = e.contract("bh,gh->bg", h, r, s.d.t, 1, s.capture(rb, "rb"));
    z = s.fn(0, e.add(s.gate(wx, 0), s.gate(rh, 0)));
    Value* reset = s.fn(0, e.add(s.gate(wx, 1), s.gate(rh, 1)));
    g = s.fn(1, e.add(s.gate(wx, 2), e.mul(reset, s.gate(rh, 2))));
  } else {
    Value* zr = e.contract("bh,gh->bg", h, e.slice(r, 0, 0, 2 * n), s.d.t, 1, e.slice(wx, 1, 0, 2 * n));
    z = s.fn(0, s.gate(zr, 0));
    Value* reset = s.fn(0, s.gate(zr, 1));
    g = s.fn(1, e.contract("bh,gh->bg", e.mul(reset, h), e.slice(r, 0, 2 * n, 3 * n), s.d.t, 1, s.gate(wx, 2)));
  }
  h = e.add(e.mul(e.sub(e.like(z, 1), z), g), e.mul(z, h));
}

// y [T,B,H] (layout 1: [B,T,H]), h, c.
std::vector<Value*> run_direction(const RnnDirection& d, bool want_y) {
  Emit& e = d.e;
  int64_t gates = rnn_gates(d.kind) * d.hidden;
  Value *wb = d.b ? e.slice(d.b, 0, 0, gates) : nullptr, *rb = d.b ? e.slice(d.b, 0, gates, 2 * gates) : nullptr;
  bool apart = d.kind == OpKind::gru && d.a.linear_before_reset;  // the reset gate multiplies the recurrence's bias
  if (wb && !apart) wb = e.add(wb, rb);
  Value* wx = e.contract(d.a.layout == 0 ? "tbi,gi->tbg" : "bti,gi->tbg", d.x, d.w, d.t, 1, wb);
  Value* steps = d.lengths ? e.iota(e.dim(wx, 0)) : nullptr;
  if (!wx || !d.h || !e.status().ok()) return {nullptr, nullptr, nullptr};
  RnnBody s(d);
  bool lstm = d.kind == OpKind::lstm;
  Type slice = wx->type;
  slice.shape.erase(slice.shape.begin());
  Value *h0 = s.input(d.h->type, "h"), *c0 = lstm ? s.input(d.c->type, "c") : nullptr, *in = s.input(slice, "wx");
  Value *step = steps ? s.input(Type::tensor(DType::i64, {}), "t") : nullptr, *h = h0, *c = c0, *y;
  if (lstm) lstm_step(s, in, h, c);
  else if (d.kind == OpKind::gru) gru_step(s, in, rb, h);
  else h = s.fn(0, s.e->contract("bh,gh->bg", h, s.capture(d.r, "r"), d.t, 1, in));
  y = h;
  if (step) {
    Value* live = s.e->op(OpKind::less, {step, s.capture(d.lengths, "lengths")});
    y = s.e->where(live, h, s.e->like(h, 0));
    h = s.e->where(live, h, h0);
    if (lstm) c = s.e->where(live, c, c0);
  }
  if (Status inner = s.e->status(); !inner.ok()) {
    e.fail(std::move(inner.error()));
    return {nullptr, nullptr, nullptr};
  }
  s.graph->outputs = {h};
  if (lstm) s.graph->outputs.push_back(c);
  if (want_y) s.graph->outputs.push_back(y);
  ScanAttrs at;
  at.num_carried = lstm ? 2 : 1;
  at.num_scan_inputs = steps ? 2 : 1;
  if (d.backward) {
    at.scan_input_directions.assign(at.num_scan_inputs, 1);
    at.scan_output_directions = {1};
  }
  at.scan_output_axes = {d.a.layout};
  std::vector<Value*> operands{d.h};
  if (lstm) operands.push_back(d.c);
  operands.push_back(wx);
  if (steps) operands.push_back(steps);
  operands.insert(operands.end(), s.captured.begin(), s.captured.end());
  std::vector<std::unique_ptr<Graph>> graphs;
  int results = static_cast<int>(s.graph->outputs.size());
  graphs.push_back(std::move(s.graph));
  Op* scan = e.create(OpKind::scan, std::move(operands), std::make_unique<ScanAttrs>(at), results, std::move(graphs));
  if (!scan) return {nullptr, nullptr, nullptr};
  return {want_y ? scan->result(results - 1) : nullptr, scan->result(0), lstm ? scan->result(1) : nullptr};
}

}  // namespace

Result<std::vector<Value*>> expand_rnn(Emit& e, Op& op) {
  const RnnAttrs& a = op.attr<RnnAttrs>();
  Value* x = op.operands[0];
  const Dim& hidden = type_of(op, 2).shape[2];
  if (!hidden.is_const()) return unsupported("a recurrent layer of unknown width");
  DType in = x->type.dtype, t = in == DType::f64 ? in : DType::f32;
  TRY_ASSIGN(std::vector<RnnActivation> act, rnn_activations(op.kind, a));
  int directions = rnn_directions(a), batch_axis = a.layout == 0 ? 1 : 0;
  Value* lengths = op.operand(4) ? e.unsqueeze(e.cast(op.operand(4), DType::i64), {1}) : nullptr;
  auto part = [&](int i, int axis, int d) -> Value* {
    return op.operand(i) ? e.cast(e.squeeze(e.slice(op.operands[i], axis, d, d + 1), {axis}), t) : nullptr;
  };
  auto state = [&](int i, int d) {
    Value* v = part(i, a.layout == 0 ? 0 : 1, d);
    return v ? v : e.op(OpKind::expand, {e.scalar(t, 0), e.dims({DimPart(x, batch_axis), hidden.value()})});
  };
  bool want_y = !op.result(0)->unused();
  std::vector<std::vector<Value*>> parts(3);
  for (int d = 0; d < directions; ++d) {
    bool backward = d == 1 || a.direction == "reverse";
    const RnnActivation* own = act.data() + static_cast<int64_t>(act.size()) / directions * d;
    Value* cell = op.kind == OpKind::lstm ? state(6, d) : nullptr;
    RnnDirection one{e,          op.kind,       a,             own,           backward,      hidden.value(), t,   e.cast(x, t),
                     part(1, 0, d), part(2, 0, d), part(3, 0, d), part(7, 0, d), state(5, d), cell,           lengths};
    std::vector<Value*> out = run_direction(one, want_y);
    for (int k = 0; k < 3; ++k)
      if (out[k]) parts[k].push_back(e.cast(e.unsqueeze(out[k], {k > 0 ? a.layout : a.layout + 1}), in));
  }
  std::vector<Value*> results;
  for (int k = 0; k < 3; ++k) results.push_back(parts[k].empty() ? nullptr : e.concat(parts[k], k > 0 ? a.layout : a.layout + 1));
  return results;
}

}  // namespace weft
