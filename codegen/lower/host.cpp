// Host calls: ops that no kernel family computes (sorting, data-dependent sizes), run by functions of kernels/host.
#include "codegen/lower/lowering.h"

namespace weft {

Result<bool> Lowering::host(Op&) { return false; }
Result<bool> Lowering::control(Op&) { return false; }

}  // namespace weft
