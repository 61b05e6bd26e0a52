// Activations: elementwise bodies over one operand (prelu: two), and clip. NaN passes through all of them.
#include "ir/ops/pointwise.h"
#include "ir/ops/scalar_math.h"

namespace weft {

template <class A>
static OpDef activation(const char* onnx, void (*scalar)(const Op&, ScalarProgram&), uint32_t traits = 0) {
  OpDef d = pointwise(onnx, 1, scalar, traits);
  d.attrs = make_attrs<A>;
  return d;
}
static S clamp01(S x) { return max(x.lit(0), min(x.lit(1), x)); }

OpDef def_relu() {
  return pointwise("Relu", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, max(x, x.lit(0)));
  }, kIdempotent);
}
OpDef def_leaky_relu() {
  return activation<LeakyReluAttrs>("LeakyRelu", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, select(lt(x, x.lit(0)), x * op.attr<LeakyReluAttrs>().alpha, x));
  });
}
OpDef def_thresholded_relu() {
  return activation<AlphaAttrs>("ThresholdedRelu", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, select(le(x, x.lit(op.attr<AlphaAttrs>().alpha)), x.lit(0), x));
  });
}
OpDef def_elu() {
  return activation<AlphaAttrs>("Elu", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, select(lt(x, x.lit(0)), expm1(x) * op.attr<AlphaAttrs>().alpha, x));
  });
}
static Status verify_celu(const Op& op) {
  if (op.attr<AlphaAttrs>().alpha == 0) return invalid("celu divides by alpha, which is 0");
  return {};
}
OpDef def_celu() {
  OpDef d = activation<AlphaAttrs>("Celu", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    double alpha = op.attr<AlphaAttrs>().alpha;
    out(p, select(lt(x, x.lit(0)), expm1(x / alpha) * alpha, x));
  });
  d.verify = verify_celu;
  return d;
}
OpDef def_selu() {
  return activation<SeluAttrs>("Selu", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    const auto& a = op.attr<SeluAttrs>();
    out(p, select(lt(x, x.lit(0)), expm1(x) * (a.alpha * a.gamma), x * a.gamma));
  });
}
OpDef def_sigmoid() { return pointwise("Sigmoid", 1, unary_body<Prim::sigmoid>); }
OpDef def_tanh() { return pointwise("Tanh", 1, unary_body<Prim::tanh>); }
OpDef def_hard_sigmoid() {
  return activation<HardSigmoidAttrs>("HardSigmoid", [](const Op& op, ScalarProgram& p) {
    const auto& a = op.attr<HardSigmoidAttrs>();
    out(p, clamp01(in(op, p, 0) * a.alpha + a.beta));
  });
}
OpDef def_hard_swish() {
  return pointwise("HardSwish", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, x * clamp01(x * (1.0 / 6) + 0.5));
  });
}
OpDef def_swish() {
  return activation<AlphaAttrs>("Swish", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    double alpha = op.attr<AlphaAttrs>().alpha;
    out(p, x * sigmoid(alpha == 1 ? x : x * alpha));
  });
}
OpDef def_mish() {
  return pointwise("Mish", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, x * tanh(softplus(x)));
  });
}
OpDef def_softplus() {
  return pointwise("Softplus", 1, [](const Op& op, ScalarProgram& p) { out(p, softplus(in(op, p, 0))); });
}
OpDef def_softsign() {
  return pointwise("Softsign", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, x / (abs(x) + 1));
  });
}

static Status infer_gelu(Op& op, InferContext& cx) {
  const std::string& a = op.attr<GeluAttrs>().approximate;
  if (a != "none" && a != "tanh") return invalid("gelu's approximate must be \"none\" or \"tanh\", is " + quote(a));
  return infer_pointwise(op, cx);
}
OpDef def_gelu() {
  OpDef d = activation<GeluAttrs>("Gelu", [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    // 1/sqrt(2) and sqrt(2/pi)
    S inner = op.attr<GeluAttrs>().approximate == "tanh" ? tanh((x + x * x * x * 0.044715) * 0.7978845608028654)
                                                         : erf(x * 0.7071067811865476);
    out(p, x * 0.5 * (inner + 1));
  });
  d.infer = infer_gelu;
  return d;
}

// Integers are compared and shifted as f64, since lambd and bias are real numbers.
OpDef def_shrink() {
  return activation<ShrinkAttrs>("Shrink", [](const Op& op, ScalarProgram& p) {
    const auto& a = op.attr<ShrinkAttrs>();
    S raw = in(op, p, 0), x = is_float(raw.type()) ? raw : raw.cast(DType::f64);
    S y = select(lt(x, x.lit(-a.lambd)), x + a.bias, select(lt(x.lit(a.lambd), x), x - a.bias, x.lit(0)));
    out(p, y.cast(raw.type()));
  });
}

// The slope broadcasts to x, never the other way round.
static Status infer_prelu(Op& op, InferContext& cx) {
  TRY(infer_pointwise(op, cx));
  const Type &x = type_of(op, 0), &slope = type_of(op, 1);
  if (x.ranked && slope.ranked && slope.rank() > x.rank()) return invalid("prelu's slope has more dims than its input");
  set_type(op, 0, x);
  return {};
}
OpDef def_prelu() {
  OpDef d = pointwise("PRelu", 2, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, select(lt(x, x.lit(0)), x * in(op, p, 1), x));
  });
  d.infer = infer_prelu;
  return d;
}

// operands: x, min?, max?. Where min > max the result is max.
static Status infer_clip(Op& op, InferContext& cx) {
  DType t = type_of(op, 0).dtype;
  if (!is_float(t) && !is_int(t)) return invalid(std::string("clip does not take ") + dtype_name(t));
  TRY(infer_pointwise(op, cx));
  for (int i = 1; i < op.num_operands(); ++i) {
    const Value* v = op.operand(i);
    if (v && v->type.ranked && is_static(v->type.shape) && !numel(v->type.shape).is(1)) return invalid("clip's bounds must be scalars");
  }
  set_type(op, 0, type_of(op, 0));
  return {};
}
OpDef def_clip() {
  OpDef d = pointwise("Clip", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    if (has_operand(op, 1)) x = max(x, in(op, p, 1));
    if (has_operand(op, 2)) x = min(x, in(op, p, 2));
    out(p, x);
  }, kIdempotent);
  d.max_operands = 3;
  d.infer = infer_clip;
  return d;
}

}  // namespace weft
