// Memory of a GPU, and the code loaded into it.
#include <algorithm>

#include "ir/base/text.h"
#include "runtime/cuda/gpu_impl.h"
#include "runtime/cuda/upload.h"

namespace weft {

namespace {

using namespace cu;

constexpr const char* kUseNames[kMemoryUses] = {"weights", "activations", "states", "inputs and outputs", "pinned memory"};

std::string text_of(int64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

}  // namespace

CudaGpu::~CudaGpu() {
  if (!context) return;
  Current current(driver, context);
  for (CUmodule m : modules_) driver.cuModuleUnload(m);
}

// The context stays for as long as the process: making another one takes tenths of a second.
Status CudaGpu::open() {
  CUdevice device = 0;
  CU_TRY(driver.cuDeviceGet(&device, facts_.ordinal), "opening " + name());
  CU_TRY(driver.cuDevicePrimaryCtxRetain(&context, device), "opening " + name());
  return {};
}

Status CudaGpu::take(int64_t bytes, MemoryUse use) {
  std::lock_guard lock(mutex_);
  int64_t all = 0;
  for (int64_t n : taken_) all += n;
  if (bytes > limit_ - all) return no_room(bytes, use);
  taken_[static_cast<size_t>(use)] += bytes;
  return {};
}

void CudaGpu::give_back(int64_t bytes, MemoryUse use) {
  std::lock_guard lock(mutex_);
  taken_[static_cast<size_t>(use)] -= bytes;
}

Status CudaGpu::checked(CUresult r, int64_t bytes, MemoryUse use) {
  if (r == CUDA_SUCCESS) return {};
  give_back(bytes, use);
  if (r != CUDA_ERROR_OUT_OF_MEMORY) return cuda_error(r, "allocating " + text_of(bytes) + " on " + name());
  std::lock_guard lock(mutex_);
  return no_room(bytes, use);
}

Result<std::byte*> CudaGpu::allocate(int64_t bytes, MemoryUse use) {
  if (use == MemoryUse::pinned) {
    Current current(driver, context);
    void* p = nullptr;
    CU_TRY(driver.cuMemAllocHost_v2(&p, static_cast<size_t>(bytes)), "allocating " + text_of(bytes) + " of the host's memory for " + name());
    std::lock_guard lock(mutex_);
    blocks_[static_cast<std::byte*>(p)] = {0, use};
    return static_cast<std::byte*>(p);
  }
  TRY(take(bytes, use));
  Current current(driver, context);
  CUdeviceptr p = 0;
  TRY(checked(driver.cuMemAlloc_v2(&p, static_cast<size_t>(bytes)), bytes, use));
  auto* memory = reinterpret_cast<std::byte*>(p);
  std::lock_guard lock(mutex_);
  blocks_[memory] = {bytes, use};
  return memory;
}

void CudaGpu::release(std::byte* memory) {
  Current current(driver, context);
  std::lock_guard lock(mutex_);
  auto it = blocks_.find(memory);
  // Both wait for what still runs.
  if (it->second.use == MemoryUse::pinned) driver.cuMemFreeHost(memory);
  else driver.cuMemFree_v2(address(memory));
  taken_[static_cast<size_t>(it->second.use)] -= it->second.bytes;
  blocks_.erase(it);
}

int64_t CudaGpu::available() const {
  std::lock_guard lock(mutex_);
  int64_t left = limit_;
  for (int64_t n : taken_) left -= n;
  return std::min(left, free_bytes());
}

Status CudaGpu::upload(std::byte* to, std::span<const UploadPiece> pieces, ThreadPool* pool) {
  return upload_pieces(driver, context, to, pieces, pool, name());
}

Result<void*> CudaGpu::load(std::span<const std::byte> code, const std::string& kernel, int64_t shared_bytes) {
  Current current(driver, context);
  const std::string doing = "loading kernel " + kernel + " on " + name();
  const std::string image(reinterpret_cast<const char*>(code.data()), code.size());  // PTX has to end with a zero
  CUmodule module = nullptr;
  CU_TRY(driver.cuModuleLoadData(&module, image.c_str()), doing);
  {
    std::lock_guard lock(mutex_);
    modules_.push_back(module);
  }
  CUfunction function = nullptr;
  CU_TRY(driver.cuModuleGetFunction(&function, module, kernel.c_str()), doing);
  constexpr int64_t kStaticLimit = 48 << 10;  // more must be asked for
  if (shared_bytes > kStaticLimit)
    CU_TRY(driver.cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared_bytes)), doing);
  return static_cast<void*>(function);
}

int64_t CudaGpu::free_bytes() const {
  Current current(driver, context);
  size_t free = 0, total = 0;
  return driver.cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS ? static_cast<int64_t>(free) : 0;
}

