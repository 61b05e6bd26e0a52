// A rank whose others are not there, for measuring what it takes by itself: its collectives end at once. On the host the result
// is the rank's operand as far as that goes, and zeros; on a device it is whatever its memory held.
#pragma once

#include "runtime/executor/device.h"

namespace weft {

// Rank 0 of so many.
std::unique_ptr<Communicator> lone_rank(int size);
// In the place of Device::join for a group of such a rank; null for other groups.
std::unique_ptr<DeviceRanks> lone_rank_on_device(const Communicator& group);

}  // namespace weft
