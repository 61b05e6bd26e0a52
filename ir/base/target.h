// Target: an ISA plus the facts code generation needs. Text: `cpu`, `cpu:x86-64-v3`, `cuda:sm_90a`, `eval`. A level may
// be followed by single features, `cpu:x86-64-v4+avx512bf16`; so `cpu`, once resolved, prints exactly and parses back on
// any machine (the cache sizes alone are then the defaults: they are facts of tuning, read from the host by `cpu` only).
// A GPU's ISA may be followed by the device to tune for, `cuda:sm_90a+h200`; a device alone, `cuda:h200`, means its ISA.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ir/base/dtype.h"
#include "ir/base/result.h"

namespace weft {

enum class Backend : uint8_t { eval, cpu, cuda };

struct Gpu {
  // Units and instructions beyond the plain ones.
  enum Tensor : unsigned {
    f16_mma = 1, bf16_mma = 2, tf32_mma = 4, int8_mma = 8, f64_mma = 16, fp8_mma = 32,  // mma.sync
    wgmma = 64, tcgen05 = 128,
    cp_async = 256, tma = 512, dependent_launch = 1024,
  };
  int sm = 0;                       // 90 for sm_90 and sm_90a
  bool ptx = false;                 // compute_80: portable code, which the driver translates
  unsigned tensor = 0;
  int64_t shared_per_multiprocessor = 0, shared_per_block = 0;
  int threads_per_multiprocessor = 2048;
  int64_t registers_per_multiprocessor = 65536;
  // Of the device: facts of tuning.
  std::string device;               // "h200"
  bool default_device = true;       // the one that the ISA alone means
  int multiprocessors = 0;
  double memory_rate = 0;           // bytes a second
  int clock_mhz = 0;
  bool has(Tensor t) const { return (tensor & t) != 0; }
  // Whether tensor cores multiply elements of these types as they are: f16, bf16, integers of 8 bits (i8, u8), floats of 8 bits
  // (f8e4m3fn, f8e5m2); those of 8 bits in any pair of their kind.
  bool multiplies(DType a, DType b) const;
};

struct Target {
  Backend backend = Backend::cpu;
  std::string isa;        // canonical name: "x86-64-v3", "x86-64-v4+avx512vnni", "sm_90a"; "host" is resolved on parse
  std::string llvm_cpu;   // CPU name and feature string for LLVM (cpu only)
  std::string llvm_features;
  int vector_bytes = 16;  // 16 SSE/NEON, 32 AVX2, 64 AVX-512
  int vector_registers = 16;
  bool fma = false;
  bool f16c = false;      // hardware f16 <-> f32
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 16 << 20;
  Gpu gpu;                // cuda only

  std::string to_string() const;
  // Everything that decides generated code, for cache keys.
  std::string key() const;
  // True when LLVM's feature of this name ("avx512fp16", "avxvnni") is on.
  bool has(std::string_view feature) const;
};

// `cpu` (alone) means the host with its exact features. Levels: x86-64-v2 (SSE4.2), -v3 (AVX2+FMA), -v4 (AVX-512),
// armv8-a (NEON). Error kUsage for an unknown text, listing the known ones; kUnsupported for `cpu` on a CPU below v2.
Result<Target> parse_target(const std::string& text);
// What stands behind `cuda:`; nullopt when it is unknown. And the known ones, for messages.
std::optional<Target> cuda_target(std::string_view text);
std::string cuda_target_names();
// True when code generated for t can run on this machine's CPU.
bool runs_here(const Target& t);

}  // namespace weft
