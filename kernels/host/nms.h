// Non-maximum suppression (ONNX NonMaxSuppression): a host function over strided f32 views.
#pragma once

#include <optional>

#include "ir/base/tensor_view.h"

namespace weft {

struct NmsOptions {
  int64_t max_boxes_per_class = 0;       // 0 or less: none
  float iou_threshold = 0;               // a box that overlaps a chosen one by more is dropped
  std::optional<float> score_threshold;  // only scores above it count
  bool center_point_box = false;         // boxes are x_center, y_center, width, height; else two opposite corners y1 x1 y2 x2
};
// boxes [batches, n, 4], scores [batches, classes, n]. Returns (batch, class, box) triples, flattened: by batch and class,
// then by falling score (equal scores: lower box number first).
std::vector<int64_t> host_nms(const TensorView& boxes, const TensorView& scores, const NmsOptions& options);

}  // namespace weft
