// What `fuse` asks about an op before it takes it into a region.
#pragma once

#include <cstdint>

#include "ir/base/target.h"
#include "ir/core/module.h"

namespace weft {

// What a region may do with an op.
enum class Role : uint8_t {
  none,         // stays alone
  pointwise,    // anywhere
  source,       // anchor: ops on its result only (contractions, convolutions, pools, gathers)
  row,          // anchor: ops on both sides
  sink,         // anchor: ops on its operand only
};
Role role_of(const Op& op);

// A few operations per element, no function.
bool is_cheap(const Op& op);
// Weights of 8 bits or fewer that products of matrices read as they are, and scale as they multiply.
bool stays_quantised(const Op& dequantize);
// A cast to a narrower float type.
bool narrows(const Op& op);
// A convolution that reads each element of its operand for many results, and none beside it.
bool packs_operand(const Op& op, const Target& target);
// The anchor behind which the chain of elementwise ops begins that ends with this one, and whose kernel takes it; null: none.
const Op* anchor_before(const Op& op);

}  // namespace weft
