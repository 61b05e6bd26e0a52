// Permuted dims: transpose, depth_to_space, space_to_depth.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

static Result<std::vector<int>> perm_of(const TransposeAttrs& a, int rank) {
  std::vector<int> perm;
  if (a.perm.empty()) {
    for (int d = rank; d-- > 0;) perm.push_back(d);
    return perm;
  }
  if (static_cast<int>(a.perm.size()) != rank)
    return invalid("transpose permutes " + std::to_string(a.perm.size()) + " dims of a tensor of rank " + std::to_string(rank));
  return axes_in_order(a.perm, rank);
}
Result<std::vector<int>> transpose_perm(const Op& op) {
  TRY(need_tensor(op, 0));
  return perm_of(op.attr<TransposeAttrs>(), type_of(op, 0).rank());
}
static Status infer_transpose(Op& op, InferContext&) {
  if (unranked_operand(op, 0)) return {};
  TRY_ASSIGN(std::vector<int> perm, transpose_perm(op));
  const Type& x = type_of(op, 0);
  Shape shape;
  for (int p : perm) shape.push_back(x.shape[p]);
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op);
  return {};
}
// Dims and strides of x, permuted.
static Result<Tensor> permuted(const Tensor& x, const std::vector<int>& perm) {
  Window from;
  std::vector<int64_t> dims, strides = dense_strides(x.dims);
  for (int p : perm) {
    dims.push_back(x.dims[p]);
    from.strides.push_back(strides[p]);
  }
  return read_window(x, from, std::move(dims));
}
static Result<ShardingRule> shard_transpose(const Op& op) {
  TRY_ASSIGN(std::vector<int> perm, transpose_perm(op));
  ShardingRule rule(op);
  for (size_t d = 0; d < perm.size(); ++d) rule.share(op, {{0, perm[d]}, {ShardingRule::kResult, static_cast<int>(d)}});
  return rule;
}
OpDef def_transpose() {
  return {.onnx = "Transpose", .family = Family::move, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<TransposeAttrs>,
          .infer = infer_transpose, .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
            const Tensor& x = call.tensor(0);
            TRY_ASSIGN(std::vector<int> perm, perm_of(call.attr<TransposeAttrs>(), x.rank()));
            return one(permuted(x, perm));
          }, .shard = shard_transpose};
}

// --- depth_to_space, space_to_depth -----------------------------------------------------------------------------------

