// Collectives over the axes of a mesh. A rank that is evaluated alone takes groups of one, and refuses larger ones.
#include "ir/ops/collective.h"

#include <algorithm>

#include "ir/ops/move.h"

namespace weft {

Result<int64_t> group_size(const Module& m, const std::string& mesh, const std::vector<std::string>& axes) {
  auto it = std::find_if(m.meshes.begin(), m.meshes.end(), [&](const Mesh& x) { return x.name == mesh; });
  if (it == m.meshes.end()) return invalid("there is no mesh " + quote(mesh));
  int64_t n = 1;
  for (size_t i = 0; i < axes.size(); ++i) {
    int64_t size = it->axis_size(axes[i]);
    if (size < 1) return invalid("mesh " + quote(mesh) + " has no axis " + quote(axes[i]));
    if (std::find(axes.begin(), axes.begin() + i, axes[i]) != axes.begin() + i) return invalid("axis " + quote(axes[i]) + " is given twice");
    if (__builtin_mul_overflow(n, size, &n)) return resources("a group of more than 2^63 ranks");
  }
  return n;
}

bool is_pipeline(const Module& m) {
  return m.meshes.size() == 1 && m.graphs.size() > 1 && m.meshes[0].axis_size(kStageAxis) == static_cast<int64_t>(m.graphs.size());
}
Result<int> stage_number(const Module& m, const std::string& graph) {
  for (size_t k = 0; k < m.graphs.size() && is_pipeline(m); ++k)
    if (m.graphs[k]->name == graph) return static_cast<int>(k);
  return invalid("there is no stage " + quote(graph) + " of a pipeline");
}
const Graph& stage_graph(const Module& m, int64_t rank) {
  return m.graphs.size() == 1 ? *m.graphs[0] : *m.graphs[static_cast<size_t>(m.meshes[0].stage(rank))];
}

template <class A>
static Result<int64_t> group_of(const Op& op) {
  const A& a = op.attr<A>();
  return group_size(*op.graph->module, a.mesh, a.axes);
}
static Status check_reduction(const std::string& r, DType t) {
  for (const char* known : {"sum", "mean", "max", "min", "prod"}) {
    if (r != known) continue;
    if (t == DType::str || (is_complex(t) && (r == "max" || r == "min"))) break;
    return {};
  }
  return invalid("a collective reduction " + quote(r) + " of " + dtype_name(t));
}
// Dim `dim` of the first result becomes what f makes of it.
template <class F>
static Status scale_dim(Type& t, int64_t attr_dim, F&& f) {
  TRY_ASSIGN(int dim, normalize_axis(attr_dim, t.rank()));
  TRY_ASSIGN(t.shape[dim], f(t.shape[dim]));
  return {};
}
static auto times(int64_t n) {
  return [n](const Dim& d) -> Result<Dim> { return d * Dim(n); };
}
static auto shared_by(int64_t n) {
  return [n](const Dim& d) -> Result<Dim> {
    if (d.is_const() && d.value() % n != 0) return invalid("a dim of " + d.to_string() + " between " + std::to_string(n) + " ranks");
    return floordiv(d, Dim(n));
  };
}

// --- eval -----------------------------------------------------------------------------------------------------------

Result<CollectiveCall> collective_call(const Op& op) {
  auto of = [](const auto& a) { return CollectiveCall{a.mesh, a.axes}; };
  switch (op.kind) {
    case OpKind::all_reduce: return of(op.attr<AllReduceAttrs>());
    case OpKind::all_gather: return of(op.attr<AllGatherAttrs>());
    case OpKind::reduce_scatter: return of(op.attr<ReduceScatterAttrs>());
    case OpKind::all_to_all: return of(op.attr<AllToAllAttrs>());
    case OpKind::broadcast: return of(op.attr<BroadcastAttrs>());
    case OpKind::collective_permute: return of(op.attr<CollectivePermuteAttrs>());
    default: return unsupported(std::string(op_name(op.kind)) + " is no collective");
  }
}

template <class T>
static void combine(const std::string& reduction, std::vector<T>& sum, const std::vector<T>& x) {
  for (size_t i = 0; i < sum.size(); ++i) {
    if (reduction == "prod") {
      sum[i] *= x[i];
    } else if (reduction == "max" || reduction == "min") {
      if constexpr (!std::is_same_v<T, std::complex<double>>) {
        if (reduction == "max" ? x[i] > sum[i] : x[i] < sum[i]) sum[i] = x[i];
        if constexpr (std::is_floating_point_v<T>)
          if (x[i] != x[i]) sum[i] = x[i];
      }
    } else {
      sum[i] += x[i];
    }
  }
}
static Result<Tensor> reduced(const std::string& reduction, const std::vector<Tensor>& given) {
  return with_carrier(given[0].dtype, [&](auto carrier) -> Result<Tensor> {
    using T = decltype(carrier);
    std::vector<T> sum = load_all<T>(given[0]);
    for (size_t r = 1; r < given.size(); ++r) combine(reduction, sum, load_all<T>(given[r]));
    if (reduction == "mean")
      for (T& x : sum) x /= static_cast<T>(given.size());
    return store_all(given[0].dtype, given[0].dims, sum);
  });
}
// Part `index` of `count` equal ones along a dim.
static Result<Tensor> part_of(const Tensor& x, int dim, int64_t index, int64_t count) {
  if (x.dims[dim] % count != 0) return invalid("a dim of " + std::to_string(x.dims[dim]) + " between " + std::to_string(count) + " ranks");
  std::vector<int64_t> dims = x.dims, strides = dense_strides(x.dims);
  dims[dim] /= count;
  return read_window(x, {index * dims[dim] * strides[dim], strides}, dims);
}

Result<Tensor> collective_result(const Op& op, const std::vector<Tensor>& given, int64_t index) {
  int64_t n = static_cast<int64_t>(given.size());
  const Tensor& mine = given[index];
  switch (op.kind) {
    case OpKind::all_reduce: return reduced(op.attr<AllReduceAttrs>().reduction, given);
    case OpKind::all_gather: {
      TRY_ASSIGN(int dim, normalize_axis(op.attr<AllGatherAttrs>().dim, mine.rank()));
      return concatenated(given, dim);
    }
    case OpKind::reduce_scatter: {
      const auto& a = op.attr<ReduceScatterAttrs>();
      TRY_ASSIGN(int dim, normalize_axis(a.dim, mine.rank()));
      TRY_ASSIGN(Tensor all, reduced(a.reduction, given));
      return part_of(all, dim, index, n);
    }
    case OpKind::all_to_all: {
      const auto& a = op.attr<AllToAllAttrs>();
      TRY_ASSIGN(int split, normalize_axis(a.split_dim, mine.rank()));
      TRY_ASSIGN(int join, normalize_axis(a.concat_dim, mine.rank()));
      std::vector<Tensor> parts;
      for (const Tensor& x : given) {
        TRY_ASSIGN(Tensor part, part_of(x, split, index, n));
        parts.push_back(std::move(part));
      }
      return concatenated(parts, join);
    }
    case OpKind::broadcast: return given[op.attr<BroadcastAttrs>().root];
    case OpKind::collective_permute: {
      const auto& pairs = op.attr<CollectivePermuteAttrs>().pairs;
      for (size_t i = 0; i + 1 < pairs.size(); i += 2)
        if (pairs[i + 1] == index) return given[pairs[i]];
      return Tensor::make(mine.dtype, mine.dims);  // no rank's target
    }
    default: return unsupported(std::string(op_name(op.kind)) + " is no collective");
  }
}

template <class A>
static Result<std::vector<HostValue>> eval_collective(EvalCall& call) {
  if (call.ranks) return one(call.ranks->run(call.op, call.tensor(0)));
  TRY_ASSIGN(int64_t n, group_of<A>(call.op));
  if (n != 1) return unsupported("the evaluator runs one rank, the group has " + std::to_string(n));
  return one(collective_result(call.op, {call.tensor(0)}, 0));
}
template <class A>
static OpDef collective(Status (*infer)(Op&, InferContext&)) {
  OpDef d;
  d.family = Family::collective;
  d.min_operands = d.max_operands = 1;
  d.attrs = make_attrs<A>;
  d.infer = infer;
  d.eval = eval_collective<A>;
  return d;
}

OpDef def_all_reduce() {
  return collective<AllReduceAttrs>([](Op& op, InferContext&) -> Status {
    TRY(need_tensor(op, 0));
    TRY(check_reduction(op.attr<AllReduceAttrs>().reduction, type_of(op, 0).dtype));
    TRY(group_of<AllReduceAttrs>(op));
    set_type(op, 0, type_of(op, 0));
    return {};
  });
}
OpDef def_all_gather() {
  return collective<AllGatherAttrs>([](Op& op, InferContext&) -> Status {
    TRY(need_tensor(op, 0));
    TRY_ASSIGN(int64_t n, group_of<AllGatherAttrs>(op));
    Type t = type_of(op, 0);
    TRY(scale_dim(t, op.attr<AllGatherAttrs>().dim, times(n)));
    set_type(op, 0, std::move(t));
    return {};
  });
}
OpDef def_reduce_scatter() {
  return collective<ReduceScatterAttrs>([](Op& op, InferContext&) -> Status {
    TRY(need_tensor(op, 0));
    const ReduceScatterAttrs& a = op.attr<ReduceScatterAttrs>();
    TRY(check_reduction(a.reduction, type_of(op, 0).dtype));
    TRY_ASSIGN(int64_t n, group_of<ReduceScatterAttrs>(op));
    Type t = type_of(op, 0);
    TRY(scale_dim(t, a.dim, shared_by(n)));
    set_type(op, 0, std::move(t));
    return {};
  });
}
OpDef def_all_to_all() {
  return collective<AllToAllAttrs>([](Op& op, InferContext&) -> Status {
    TRY(need_tensor(op, 0));
    const AllToAllAttrs& a = op.attr<AllToAllAttrs>();
    TRY_ASSIGN(int64_t n, group_of<AllToAllAttrs>(op));
    Type t = type_of(op, 0);
    TRY(scale_dim(t, a.split_dim, shared_by(n)));
    TRY(scale_dim(t, a.concat_dim, times(n)));
    set_type(op, 0, std::move(t));
    return {};
  });
}
OpDef def_broadcast() {
  return collective<BroadcastAttrs>([](Op& op, InferContext&) -> Status {
    TRY(need_tensor(op, 0));
    TRY_ASSIGN(int64_t n, group_of<BroadcastAttrs>(op));
    int64_t root = op.attr<BroadcastAttrs>().root;
    if (root < 0 || root >= n) return invalid("broadcast from rank " + std::to_string(root) + " of " + std::to_string(n));
    set_type(op, 0, type_of(op, 0));
    return {};
  });
}
static Status check_pairs(const std::vector<int64_t>& pairs, int64_t n) {
  if (pairs.size() % 2 != 0) return invalid("collective_permute has a source without a target");
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (pairs[i] < 0 || pairs[i] >= n) return invalid("collective_permute between ranks " + std::to_string(pairs[i]) + " of " + std::to_string(n));
    for (size_t j = i + 2; j < pairs.size(); j += 2)
      if (pairs[i] == pairs[j])
        return invalid("collective_permute names rank " + std::to_string(pairs[i]) + " twice as a " +
                       (i % 2 ? "target" : "source"));
  }
  return {};
}
OpDef def_collective_permute() {
  OpDef d = collective<CollectivePermuteAttrs>([](Op& op, InferContext&) -> Status {
    TRY(need_tensor(op, 0));
    TRY_ASSIGN(int64_t n, group_of<CollectivePermuteAttrs>(op));
    TRY(check_pairs(op.attr<CollectivePermuteAttrs>().pairs, n));
    set_type(op, 0, type_of(op, 0));
    return {};
  });
  return d;
}

