// resize, thin over kernels/host.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/resample.h"

namespace weft {

// The number of `word` in a list that is in the enum's order.
template <class E>
static Status word_of(const char* attribute, const std::string& word, std::initializer_list<const char*> words, E& to) {
  auto it = std::find(words.begin(), words.end(), word);
  if (it == words.end()) return invalid(std::string("resize's ") + attribute + " is " + word);
  to = static_cast<E>(it - words.begin());
  return {};
}
Result<ResizeOptions> resize_options(const ResizeAttrs& a, int rank) {
  ResizeOptions o;
  TRY(word_of("mode", a.mode, {"nearest", "linear", "cubic"}, o.mode));
  TRY(word_of("coordinate_transformation_mode", a.coordinate_transformation_mode,
              {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
                  "tf_half_pixel_for_nn"}, o.coordinates));
  TRY(word_of("nearest_mode", a.nearest_mode, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}, o.nearest));
  TRY(word_of("keep_aspect_ratio_policy", a.keep_aspect_ratio_policy, {"stretch", "not_larger", "not_smaller"}, o.policy));
  TRY_ASSIGN(std::vector<int> axes, axes_in_order(a.axes, rank));
  o.axes.assign(axes.begin(), axes.end());
  o.cubic_coeff_a = a.cubic_coeff_a;
  o.extrapolation_value = a.extrapolation_value;
  o.exclude_outside = a.exclude_outside;
  o.antialias = a.antialias;
  return o;
}

static bool is_empty_vector(const Value* v) { return v->type.is_ranked() && numel(v->type.shape).is(0); }
Result<std::vector<ResizeAxis>> resize_axes_of(const Op& op) {
  ResizeRequest q;
  TRY_ASSIGN(ResizeOptions o, resize_options(op.attr<ResizeAttrs>(), type_of(op, 0).rank()));
  if (o.crops()) {
    if (!has_operand(op, 1)) return invalid("tf_crop_and_resize without a roi");
    auto roi = const_floats(op.operands[1]);
    if (!roi) return unsupported("resize with a roi that is not constant");
    q.roi = *roi;
  }
  if (has_operand(op, 2) && !is_empty_vector(op.operands[2])) {
    auto scales = const_floats(op.operands[2]);
    if (!scales) return unsupported("resize by scales that are not constant");
    q.scales = *scales;
  }
  if (has_operand(op, 3) && !is_empty_vector(op.operands[3])) {
    const std::vector<Dim>* sizes = known_of(op.operands[3]);
    if (!sizes) return unsupported("resize to sizes that are not known");
    q.sizes = *sizes;
  }
  return resize_axes(o, type_of(op, 0).shape, q);
}

static Status infer_resize(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  TRY_ASSIGN(ResizeOptions o, resize_options(op.attr<ResizeAttrs>(), x.rank()));
  if (o.mode != ResizeOptions::Mode::nearest && !is_float(x.dtype) && !is_int(x.dtype))
      return invalid(std::string("resize cannot interpolate ") + dtype_name(x.dtype));
  if (has_operand(op, 3)) TRY(need_int_vector(op, 3));
  auto axes = resize_axes_of(op);
  if (!axes.ok()) {
    if (axes.error().code != Code::kUnsupported) return axes.error();
    set_unknown_dims(op, 0, x.dtype, x.rank(), cx);
    return {};
  }
  Shape shape = x.shape;
  for (const ResizeAxis& a : axes.value()) shape[a.axis] = a.out;
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}

static Result<std::vector<HostValue>> eval_resize(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(ResizeOptions o, resize_options(call.attr<ResizeAttrs>(), x.rank()));
  ResizeRequest q;
  if (call.has(1) && o.crops()) q.roi = load_all<double>(call.tensor(1));
  if (call.has(2)) q.scales = load_all<double>(call.tensor(2));
  if (call.has(3))
    for (int64_t s : load_all<int64_t>(call.tensor(3))) q.sizes.push_back(s);
  TRY_ASSIGN(std::vector<ResizeAxis> axes, resize_axes(o, to_shape(x.dims), q));
  std::vector<int64_t> dims = x.dims;
  for (const ResizeAxis& axis : axes) dims[axis.axis] = axis.out.value();
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  TRY(host_resize(view_of(x), o, std::move(axes), view_of(y)));
  return one(std::move(y));
}

static Cost cost_resize(const Op& op) {
  Cost c = moved_bytes(op, 0);
  auto axes = resize_axes_of(op);
  auto o = resize_options(op.attr<ResizeAttrs>(), type_of(op, 0).rank());
  if (!axes.ok() || !o.ok()) return c;
  c.flops = numel(op.result()->type.shape);
  for (const ResizeAxis& x : axes.value()) c.flops *= Dim(2 * resize_taps(o.value(), x.scale > 0 ? x.scale : 1).count);
  return c;
}
// Dims that it leaves alone.
static Result<ShardingRule> shard_resize(const Op& op) {
  TRY_ASSIGN(std::vector<ResizeAxis> axes, resize_axes_of(op));
  std::vector<int> changed;
  for (const ResizeAxis& a : axes) changed.push_back(a.axis);
  return shard_alike(op, changed, 1);
}
static Result<std::vector<Value*>> localize_resize(LocalOp& op) {
  if (op.operands.size() > 3 && op.operands[3]) {
    TRY_ASSIGN(ResizeOptions o, resize_options(op.whole.attr<ResizeAttrs>(), type_of(op.whole, 0).rank()));
    if (const std::vector<Dim>* known = known_of(op.whole.operands[3]); known && !known->empty()) {
      std::vector<Dim> sizes;
      for (size_t k = 0; k < known->size(); ++k) sizes.push_back(op.results[0][o.axes.empty() ? k : static_cast<size_t>(o.axes[k])]);
      op.operands[3] = op.dims(sizes);
    }
  }
  return op.build();
}
OpDef def_resize() {
  return {.onnx = "Resize", .family = Family::resample, .min_operands = 1, .max_operands = 4, .attrs = make_attrs<ResizeAttrs>, .infer = infer_resize,
          .eval = eval_resize, .cost = cost_resize, .shard = shard_resize, .localize = localize_resize};
}

}  // namespace weft
