// rotary_embedding: channel pairs turned by the angles of their positions.
#include <algorithm>

#include "ir/ops/attention.h"
#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

static Result<Dim> rotary_head(const RotaryAttrs& a, const Shape& x, Facts& facts) {
  if (x.size() == 4) return x[3];
  if (x.size() != 3 || a.num_heads <= 0) return invalid("rotary_embedding takes an input of rank 4, or of rank 3 with num_heads");
  TRY(facts.divides(Dim(a.num_heads), x[2], "rotary_embedding's heads"));
  return divide(x[2], a.num_heads);
}

static Status infer_rotary(Op& op, InferContext& cx) {
  const RotaryAttrs& a = op.attr<RotaryAttrs>();
  for (int i = 0; i < op.num_operands(); ++i)
    if (op.operands[i]) TRY(need_tensor(op, i));
  const Type &x = type_of(op, 0), &cos = type_of(op, 1), &sin = type_of(op, 2);
  if (!is_float(x.dtype) || !is_float(cos.dtype) || !is_float(sin.dtype)) return invalid("rotary_embedding takes floats");
  TRY_ASSIGN(Dim head, rotary_head(a, x.shape, cx));
  int rank = has_operand(op, 3) ? 2 : 3;
  std::string caches = cos.to_string() + " and " + sin.to_string();
  bool ranks = cos.rank() == rank && sin.rank() == rank;
  if (!ranks) return invalid("the caches of rotary_embedding must have rank " + std::to_string(rank) + ", are " + caches);
  bool positions = !has_operand(op, 3) || (type_of(op, 3).rank() == 2 && is_int(type_of(op, 3).dtype));
  if (!positions) return invalid("position_ids is " + type_of(op, 3).to_string());
  Dim turned = a.rotary_embedding_dim ? Dim(a.rotary_embedding_dim) : head;
  TRY(cx.divides(Dim(2), turned, "rotary_embedding's channels in pairs"));
  TRY(cx.at_most(turned, head, "rotary_embedding's channels of a head"));
  for (const Type* t : {&cos, &sin}) TRY(cx.equal(t->dim(-1) * Dim(2), turned, "rotary_embedding's channels and twice the width of its caches"));
  const Dim &batch = x.shape[0], &length = x.shape[x.rank() == 3 ? 1 : 2];
  for (const Type* t : has_operand(op, 3) ? std::vector<const Type*>{&type_of(op, 3)} : std::vector<const Type*>{&cos, &sin}) {
    TRY(cx.broadcasts(t->shape[0], batch, "rotary_embedding's batches"));
    TRY(cx.equal(t->shape[1], length, "rotary_embedding's lengths"));
  }
  return infer_same(op, cx);
}

// The cache row of a batch's position; error when position_ids points outside.
struct RotaryCache {
  std::vector<double> cos, sin;
  std::vector<int64_t> rows;  // of [B, S]
  int64_t half = 0;
};
static Result<RotaryCache> load_rotary_cache(EvalCall& call, int64_t batch, int64_t length) {
  const Tensor &cos = call.tensor(1), &sin = call.tensor(2);
  if (cos.dims != sin.dims) return invalid("the caches of rotary_embedding differ in their dims");
  RotaryCache c{load_all<double>(cos), load_all<double>(sin), {}, cos.dims.back()};
  if (call.has(3)) {
    const Tensor& ids = call.tensor(3);
    if (ids.dims[1] != length || (ids.dims[0] != batch && ids.dims[0] != 1)) return invalid("position_ids does not fit the input");
    std::vector<int64_t> v = load_all<int64_t>(ids);
    for (int64_t r = 0; r < batch * length; ++r) {
      TRY_ASSIGN(int64_t row, wrap_index(v[ids.dims[0] == 1 ? r % length : r], cos.dims[0]));
      c.rows.push_back(row);
    }
    return c;
  }
  if (cos.dims[1] != length || (cos.dims[0] != batch && cos.dims[0] != 1)) return invalid("the caches of rotary_embedding do not fit the input");
  for (int64_t r = 0; r < batch * length; ++r) c.rows.push_back(cos.dims[0] == 1 ? r % length : r);
  return c;
}

static Result<std::vector<HostValue>> eval_rotary(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const RotaryAttrs& a = call.attr<RotaryAttrs>();
  Facts facts;
  TRY_ASSIGN(Dim head_dim, rotary_head(a, to_shape(x.dims), facts));
  bool packed = x.rank() == 3;
  int64_t batch = x.dims[0], length = x.dims[packed ? 1 : 2], heads = packed ? a.num_heads : x.dims[1], head = head_dim.value();
  TRY_ASSIGN(RotaryCache c, load_rotary_cache(call, batch, length));
  if (c.half * 2 > head) return invalid("rotary_embedding's caches are wider than half a head");
  std::vector<double> v = load_all<double>(x);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t s = 0; s < length; ++s) {
        double* row = v.data() + (packed ? ((b * length + s) * heads + h) : ((b * heads + h) * length + s)) * head;
        const double *cos = c.cos.data() + c.rows[b * length + s] * c.half, *sin = c.sin.data() + c.rows[b * length + s] * c.half;
        for (int64_t k = 0; k < c.half; ++k) {
          double &p = row[a.interleaved ? 2 * k : k], &q = row[a.interleaved ? 2 * k + 1 : k + c.half];
          double real = cos[k] * p - sin[k] * q, imaginary = sin[k] * p + cos[k] * q;
          p = real;
          q = imaginary;
        }
      }
  return one(store_all(x.dtype, x.dims, v));
}

static Result<ShardingRule> shard_rotary(const Op& op) {
  ShardingRule rule(op);
  const int y = ShardingRule::kResult;
  bool packed = type_of(op, 0).rank() == 3, cached = has_operand(op, 3);
  int length = packed ? 1 : 2, table = cached ? 3 : 1;
  std::vector<ShardingRule::Place> batch{{0, 0}, {y, 0}, {table, 0}}, steps{{0, length}, {y, length}, {table, 1}};
  if (!cached) {
    batch.push_back({2, 0});
    steps.push_back({2, 1});
  }
  rule.share(op, batch);
  if (packed) {
    Dim heads = op.attr<RotaryAttrs>().num_heads;
    int h = heads.is(0) ? -1 : rule.add(heads, ShardingRule::Role::parallel, true);
    if (h >= 0) {
      int d = rule.add(divide(type_of(op, 0).shape[2], heads), ShardingRule::Role::whole);
      rule.operands[0][2] = rule.results[0][2] = {h, d};
    }
  } else {
    rule.share(op, {{0, 1}, {y, 1}});
  }
  rule.share(op, steps);
  return rule;
}
static Result<std::vector<Value*>> localize_rotary(LocalOp& op) {
  std::unique_ptr<Attrs> attrs = op.whole.attrs->clone();
  auto& a = static_cast<RotaryAttrs&>(*attrs);
  if (a.num_heads > 0) a.num_heads /= op.parts[1].count;
  return op.build(std::move(attrs));
}
OpDef def_rotary_embedding() {
  return {.onnx = "RotaryEmbedding", .family = Family::attention, .min_operands = 3, .max_operands = 4, .attrs = make_attrs<RotaryAttrs>,
          .infer = infer_rotary, .eval = eval_rotary, .shard = shard_rotary, .localize = localize_rotary};
}

}  // namespace weft
