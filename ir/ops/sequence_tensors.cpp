// Between tensors and sequences: split_to_sequence, concat_from_sequence; sequence_map.
#include <algorithm>

#include "ir/ops/control.h"
#include "ir/ops/move.h"
#include "ir/ops/sequence.h"

namespace weft {

// --- split_to_sequence ------------------------------------------------------------------------------------------------

// The dim of the parts, varying where they differ.
static Dim part_dim(const Op& op, const Dim& n) {
  const Value* split = op.operand(1);
  const std::vector<Dim>* known = known_of(split);
  if (!known || known->empty()) return varying_dim();
  const Dim& part = known->front();
  if (split->type.is_ranked() && split->type.rank() == 0) {
    bool even = n.is_const() && part.is_const() && part.value() > 0 && n.value() % part.value() == 0;
    return even ? part : varying_dim();
  }
  bool equal = std::all_of(known->begin(), known->end(), [&](const Dim& d) { return d == part; });
  return equal ? part : varying_dim();
}
static Status infer_split_to_sequence(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const SplitToSequenceAttrs& a = op.attr<SplitToSequenceAttrs>();
  Type t = type_of(op, 0);
  t.layout = Layout();
  TRY_ASSIGN(int axis, normalize_axis(a.axis, t.rank()));
  if (has_operand(op, 1)) t.shape[axis] = part_dim(op, t.shape[axis]);
  else if (a.keepdims) t.shape[axis] = 1;
  else t.shape.erase(t.shape.begin() + axis);
  set_type(op, 0, Type::sequence(std::move(t)));
  return {};
}
// The sizes of the parts of a dim of n.
static Result<std::vector<int64_t>> part_sizes(EvalCall& call, int64_t n) {
  if (n > 1 << 28) return resources("a sequence of up to " + std::to_string(n) + " tensors");
  if (!call.has(1)) return std::vector<int64_t>(static_cast<size_t>(n), 1);
  std::vector<int64_t> sizes = load_all<int64_t>(call.tensor(1));
  if (call.tensor(1).rank() == 0) {
    int64_t part = sizes[0];
    if (part < 1) return invalid("split_to_sequence in parts of " + std::to_string(part));
    sizes.clear();
    for (int64_t at = 0; at < n; at += part) sizes.push_back(std::min(part, n - at));
    return sizes;
  }
  int64_t sum = 0;
  for (int64_t s : sizes)
    if (s < 0 || __builtin_add_overflow(sum, s, &sum)) return invalid("split_to_sequence in a part of " + std::to_string(s));
  if (sum != n) return invalid("split_to_sequence gives " + std::to_string(sum) + " elements of a dim of " + std::to_string(n));
  return sizes;
}
static Result<std::vector<HostValue>> eval_split_to_sequence(EvalCall& call) {
  const SplitToSequenceAttrs& a = call.attr<SplitToSequenceAttrs>();
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  TRY_ASSIGN(std::vector<int64_t> sizes, part_sizes(call, x.dims[axis]));
  bool drop = !call.has(1) && !a.keepdims;
  Window from{0, dense_strides(x.dims)};
  std::vector<HostValue> items;
  for (int64_t size : sizes) {
    std::vector<int64_t> dims = x.dims;
    dims[axis] = size;
    TRY_ASSIGN(Tensor part, read_window(x, from, dims));
    if (drop) {
      dims.erase(dims.begin() + axis);
      part = with_dims(part, dims);
    }
    items.emplace_back(std::move(part));
    from.offset += size * from.strides[axis];
  }
  return std::vector<HostValue>{HostValue::sequence(std::move(items))};
}
OpDef def_split_to_sequence() {
  return {.onnx = "SplitToSequence", .family = Family::sequence, .traits = kHostOnly, .min_operands = 1, .max_operands = 2,
          .attrs = make_attrs<SplitToSequenceAttrs>, .infer = infer_split_to_sequence, .eval = eval_split_to_sequence};
}

// --- concat_from_sequence -----------------------------------------------------------------------------------------------

static Result<int> joined_axis(const ConcatFromSequenceAttrs& a, int rank) { return normalize_axis(a.axis, rank + a.new_axis); }

static Status infer_concat_from_sequence(Op& op, InferContext& cx) {
  TRY(need_sequence(op, 0));
  const ConcatFromSequenceAttrs& a = op.attr<ConcatFromSequenceAttrs>();
  Type t = *type_of(op, 0).elem;
  if (!t.is_tensor()) return invalid("concat_from_sequence of " + type_of(op, 0).to_string());
  if (!t.ranked || is_empty_element(t)) {
    set_type(op, 0, Type::unranked(t.dtype));
    return {};
  }
  TRY_ASSIGN(int axis, joined_axis(a, t.rank()));
  auto elements = known_elements(op.operands[0]);
  std::optional<Dim> along;
  if (elements && a.new_axis) {
    along = static_cast<int64_t>(elements->size());
  } else if (elements) {
    along = 0;
    for (const Type& e : *elements) *along += e.shape[axis];
  }
  if (a.new_axis) t.shape.insert(t.shape.begin() + axis, Dim(0));
  for (int d = 0; d < t.rank(); ++d) {
    if (d == axis) t.shape[d] = along ? *along : data_dim(op, 0, d, cx);
    else if (is_varying(t.shape[d])) t.shape[d] = data_dim(op, 0, d, cx);
  }
  set_type(op, 0, std::move(t));
  return {};
}
static Result<std::vector<HostValue>> eval_concat_from_sequence(EvalCall& call) {
  const ConcatFromSequenceAttrs& a = call.attr<ConcatFromSequenceAttrs>();
  std::vector<Tensor> parts;
  for (const HostValue& v : call.in[0]->items) parts.push_back(v.tensor);
  if (parts.empty()) return invalid("concat_from_sequence of an empty sequence");
  TRY_ASSIGN(int axis, joined_axis(a, parts[0].rank()));
  const std::vector<int64_t> first = parts[0].dims;
  for (Tensor& p : parts) {
    if (p.dims.size() != first.size()) return invalid("concat_from_sequence of tensors of different ranks");
    if (!a.new_axis) continue;
    std::vector<int64_t> dims = p.dims;
    dims.insert(dims.begin() + axis, 1);
    p = with_dims(p, std::move(dims));
  }
  return one(concatenated(parts, axis));
}
OpDef def_concat_from_sequence() {
  return {.onnx = "ConcatFromSequence", .family = Family::sequence, .traits = kHostOnly, .min_operands = 1, .max_operands = 1,
          .attrs = make_attrs<ConcatFromSequenceAttrs>, .infer = infer_concat_from_sequence, .eval = eval_concat_from_sequence};
}

// --- sequence_map -------------------------------------------------------------------------------------------------------

static bool is_sequence(const Type& t) { return t.kind == Type::Kind::sequence; }

static Status infer_sequence_map(Op& op, InferContext& cx) {
  TRY(need_body(op, 1));
  TRY(need_sequence(op, 0));
  Graph& body = *op.graphs[0];
  int64_t mapped = op.attr<SequenceMapAttrs>().num_inputs;
  if (mapped < 1 || mapped > op.num_operands())
    return invalid("sequence_map has num_inputs " + std::to_string(mapped) + " and " +
                   std::to_string(op.num_operands()) + " operands");
  if (body.inputs.size() != op.operands.size() || body.outputs.size() != op.results.size())
    return invalid("sequence_map has " + std::to_string(op.num_operands()) + " operands and " +
                   std::to_string(op.num_results()) + " results, its body " + std::to_string(body.inputs.size()) +
                   " and " + std::to_string(body.outputs.size()));
  std::set<std::string> shared = shared_symbols(op);
  BodyInputs inputs(body);
  for (int i = 0; i < op.num_operands(); ++i) {
    if (!has_operand(op, i)) return invalid("operand " + std::to_string(i) + " is absent");
    const Type& t = type_of(op, i);
    if (i >= mapped || !is_sequence(t)) inputs.pass(i, *op.operands[i]);
    else if (is_empty_element(*t.elem)) inputs.set(i, Type::unranked(t.elem->dtype));
    else inputs.set(i, iteration_type(inputs, i, *t.elem, is_varying, shared, cx));
  }
  TRY(inputs.infer(true));
  for (int r = 0; r < op.num_results(); ++r) {
    if (!body.outputs[r]) return invalid("the body of sequence_map does not return value " + std::to_string(r));
    Type t = body.outputs[r]->type;
    t.layout = Layout();
    set_type(op, r, Type::sequence(escape_type(t, shared, [](int) { return varying_dim(); })));
  }
  return {};
}
static Result<std::vector<HostValue>> eval_sequence_map(EvalCall& call) {
  const Op& op = call.op;
  size_t mapped = static_cast<size_t>(op.attr<SequenceMapAttrs>().num_inputs), n = call.in[0]->items.size();
  std::vector<std::vector<HostValue>> collected(op.results.size());
  for (size_t k = 0; k < n; ++k) {
    std::vector<HostValue> in;
    for (size_t i = 0; i < call.in.size(); ++i) {
      bool along = i < mapped && call.in[i]->kind == HostValue::Kind::sequence;
      if (along && call.in[i]->items.size() != n)
        return invalid(
            "sequence_map over sequences of " + std::to_string(n) + " and " + std::to_string(call.in[i]->items.size()));
      in.push_back(along ? call.in[i]->items[k] : *call.in[i]);
    }
    TRY_ASSIGN(std::vector<HostValue> out, call.run_graph(*op.graphs[0], std::move(in), call.state));
    for (size_t r = 0; r < collected.size(); ++r) collected[r].push_back(std::move(out[r]));
  }
  std::vector<HostValue> results;
  for (auto& items : collected) results.push_back(HostValue::sequence(std::move(items)));
  return results;
}
OpDef def_sequence_map() {
  return {.onnx = "SequenceMap", .family = Family::sequence, .traits = kHostOnly, .min_operands = 1, .max_operands = -1,
          .attrs = make_attrs<SequenceMapAttrs>, .infer = infer_sequence_map, .eval = eval_sequence_map};
}

}  // namespace weft
