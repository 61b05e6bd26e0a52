// Programmatic dependent launch: a kernel may start before the one in front of it has ended, and waits here for its results.
// Every kernel of weft waits, so that when one has passed, all before have ended. Without the launch attribute, and before
// sm_90, these do nothing.
#pragma once

#include "kernels/core/types.cuh"

namespace weft {

// From here on, what earlier kernels wrote is visible.
WEFT_FN void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next kernel's blocks may be brought in as soon as there is room.
WEFT_FN void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

}  // namespace weft
