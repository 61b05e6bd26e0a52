// lstm, gru, rnn: one step at a time, in both directions (rnn.h).
#include "ir/ops/rnn.h"

#include <algorithm>
#include <cmath>

#include "ir/ops/move.h"
#include "ir/ops/norm.h"

namespace weft {

// --- activations --------------------------------------------------------------------------------------------------

struct RnnFnRow {
  const char* name;  // ONNX's, compared without case
  RnnFn fn;
  bool has_alpha, has_beta;
  double alpha, beta;
};
static const RnnFnRow* rnn_function(const std::string& name) {
  static const RnnFnRow rows[] = {
      {"affine", RnnFn::affine, true, true, 1, 0},
      {"elu", RnnFn::elu, true, false, 1, 0},
      {"hardsigmoid", RnnFn::hard_sigmoid, true, true, 0.2, 0.5},
      {"leakyrelu", RnnFn::leaky_relu, true, false, 0.01, 0},
      {"relu", RnnFn::relu, false, false, 0, 0},
      {"scaledtanh", RnnFn::scaled_tanh, true, true, 1, 1},
      {"sigmoid", RnnFn::sigmoid, false, false, 0, 0},
      {"softplus", RnnFn::softplus, false, false, 0, 0},
      {"softsign", RnnFn::softsign, false, false, 0, 0},
      {"tanh", RnnFn::tanh, false, false, 0, 0},
      {"thresholdedrelu", RnnFn::thresholded_relu, true, false, 1, 0},
  };
  std::string lower = name;
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  for (const RnnFnRow& r : rows)
    if (lower == r.name) return &r;
  return nullptr;
}

Result<std::vector<RnnActivation>> rnn_activations(OpKind k, const RnnAttrs& a) {
  std::vector<std::string> names = a.activations, usual{"Tanh"};
  if (k == OpKind::lstm) usual = {"Sigmoid", "Tanh", "Tanh"};
  if (k == OpKind::gru) usual = {"Sigmoid", "Tanh"};
  size_t need = usual.size() * static_cast<size_t>(rnn_directions(a));
  while (names.empty() || (a.activations.empty() && names.size() < need)) names.insert(names.end(), usual.begin(), usual.end());
  std::string counts = std::to_string(need) + " activations, has " + std::to_string(names.size());
  if (names.size() < need) return invalid(std::string(op_name(k)) + " needs " + counts);
  // ONNX's default of rnn names two functions for one direction, too.
  names.resize(need);
  std::vector<RnnActivation> out;
  size_t alphas = 0, betas = 0;
  for (const std::string& n : names) {
    const RnnFnRow* row = rnn_function(n);
    if (!row) return invalid("there is no activation function " + quote(n));
    RnnActivation f{row->fn, row->alpha, row->beta};
    if (row->has_alpha && alphas < a.activation_alpha.size()) f.alpha = a.activation_alpha[alphas++];
    if (row->has_beta && betas < a.activation_beta.size()) f.beta = a.activation_beta[betas++];
    out.push_back(f);
  }
  return out;
}

static double rnn_apply(const RnnActivation& f, double x) {
  switch (f.fn) {
    case RnnFn::affine: return f.alpha * x + f.beta;
    case RnnFn::elu: return x < 0 ? f.alpha * std::expm1(x) : x;
    case RnnFn::hard_sigmoid: return std::min(1.0, std::max(0.0, f.alpha * x + f.beta));
    case RnnFn::leaky_relu: return x < 0 ? f.alpha * x : x;
    case RnnFn::relu: return x < 0 ? 0 : x;
    case RnnFn::scaled_tanh: return f.alpha * std::tanh(f.beta * x);
    case RnnFn::sigmoid: return 1 / (1 + std::exp(-x));
    case RnnFn::softplus: return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
    case RnnFn::softsign: return x / (1 + std::fabs(x));
    case RnnFn::tanh: return std::tanh(x);
    case RnnFn::thresholded_relu: return x <= f.alpha ? 0 : x;
  }
  UNREACHABLE();
}

// --- infer --------------------------------------------------------------------------------------------------------

// An operand of unknown rank may fit.
static Status rnn_operand(const Op& op, int i, const Shape& want, Facts& facts) {
  if (!has_operand(op, i) || (type_of(op, i).is_tensor() && !type_of(op, i).ranked)) return {};
  TRY(need_tensor(op, i));
  const Type& t = type_of(op, i);
  bool fits = t.rank() == static_cast<int>(want.size()) && (i == 4 ? is_int(t.dtype) : t.dtype == type_of(op, 0).dtype);
  std::string who = "operand " + std::to_string(i) + " of " + op_name(op.kind);
  if (!fits) return invalid(who + " is " + t.to_string() + ", its shape should be [" + shape_text(want) + "]");
  for (size_t d = 0; d < want.size(); ++d)
    TRY(facts.equal(t.shape[d], want[d], "dims " + std::to_string(d) + " of " + who + " and what it should be"));
  return {};
}

// x's type; of unknown rank it must have rank 3, and the run decides its dims.
static Result<Type> rnn_input(const Op& op, InferContext& cx) {
  const Type& x = type_of(op, 0);
  if (!x.is_tensor() || x.ranked) {
    TRY(need_float_input(op, 3));
    return x;
  }
  TRY(need_tensor(op, 1));
  if (type_of(op, 1).rank() < 1) return invalid(std::string(op_name(op.kind)) + " takes weights of rank 3");
  bool batch_first = op.attr<RnnAttrs>().layout == 1;
  return Type::tensor(x.dtype, {data_dim(op, 0, 0, cx), data_dim(op, 0, batch_first ? 1 : 2, cx), type_of(op, 1).dim(-1)});
}

static Status infer_rnn(Op& op, InferContext& cx) {
  const RnnAttrs& a = op.attr<RnnAttrs>();
  TRY(need_tensor(op, 2));
  TRY_ASSIGN(Type x, rnn_input(op, cx));
  const Type& r = type_of(op, 2);
  if (x.rank() != 3 || r.rank() != 3) return invalid(std::string(op_name(op.kind)) + " takes " + x.to_string() + " with " + r.to_string());
  if (a.layout != 0 && a.layout != 1) return invalid("layout must be 0 or 1");
  bool direction = a.direction == "forward" || a.direction == "reverse" || a.direction == "bidirectional";
  if (!direction) return invalid("there is no direction " + quote(a.direction));
  TRY(rnn_activations(op.kind, a));
  Dim steps = x.shape[a.layout == 0 ? 0 : 1], batch = x.shape[a.layout == 0 ? 1 : 0], directions = rnn_directions(a), gates = rnn_gates(op.kind);
  Dim hidden = a.hidden_size > 0 ? Dim(a.hidden_size) : r.shape[2];
  Shape state = a.layout == 0 ? Shape{directions, batch, hidden} : Shape{batch, directions, hidden};
  TRY(rnn_operand(op, 1, {directions, gates * hidden, x.shape[2]}, cx));
  TRY(rnn_operand(op, 2, {directions, gates * hidden, hidden}, cx));
  TRY(rnn_operand(op, 3, {directions, Dim(2) * gates * hidden}, cx));
  TRY(rnn_operand(op, 4, {batch}, cx));
  TRY(rnn_operand(op, 5, state, cx));
  TRY(rnn_operand(op, 6, state, cx));
  TRY(rnn_operand(op, 7, {directions, Dim(3) * hidden}, cx));
  Shape y = a.layout == 0 ? Shape{steps, directions, batch, hidden} : Shape{batch, steps, directions, hidden};
  set_type(op, 0, Type::tensor(x.dtype, y));
  set_type(op, 1, Type::tensor(x.dtype, state));
  if (op.kind == OpKind::lstm) set_type(op, 2, Type::tensor(x.dtype, state));
  return {};
}

// --- eval ---------------------------------------------------------------------------------------------------------

// One direction. Weights are pointers to the direction's part, null where absent.
struct RnnCell {
  OpKind kind;
  const RnnAttrs& a;
  int64_t input, hidden, gates;
  const double *w, *r, *b, *p;
  const RnnActivation* act;

