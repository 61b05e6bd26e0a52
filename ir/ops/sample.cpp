// grid_sample, affine_grid, roi_align, max_roi_pool.
#include "kernels/host/sample.h"

#include "ir/ops/move.h"
#include "ir/ops/resample.h"

namespace weft {

static Error bad_operand(const Op& op, int i, const char* wanted) {
  return invalid(std::string(op_name(op.kind)) + "'s operand " + std::to_string(i) + " must be " + wanted + ", is " + type_of(op, i).to_string());
}

// --- grid_sample ------------------------------------------------------------------------------------------------------

static Result<GridSampleOptions> grid_sample_options(const GridSampleAttrs& a) {
  using O = GridSampleOptions;
  O o;
  o.align_corners = a.align_corners;
  if (a.mode == "nearest") o.mode = O::Mode::nearest;
  else if (a.mode == "linear") o.mode = O::Mode::linear;
  else if (a.mode == "cubic") o.mode = O::Mode::cubic;
  else return invalid("grid_sample's mode is " + a.mode);
  if (a.padding_mode == "zeros") o.outside = O::Outside::zeros;
  else if (a.padding_mode == "border") o.outside = O::Outside::border;
  else if (a.padding_mode == "reflection") o.outside = O::Outside::reflection;
  else return invalid("grid_sample's padding_mode is " + a.padding_mode);
  return o;
}
static Status infer_grid_sample(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  TRY(need_tensor(op, 1));
  const Type &x = type_of(op, 0), &grid = type_of(op, 1);
  TRY(grid_sample_options(op.attr<GridSampleAttrs>()));
  if (x.rank() < 3 || (!is_float(x.dtype) && !is_int(x.dtype))) return bad_operand(op, 0, "numbers [n, c, ...]");
  if (grid.rank() != x.rank() || !is_float(grid.dtype)) return bad_operand(op, 1, "floats [n, ..., spatial rank]");
  TRY(cx.equal(grid.shape.back(), Dim(x.rank() - 2), "grid_sample's coordinates and spatial dims"));
  TRY(cx.equal(grid.shape[0], x.shape[0], "grid_sample's batches"));
  Shape shape{x.shape[0], x.shape[1]};
  shape.insert(shape.end(), grid.shape.begin() + 1, grid.shape.end() - 1);
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}
static Result<std::vector<HostValue>> eval_grid_sample(EvalCall& call) {
  const Tensor &x = call.tensor(0), &grid = call.tensor(1);
  TRY_ASSIGN(GridSampleOptions options, grid_sample_options(call.attr<GridSampleAttrs>()));
  if (grid.rank() != x.rank() || grid.dims.back() != x.rank() - 2 || grid.dims[0] != x.dims[0])
      return invalid("grid_sample's grid does not fit the input");
  std::vector<int64_t> dims{x.dims[0], x.dims[1]};
  dims.insert(dims.end(), grid.dims.begin() + 1, grid.dims.end() - 1);
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  host_grid_sample(view_of(x), view_of(grid), options, view_of(y));
  return one(std::move(y));
}
// About two operations per tap and dim.
static Cost cost_sampled(const Op& op) {
  Cost c = moved_bytes(op, 0);
  if (op.result()->type.is_ranked()) c.flops = numel(op.result()->type.shape) * Dim(int64_t{2} << std::min(2 * op.result()->type.rank(), 20));
  return c;
}
// The batch, the channels, and the places that are read.
static Result<ShardingRule> shard_grid_sample(const Op& op) {
  const int y = ShardingRule::kResult;
  ShardingRule rule = shard_places(op, {{{0, 0}, {1, 0}, {y, 0}}, {{0, 1}, {y, 1}}});
  for (int d = 2; d < op.result()->type.rank(); ++d) rule.share(op, {{1, d - 1}, {y, d}});
  return rule;
}
OpDef def_grid_sample() {
  return {.onnx = "GridSample", .family = Family::resample, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<GridSampleAttrs>,
          .infer = infer_grid_sample, .eval = eval_grid_sample, .cost = cost_sampled, .shard = shard_grid_sample};
}

// --- affine_grid --------------------------------------------------------------------------------------------------------

static Status infer_affine_grid(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const Type& theta = type_of(op, 0);
  bool ranked = theta.rank() == 3 && theta.shape[1].is_const();
  int64_t spatial = ranked ? theta.shape[1].value() : 0;
  if (!is_float(theta.dtype) || (spatial != 2 && spatial != 3)) return bad_operand(op, 0, "floats [n, 2, 3] or [n, 3, 4]");
  TRY(cx.equal(theta.shape[2], Dim(spatial + 1), "columns of affine_grid's matrices and what they should be"));
  auto length = vector_length(op.operands[1]);
  if (length && *length != spatial + 2) return bad_operand(op, 1, "the size of the picture");
  const std::vector<Dim>* size = known_of(op.operands[1]);
  if (size) TRY(cx.equal((*size)[0], theta.shape[0], "affine_grid's batches"));
  Shape shape{theta.shape[0]};
  for (int d = 0; d < spatial; ++d) shape.push_back(size ? (*size)[d + 2] : data_dim(op, 0, d + 1, cx));
  shape.push_back(Dim(spatial));
  set_type(op, 0, Type::tensor(theta.dtype, std::move(shape)));
  return {};
}
static Result<std::vector<HostValue>> eval_affine_grid(EvalCall& call) {
  const Tensor& theta = call.tensor(0);
  std::vector<int64_t> size = load_all<int64_t>(call.tensor(1));
  int64_t spatial = theta.dims[1];
  if (theta.dims[2] != spatial + 1 || static_cast<int64_t>(size.size()) != spatial + 2 || size[0] != theta.dims[0])
      return invalid("affine_grid's size does not fit theta");
  std::vector<int64_t> dims = size, index(static_cast<size_t>(spatial) + 1, 0);
  dims.erase(dims.begin() + 1);
  std::vector<int64_t> positions = dims;
  dims.push_back(spatial);
  TRY_ASSIGN(Tensor y, Tensor::make(theta.dtype, dims));
  std::vector<double> t = load_all<double>(theta), out;
  bool corners = call.attr<AffineGridAttrs>().align_corners;
  auto position = [&](int64_t i, int64_t n) {
    double d = static_cast<double>(n), v = static_cast<double>(i);
    if (corners) return n > 1 ? 2 * v / (d - 1) - 1 : -1;
    return (2 * v + 1) / d - 1;
  };
  if (y.numel() > 0) do {
      for (int64_t r = 0; r < spatial; ++r) {
        const double* row = t.data() + (index[0] * spatial + r) * (spatial + 1);
        double sum = row[spatial];
        for (int64_t c = 0; c < spatial; ++c) sum += row[c] * position(index[spatial - c], positions[spatial - c]);  // x first
        out.push_back(sum);
      }
    } while (next_index(index, positions));
  store_row(y, 0, out.data(), y.numel());
  return one(std::move(y));
}
static Result<ShardingRule> shard_affine_grid(const Op& op) {
  if (!known_of(op.operands[1])) return ShardingRule(op);
  return shard_places(op, {{{0, 0}, {ShardingRule::kResult, 0}}});
}
static Result<std::vector<Value*>> localize_affine_grid(LocalOp& op) {
  std::vector<Dim> size = *known_of(op.whole.operands[1]);
  size[0] = op.results[0][0];
  op.operands[1] = op.dims(size);
  return op.build();
}
OpDef def_affine_grid() {
  return {.onnx = "AffineGrid", .family = Family::resample, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<AffineGridAttrs>,
          .infer = infer_affine_grid, .eval = eval_affine_grid, .shard = shard_affine_grid, .localize = localize_affine_grid};
}

// --- regions of interest ------------------------------------------------------------------------------------------------

static Status need_regions(const Op& op, int columns, Facts& facts) {
  TRY(need_tensor(op, 0));
  TRY(need_tensor(op, 1));
  const Type &x = type_of(op, 0), &rois = type_of(op, 1);
  if (x.rank() != 4 || !is_float(x.dtype)) return bad_operand(op, 0, "floats [n, c, h, w]");
  if (rois.rank() != 2 || !is_float(rois.dtype)) return bad_operand(op, 1, columns == 4 ? "floats [regions, 4]" : "floats [regions, 5]");
  return facts.equal(rois.shape[1], Dim(columns), "columns of the regions and what they should be");
}
static Result<RoiAlignOptions> roi_align_options(const RoiAlignAttrs& a) {
  RoiAlignOptions o;
  if (a.mode != "avg" && a.mode != "max") return invalid("roi_align's mode is " + a.mode);
  if (a.coordinate_transformation_mode != "half_pixel" && a.coordinate_transformation_mode != "output_half_pixel")
    return invalid("roi_align's coordinate_transformation_mode is " + a.coordinate_transformation_mode);
  if (a.output_height < 1 || a.output_width < 1 || a.sampling_ratio < 0)
      return invalid("roi_align to " + std::to_string(a.output_height) + " by " + std::to_string(a.output_width));
  o.largest = a.mode == "max";
  o.half_pixel = a.coordinate_transformation_mode == "half_pixel";
  o.sampling_ratio = a.sampling_ratio;
  o.spatial_scale = a.spatial_scale;
  return o;
}
static Status infer_roi_align(Op& op, InferContext& cx) {
  TRY(need_regions(op, 4, cx));
  TRY(need_tensor(op, 2));
  const RoiAlignAttrs& a = op.attr<RoiAlignAttrs>();
  TRY(roi_align_options(a));
  const Type& batch = type_of(op, 2);
  if (batch.rank() != 1 || !is_int(batch.dtype)) return bad_operand(op, 2, "integers [regions]");
  TRY(cx.equal(batch.shape[0], type_of(op, 1).shape[0], "roi_align's regions and batch indices"));
  set_type(op, 0, Type::tensor(type_of(op, 0).dtype, {type_of(op, 1).shape[0], type_of(op, 0).shape[1], Dim(a.output_height), Dim(a.output_width)}));
  return {};
}
static Result<std::vector<HostValue>> eval_roi_align(EvalCall& call) {
  const Tensor &x = call.tensor(0), &rois = call.tensor(1), &batch = call.tensor(2);
  const RoiAlignAttrs& a = call.attr<RoiAlignAttrs>();
  TRY_ASSIGN(RoiAlignOptions options, roi_align_options(a));
  if (rois.dims[1] != 4 || rois.dims[0] != batch.dims[0]) return invalid("roi_align's regions do not fit together");
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, {rois.dims[0], x.dims[1], a.output_height, a.output_width}));
  TRY(host_roi_align(view_of(x), view_of(rois), view_of(batch), options, view_of(y)));
  return one(std::move(y));
}
// The regions and the channels.
static Result<ShardingRule> shard_rois(const Op& op) {
  const int y = ShardingRule::kResult;
  return shard_places(op, {{{1, 0}, {2, 0}, {y, 0}}, {{0, 1}, {y, 1}}});
}
OpDef def_roi_align() {
  return {.onnx = "RoiAlign", .family = Family::resample, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<RoiAlignAttrs>,
          .infer = infer_roi_align, .eval = eval_roi_align, .cost = cost_sampled, .shard = shard_rois};
}

