#include "kernels/host/nms.h"

#include <algorithm>

#include "ir/base/check.h"

namespace weft {

namespace {
struct Box {
  float x0, x1, y0, y1;
  float area() const { return (x1 - x0) * (y1 - y0); }
};

float element(const TensorView& v, int64_t a, int64_t b, int64_t c) {
  return static_cast<const float*>(v.data)[a * v.strides[0] + b * v.strides[1] + c * v.strides[2]];
}

Box load_box(const TensorView& boxes, int64_t batch, int64_t i, bool center) {
  float v[4];
  for (int k = 0; k < 4; ++k) v[k] = element(boxes, batch, i, k);
  if (center) return {v[0] - v[2] / 2, v[0] + v[2] / 2, v[1] - v[3] / 2, v[1] + v[3] / 2};
  return {std::min(v[1], v[3]), std::max(v[1], v[3]), std::min(v[0], v[2]), std::max(v[0], v[2])};
}

bool overlaps(const Box& a, const Box& b, float threshold) {
  float w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0), h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  // Written so that NaN coordinates overlap nothing.
  if (!(w > 0) || !(h > 0)) return false;
  float both = w * h, all = a.area() + b.area() - both;
  if (!(a.area() > 0) || !(b.area() > 0) || !(all > 0)) return false;
  return both / all > threshold;
}
}  // namespace

std::vector<int64_t> host_nms(const TensorView& boxes, const TensorView& scores, const NmsOptions& options) {
  CHECK(boxes.dtype == DType::f32 && scores.dtype == DType::f32);
  std::vector<int64_t> out;
  const int64_t n = boxes.dims[1];
  for (int64_t batch = 0; batch < boxes.dims[0]; ++batch) {
    std::vector<Box> box(n);
    for (int64_t i = 0; i < n; ++i) box[i] = load_box(boxes, batch, i, options.center_point_box);
    for (int64_t cls = 0; cls < scores.dims[1]; ++cls) {
      std::vector<std::pair<float, int64_t>> order;
      for (int64_t i = 0; i < n; ++i) {
        float s = element(scores, batch, cls, i);
        if (s == s && (!options.score_threshold || s > *options.score_threshold)) order.emplace_back(s, i);
      }
      std::sort(order.begin(), order.end(),
          [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
      std::vector<int64_t> chosen;
      for (const auto& candidate : order) {
        if (static_cast<int64_t>(chosen.size()) >= options.max_boxes_per_class) break;
        const Box& b = box[candidate.second];
        if (std::any_of(chosen.begin(), chosen.end(), [&](int64_t c) { return overlaps(b, box[c], options.iou_threshold); })) continue;
        chosen.push_back(candidate.second);
        out.insert(out.end(), {batch, cls, candidate.second});
      }
    }
  }
  return out;
}

}  // namespace weft
