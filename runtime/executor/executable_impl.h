// What an executable holds: the verified plan, its code, and memory that all contexts read.
#pragma once

#include <memory>
#include <vector>

#include "runtime/executor/code.h"
#include "runtime/executor/constants.h"
#include "runtime/executor/machine.h"
#include "runtime/executor/memory.h"

namespace weft {

class ExecutableImpl {
 public:
  Plan plan;
  PlanCode code;  // points into plan
  std::vector<std::shared_ptr<const LoadedObject>> objects;
  std::shared_ptr<Device> device;
  std::vector<ConstantBytes> constants;
  std::shared_ptr<ThreadPool> pool;
  std::shared_ptr<Communicator> world;
  std::vector<std::shared_ptr<Communicator>> groups;
  std::vector<std::shared_ptr<DeviceRanks>> device_groups;
  std::chrono::milliseconds comm_timeout{0};
  LoadedConstants loaded;
  PreparedBytes prepared;
};

}  // namespace weft