static Status check_block(const Op& op, int64_t blocksize) {
  TRY(need_tensor(op, 0));
  if (type_of(op, 0).rank() != 4) return invalid(std::string(op_name(op.kind)) + " takes [n, c, h, w], got " + type_of(op, 0).to_string());
  if (blocksize < 1 || blocksize > 1 << 15) return invalid("blocksize is " + std::to_string(blocksize));
  return {};
}
static Status need_picture(const Tensor& x) {
  if (x.rank() != 4) return invalid("a tensor of rank " + std::to_string(x.rank()) + " where [n, c, h, w] is wanted");
  return {};
}
static Status infer_depth_to_space(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  const DepthToSpaceAttrs& a = op.attr<DepthToSpaceAttrs>();
  TRY(check_block(op, a.blocksize));
  if (a.mode != "DCR" && a.mode != "CRD") return invalid("depth_to_space's mode must be \"DCR\" or \"CRD\", is " + quote(a.mode));
  const Type& x = type_of(op, 0);
  int64_t b = a.blocksize;
  TRY(cx.divides(Dim(b * b), x.shape[1], "depth_to_space's blocks of channels"));
  set_type(op, 0, Type::tensor(x.dtype, {x.shape[0], floordiv(x.shape[1], b * b), x.shape[2] * b, x.shape[3] * b}));
  return {};
}
static Result<std::vector<HostValue>> eval_depth_to_space(EvalCall& call) {
  const DepthToSpaceAttrs& a = call.attr<DepthToSpaceAttrs>();
  const Tensor& x = call.tensor(0);
  TRY(need_picture(x));
  int64_t b = a.blocksize, n = x.dims[0], c = x.dims[1], h = x.dims[2], w = x.dims[3];
  if (c % (b * b) != 0) return invalid(std::to_string(c) + " channels in blocks of " + std::to_string(b * b));
  int64_t depth = c / (b * b);
  bool dcr = a.mode == "DCR";
  Tensor blocks = with_dims(x, dcr ? std::vector<int64_t>{n, b, b, depth, h, w} : std::vector<int64_t>{n, depth, b, b, h, w});
  TRY_ASSIGN(Tensor y, permuted(blocks, dcr ? std::vector<int>{0, 3, 4, 1, 5, 2} : std::vector<int>{0, 1, 4, 2, 5, 3}));
  return one(with_dims(y, {n, depth, h * b, w * b}));
}
// The batch, rows and columns of blocks, and the depth where it stands in front of the places in a block.
static Result<ShardingRule> shard_blocks(const Op& op) {
  const bool deep = op.kind == OpKind::space_to_depth;
  const int64_t b = deep ? op.attr<SpaceToDepthAttrs>().blocksize : op.attr<DepthToSpaceAttrs>().blocksize;
  ShardingRule rule = shard_places(op, {{{0, 0}, {ShardingRule::kResult, 0}}});
  ShardingRule::Dims &blocks = deep ? rule.results[0] : rule.operands[0], &picture = deep ? rule.operands[0] : rule.results[0];
  for (int d : {2, 3}) {
    int n = rule.add((deep ? op.result()->type : type_of(op, 0)).shape[d]);
    blocks[d] = {n};
    picture[d] = {n, rule.add(b, ShardingRule::Role::whole)};
  }
  if (!deep && op.attr<DepthToSpaceAttrs>().mode == "CRD") {
    int c = rule.add(op.result()->type.shape[1]);
    picture[1] = {c};
    blocks[1] = {c, rule.add(b * b, ShardingRule::Role::whole)};
  }
  return rule;
}
OpDef def_depth_to_space() {
  return {.onnx = "DepthToSpace", .family = Family::move, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<DepthToSpaceAttrs>,
          .infer = infer_depth_to_space, .eval = eval_depth_to_space, .shard = shard_blocks};
}

static Status infer_space_to_depth(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  int64_t b = op.attr<SpaceToDepthAttrs>().blocksize;
  TRY(check_block(op, b));
  const Type& x = type_of(op, 0);
  for (int d : {2, 3}) TRY(cx.divides(Dim(b), x.shape[d], "space_to_depth's blocks"));
  set_type(op, 0, Type::tensor(x.dtype, {x.shape[0], x.shape[1] * (b * b), floordiv(x.shape[2], b), floordiv(x.shape[3], b)}));
  return {};
}
static Result<std::vector<HostValue>> eval_space_to_depth(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY(need_picture(x));
  int64_t b = call.attr<SpaceToDepthAttrs>().blocksize, n = x.dims[0], c = x.dims[1], h = x.dims[2], w = x.dims[3];
  if (h % b != 0 || w % b != 0)
    return invalid(
        "a picture of " + std::to_string(h) + " by " + std::to_string(w) + " in blocks of " + std::to_string(b));
  Tensor blocks = with_dims(x, {n, c, h / b, b, w / b, b});
  TRY_ASSIGN(Tensor y, permuted(blocks, {0, 3, 5, 1, 2, 4}));
  return one(with_dims(y, {n, c * b * b, h / b, w / b}));
}
OpDef def_space_to_depth() {
  return {.onnx = "SpaceToDepth", .family = Family::move, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<SpaceToDepthAttrs>,
          .infer = infer_space_to_depth, .eval = eval_space_to_depth, .shard = shard_blocks};
}

}  // namespace weft
