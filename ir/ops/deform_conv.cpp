// deform_conv, det and max_unpool: thin over the typed functions of kernels/host.
#include "kernels/host/linear.h"
#include "kernels/host/sample.h"

#include "ir/ops/move.h"
#include "ir/ops/pool.h"

namespace weft {

// --- deform_conv ------------------------------------------------------------------------------------------------------

// Dims of every operand for those of x and w and the result's spatial ones.
static Status check_deform_dims(const Op& op, const std::vector<const Shape*>& s, const std::vector<WindowAxis>& axes, Facts& facts) {
  const DeformConvAttrs& a = op.attr<DeformConvAttrs>();
  const Shape &x = *s[0], &w = *s[1];
  TRY(facts.divides(Dim(a.group), w[0], "deform_conv's groups of output channels"));
  TRY(facts.divides(Dim(a.offset_group), x[1], "deform_conv's groups of offsets"));
  TRY(facts.equal(x[1], w[1] * Dim(a.group), "deform_conv's input channels and those of its kernel"));
  Dim taps = w[2] * w[3] * Dim(a.offset_group);
  auto field = [&](const Shape* t, const Dim& channels, const std::string& what) -> Status {
    if (!t) return {};
    if (t->size() != 4) return invalid(what + " must have rank 4");
    const Shape want{x[0], channels, axes[0].out, axes[1].out};
    for (size_t d = 0; d < 4; ++d) TRY(facts.equal((*t)[d], want[d], what + "'s dims " + std::to_string(d)));
    return {};
  };
  TRY(field(s[2], taps * 2, "deform_conv's offset"));
  TRY(field(s[4], taps, "deform_conv's mask"));
  if (!s[3]) return {};
  return s[3]->size() == 1 ? facts.equal((*s[3])[0], w[0], "deform_conv's bias and output channels") : invalid("deform_conv's bias must be a vector");
}
static Status infer_deform_conv(Op& op, InferContext& cx) {
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  if (axes.size() != 2) return unsupported("deform_conv over " + std::to_string(axes.size()) + " spatial dims");
  std::vector<const Shape*> shapes;
  for (int i = 0; i < 5; ++i) {
    if (i < 3 || has_operand(op, i)) {
      TRY(need_tensor(op, i));
      if (type_of(op, i).dtype != type_of(op, 0).dtype || !is_float(type_of(op, i).dtype)) return invalid("deform_conv takes floats of one type");
    }
    shapes.push_back(has_operand(op, i) ? &type_of(op, i).shape : nullptr);
  }
  TRY(kernel_facts(op.attr<DeformConvAttrs>(), type_of(op, 1).shape, cx));
  TRY(check_deform_dims(op, shapes, axes, cx));
  set_type(op, 0, Type::tensor(type_of(op, 0).dtype, {type_of(op, 0).shape[0], type_of(op, 1).shape[0], axes[0].out, axes[1].out}));
  return {};
}
static Result<std::vector<HostValue>> eval_deform_conv(EvalCall& call) {
  const DeformConvAttrs& a = call.attr<DeformConvAttrs>();
  std::vector<Shape> dims(5);
  std::vector<TensorView> views(5);
  std::vector<const Shape*> shapes(5, nullptr);
  for (int i = 0; i < 5; ++i) {
    if (!call.has(i)) continue;
    dims[i] = to_shape(call.tensor(i).dims);
    shapes[i] = &dims[i];
    views[i] = view_of(call.tensor(i));
  }
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes(a, {dims[0][2], dims[0][3]}, {dims[1][2], dims[1][3]}));
  Facts facts;
  TRY(check_deform_dims(call.op, shapes, axes, facts));
  DeformConvOptions o{.group = a.group, .offset_group = a.offset_group};
  for (int d = 0; d < 2; ++d) {
    o.stride[d] = axes[d].stride;
    o.dilation[d] = axes[d].dilation;
    o.pad[d] = axes[d].pad_begin.value();
  }
  TRY_ASSIGN(Tensor y, Tensor::make(call.tensor(0).dtype, {dims[0][0].value(), dims[1][0].value(), axes[0].out.value(), axes[1].out.value()}));
  if (y.numel() > 0) host_deform_conv(views[0], views[1], views[2], call.has(3) ? &views[3] : nullptr, call.has(4) ? &views[4] : nullptr, o,
      view_of(y));
  return one(std::move(y));
}
OpDef def_deform_conv() {
  return {.onnx = "DeformConv", .family = Family::contraction, .min_operands = 3, .max_operands = 5, .attrs = make_attrs<DeformConvAttrs>,
          .infer = infer_deform_conv, .eval = eval_deform_conv, .cost = [](const Op& op) {
            Cost c = moved_bytes(op, 0);
            const Shape& w = type_of(op, 1).shape;
            c.flops = numel(op.result()->type.shape) * w[1] * w[2] * w[3] * 2;
            return c;
          },
          .shard = [](const Op& op) -> Result<ShardingRule> { return shard_places(op, {{{0, 0}, {2, 0}, {4, 0}, {ShardingRule::kResult, 0}}}); }};
}