static Status check_stage(const Op& op, const std::string& stage) {
  const Module& m = *op.graph->module;
  if (m.graph(stage) == op.graph) return invalid("a stage that exchanges with itself: " + quote(stage));
  return {};
}
OpDef def_send() {
  return {.family = Family::collective, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<SendAttrs>,
          .infer = [](Op& op, InferContext&) -> Status {
            if (op.num_results() != 0) return invalid("send has no results");
            TRY(need_tensor(op, 0));
            return check_stage(op, op.attr<SendAttrs>().stage);
          },
          .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
            if (!call.ranks) return unsupported("one rank alone has nobody to send to");
            TRY(call.ranks->send(call.op, call.tensor(0)));
            return std::vector<HostValue>();
          }};
}
OpDef def_recv() {
  return {.family = Family::collective, .attrs = make_attrs<RecvAttrs>,
          .infer = [](Op& op, InferContext&) -> Status {
            const RecvAttrs& a = op.attr<RecvAttrs>();
            if (!a.type.is_ranked()) return invalid("recv needs a tensor type, has " + a.type.to_string());
            TRY(check_stage(op, a.stage));
            set_type(op, 0, a.type);
            return {};
          },
          .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
            if (!call.ranks) return unsupported("one rank alone has nobody to receive from");
            return one(call.ranks->recv(call.op));
          }};
}

}  // namespace weft
