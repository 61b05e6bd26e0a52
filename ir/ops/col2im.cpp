// col2im: blocks of columns laid back into a picture of any number of dims; where blocks overlap, elements add up.
#include "ir/ops/move.h"

namespace weft {

static Status infer_col2im(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  TRY(need_int_vector(op, 2));
  const Type& x = type_of(op, 0);
  if (x.rank() != 3 || x.dtype == DType::str) return invalid("col2im takes numbers [n, c, l], got " + x.to_string());
  const std::vector<Dim>*image = known_of(op.operands[1]), *block = known_of(op.operands[2]);
  auto length = vector_length(op.operands[1]);
  if (!image && !length) {
    set_type(op, 0, Type::unranked(x.dtype));
    return {};
  }
  int spatial = image ? static_cast<int>(image->size()) : static_cast<int>(std::min<int64_t>(*length, 62));
  Dim channels = block ? floordiv(x.shape[1], numel(*block)) : data_dim(op, 0, 1, cx);
  if (channels.is_overflow()) return invalid("col2im with an empty block");
  Shape shape{x.shape[0], channels};
  for (int d = 0; d < spatial; ++d) shape.push_back(image ? (*image)[d] : data_dim(op, 0, 2 + d, cx));
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}

namespace {
struct Col2Im {
  std::vector<int64_t> image, block, blocks;  // blocks: how many along each dim
  std::vector<int64_t> dilations, pads, strides;
  int64_t image_size = 1, block_size = 1, block_count = 1;
};
}  // namespace

static Result<Col2Im> col2im_geometry(EvalCall& call) {
  const Col2ImAttrs& a = call.attr<Col2ImAttrs>();
  Col2Im g;
  g.image = load_all<int64_t>(call.tensor(1));
  g.block = load_all<int64_t>(call.tensor(2));
  size_t rank = g.image.size();
  g.dilations = a.dilations.empty() ? std::vector<int64_t>(rank, 1) : a.dilations;
  g.strides = a.strides.empty() ? std::vector<int64_t>(rank, 1) : a.strides;
  g.pads = a.pads.empty() ? std::vector<int64_t>(2 * rank, 0) : a.pads;
  if (g.block.size() != rank || g.dilations.size() != rank || g.strides.size() != rank || g.pads.size() != 2 * rank)
    return invalid("col2im's image_shape, block_shape and attributes differ in length");
  constexpr int64_t kMost = 1 << 30;  // keeps the products below exact
  for (size_t d = 0; d < rank; ++d) {
    for (int64_t v : {g.image[d], g.block[d], g.dilations[d], g.strides[d]})
      if (v < 1 || v > kMost) return invalid("col2im with a dim, dilation or stride of " + std::to_string(v));
    for (int64_t v : {g.pads[d], g.pads[d + rank]})
      if (v < 0 || v > kMost) return invalid("col2im with a pad of " + std::to_string(v));
    int64_t room = g.image[d] + g.pads[d] + g.pads[d + rank] - g.dilations[d] * (g.block[d] - 1) - 1;
    if (room < 0) return invalid("col2im's block is larger than the picture");
    g.blocks.push_back(room / g.strides[d] + 1);
    bool over = __builtin_mul_overflow(g.image_size, g.image[d], &g.image_size) || __builtin_mul_overflow(g.block_size, g.block[d], &g.block_size) ||
                __builtin_mul_overflow(g.block_count, g.blocks[d], &g.block_count);
    if (over) return resources("col2im's picture is too large");
  }
  return g;
}

// Offsets in the picture of (element of a block, block), -1 where it falls into the padding.
static std::vector<int64_t> col2im_targets(const Col2Im& g) {
  std::vector<int64_t> out;
  std::vector<int64_t> strides = dense_strides(g.image), inside(g.block.size(), 0), which(g.blocks.size(), 0);
  do {
    do {
      int64_t offset = 0;
      for (size_t d = 0; d < g.image.size() && offset >= 0; ++d) {
        int64_t at = which[d] * g.strides[d] - g.pads[d] + inside[d] * g.dilations[d];
        offset = at < 0 || at >= g.image[d] ? -1 : offset + at * strides[d];
      }
      out.push_back(offset);
    } while (next_index(which, g.blocks));
  } while (next_index(inside, g.block));
  return out;
}

template <class T>
static Result<Tensor> col2im_sum(const Tensor& x, const Col2Im& g, std::vector<int64_t> dims) {
  std::vector<int64_t> targets = col2im_targets(g);
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, std::move(dims)));
  std::vector<T> column(targets.size());
  int64_t planes = out.numel() / g.image_size, size = static_cast<int64_t>(targets.size());
  for (int64_t p = 0; p < planes; ++p) {
    std::vector<T> picture(static_cast<size_t>(g.image_size));
    load_row(x, p * size, column.data(), size);
    for (int64_t k = 0; k < size; ++k) {
      if (targets[k] < 0) continue;
      T& sum = picture[targets[k]];
      if constexpr (std::is_integral_v<T>) sum = static_cast<T>(static_cast<uint64_t>(sum) + static_cast<uint64_t>(column[k]));
      else sum += column[k];
    }
    store_row(out, p * g.image_size, picture.data(), g.image_size);
  }
  return out;
}

static Result<std::vector<HostValue>> eval_col2im(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(Col2Im g, col2im_geometry(call));
  if (x.dims[1] % g.block_size != 0 || x.dims[2] != g.block_count)
    return invalid("col2im of [" + shape_text(to_shape(x.dims)) + "]: blocks of " + std::to_string(g.block_size) +
                   " elements, " + std::to_string(g.block_count) + " of them");
  std::vector<int64_t> dims{x.dims[0], x.dims[1] / g.block_size};
  dims.insert(dims.end(), g.image.begin(), g.image.end());
  return one(with_carrier(x.dtype, [&](auto c) { return col2im_sum<decltype(c)>(x, g, dims); }));
}
// The batch and the channels, each of which has the places in a block.
static Result<ShardingRule> shard_col2im(const Op& op) {
  ShardingRule rule = shard_places(op, {{{0, 0}, {ShardingRule::kResult, 0}}});
  const Dim& channels = op.result()->type.shape[1];
  int c = rule.add(channels), place = rule.add(divide(type_of(op, 0).shape[1], channels), ShardingRule::Role::whole);
  rule.operands[0][1] = {c, place};
  rule.results[0][1] = {c};
  return rule;
}
OpDef def_col2im() {
  return {.onnx = "Col2Im", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<Col2ImAttrs>, .infer = infer_col2im,
          .eval = eval_col2im, .cost = [](const Op& op) {
            Cost c = moved_bytes(op, 0);
            c.flops = numel(type_of(op, 0).shape);
            return c;
          },
          .shard = shard_col2im};
}

}  // namespace weft
