// Many bytes of the host to the device at the rate of the link: several threads copy chunks into page-locked memory, from
// where the device takes them, each thread a chunk ahead of its last one.
#pragma once

#include <span>

#include "runtime/cuda/driver.h"
#include "runtime/executor/device.h"

namespace weft {

// As Device::upload. name: of the device, for errors.
Status upload_pieces(const cu::Driver& driver, cu::CUcontext context, std::byte* to, std::span<const UploadPiece> pieces, ThreadPool* pool,
                     const std::string& name);

}  // namespace weft