  double fn(int k, double x) const { return rnn_apply(act[k], a.clip > 0 ? std::min(a.clip, std::max(-a.clip, x)) : x); }
  // W x + Wb and R h + Rb, gates * hidden each.
  void project(const double* x, const double* h, std::vector<double>& wx, std::vector<double>& rh) const {
    int64_t n = gates * hidden;
    for (int64_t j = 0; j < n; ++j) {
      wx[j] = b ? b[j] : 0;
      for (int64_t i = 0; i < input; ++i) wx[j] += w[j * input + i] * x[i];
      rh[j] = b ? b[n + j] : 0;
      for (int64_t i = 0; i < hidden; ++i) rh[j] += r[j * hidden + i] * h[i];
    }
  }
  void lstm(const std::vector<double>& wx, const std::vector<double>& rh, double* h, double* c) const {
    auto gate = [&](int64_t g, int64_t j) { return wx[g * hidden + j] + rh[g * hidden + j]; };
    auto peep = [&](int64_t g, int64_t j) { return p ? p[g * hidden + j] : 0; };
    for (int64_t j = 0; j < hidden; ++j) {
      double i = fn(0, gate(0, j) + peep(0, j) * c[j]);
      double f = a.input_forget ? 1 - i : fn(0, gate(2, j) + peep(2, j) * c[j]);
      c[j] = f * c[j] + i * fn(1, gate(3, j));
      double o = fn(0, gate(1, j) + peep(1, j) * c[j]);
      h[j] = o * fn(2, c[j]);
    }
  }
  void gru(const std::vector<double>& wx, const std::vector<double>& rh, double* h) const {
    std::vector<double> reset(hidden), next(hidden);
    for (int64_t j = 0; j < hidden; ++j) reset[j] = fn(0, wx[hidden + j] + rh[hidden + j]);
    for (int64_t j = 0; j < hidden; ++j) {
      double inner = reset[j] * rh[2 * hidden + j];
      if (!a.linear_before_reset) {
        inner = b ? b[(gates + 2) * hidden + j] : 0;
        for (int64_t i = 0; i < hidden; ++i) inner += r[(2 * hidden + j) * hidden + i] * reset[i] * h[i];
      }
      double z = fn(0, wx[j] + rh[j]);
      next[j] = (1 - z) * fn(1, wx[2 * hidden + j] + inner) + z * h[j];
    }
    std::copy(next.begin(), next.end(), h);
  }
  void step(const double* x, double* h, double* c) const {
    std::vector<double> wx(gates * hidden), rh(gates * hidden);
    project(x, h, wx, rh);
    if (kind == OpKind::lstm) return lstm(wx, rh, h, c);
    if (kind == OpKind::gru) return gru(wx, rh, h);
    for (int64_t j = 0; j < hidden; ++j) h[j] = fn(0, wx[j] + rh[j]);
  }
};

static std::vector<double> rnn_values(EvalCall& call, int i) { return call.has(i) ? load_all<double>(call.tensor(i)) : std::vector<double>(); }
static std::vector<double> rnn_state(EvalCall& call, int i, int64_t n) {
  return call.has(i) ? load_all<double>(call.tensor(i)) : std::vector<double>(n);
}

static Result<std::vector<HostValue>> eval_rnn(EvalCall& call) {
  const RnnAttrs& a = call.attr<RnnAttrs>();
  const Tensor &x = call.tensor(0), &weights = call.tensor(2);
  bool batch_first = a.layout == 1;
  int64_t steps = x.dims[batch_first ? 1 : 0], batch = x.dims[batch_first ? 0 : 1], input = x.dims[2], hidden = weights.dims[2];
  int64_t directions = rnn_directions(a), gates = rnn_gates(call.op.kind), n = gates * hidden;
  std::vector<double> in = load_all<double>(x), w = load_all<double>(call.tensor(1)), r = load_all<double>(weights);
  std::vector<double> b = rnn_values(call, 3), p = rnn_values(call, 7);
  std::vector<double> h = rnn_state(call, 5, directions * batch * hidden), c = rnn_state(call, 6, directions * batch * hidden);
  std::vector<int64_t> lengths = call.has(4) ? load_all<int64_t>(call.tensor(4)) : std::vector<int64_t>(batch, steps);
  auto size = [](const std::vector<double>& v) { return static_cast<int64_t>(v.size()); };
  bool fits = size(w) == directions * n * input && size(r) == directions * n * hidden && (b.empty() || size(b) == directions * 2 * n);
  bool states = size(h) == directions * batch * hidden && size(c) == size(h) && static_cast<int64_t>(lengths.size()) == batch;
  fits = fits && states && (p.empty() || size(p) == directions * 3 * hidden);
  if (!fits) return invalid(std::string(op_name(call.op.kind)) + ": the operands' dims do not fit each other");
  TRY_ASSIGN(std::vector<RnnActivation> act, rnn_activations(call.op.kind, a));
  std::vector<double> y(steps * directions * batch * hidden);
  for (int64_t d = 0; d < directions; ++d) {
    bool backward = d == 1 || a.direction == "reverse";
    RnnCell cell{call.op.kind, a, input, hidden, gates, w.data() + d * n * input, r.data() + d * n * hidden, nullptr, nullptr,
                 act.data() + d * static_cast<int64_t>(act.size()) / directions};
    if (!b.empty()) cell.b = b.data() + d * 2 * n;
    if (!p.empty()) cell.p = p.data() + d * 3 * hidden;
    for (int64_t e = 0; e < batch; ++e) {
      int64_t length = std::min(steps, std::max<int64_t>(0, lengths[e]));
      int64_t at = (batch_first ? e * directions + d : d * batch + e) * hidden;
      for (int64_t k = 0; k < length; ++k) {
        int64_t t = backward ? length - 1 - k : k;
        cell.step(in.data() + (batch_first ? e * steps + t : t * batch + e) * input, h.data() + at, c.data() + at);
        int64_t row = batch_first ? (e * steps + t) * directions + d : (t * directions + d) * batch + e;
        std::copy_n(h.data() + at, hidden, y.data() + row * hidden);
      }
    }
  }
  std::vector<int64_t> state{directions, batch, hidden}, all{steps, directions, batch, hidden};
  if (batch_first) {
    state = {batch, directions, hidden};
    all = {batch, steps, directions, hidden};
  }
  TRY_ASSIGN(Tensor ty, store_all(x.dtype, all, y));
  TRY_ASSIGN(Tensor th, store_all(x.dtype, state, h));
  TRY_ASSIGN(Tensor tc, store_all(x.dtype, state, c));
  std::vector<HostValue> out{std::move(ty), std::move(th)};
  if (call.op.kind == OpKind::lstm) out.emplace_back(std::move(tc));
  return out;
}

static Cost cost_rnn(const Op& op) {
  Cost c = norm_cost(op, 0);
  const Shape& x = type_of(op, 0).shape;
  c.flops = x[0] * x[1] * (numel(type_of(op, 1).shape) + numel(type_of(op, 2).shape)) * Dim(2);
  return c;
}

// The batch.
static Result<ShardingRule> shard_rnn(const Op& op) {
  const int y = ShardingRule::kResult;
  if (op.attr<RnnAttrs>().layout == 1) return shard_places(op, {{{0, 0}, {4, 0}, {5, 0}, {6, 0}, {y, 0}, {y + 1, 0}, {y + 2, 0}}});
  return shard_places(op, {{{0, 1}, {4, 0}, {5, 1}, {6, 1}, {y, 2}, {y + 1, 1}, {y + 2, 1}}});
}
static OpDef recurrent(const char* onnx, int operands) {
  return {.onnx = onnx, .family = Family::rnn, .min_operands = 3, .max_operands = operands, .attrs = make_attrs<RnnAttrs>,
          .infer = infer_rnn, .eval = eval_rnn, .cost = cost_rnn, .shard = shard_rnn};
}
OpDef def_lstm() { return recurrent("LSTM", 8); }
OpDef def_gru() { return recurrent("GRU", 6); }
OpDef def_rnn() { return recurrent("RNN", 6); }

}  // namespace weft
