// Host calls: ops that no kernel family computes (sorting, scatter, running sums, random numbers, data-dependent sizes), run
// by functions of kernels/host; and the checks of indices that kernels rely on.
#include "codegen/lower/host_op.h"
#include "ir/ops/common.h"
#include "ir/ops/loss.h"
#include "ir/ops/move.h"
#include "ir/ops/random.h"
#include "ir/ops/sort.h"

namespace weft {

bool runs_on_host(const Op& op) {
  switch (op.kind) {
    case OpKind::non_zero: case OpKind::compress: case OpKind::non_max_suppression: case OpKind::top_k: case OpKind::unique:
    case OpKind::scatter_elements: case OpKind::scatter_nd: case OpKind::tensor_scatter: case OpKind::cum_sum: case OpKind::cum_prod:
    case OpKind::random_normal: case OpKind::random_uniform: case OpKind::random_normal_like: case OpKind::random_uniform_like:
    case OpKind::bernoulli: case OpKind::multinomial: case OpKind::dropout: case OpKind::range:
      return true;
    default: return sampled_on_host(op);
  }
}

namespace {

Status select_call(HostOp& h) {
  Op& op = h.op;
  TRY(h.input(0));
  h.output(0);
  if (op.kind == OpKind::non_zero) return h.call("non_zero");
  if (op.kind == OpKind::compress) {
    TRY(h.input(1));
    if (op.attr<CompressAttrs>().has_axis) TRY(h.axis(op.attr<CompressAttrs>().axis));
    return h.call("compress");
  }
  TRY(h.input(1));
  const char* names[] = {"max_boxes_per_class", "iou_threshold", "score_threshold"};
  for (int i = 2; i < 5; ++i) TRY(h.input(i, names[i - 2]));
  h.set("center_point_box", int64_t{op.attr<NmsAttrs>().center_point_box});
  return h.call("non_max_suppression");
}

Status sort_call(HostOp& h) {
  Op& op = h.op;
  TRY(h.input(0));
  h.output(0);
  if (op.kind == OpKind::unique) {
    const UniqueAttrs& a = op.attr<UniqueAttrs>();
    if (a.has_axis) TRY(h.axis(a.axis));
    h.set("sorted", int64_t{a.sorted});
    const char* names[] = {"first", "inverse", "counts"};
    for (int i = 1; i < 4; ++i) h.output(i, names[i - 1]);
    return h.call("unique");
  }
  const TopKAttrs& a = op.attr<TopKAttrs>();
  TRY(h.axis(a.axis));
  h.set("largest", int64_t{a.largest});
  h.output(1);
  return h.call("top_k");
}

Status scatter_call(HostOp& h) {
  Op& op = h.op;
  for (int i = 0; i < 3; ++i) TRY(h.input(i));
  h.output(0);
  if (op.kind == OpKind::tensor_scatter) {
    TRY(h.axis(op.attr<TensorScatterAttrs>().axis));
    h.set("circular", int64_t{op.attr<TensorScatterAttrs>().mode == "circular"});
    return h.call("tensor_scatter");
  }
  bool elements = op.kind == OpKind::scatter_elements;
  const std::string& r = elements ? op.attr<ScatterAttrs>().reduction : op.attr<ScatterNdAttrs>().reduction;
  ScatterMode m = r == "add"   ? ScatterMode::add
                  : r == "mul" ? ScatterMode::mul
                  : r == "min" ? ScatterMode::min
                  : r == "max" ? ScatterMode::max
                               : ScatterMode::none;
  h.set("reduction", static_cast<int64_t>(m));
  if (elements) TRY(h.axis(op.attr<ScatterAttrs>().axis));
  return h.call(elements ? "scatter_elements" : "scatter_nd");
}

Status cumulative_call(HostOp& h) {
  Op& op = h.op;
  const CumulativeAttrs& a = op.attr<CumulativeAttrs>();
  auto axis = const_ints(op.operands[1]);
  TRY(h.input(0));
  if (axis && axis->size() == 1) TRY(h.axis((*axis)[0]));
  else TRY(h.input(1, "axis_input"));
  h.output(0);
  h.set("exclusive", int64_t{a.exclusive});
  h.set("reverse", int64_t{a.reverse});
  h.set("product", int64_t{op.kind == OpKind::cum_prod});
  return h.call("cumulative");
}

Status random_call(HostOp& h) {
  Op& op = h.op;
  h.output(0);
  switch (op.kind) {
    case OpKind::random_normal: case OpKind::random_normal_like: {
      const RandomNormalAttrs& a = op.attr<RandomNormalAttrs>();
      h.set("mean", a.mean);
      h.set("scale", a.scale);
      h.set("seed", a.seed);
      return h.call("random_normal");
    }
    case OpKind::random_uniform: case OpKind::random_uniform_like: {
      const RandomUniformAttrs& a = op.attr<RandomUniformAttrs>();
      h.set("low", a.low);
      h.set("high", a.high);
      h.set("seed", a.seed);
      return h.call("random_uniform");
    }
    case OpKind::dropout:
      TRY(h.input(0));
      TRY(h.input(1, "ratio"));
      TRY(h.input(2, "training"));
      h.output(1);
      h.set("seed", op.attr<DropoutAttrs>().seed);
      return h.call("dropout");
    default:
      TRY(h.input(0));
      h.set("seed", op.kind == OpKind::bernoulli ? op.attr<BernoulliAttrs>().seed : op.attr<MultinomialAttrs>().seed);
      return h.call(op.kind == OpKind::bernoulli ? "bernoulli" : "multinomial");
  }
}

}  // namespace

Result<bool> Lowering::host(Op& op) {
  HostOp h(*this, op);
  switch (op.kind) {
    case OpKind::non_zero: case OpKind::compress: case OpKind::non_max_suppression: {
      TRY(select_call(h));
      return true;
    }
    case OpKind::top_k: case OpKind::unique: {
      TRY(sort_call(h));
      return true;
    }
    case OpKind::scatter_elements: case OpKind::scatter_nd: case OpKind::tensor_scatter: {
      TRY(scatter_call(h));
      return true;
    }
    case OpKind::cum_sum: case OpKind::cum_prod: {
      TRY(cumulative_call(h));
      return true;
    }
    case OpKind::range:
      // A kernel where the number of elements is known before.
      if (is_bound(op.result()->type.shape[0])) return false;
      for (int i = 0; i < 3; ++i) TRY(h.input(i));
      h.output(0);
      TRY(h.call("range"));
      return true;
    default: break;
  }
  if (sampled_on_host(op)) {
    TRY(sample_call(h));
    return true;
  }
  if (!runs_on_host(op)) return false;
  TRY(random_call(h));
  return true;
}

// --- indices --------------------------------------------------------------------------------------------------------

// Whether constant indices into a constant dim are right; nullopt: only the run knows.
static std::optional<Status> check_constant(const Value* indices, const Dim& n, bool natural, std::optional<int64_t> ignored) {
  const Constant* c = constant_of(indices);
  if (!c || !n.is_const()) return std::nullopt;
  auto t = tensor_of(*c);
  if (!t.ok()) return Status(std::move(t.error()));
  return host_check_indices(view_of(*t), n.value(), natural, ignored);
}

// Inside a fused region indices may be computed: no kernel takes those, so that they lie in memory when it is their turn.
static bool still_to_be_computed(const Lowering& l, const Value* v) {
  return !l.tensors.count(v) && v->def && !constant_of(v) && !known_of(v);
}

// By a kernel, which reports what it finds; the host looks when it waits for the run.
static Status report_axis(Lowering& l, int indices, const Dim& n, int axis, bool natural, std::optional<int64_t> ignored) {
  std::string known = "indices " + std::to_string(indices) + " of " + n.to_string() + (natural ? " natural" : "");
  if (ignored) known += " but " + std::to_string(*ignored);
  if (!l.checked[l.commands].insert(std::move(known)).second) return {};
  KernelSpec s;
  s.title = "check_indices";
  std::vector<Dim> dims;
  auto param = [&](const Dim& d) {
    if (d.is_const()) return d;
    s.params.push_back("n" + std::to_string(dims.size()));
    dims.push_back(d);
    return Dim::symbol(s.params.back());
  };
  SpecOperand in, out;
  in.name = "indices";
  in.dtype = l.plan().tensors[indices].dtype;
  out.name = "report";
  out.ptr = 1;
  out.dtype = DType::i64;
  out.write = true;
  s.num_ptrs = 2;
  const PlanTensor& t = l.plan().tensors[indices];
  for (size_t k = 0; k < t.dims.size(); ++k) {
    if (t.strides[k].is(0)) continue;  // repeats
    const std::string axis_name = "i" + std::to_string(k);
    s.axes.push_back({axis_name, param(t.dims[k])});
    in.index.push_back(Dim::symbol(axis_name));
    in.strides.push_back(param(t.strides[k]));
  }
  SpecStage st;
  st.inputs.push_back({StageInput::Kind::load, 0});
  StageInput size;
  size.kind = StageInput::Kind::index;
  size.dim = param(n);
  st.inputs.push_back(size);
  ScalarProgram& p = st.body;
  const S given{&p, p.input(0, in.dtype)}, end{&p, p.input(1, DType::i64)}, i = given.cast(DType::i64), zero = i.lit(0);
  S code = select(lt(i, zero), i * -2.0, i * 2.0 + 1.0);
  code = select(lt(i, natural ? zero : zero - end), code, select(le(end, i), code, zero));
  if (ignored) code = select(eq(i, S{&p, p.constant_int(DType::i64, *ignored)}), zero, code);
  p.outputs = {code.id};
  out.guards.push_back({Dim::symbol("$" + std::to_string(code.id)), Dim(1), Dim(INT64_MAX)});
  st.stores = {1};
  s.operands = {in, out};
  s.stages.push_back(std::move(st));
  const int report = l.temp("report", DType::i64, {});
  PlanBuffer& buffer = l.plan().buffers[l.plan().tensors[report].buffer];
  buffer.storage = Storage::report;
  buffer.space = Space::pinned;
  TRY(l.launch(std::move(s), {indices, report}, dims));
  Command& c = l.command(CommandKind::expect);
  c.tensors = {report};
  c.dim = n;
  c.text = "axis " + std::to_string(axis);
  return {};
}

static Status check_axis(Lowering& l, const Value* indices, const Value* x, int axis, bool natural, std::optional<int64_t> ignored) {
  if (auto known = check_constant(indices, x->type.shape[axis], natural, ignored)) return std::move(*known);
  if (still_to_be_computed(l, indices)) return {};
  TRY_ASSIGN(int i, l.tensor(indices));
  if (const Dim& n = x->type.shape[axis]; l.target.backend == Backend::cuda && !l.preparing && l.is_bound(n))
    return report_axis(l, i, n, axis, natural, ignored);
  auto of = l.tensors.find(x);
  int t = of != l.tensors.end() ? of->second : l.alias(nullptr, i, x->type.shape, std::vector<Dim>(x->type.shape.size(), Dim(0)), 0);
  std::string text = "axis=" + std::to_string(axis) + (natural ? " natural=1" : "");
  if (ignored) text += " ignored=" + std::to_string(*ignored);
  return l.call("check_indices", {i, t}, {}, text);
}

Status Lowering::check_indices(const Op& op) {
  const Value* x = op.operand(0);
  switch (op.kind) {
    case OpKind::gather: case OpKind::gather_elements: {
      TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, x->type.rank()));
      return check_axis(*this, op.operands[1], x, axis, false, std::nullopt);
    }
    case OpKind::gather_nd: {
      if (still_to_be_computed(*this, op.operands[1])) return {};
      TRY_ASSIGN(int i, tensor(op.operands[1]));
      TRY_ASSIGN(int t, tensor(x));
      return call("check_tuples", {i, t}, {}, "batch_dims=" + std::to_string(op.attr<GatherNdAttrs>().batch_dims));
    }
    case OpKind::reverse_sequence: {
      if (still_to_be_computed(*this, op.operands[1])) return {};
      TRY_ASSIGN(int lengths, tensor(op.operands[1]));
      TRY_ASSIGN(int t, tensor(x));
      return call("check_lengths", {lengths, t}, {}, "axis=" + std::to_string(op.attr<ReverseSequenceAttrs>().time_axis));
    }
    case OpKind::negative_log_likelihood_loss: {
      const LossAttrs& a = op.attr<LossAttrs>();
      return check_axis(*this, op.operands[1], x, 1, true, a.has_ignore_index ? std::optional<int64_t>(a.ignore_index) : std::nullopt);
    }
    default: return {};
  }
}

}  // namespace weft
