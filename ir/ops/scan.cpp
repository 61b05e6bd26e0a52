// scan: a body that runs over the slices of its scan inputs and carries a state.
#include "ir/ops/control.h"
#include "ir/ops/move.h"

namespace weft {

static int64_t scan_setting(const std::vector<int64_t>& list, int i) { return i < static_cast<int>(list.size()) ? list[i] : 0; }

static Status check_scan_counts(const Op& op) {
  TRY(need_body(op, 1));
  const Graph& body = *op.graphs[0];
  const ScanAttrs& a = op.attr<ScanAttrs>();
  int64_t in = op.num_operands(), out = op.num_results();
  if (a.num_scan_inputs < 1) return invalid("scan needs a scan input");
  if (a.num_carried < 0 || a.num_carried > out || a.num_scan_inputs > in || a.num_carried > in - a.num_scan_inputs)
    return invalid("scan carries " + std::to_string(a.num_carried) + " values and has " + std::to_string(a.num_scan_inputs) + " scan inputs, but " +
                   std::to_string(in) + " operands and " + std::to_string(out) + " results");
  if (body.inputs.size() != op.operands.size() || body.outputs.size() != op.results.size())
    return invalid("the body of scan takes " + std::to_string(body.inputs.size()) + " and returns " +
                   std::to_string(body.outputs.size()) + " values, the op has " + std::to_string(in) +
                   " operands and " + std::to_string(out) + " results");
  for (const Value* v : op.operands)
    if (!v) return invalid("an operand of scan is absent");
  for (const auto* list : {&a.scan_input_directions, &a.scan_output_directions})
    for (int64_t d : *list)
      if (d != 0 && d != 1) return invalid("a direction of scan must be 0 or 1, is " + std::to_string(d));
  return {};
}

static Status infer_scan(Op& op, InferContext& cx) {
  TRY(check_scan_counts(op));
  const ScanAttrs& a = op.attr<ScanAttrs>();
  int carried = static_cast<int>(a.num_carried), scanned = static_cast<int>(a.num_scan_inputs);
  BodyInputs inputs(*op.graphs[0]);
  std::optional<Dim> length;
  for (int i = carried; i < op.num_operands(); ++i) {
    if (i >= carried + scanned) {
      inputs.pass(i, *op.operands[i]);
      continue;
    }
    TRY(need_tensor(op, i));
    Type slice = type_of(op, i);
    TRY_ASSIGN(int axis, normalize_axis(scan_setting(a.scan_input_axes, i - carried), slice.rank()));
    Dim n = slice.shape[axis];
    if (length) TRY(cx.equal(*length, n, "lengths of scan's inputs"));
    if (!length || n.is_const()) length = n;
    slice.shape.erase(slice.shape.begin() + axis);
    slice.layout = Layout();
    inputs.set(i, slice);
  }
  TRY(infer_carried(op, inputs, {carried, 0, 0, 0}, cx));
  std::set<std::string> shared = shared_symbols(op);
  for (int r = 0; r < op.num_results(); ++r) {
    const Value* out = op.graphs[0]->outputs[r];
    if (!out) return invalid("the body of scan does not return value " + std::to_string(r));
    if (r < carried) {
      OtherDim other = [&](int d) { return outer_dim(op, r, d, shared, cx); };
      TRY_ASSIGN(Type t, join_types(type_of(op, r), out->type, other));
      set_type(op, r, escape_type(t, shared, other));
      continue;
    }
    Type t = out->type;
    if (!t.is_tensor()) return invalid("a scan output must be a tensor, is " + t.to_string());
    if (t.ranked) {
      TRY_ASSIGN(int axis, normalize_axis(scan_setting(a.scan_output_axes, r - carried), t.rank() + 1));
      t = escape_type(t, shared, [&](int d) { return outer_dim(op, r, d + (d >= axis), shared, cx); });
      t.shape.insert(t.shape.begin() + axis, *length);
    }
    t.layout = Layout();
    set_type(op, r, std::move(t));
  }
  return {};
}

// Slice i of a tensor along an axis.
static Result<Tensor> scan_slice(const Tensor& t, int axis, int64_t i) {
  Window from{0, dense_strides(t.dims)};
  std::vector<int64_t> dims = t.dims;
  from.offset = i * from.strides[axis];
  from.strides.erase(from.strides.begin() + axis);
  dims.erase(dims.begin() + axis);
  return read_window(t, from, std::move(dims));
}

static Result<std::vector<HostValue>> eval_scan(EvalCall& call) {
  const Op& op = call.op;
  const ScanAttrs& a = op.attr<ScanAttrs>();
  const Graph& body = *op.graphs[0];
  int carried = static_cast<int>(a.num_carried), scanned = static_cast<int>(a.num_scan_inputs);
  std::vector<int> axes;
  int64_t length = 0;
  for (int s = 0; s < scanned; ++s) {
    const Tensor& t = call.tensor(carried + s);
    TRY_ASSIGN(int axis, normalize_axis(scan_setting(a.scan_input_axes, s), t.rank()));
    axes.push_back(axis);
    if (s > 0 && t.dims[axis] != length)
      return invalid(
          "scan inputs of " + std::to_string(length) + " and of " + std::to_string(t.dims[axis]) + " slices");
    length = t.dims[axis];
  }
  std::vector<HostValue> values;
  for (int k = 0; k < carried; ++k) values.push_back(*call.in[k]);
  std::vector<std::vector<Tensor>> collected(op.results.size() - carried);
  for (int64_t i = 0; i < length; ++i) {
    std::vector<HostValue> in = std::move(values);
    for (int s = 0; s < scanned; ++s) {
      bool backward = scan_setting(a.scan_input_directions, s) == 1;
      TRY_ASSIGN(Tensor slice, scan_slice(call.tensor(carried + s), axes[s], backward ? length - 1 - i : i));
      in.push_back(std::move(slice));
    }
    for (size_t k = carried + scanned; k < call.in.size(); ++k) in.push_back(*call.in[k]);
    TRY_ASSIGN(std::vector<HostValue> out, call.run_graph(body, std::move(in), call.state));
    values.assign(std::make_move_iterator(out.begin()), std::make_move_iterator(out.begin() + carried));
    for (size_t s = 0; s < collected.size(); ++s) collected[s].push_back(std::move(out[carried + s].tensor));
  }
  SymbolValues symbols = symbol_values(op, call.in);
  for (size_t s = 0; s < collected.size(); ++s) {
    const Type& slice = body.outputs[carried + s]->type;
    int rank = collected[s].empty() ? slice.rank() : collected[s][0].rank();
    TRY_ASSIGN(int axis, normalize_axis(scan_setting(a.scan_output_axes, static_cast<int>(s)), rank + 1));
    bool backward = scan_setting(a.scan_output_directions, static_cast<int>(s)) == 1;
    TRY_ASSIGN(Tensor t, stack_slices(collected[s], axis, backward, slice.dtype, dims_under(slice, symbols)));
    values.push_back(std::move(t));
  }
  return values;
}

static Cost cost_scan(const Op& op) {
  Cost c = body_cost(*op.graphs[0]);
  const ScanAttrs& a = op.attr<ScanAttrs>();
  const Type& t = type_of(op, static_cast<int>(a.num_carried));
  auto axis = normalize_axis(scan_setting(a.scan_input_axes, 0), t.rank());
  return axis.ok() ? Cost{t.shape[*axis] * c.flops, t.shape[*axis] * c.bytes} : c;
}

OpDef def_scan() {
  return {.onnx = "Scan", .family = Family::control, .min_operands = 1, .max_operands = -1, .attrs = make_attrs<ScanAttrs>, .infer = infer_scan,
          .eval = eval_scan, .cost = cost_scan};
}

}  // namespace weft
