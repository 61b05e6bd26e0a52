// Tensors between the host and the device that runs an executable.
#include <vector>

#include "frontend/api/runtime/executable_state.h"
#include "frontend/api/runtime/tensor_access.h"
#include "ir/base/result.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/strided.h"

namespace weft::api {

namespace {

struct DeviceMemory {
  std::shared_ptr<Device> device;  // outlives the block
  Block block;
};

}  // namespace

Result<Tensor> Executable::upload(const Tensor& t) const {
  const std::shared_ptr<Device>& device = device_of(*state_->exe);
  if (!device || t.empty() || t.device() != Tensor::kHost || t.dtype() == DType::str) return t;
  Tensor dense = t;
  if (!t.contiguous()) {
    TRY_ASSIGN(dense, t.copy());
  }
  auto memory = std::make_shared<DeviceMemory>(DeviceMemory{device, Block(device.get())});
  TRY(memory->block.reserve(dense.bytes()));
  TRY_ASSIGN(std::unique_ptr<DeviceQueue> queue, device->queue());
  if (dense.bytes() > 0) TRY(queue->upload(memory->block.data(), dense.data(), dense.bytes()));
  TRY(queue->finish());
  Tensor out = Tensor::view_on_gpu(device->number(), memory->block.data(), t.dtype(), t.dims());
  TensorAccess::own(out, std::move(memory));
  return out;
}

Result<Tensor> Executable::download(const Tensor& t) const {
  if (t.device() == Tensor::kHost) return t;
  const std::shared_ptr<Device>& device = device_of(*state_->exe);
  if (!device || device->number() != t.device())
    return usage("a tensor on GPU " + std::to_string(t.device()) + ", but the model runs on " + (device ? device->name() : "the host"));
  int64_t lo = 0, hi = 0;
  if (!strided_extent(t.dtype(), t.rank(), t.dims().data(), t.strides().data(), &lo, &hi)) return Tensor::make(t.dtype(), t.dims());
  std::vector<std::byte> bytes(static_cast<size_t>(hi - lo));
  TRY_ASSIGN(std::unique_ptr<DeviceQueue> queue, device->queue());
  TRY(queue->download(bytes.data(), static_cast<const std::byte*>(t.data()) + lo, hi - lo));
  return Tensor::view(bytes.data() - lo, t.dtype(), t.dims(), t.strides()).copy();
}

}  // namespace weft::api
