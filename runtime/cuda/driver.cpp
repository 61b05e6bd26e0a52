#include "runtime/cuda/driver.h"

#include "ir/base/dynamic_library.h"

namespace weft {

using namespace cu;

static Error no_driver(const std::string& what) {
  return unsupported("no CUDA driver: " + what).with_hint("install NVIDIA's driver, 525 or later, or run with --target cpu");
}

static std::string name_of(const Driver* d, CUresult result) {
  const char *name = nullptr, *text = nullptr;
  std::string number = "CUDA error " + std::to_string(result);
  if (!d || d->cuGetErrorName(result, &name) != CUDA_SUCCESS || !name) return number;
  d->cuGetErrorString(result, &text);
  return std::string(name) + (text ? " (" + std::string(text) + ")" : "");
}

static Result<Driver> open_driver() {
  auto library = DynamicLibrary::open({"libcuda.so.1", "libcuda.so"});
  if (!library.ok()) return no_driver(library.error().message);
  Driver d;
  d.path = library->path();
  const char* absent = nullptr;
#define CU_FUNCTION(name, parameters)                                  \
  d.name = reinterpret_cast<decltype(d.name)>(library->symbol(#name)); \
  if (!d.name) absent = #name;
#include "runtime/cuda/driver.def"
  if (d.cuDriverGetVersion) d.cuDriverGetVersion(&d.version);
  if (absent) return no_driver(d.path + " is of CUDA " + d.version_text() + " and has no " + absent + "; 12.0 is needed");
  CUresult r = d.cuInit(0);
  if (r == CUDA_SUCCESS) return d;
  if (r == CUDA_ERROR_STUB_LIBRARY) return no_driver(d.path + " is the toolkit's stub");
  Error e = error(Code::kDevice, "the CUDA driver does not start: " + name_of(&d, r));
  if (r == CUDA_ERROR_NO_DEVICE) e.with_hint("no GPU is visible: see nvidia-smi and CUDA_VISIBLE_DEVICES, or run with --target cpu");
  else if (r == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH) e.with_hint("the driver was updated: restart the machine");
  else e.with_hint("see nvidia-smi, or run with --target cpu");
  return e;
}

static const Result<Driver>& opened() {
  static const Result<Driver> driver = open_driver();
  return driver;
}

Result<const Driver*> cuda_driver() {
  const Result<Driver>& d = opened();
  if (!d.ok()) return d.error();
  return &*d;
}

Error cuda_error(CUresult result, const std::string& doing) {
  const Result<Driver>& d = opened();
  Error e = error(result == CUDA_ERROR_OUT_OF_MEMORY ? Code::kResources : Code::kDevice, doing + ": " + name_of(d.ok() ? &*d : nullptr, result));
  if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) e.with_hint("the driver is older than the NVRTC that made the code: update it, or use an older NVRTC");
  else if (is_sticky(result)) e.with_hint("this process cannot use the GPU any more: start it again");
  return e;
}

bool is_sticky(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS: case CUDA_ERROR_LAUNCH_TIMEOUT: case CUDA_ERROR_ASSERT: case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION: case CUDA_ERROR_MISALIGNED_ADDRESS: case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC: case CUDA_ERROR_LAUNCH_FAILED: case CUDA_ERROR_ECC_UNCORRECTABLE: case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED: return true;
    default: return false;
  }
}

}  // namespace weft