Error CudaGpu::no_room(int64_t bytes, MemoryUse use) const {
  std::string taken;
  for (int k = 0; k < kMemoryUses; ++k)
    if (taken_[static_cast<size_t>(k)]) taken += (taken.empty() ? "" : ", ") + std::string(kUseNames[k]) + " " + text_of(taken_[static_cast<size_t>(k)]);
  char percent[16];
  std::snprintf(percent, sizeof percent, "%.0f %%", fraction_ * 100);
  Error e = resources(name() + " has no room for " + text_of(bytes) + " of " + kUseNames[static_cast<int>(use)] + ": this model may use " + text_of(limit_) +
                      ", " + percent + " of the memory, and has taken " + (taken.empty() ? "none" : taken) + "; " + text_of(free_bytes()) +
                      " are free on the device");
  return e.with_hint("make dims smaller, end other programs on the GPU, or raise --gpu-memory"), e;
}

namespace {

// Addresses for all memory that the device has, of which the beginning is mapped.
class CudaRange : public DeviceRange {
 public:
  CudaRange(std::shared_ptr<CudaGpu> gpu, MemoryUse use) : gpu_(std::move(gpu)), d_(gpu_->driver), use_(use) {}
  ~CudaRange() override {
    if (!base_) return;
    Current current(d_, gpu_->context);
    d_.cuCtxSynchronize();  // as freeing memory does
    if (mapped_) d_.cuMemUnmap(base_, static_cast<size_t>(mapped_));
    for (CUmemGenericAllocationHandle h : handles_) d_.cuMemRelease(h);
    d_.cuMemAddressFree(base_, static_cast<size_t>(reserved_));
    gpu_->give_back(mapped_, use_);
  }

  Status open() {
    Current current(d_, gpu_->context);
    kind_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    kind_.location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu_->number()};
    const std::string doing = "reserving addresses on " + gpu_->name();
    size_t granularity = 0;
    CU_TRY(d_.cuMemGetAllocationGranularity(&granularity, &kind_, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED), doing);
    granularity_ = static_cast<int64_t>(granularity);
    reserved_ = up(gpu_->facts().memory_bytes);
    CU_TRY(d_.cuMemAddressReserve(&base_, static_cast<size_t>(reserved_), 0, 0, 0), doing);
    return {};
  }

  Status grow(int64_t bytes) override {
    if (bytes <= mapped_) return {};
    const int64_t more = bytes <= reserved_ ? up(bytes) - mapped_ : bytes;
    TRY(gpu_->take(more, use_));
    Current current(d_, gpu_->context);
    CUmemGenericAllocationHandle handle = 0;
    TRY(gpu_->checked(d_.cuMemCreate(&handle, static_cast<size_t>(more), &kind_, 0), more, use_));
    const CUdeviceptr at = base_ + static_cast<CUdeviceptr>(mapped_);
    CUresult r = d_.cuMemMap(at, static_cast<size_t>(more), 0, handle, 0);
    if (r != CUDA_SUCCESS) d_.cuMemRelease(handle);
    TRY(gpu_->checked(r, more, use_));
    handles_.push_back(handle);
    mapped_ += more;
    CUmemAccessDesc access;
    access.location = kind_.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    CU_TRY(d_.cuMemSetAccess(at, static_cast<size_t>(more), &access, 1), "mapping memory on " + gpu_->name());
    return {};
  }

  std::byte* data() const override { return reinterpret_cast<std::byte*>(base_); }
  int64_t capacity() const override { return mapped_; }

 private:
  int64_t up(int64_t n) const { return (n + granularity_ - 1) / granularity_ * granularity_; }

  std::shared_ptr<CudaGpu> gpu_;
  const Driver& d_;
  MemoryUse use_;
  CUmemAllocationProp kind_;
  CUdeviceptr base_ = 0;
  int64_t granularity_ = 1, reserved_ = 0, mapped_ = 0;
  std::vector<CUmemGenericAllocationHandle> handles_;
};

}  // namespace

Result<std::unique_ptr<DeviceRange>> CudaGpu::range(MemoryUse use) {
  if (!facts_.virtual_memory) return std::unique_ptr<DeviceRange>();
  auto r = std::make_unique<CudaRange>(shared_from_this(), use);
  TRY(r->open());
  return std::unique_ptr<DeviceRange>(std::move(r));
}

Result<std::shared_ptr<Device>> open_gpu(int ordinal, double memory_fraction) {
  if (!(memory_fraction > 0 && memory_fraction <= 1)) return usage("--gpu-memory is a fraction of the GPU's memory, above 0 and at most 1");
  TRY_ASSIGN(std::vector<CudaDevice> devices, cuda_devices());
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= devices.size()) {
    Error e(Code::kDevice, "there is no GPU " + std::to_string(ordinal) + ", but " + std::to_string(devices.size()));
    return e.with_hint("`weft doctor` lists them"), e;
  }
  TRY_ASSIGN(const Driver* driver, cuda_driver());
  auto gpu = std::make_shared<CudaGpu>(*driver, devices[static_cast<size_t>(ordinal)], memory_fraction);
  TRY(gpu->open());
  return std::shared_ptr<Device>(std::move(gpu));
}

}  // namespace weft
