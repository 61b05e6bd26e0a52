// concat and pad.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

// --- concat ---------------------------------------------------------------------------------------------------------

static Status infer_concat(Op& op, InferContext& cx) {
  for (int i = 0; i < op.num_operands(); ++i) {
    if (!op.operands[i] || !type_of(op, i).is_tensor()) return need_tensor(op, i);
    if (type_of(op, i).dtype != type_of(op, 0).dtype)
      return invalid("concat of " + type_of(op, 0).to_string() + " and " + type_of(op, i).to_string());
  }
  for (int i = 0; i < op.num_operands(); ++i)
    if (unranked_operand(op, i)) return {};
  Shape shape = type_of(op, 0).shape;
  TRY_ASSIGN(int axis, normalize_axis(op.attr<ConcatAttrs>().axis, static_cast<int>(shape.size())));
  for (int i = 1; i < op.num_operands(); ++i) {
    const Type& t = type_of(op, i);
    if (t.rank() != static_cast<int>(shape.size()))
      return invalid("concat along dim " + std::to_string(axis) + " of " + type_of(op, 0).to_string() + " and " + t.to_string());
    for (int d = 0; d < t.rank(); ++d) {
      if (d == axis) shape[d] += t.shape[d];
      else if (!shape[d].is_const() && t.shape[d].is_const()) shape[d] = t.shape[d];
    }
  }
  for (int i = 0; i < op.num_operands(); ++i)
    for (int d = 0; d < static_cast<int>(shape.size()); ++d)
      if (d != axis) TRY(cx.equal(type_of(op, i).shape[d], shape[d], "concat's dims " + std::to_string(d)));
  set_type(op, 0, Type::tensor(type_of(op, 0).dtype, std::move(shape)));
  know_moved(op);
  return {};
}
Result<Tensor> concatenated(const std::vector<Tensor>& parts, int axis) {
  std::vector<int64_t> dims = parts[0].dims;
  dims[axis] = 0;
  for (const Tensor& part : parts) {
    bool fits = part.dtype == parts[0].dtype && part.dims.size() == dims.size();
    for (size_t d = 0; fits && d < dims.size(); ++d) fits = static_cast<int>(d) == axis || part.dims[d] == dims[d];
    if (!fits)
      return invalid("concat of [" + shape_text(to_shape(parts[0].dims)) + "] and [" + shape_text(to_shape(part.dims)) +
                     "] along dim " + std::to_string(axis));
    dims[axis] += part.dims[axis];
  }
  TRY_ASSIGN(Tensor out, Tensor::make(parts[0].dtype, dims));
  Window to{0, dense_strides(dims)};
  for (const Tensor& part : parts) {
    copy_window(out, to, part, {0, dense_strides(part.dims)}, part.dims);
    to.offset += part.dims[axis] * to.strides[axis];
  }
  return out;
}
static Result<std::vector<HostValue>> eval_concat(EvalCall& call) {
  std::vector<Tensor> parts;
  for (size_t i = 0; i < call.in.size(); ++i) parts.push_back(call.tensor(static_cast<int>(i)));
  TRY_ASSIGN(int axis, normalize_axis(call.attr<ConcatAttrs>().axis, parts[0].rank()));
  return one(concatenated(parts, axis));
}
static Result<ShardingRule> shard_concat(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<ConcatAttrs>().axis, op.result()->type.rank()));
  return shard_alike(op, {axis});
}
OpDef def_concat() {
  return {.onnx = "Concat", .family = Family::move, .min_operands = 1, .max_operands = -1, .attrs = make_attrs<ConcatAttrs>, .infer = infer_concat,
          .eval = eval_concat, .shard = shard_concat};
}

// --- pad ------------------------------------------------------------------------------------------------------------

// nullopt while pads or axes are not known.
static Result<std::optional<std::vector<PadWidth>>> find_pad_widths(const Op& op) {
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  TRY(need_int_vector(op, 3));
  int rank = type_of(op, 0).rank();
  const std::vector<Dim>* pads = known_of(op.operands[1]);
  auto given = const_ints(op.operand(3));
  if (!pads || (has_operand(op, 3) && !given)) return std::optional<std::vector<PadWidth>>();
  std::vector<int> axes;
  if (given) {
    TRY_ASSIGN(axes, axes_in_order(*given, rank));
  } else {
    for (int d = 0; d < rank; ++d) axes.push_back(d);
  }
  if (pads->size() != 2 * axes.size())
    return invalid("pad of " + std::to_string(axes.size()) + " dims by " + std::to_string(pads->size()) + " amounts");
  std::vector<PadWidth> out(rank);
  for (size_t i = 0; i < axes.size(); ++i) out[axes[i]] = {(*pads)[i], (*pads)[i + axes.size()]};
  return std::optional<std::vector<PadWidth>>(std::move(out));
}
Result<std::vector<PadWidth>> pad_widths(const Op& op) {
  TRY_ASSIGN(auto found, find_pad_widths(op));
  if (!found) return unsupported("a pad whose amounts only the data know");
  return std::move(*found);
}

