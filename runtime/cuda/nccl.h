// NCCL, opened at run time: declared by us and neither linked nor included. Streams are the driver's.
#pragma once

#include <climits>

#include "runtime/cuda/driver.h"

namespace weft {

namespace nccl_api {

using ncclResult_t = int;
using ncclDataType_t = int;
using ncclRedOp_t = int;
using ncclComm_t = struct CommHandle*;
using cudaStream_t = cu::CUstream;

struct ncclUniqueId {
  char internal[128];
};

// The fields that 2.18 has. A later NCCL sees by `size` that there are no more, and takes its defaults for the others.
struct ncclConfig_t {
  size_t size = sizeof(ncclConfig_t);
  unsigned magic = 0xcafebeef;
  unsigned version = 21805;
  int blocking = INT_MIN;  // INT_MIN: undefined
  int cgaClusterSize = INT_MIN;
  int minCTAs = INT_MIN;
  int maxCTAs = INT_MIN;
  const char* netName = nullptr;
  int splitShare = INT_MIN;
};
constexpr int kSplitNoColor = -1;

enum : int {
#define NCCL_VALUE(name, value) name = value,
#include "runtime/cuda/nccl.def"
};

struct Nccl {
#define NCCL_FUNCTION(result, name, parameters) result(*name) parameters = nullptr;
#include "runtime/cuda/nccl.def"
  std::string path;
  int version = 0;  // as 22809 for 2.28.9

  std::string version_text() const;
};

}  // namespace nccl_api

// Opened once per process; a failure is remembered, too. Error kUnsupported says what is missing and how to get it.
Result<const nccl_api::Nccl*> nccl();

// The Error of a call that did not succeed. `comm` may be null.
Error nccl_error(int result, nccl_api::ncclComm_t comm, const std::string& doing);

}  // namespace weft
