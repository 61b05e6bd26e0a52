#include "runtime/cuda/device.h"

namespace weft {

using namespace cu;

std::string CudaDevice::isa() const {
  // From 9.0 on there are instructions that only one architecture has.
  return "sm_" + std::to_string(major * 10 + minor) + (major >= 9 ? "a" : "");
}

static std::string row_of(const CudaDevice& d) {
  struct Name {
    const char *part, *row;
  };
  constexpr Name kNames[] = {{"H200", "h200"}, {"H100", "h100"}, {"A100", "a100"}, {"B200", "b200"},
                             {"B300", "b300"}, {"L40S", "l40s"}, {"5090", "rtx5090"}};
  for (const Name& n : kNames)
    if (d.name.find(n.part) != std::string::npos) return n.row;
  return "";
}

bool is_of_one_architecture(const Target& t) { return t.isa.ends_with('a'); }

int CudaDevice::fitness(const Target& t) const {
  constexpr int kBinary = 10000, kSm = 4, kOrin = 87;  // whose processor shares its memory: its code is for it alone
  const int here = major * 10 + minor;
  if (t.backend != Backend::cuda || t.gpu.sm > here) return 0;
  if (t.gpu.ptx) return kSm * t.gpu.sm;
  const bool alone = is_of_one_architecture(t);
  if (alone || t.gpu.sm == kOrin || here == kOrin ? t.gpu.sm != here : t.gpu.sm / 10 != major) return 0;
  return kBinary + kSm * t.gpu.sm + 2 * alone + (t.gpu.device == row_of(*this));
}

Result<Target> CudaDevice::target() const {
  std::string row = row_of(*this);
  std::optional<Target> t = cuda_target(isa() + (row.empty() ? "" : "+" + row));
  if (!t) t = cuda_target(isa());
  // Newer than what is known: an older one's machine code, else portable code.
  for (int m = minor; m >= 0 && !t; --m)
    if (auto older = cuda_target("sm_" + std::to_string(major * 10 + m)); older && fitness(*older) > 0) t = older;
  if (!t && major >= 9) t = cuda_target("compute_90");
  else if (!t && major >= 8) t = cuda_target("compute_80");
  if (!t) return unsupported("GPU " + std::to_string(ordinal) + " (" + name + ") is of compute capability " + std::to_string(major) + "." +
                             std::to_string(minor) + "; 7.5 or later is needed");
  if (multiprocessors > 0) t->gpu.multiprocessors = multiprocessors;
  if (l2_bytes > 0) t->l2_bytes = l2_bytes;
  if (memory_rate() > 0) t->gpu.memory_rate = memory_rate();
  return std::move(*t);
}

double CudaDevice::memory_rate() const { return 2.0 * memory_clock_khz * 1e3 * memory_bus_bits / 8; }

static Result<CudaDevice> describe(const Driver& d, int ordinal) {
  const std::string doing = "asking for the properties of GPU " + std::to_string(ordinal);
  CudaDevice out;
  out.ordinal = ordinal;
  CUdevice device = 0;
  CU_TRY(d.cuDeviceGet(&device, ordinal), doing);
  char text[256] = {};
  CU_TRY(d.cuDeviceGetName(text, sizeof text - 1, device), doing);
  out.name = text;
  if (d.cuDeviceGetPCIBusId(text, sizeof text - 1, device) == CUDA_SUCCESS) out.pci = text;
  size_t bytes = 0;
  CU_TRY(d.cuDeviceTotalMem_v2(&bytes, device), doing);
  out.memory_bytes = static_cast<int64_t>(bytes);
  auto ask = [&](CUdevice_attribute attribute) {
    int v = 0;
    return d.cuDeviceGetAttribute(&v, attribute, device) == CUDA_SUCCESS ? v : 0;
  };
  out.major = ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  out.minor = ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  out.multiprocessors = ask(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  out.l2_bytes = ask(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  out.shared_per_block = ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  out.shared_per_multiprocessor = ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  out.registers_per_multiprocessor = ask(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
  out.threads_per_multiprocessor = ask(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  out.clock_khz = ask(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  out.memory_clock_khz = ask(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  out.memory_bus_bits = ask(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  out.virtual_memory = ask(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) != 0;
  return out;
}

Result<std::vector<CudaDevice>> cuda_devices() {
  TRY_ASSIGN(const Driver* d, cuda_driver());
  int count = 0;
  CU_TRY(d->cuDeviceGetCount(&count), "counting GPUs");
  std::vector<CudaDevice> out;
  for (int i = 0; i < count; ++i) {
    TRY_ASSIGN(CudaDevice one, describe(*d, i));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace weft
