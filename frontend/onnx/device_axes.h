// Lists of devices as axes of a mesh. ONNX says of a tensor which device has which shard; a mesh says it by digits of a rank's
// number, and only what can be said so is supported.
//
// A cut is a function from a device's place to the number of its part: it is a mesh's if it is a number in mixed radix of some
// digits of the place, the outer digit in front.
#pragma once

#include <set>
#include <vector>

#include "ir/base/mesh.h"

namespace weft {

// Of a place: the digits with strides from `low` up to `high`, place / low % (high / low).
struct DigitRange {
  int64_t low, high;
};
// The digits that make part_of[place] (from 0 to parts - 1), outermost first. Error kUnsupported where none do.
Result<std::vector<DigitRange>> digits_of(const std::vector<int64_t>& part_of, int64_t parts);
// The axes, but for that of stages, between whose strides (of all places but the stage) these cuts lie. Error kUnsupported where
// strides do not divide each other. Axes are called d0, d1, …, outermost first.
Result<Mesh> mesh_of(const std::set<int64_t>& strides, int64_t places);
// The mesh's axes, but for that of stages, whose digits these are. Error kUnsupported where they are no axes of it.
Result<std::vector<std::string>> axes_of(const Mesh& mesh, const std::vector<DigitRange>& digits);

}  // namespace weft