static Status infer_pad(Op& op, InferContext& cx) {
  const std::string& mode = op.attr<PadAttrs>().mode;
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    return invalid("pad's mode must be \"constant\", \"reflect\", \"edge\" or \"wrap\", is " + quote(mode));
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (has_operand(op, 2) && (!type_of(op, 2).is_tensor() || type_of(op, 2).dtype != x.dtype))
    return invalid("pad fills " + x.to_string() + " with " + type_of(op, 2).to_string());
  TRY_ASSIGN(auto widths, find_pad_widths(op));
  if (!widths) {
    set_unknown_dims(op, 0, x.dtype, x.rank(), cx);
    return {};
  }
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) {
    shape.push_back(x.shape[d] + (*widths)[d].before + (*widths)[d].after);
    if (shape.back().is_const() && shape.back().value() < 0) return invalid("pad crops more than dim " + std::to_string(d) + " of " + x.to_string());
  }
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op, {0, 2});
  return {};
}

struct PadAmount {
  int64_t before = 0, after = 0;
};
static Result<std::vector<PadAmount>> pad_amounts(const EvalCall& call, int rank) {
  std::vector<int64_t> pads = load_all<int64_t>(call.tensor(1)), given;
  if (call.has(3)) given = load_all<int64_t>(call.tensor(3));
  else for (int d = 0; d < rank; ++d) given.push_back(d);
  TRY_ASSIGN(std::vector<int> axes, axes_in_order(given, rank));
  if (pads.size() != 2 * axes.size())
    return invalid("pad of " + std::to_string(axes.size()) + " dims by " + std::to_string(pads.size()) + " amounts");
  std::vector<PadAmount> out(rank);
  for (size_t i = 0; i < axes.size(); ++i) {
    out[axes[i]] = {pads[i], pads[i + axes.size()]};
    // Sums with a dim must not overflow.
    for (int64_t p : {pads[i], pads[i + axes.size()]})
      if (p > kMaxTensorBytes || p < -kMaxTensorBytes) return resources("pad by " + std::to_string(p));
  }
  return out;
}
// Which element of a dim of n stands at i, outside too.
static int64_t padded_source(const std::string& mode, int64_t i, int64_t n) {
  if (mode == "edge" || n == 1) return std::clamp<int64_t>(i, 0, n - 1);
  if (mode == "wrap") return ((i % n) + n) % n;
  int64_t period = 2 * (n - 1), k = ((i % period) + period) % period;
  return k < n ? k : period - k;
}
static Result<Tensor> pad_dim(const Tensor& x, int d, PadAmount amount, const std::string& mode, const Tensor* fill) {
  int64_t n = x.dims[d], outer = 1, inner = 1;
  std::vector<int64_t> dims = x.dims;
  dims[d] += amount.before + amount.after;
  for (int k = 0; k < x.rank(); ++k) (k < d ? outer : inner) *= k == d ? 1 : dims[k];
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, dims));
  if (mode == "constant") {
    if (fill) fill_run(out, 0, out.numel(), *fill, 0);
    copy_window(out, {amount.before * inner, {dims[d] * inner, inner, 1}}, x, {0, {n * inner, inner, 1}}, {outer, n, inner});
    return out;
  }
  if (n == 0 && out.numel() > 0) return invalid("pad in mode " + mode + " of an empty dim");
  for (int64_t i = 0; i < dims[d]; ++i)
    copy_window(out, {i * inner, {dims[d] * inner, 1}}, x, {padded_source(mode, i - amount.before, n) * inner, {n * inner, 1}}, {outer, inner});
  return out;
}
static Result<std::vector<HostValue>> eval_pad(EvalCall& call) {
  const std::string& mode = call.attr<PadAttrs>().mode;
  Tensor x = call.tensor(0);
  TRY_ASSIGN(std::vector<PadAmount> amounts, pad_amounts(call, x.rank()));
  if (call.has(2) && call.tensor(2).numel() != 1) return invalid("pad's value must be one element");
  // What is cropped does not show in a reflection.
  Window from{0, dense_strides(x.dims)};
  std::vector<int64_t> dims = x.dims;
  for (int d = 0; d < x.rank(); ++d) {
    PadAmount& a = amounts[d];
    dims[d] += std::min<int64_t>(a.before, 0) + std::min<int64_t>(a.after, 0);
    if (dims[d] < 0) {
      // One side may crop what the other one fills.
      if (x.dims[d] + a.before + a.after < 0 || mode != "constant") return invalid("pad crops more than dim " + std::to_string(d) + " has");
      a = {x.dims[d] + a.before + a.after, 0};
      dims[d] = 0;
      continue;
    }
    from.offset -= std::min<int64_t>(a.before, 0) * from.strides[d];
    a = {std::max<int64_t>(a.before, 0), std::max<int64_t>(a.after, 0)};
  }
  if (dims != x.dims) {
    TRY_ASSIGN(x, read_window(x, from, dims));
  }
  for (int d = 0; d < x.rank(); ++d) {
    if (amounts[d].before == 0 && amounts[d].after == 0) continue;
    TRY_ASSIGN(x, pad_dim(x, d, amounts[d], mode, call.has(2) ? &call.tensor(2) : nullptr));
  }
  return one(std::move(x));
}
static Result<ShardingRule> shard_pad(const Op& op) {
  TRY_ASSIGN(std::vector<PadWidth> widths, pad_widths(op));
  ShardingRule rule(op);
  for (int d = 0; d < static_cast<int>(widths.size()); ++d)
    if (widths[d].before.is(0) && widths[d].after.is(0)) rule.share(op, {{0, d}, {ShardingRule::kResult, d}});
  return rule;
}
OpDef def_pad() {
  return {.onnx = "Pad",
      .family = Family::move,
      .min_operands = 2,
      .max_operands = 4,
      .attrs = make_attrs<PadAttrs>,
      .infer = infer_pad,
      .eval = eval_pad, .shard = shard_pad};
}

}  // namespace weft
