#include "ir/ops/random.h"

#include "ir/ops/common.h"
#include "kernels/host/generate.h"

namespace weft {

// --- normal, uniform --------------------------------------------------------------------------------------------

// The type of a result made from `shape`, or like operand 0.
template <class A>
static Status infer_random(Op& op, InferContext&) {
  const A& a = op.attr<A>();
  DType t = a.dtype;
  Shape shape;
  if (op.num_operands() == 1) {
    TRY(need_tensor(op, 0));
    if (!a.has_dtype) t = type_of(op, 0).dtype;
    shape = type_of(op, 0).shape;
  } else {
    for (int64_t d : a.shape)
      if (d < 0) return invalid("the shape of a random tensor holds " + std::to_string(d));
    shape = to_shape(a.shape);
  }
  if (!is_float(t)) return invalid(std::string(op_name(op.kind)) + " makes floats, not " + dtype_name(t));
  set_type(op, 0, Type::tensor(t, std::move(shape)));
  return {};
}

template <class A, class F>
static Result<std::vector<HostValue>> eval_random(EvalCall& call, F draw) {
  const A& a = call.attr<A>();
  bool like = call.has(0);
  TRY_ASSIGN(Tensor y, Tensor::make(like && !a.has_dtype ? call.tensor(0).dtype : a.dtype, like ? call.tensor(0).dims : a.shape));
  draw(a, view_of(y));
  return one(std::move(y));
}
static Result<std::vector<HostValue>> eval_normal(EvalCall& call) {
  return eval_random<RandomNormalAttrs>(call, [](const auto& a, const TensorView& y) { host_random_normal(a.mean, a.scale, a.seed, y); });
}
static Result<std::vector<HostValue>> eval_uniform(EvalCall& call) {
  return eval_random<RandomUniformAttrs>(call, [](const auto& a, const TensorView& y) { host_random_uniform(a.low, a.high, a.seed, y); });
}

template <class A>
static OpDef random_op(const char* onnx, int operands, Status (*infer)(Op&, InferContext&), Result<std::vector<HostValue>> (*eval)(EvalCall&)) {
  return {.onnx = onnx, .family = Family::random, .traits = kNondeterministic, .min_operands = operands, .max_operands = operands,
          .attrs = make_attrs<A>, .infer = infer, .eval = eval};
}
OpDef def_random_normal() { return random_op<RandomNormalAttrs>("RandomNormal", 0, infer_random<RandomNormalAttrs>, eval_normal); }
OpDef def_random_normal_like() { return random_op<RandomNormalAttrs>("RandomNormalLike", 1, infer_random<RandomNormalAttrs>, eval_normal); }
OpDef def_random_uniform() { return random_op<RandomUniformAttrs>("RandomUniform", 0, infer_random<RandomUniformAttrs>, eval_uniform); }
OpDef def_random_uniform_like() { return random_op<RandomUniformAttrs>("RandomUniformLike", 1, infer_random<RandomUniformAttrs>, eval_uniform); }

// --- bernoulli --------------------------------------------------------------------------------------------------

static Status infer_bernoulli(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  const BernoulliAttrs& a = op.attr<BernoulliAttrs>();
  const Type& p = type_of(op, 0);
  if (!is_float(p.dtype)) return invalid(std::string("bernoulli does not take ") + dtype_name(p.dtype));
  DType t = a.has_dtype ? a.dtype : p.dtype;
  if (t == DType::str || is_complex(t)) return invalid(std::string("bernoulli does not make ") + dtype_name(t));
  set_type(op, 0, Type::tensor(t, p.shape));
  return {};
}

static Result<std::vector<HostValue>> eval_bernoulli(EvalCall& call) {
  const BernoulliAttrs& a = call.attr<BernoulliAttrs>();
  const Tensor& p = call.tensor(0);
  TRY_ASSIGN(Tensor y, Tensor::make(a.has_dtype ? a.dtype : p.dtype, p.dims));
  host_bernoulli(view_of(p), a.seed, view_of(y));
  return one(std::move(y));
}
OpDef def_bernoulli() { return random_op<BernoulliAttrs>("Bernoulli", 1, infer_bernoulli, eval_bernoulli); }

// --- multinomial ------------------------------------------------------------------------------------------------

static Status infer_multinomial(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  const MultinomialAttrs& a = op.attr<MultinomialAttrs>();
  const Type& p = type_of(op, 0);
  if (!is_float(p.dtype) || p.rank() != 2) return invalid("multinomial takes a float tensor [batch, classes], got " + p.to_string());
  if (a.dtype != DType::i32 && a.dtype != DType::i64) return invalid("multinomial makes i32 or i64");
  if (a.sample_size < 0) return invalid("multinomial's sample_size is negative");
  set_type(op, 0, Type::tensor(a.dtype, {p.shape[0], a.sample_size}));
  return {};
}

static Result<std::vector<HostValue>> eval_multinomial(EvalCall& call) {
  const MultinomialAttrs& a = call.attr<MultinomialAttrs>();
  const Tensor& p = call.tensor(0);
  TRY_ASSIGN(Tensor y, Tensor::make(a.dtype, {p.dims[0], a.sample_size}));
  TRY(host_multinomial(view_of(p), a.seed, view_of(y)));
  return one(std::move(y));
}
OpDef def_multinomial() { return random_op<MultinomialAttrs>("Multinomial", 1, infer_multinomial, eval_multinomial); }

// --- dropout ----------------------------------------------------------------------------------------------------

static Status infer_dropout(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (!is_float(x.dtype)) return invalid(std::string("dropout does not take ") + dtype_name(x.dtype));
  if (has_operand(op, 1) && !is_float(type_of(op, 1).dtype)) return invalid("dropout's ratio must be a float");
  if (has_operand(op, 2) && type_of(op, 2).dtype != DType::b1) return invalid("dropout's training_mode must be a bool");
  set_type(op, 0, x);
  set_type(op, 1, Type::tensor(DType::b1, x.shape));
  return {};
}

static Result<std::vector<HostValue>> eval_dropout(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  for (int i : {1, 2})
    if (call.has(i) && call.tensor(i).numel() != 1) return invalid("operand " + std::to_string(i) + " must be a scalar");
  bool training = call.has(2) && load_all<int64_t>(call.tensor(2))[0] != 0;
  double ratio = call.has(1) ? load_all<double>(call.tensor(1))[0] : 0.5;
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, x.dims));
  TRY_ASSIGN(Tensor mask, Tensor::make(DType::b1, x.dims));
  TensorView kept = view_of(mask);
  TRY(host_dropout(view_of(x), ratio, training, static_cast<double>(call.attr<DropoutAttrs>().seed), view_of(y), &kept));
  return std::vector<HostValue>{std::move(y), std::move(mask)};
}

bool drops_nothing(const Op& op) {
  if (!op.operand(2) || const_ints(op.operand(2)) == std::vector<int64_t>{0}) return true;
  return op.operand(1) && const_floats(op.operand(1)) == std::vector<double>{0};
}
OpDef def_dropout() {
  OpDef d = random_op<DropoutAttrs>("Dropout", 1, infer_dropout, eval_dropout);
  d.max_operands = 3;
  d.shard = [](const Op& op) -> Result<ShardingRule> { return drops_nothing(op) ? shard_alike(op, {}, 1) : ShardingRule(op); };
  return d;
}

}  // namespace weft
