// What is known of NVIDIA GPUs: facts of each ISA, and a row for each device that weft is tuned for. The figures are the
// vendor's (CUDA programming guide, "Compute Capabilities"; data sheets for memory rates).
#include <iterator>

#include "ir/base/target.h"

namespace weft {

namespace {

struct IsaRow {
  const char* isa;
  int sm;                  // ISA number: code for it needs this much, and runs on what is equal or, as PTX, newer
  unsigned tensor;         // Gpu::Tensor bits
  int64_t shared_kib;      // of a multiprocessor
  int threads;             // of a multiprocessor
  const char* device;      // the row to take when none is named
};

constexpr unsigned kTuring = Gpu::f16_mma, kAmpere = kTuring | Gpu::bf16_mma | Gpu::tf32_mma | Gpu::int8_mma | Gpu::cp_async,
                   kAmpere64 = kAmpere | Gpu::f64_mma, kAda = kAmpere | Gpu::fp8_mma, kHopper = kAmpere64 | Gpu::fp8_mma | Gpu::dependent_launch,
                   kHopperA = kHopper | Gpu::wgmma | Gpu::tma, kBlackwell = kHopper | Gpu::tma, kBlackwellA = kBlackwell | Gpu::tcgen05;

constexpr IsaRow kIsas[] = {
    {"sm_75", 75, kTuring, 64, 1024, "t4"},
    {"sm_80", 80, kAmpere64, 164, 2048, "a100"},
    {"sm_86", 86, kAmpere, 100, 1536, "a10"},
    {"sm_87", 87, kAmpere, 164, 1536, "orin"},
    {"sm_89", 89, kAda, 100, 1536, "l40s"},
    {"sm_90", 90, kHopper | Gpu::tma, 228, 2048, "h100"},
    {"sm_90a", 90, kHopperA, 228, 2048, "h100"},
    {"sm_100", 100, kBlackwell, 228, 2048, "b200"},
    {"sm_100a", 100, kBlackwellA, 228, 2048, "b200"},
    {"sm_103", 103, kBlackwell, 228, 2048, "b300"},
    {"sm_103a", 103, kBlackwellA, 228, 2048, "b300"},
    {"sm_120", 120, kBlackwell, 100, 1536, "rtx5090"},
    {"sm_120a", 120, kBlackwell, 100, 1536, "rtx5090"},
    {"compute_75", 75, kTuring, 64, 1024, "t4"},
    {"compute_80", 80, kAmpere, 100, 1536, "a100"},  // what all from 8.0 on have
    {"compute_90", 90, kHopper, 100, 1536, "h100"},
};

struct DeviceRow {
  const char* name;
  const char* isa;          // the best one it runs
  int multiprocessors;
  int64_t l2_mib;
  double memory_rate;       // bytes a second
  int clock_mhz;            // of the multiprocessors under load
};
constexpr DeviceRow kDevices[] = {
    {"t4", "sm_75", 40, 4, 320e9, 1590},       {"a100", "sm_80", 108, 40, 2039e9, 1410},  {"a10", "sm_86", 72, 6, 600e9, 1695},
    {"orin", "sm_87", 16, 4, 205e9, 1300},     {"l40s", "sm_89", 142, 96, 864e9, 2520},   {"h100", "sm_90a", 132, 50, 3350e9, 1755},
    {"h200", "sm_90a", 132, 60, 4800e9, 1755}, {"b200", "sm_100a", 148, 126, 8000e9, 1850}, {"b300", "sm_103a", 148, 126, 8000e9, 1850},
    {"rtx5090", "sm_120a", 170, 96, 1792e9, 2407},
};

const IsaRow* find_isa(std::string_view name) {
  for (const IsaRow& r : kIsas)
    if (name == r.isa) return &r;
  return nullptr;
}
const DeviceRow* find_device(std::string_view name) {
  for (const DeviceRow& r : kDevices)
    if (name == r.name) return &r;
  return nullptr;
}

}  // namespace

std::string cuda_target_names() {
  std::string out = "cuda:ISA with ";
  for (const IsaRow& r : kIsas) out += (&r == kIsas ? "" : ", ") + std::string(r.isa);
  out += "; cuda:DEVICE or cuda:ISA+DEVICE with ";
  for (const DeviceRow& r : kDevices) out += (&r == kDevices ? "" : ", ") + std::string(r.name);
  return out;
}

std::optional<Target> cuda_target(std::string_view text) {
  std::string_view isa = text, device;
  if (size_t plus = text.find('+'); plus != std::string_view::npos) {
    isa = text.substr(0, plus);
    device = text.substr(plus + 1);
    if (device.empty()) return std::nullopt;
  } else if (const DeviceRow* d = find_device(text)) {
    isa = d->isa;
    device = d->name;
  }
  const IsaRow* i = find_isa(isa);
  if (!i) return std::nullopt;
  const DeviceRow* d = find_device(device.empty() ? i->device : device);
  if (!d || find_isa(d->isa)->sm < i->sm) return std::nullopt;
  Target t;
  t.backend = Backend::cuda;
  t.isa = i->isa;
  t.gpu.sm = i->sm;
  t.gpu.ptx = isa.substr(0, 8) == "compute_";
  t.gpu.tensor = i->tensor;
  t.gpu.shared_per_multiprocessor = i->shared_kib << 10;
  // A block leaves 1 KiB of it to the system, on Turing nothing.
  t.gpu.shared_per_block = i->sm < 80 ? t.gpu.shared_per_multiprocessor : t.gpu.shared_per_multiprocessor - 1024;
  t.gpu.threads_per_multiprocessor = i->threads;
  t.gpu.device = d->name;
  t.gpu.default_device = d->name == std::string_view(i->device);
  t.gpu.multiprocessors = d->multiprocessors;
  t.gpu.memory_rate = d->memory_rate;
  t.gpu.clock_mhz = d->clock_mhz;
  t.l2_bytes = d->l2_mib << 20;
  return t;
}

bool Gpu::multiplies(DType a, DType b) const {
  auto both = [&](DType one, DType other) { return (a == one || a == other) && (b == one || b == other); };
  if (both(DType::i8, DType::u8)) return has(int8_mma);
  if (both(DType::f8e4m3fn, DType::f8e5m2)) return has(fp8_mma);
  return a == b && ((a == DType::f16 && has(f16_mma)) || (a == DType::bf16 && has(bf16_mma)));
}

}  // namespace weft
