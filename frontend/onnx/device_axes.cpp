#include "frontend/onnx/device_axes.h"

#include <algorithm>

namespace weft {

Result<std::vector<DigitRange>> digits_of(const std::vector<int64_t>& part_of, int64_t parts) {
  const auto places = static_cast<int64_t>(part_of.size());
  const Error wrong = unsupported("its shards do not lie along axes of a mesh of the devices");
  std::vector<DigitRange> digits;
  std::vector<int64_t> sum(part_of.size(), 0);
  for (int64_t weight = 1, stride = 1; weight < parts;) {
    while (stride < places && part_of[stride] != weight) ++stride;
    int64_t count = 1;
    while (stride * count < places && part_of[stride * count] == weight * count) ++count;
    const int64_t end = stride * count;
    if (count == 1 || places % end || parts % (weight * count)) return wrong;
    for (int64_t p = 0; p < places; ++p) sum[p] += p / stride % count * weight;
    digits.push_back({stride, end});
    weight *= count;
    stride = end;
  }
  if (sum != part_of) return wrong;
  std::reverse(digits.begin(), digits.end());
  return digits;
}

Result<Mesh> mesh_of(const std::set<int64_t>& strides, int64_t places) {
  std::set<int64_t> all = strides;
  all.insert({1, places});
  Mesh mesh;
  for (auto outer = all.rbegin(), inner = std::next(outer); inner != all.rend(); outer = inner++) {
    if (*outer % *inner) return unsupported("its tensors are cut in ways that no one mesh of the devices has");
    mesh.axes.emplace_back("d" + std::to_string(mesh.axes.size()), *outer / *inner);
  }
  return mesh;
}

Result<std::vector<std::string>> axes_of(const Mesh& mesh, const std::vector<DigitRange>& digits) {
  std::vector<std::string> out;
  for (const DigitRange& d : digits) {
    int64_t stride = 1, found = 1;
    std::vector<std::string> inner_first;
    for (auto a = mesh.axes.rbegin(); a != mesh.axes.rend(); ++a) {
      if (a->first == kStageAxis || a->second == 1) continue;
      if (stride >= d.low && stride < d.high) {
        if (stride != d.low * found) break;
        inner_first.push_back(a->first);
        found *= a->second;
      }
      stride *= a->second;
    }
    if (found != d.high / d.low) return unsupported("its shards do not lie along the axes of the mesh " + mesh.axes_text());
    out.insert(out.end(), inner_first.rbegin(), inner_first.rend());
  }
  return out;
}

}  // namespace weft
