// Calls of the driver need a context that is the calling thread's.
#pragma once

#include "runtime/cuda/driver.h"

namespace weft {

inline cu::CUdeviceptr address(const std::byte* p) { return reinterpret_cast<cu::CUdeviceptr>(p); }

// Makes the context the calling thread's for a while; other users of CUDA in the process have their own.
class Current {
 public:
  Current(const cu::Driver& d, cu::CUcontext context) : driver_(d) { pushed_ = d.cuCtxPushCurrent_v2(context) == cu::CUDA_SUCCESS; }
  ~Current() {
    cu::CUcontext old = nullptr;
    if (pushed_) driver_.cuCtxPopCurrent_v2(&old);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const cu::Driver& driver_;
  bool pushed_;
};

}  // namespace weft