static Status infer_max_roi_pool(Op& op, InferContext& cx) {
  TRY(need_regions(op, 5, cx));
  const std::vector<int64_t>& pooled = op.attr<MaxRoiPoolAttrs>().pooled_shape;
  if (pooled.size() != 2 || pooled[0] < 1 || pooled[1] < 1) return invalid("max_roi_pool's pooled_shape must be two positive numbers");
  set_type(op, 0, Type::tensor(type_of(op, 0).dtype, {type_of(op, 1).shape[0], type_of(op, 0).shape[1], Dim(pooled[0]), Dim(pooled[1])}));
  return {};
}
static Result<std::vector<HostValue>> eval_max_roi_pool(EvalCall& call) {
  const Tensor &x = call.tensor(0), &rois = call.tensor(1);
  const MaxRoiPoolAttrs& a = call.attr<MaxRoiPoolAttrs>();
  if (rois.dims[1] != 5) return invalid("max_roi_pool's regions have " + std::to_string(rois.dims[1]) + " numbers");
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, {rois.dims[0], x.dims[1], a.pooled_shape[0], a.pooled_shape[1]}));
  TRY(host_max_roi_pool(view_of(x), view_of(rois), a.spatial_scale, view_of(y)));
  return one(std::move(y));
}
OpDef def_max_roi_pool() {
  return {.onnx = "MaxRoiPool", .family = Family::resample, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<MaxRoiPoolAttrs>,
          .infer = infer_max_roi_pool, .eval = eval_max_roi_pool, .cost = cost_sampled, .shard = shard_rois};
}

}  // namespace weft
