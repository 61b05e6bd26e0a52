// Target: an ISA plus the facts code generation needs. Text: `cpu`, `cpu:x86-64-v3`, `cuda:sm_90a`, `eval`. A level may
// be followed by single features, `cpu:x86-64-v4+avx512bf16`; so `cpu`, once resolved, prints exactly and parses back on
// any machine (the cache sizes alone are then the defaults: they are facts of tuning, read from the host by `cpu` only).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ir/base/result.h"

namespace weft {

enum class Backend : uint8_t { eval, cpu, cuda };

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

  std::string to_string() const;
  // Everything that decides generated code, for cache keys.
  std::string key() const;
  // True when LLVM's feature of this name ("avx512fp16", "avxvnni") is on.
  bool has(std::string_view feature) const;
};

// `cpu` (alone) means the host with its exact features. Levels: x86-64-v2 (SSE4.2), -v3 (AVX2+FMA), -v4 (AVX-512),
// armv8-a (NEON). Error kUsage for an unknown text, listing the known ones; kUnsupported for `cpu` on a CPU below v2.
Result<Target> parse_target(const std::string& text);
// True when code generated for t can run on this machine's CPU.
bool runs_here(const Target& t);

}  // namespace weft
