// The host calls over the typed functions of this folder. Plans may come from files, so operands are checked.
#include "kernels/host/call_support.h"
#include "kernels/host/nms.h"
#include "kernels/host/select.h"
#include "kernels/host/sort.h"

namespace weft {

Status host_call_non_zero(HostCall& c) {
  TRY(operands(c, 1, 1, 1, 1));
  const TensorView& x = c.inputs[0];
  TRY(expect(x.dtype != DType::str && !is_subbyte(x.dtype), "wants numbers"));
  NonZero found = host_non_zero(x);
  const int64_t dims[] = {x.rank(), found.count};
  return store(c, 0, dims, found.coordinates);
}

Status host_call_compress(HostCall& c) {
  TRY(operands(c, 2, 2, 1, 1));
  const TensorView &x = c.inputs[0], &condition = c.inputs[1];
  TRY(expect(x.dtype != DType::str && !is_subbyte(x.dtype) && c.outputs[0].dtype == x.dtype, "wants numbers of one type"));
  TRY(expect(condition.dtype == DType::b1 && condition.rank() == 1, "wants a vector of bools"));
  std::optional<int> axis;
  if (c.has("axis")) {
    TRY_ASSIGN(axis, axis_of(c, x.rank(), 0));
  }
  TRY(expect(condition.numel() <= (axis ? x.dims[*axis] : x.numel()), "wants no more conditions than elements"));
  std::vector<int64_t> kept = host_set_positions(condition), dims = {static_cast<int64_t>(kept.size())};
  if (axis) {
    dims = x.dims;
    dims[*axis] = static_cast<int64_t>(kept.size());
  }
  TRY(c.resize(0, dims));
  host_take(x, axis, kept, c.outputs[0]);
  return {};
}

Status host_call_non_max_suppression(HostCall& c) {
  TRY(operands(c, 2, 5, 1, 1));
  const TensorView &boxes = c.inputs[0], &scores = c.inputs[1];
  bool shapes = boxes.dtype == DType::f32 && scores.dtype == DType::f32 && boxes.rank() == 3 && scores.rank() == 3 && boxes.dims[2] == 4 &&
                boxes.dims[0] == scores.dims[0] && boxes.dims[1] == scores.dims[2];
  TRY(expect(shapes, "wants boxes f32[b,n,4] and scores f32[b,c,n]"));
  NmsOptions options;
  TRY_ASSIGN(int64_t center, c.integer("center_point_box", 0));
  options.center_point_box = center != 0;
  TRY_ASSIGN(int most, operand_number(c, "max_boxes_per_class", c.inputs.size()));
  TRY_ASSIGN(int iou, operand_number(c, "iou_threshold", c.inputs.size()));
  TRY_ASSIGN(int score, operand_number(c, "score_threshold", c.inputs.size()));
  if (most >= 0) {
    TRY_ASSIGN(double v, scalar(c.inputs[most]));
    options.max_boxes_per_class = v > 0 ? static_cast<int64_t>(std::min(v, 1e18)) : 0;
  }
  if (iou >= 0) {
    TRY_ASSIGN(double v, scalar(c.inputs[iou]));
    options.iou_threshold = static_cast<float>(v);
  }
  if (score >= 0) {
    TRY_ASSIGN(double v, scalar(c.inputs[score]));
    options.score_threshold = static_cast<float>(v);
  }
  std::vector<int64_t> chosen = host_nms(boxes, scores, options);
  const int64_t dims[] = {static_cast<int64_t>(chosen.size() / 3), 3};
  return store(c, 0, dims, chosen);
}

Status host_call_top_k(HostCall& c) {
  TRY(operands(c, 1, 1, 2, 2));
  const TensorView &x = c.inputs[0], &values = c.outputs[0], &indices = c.outputs[1];
  TRY_ASSIGN(int axis, axis_of(c, x.rank(), -1));
  TRY_ASSIGN(int64_t largest, c.integer("largest", 1));
  bool fits = x.dtype != DType::str && !is_subbyte(x.dtype) && !is_complex(x.dtype) && values.dtype == x.dtype &&
              indices.dtype == DType::i64 && values.dims == indices.dims && values.rank() == x.rank();
  for (int d = 0; fits && d < x.rank(); ++d) fits = values.dims[d] >= 0 && (d == axis ? values.dims[d] <= x.dims[d] : values.dims[d] == x.dims[d]);
  TRY(expect(fits, "wants top_k's shapes and types"));
  host_top_k(x, axis, largest != 0, values, indices);
  return {};
}

Status host_call_unique(HostCall& c) {
  TRY(operands(c, 1, 1, 1, 4));
  const TensorView& x = c.inputs[0];
  TRY(expect(x.dtype != DType::str && !is_subbyte(x.dtype) && !is_complex(x.dtype) && c.outputs[0].dtype == x.dtype, "wants numbers of one type"));
  std::optional<int> axis;
  if (c.has("axis")) {
    TRY_ASSIGN(axis, axis_of(c, x.rank(), 0));
  }
  TRY_ASSIGN(int64_t sorted, c.integer("sorted", 1));
  UniqueResult u = host_unique(x, axis, sorted != 0);
  const auto count = static_cast<int64_t>(u.first.size());
  std::vector<int64_t> dims = {count};
  if (axis) {
    dims = x.dims;
    dims[*axis] = count;
  }
  TRY(c.resize(0, dims));
  host_take(x, axis, u.first, c.outputs[0]);
  struct Extra {
    const char* name;
    const std::vector<int64_t>& elements;
  };
  for (const Extra& e : {Extra{"first", u.first}, Extra{"inverse", u.inverse}, Extra{"counts", u.counts}}) {
    TRY_ASSIGN(int output, operand_number(c, e.name, c.outputs.size()));
    if (output < 0) continue;
    const int64_t n[] = {static_cast<int64_t>(e.elements.size())};
    TRY(store(c, output, n, e.elements));
  }
  return {};
}

}  // namespace weft