// --- det --------------------------------------------------------------------------------------------------------------

static Status infer_det(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  int r = x.rank();
  if (r < 2 || !is_float(x.dtype)) return invalid("det takes square matrices of floats, got " + x.to_string());
  TRY(cx.equal(x.shape[r - 2], x.shape[r - 1], "rows and columns of det's matrices"));
  set_type(op, 0, Type::tensor(x.dtype, Shape(x.shape.begin(), x.shape.end() - 2)));
  return {};
}
static Result<std::vector<HostValue>> eval_det(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  if (x.dims[x.rank() - 1] != x.dims[x.rank() - 2]) return invalid("det of matrices that are not square");
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, {x.dims.begin(), x.dims.end() - 2}));
  host_det(view_of(x), view_of(y));
  return one(std::move(y));
}
OpDef def_det() {
  return {.onnx = "Det", .family = Family::contraction, .min_operands = 1, .max_operands = 1, .infer = infer_det, .eval = eval_det,
      .cost = [](const Op& op) {
            Cost c = moved_bytes(op, 0);
            c.flops = numel(type_of(op, 0).shape) * type_of(op, 0).shape.back();
            return c;
          },
      .shard = [](const Op& op) -> Result<ShardingRule> { return shard_leading(op, type_of(op, 0).rank() - 2); }};
}

// --- max_unpool -------------------------------------------------------------------------------------------------------

Result<Shape> unpooled_dims(const MaxUnpoolAttrs& a, const Shape& x) {
  size_t rank = x.size() < 2 ? 0 : x.size() - 2;
  bool fits = rank > 0 && a.kernel_shape.size() == rank && (a.strides.empty() || a.strides.size() == rank) &&
      (a.pads.empty() || a.pads.size() == 2 * rank);
  if (!fits) return invalid("max_unpool's attributes do not fit an input of rank " + std::to_string(x.size()));
  Shape out{x[0], x[1]};
  for (size_t d = 0; d < rank; ++d) {
    int64_t stride = a.strides.empty() ? 1 : a.strides[d], pads = 0;
    for (size_t p = d; p < a.pads.size(); p += rank) pads += a.pads[p];
    constexpr int64_t kMost = int64_t{1} << 31;  // keeps the sums exact
    if (stride < 1 || stride > kMost || a.kernel_shape[d] < 1 || a.kernel_shape[d] > kMost || pads < 0 || pads > kMost)
        return invalid("max_unpool's attributes are out of range");
    out.push_back((x[d + 2] - 1) * Dim(stride) + Dim(a.kernel_shape[d] - pads));
  }
  return out;
}
static Status infer_max_unpool(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  TRY(need_tensor(op, 1));
  const Type& x = type_of(op, 0);
  if (!is_float(x.dtype) || !is_int(type_of(op, 1).dtype)) return invalid("max_unpool takes floats and integers");
  TRY_ASSIGN(Shape shape, unpooled_dims(op.attr<MaxUnpoolAttrs>(), x.shape));
  if (type_of(op, 1).rank() != x.rank()) return invalid("max_unpool of " + x.to_string() + " at " + type_of(op, 1).to_string());
  for (int d = 0; d < x.rank(); ++d) TRY(cx.equal(type_of(op, 1).shape[d], x.shape[d], "dims of max_unpool's indices and input"));
  if (has_operand(op, 2)) {
    TRY(need_int_vector(op, 2));
    const std::vector<Dim>* size = known_of(op.operands[2]);
    if (size && size->size() != shape.size()) return invalid("max_unpool's output_shape has " + std::to_string(size->size()) + " elements");
    for (size_t d = 0; d < shape.size(); ++d) shape[d] = size ? (*size)[d] : data_dim(op, 0, static_cast<int>(d), cx);
  }
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}
static Result<std::vector<HostValue>> eval_max_unpool(EvalCall& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  if (indices.dims != x.dims) return invalid("max_unpool's indices have other dims than the input");
  TRY_ASSIGN(Shape pooled, unpooled_dims(call.attr<MaxUnpoolAttrs>(), to_shape(x.dims)));
  std::vector<int64_t> dims = static_dims(pooled), out = call.has(2) ? load_all<int64_t>(call.tensor(2)) : dims;
  if (out.size() != dims.size()) return invalid("max_unpool's output_shape has " + std::to_string(out.size()) + " elements");
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, out));
  TRY(host_max_unpool(view_of(x), view_of(indices), dims, view_of(y)));
  return one(std::move(y));
}
OpDef def_max_unpool() {
  return {.onnx = "MaxUnpool", .family = Family::pool, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<MaxUnpoolAttrs>,
      .infer = infer_max_unpool,
          .eval = eval_max_unpool, .cost = [](const Op& op) { return moved_bytes(op, 0); }};
}

}  // namespace weft
