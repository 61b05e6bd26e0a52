#include "ir/base/target.h"

#include <unistd.h>

#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace weft {

namespace {
enum class Reg : uint8_t { l1c, l7b, l7c, l7d, l71a, l71d, x1c };  // CPUID leaf and register: 1.ecx, 7.ebx, … 0x80000001.ecx
enum class State : uint8_t { none, ymm, zmm };                     // register state that the system must save

struct Feature {
  const char* name;  // LLVM's
  int level;         // the x86-64 level that includes it; kExtra: none does
  Reg reg;
  int bit;
  State state;
};
constexpr int kExtra = 99;
constexpr Feature kFeatures[] = {
    {"cx16", 2, Reg::l1c, 13, State::none},
    {"sahf", 2, Reg::x1c, 0, State::none},
    {"popcnt", 2, Reg::l1c, 23, State::none},
    {"sse3", 2, Reg::l1c, 0, State::none},
    {"ssse3", 2, Reg::l1c, 9, State::none},
    {"sse4.1", 2, Reg::l1c, 19, State::none},
    {"sse4.2", 2, Reg::l1c, 20, State::none},
    {"avx", 3, Reg::l1c, 28, State::ymm},
    {"avx2", 3, Reg::l7b, 5, State::ymm},
    {"bmi", 3, Reg::l7b, 3, State::none},
    {"bmi2", 3, Reg::l7b, 8, State::none},
    {"f16c", 3, Reg::l1c, 29, State::ymm},
    {"fma", 3, Reg::l1c, 12, State::ymm},
    {"lzcnt", 3, Reg::x1c, 5, State::none},
    {"movbe", 3, Reg::l1c, 22, State::none},
    {"avx512f", 4, Reg::l7b, 16, State::zmm},
    {"avx512bw", 4, Reg::l7b, 30, State::zmm},
    {"avx512cd", 4, Reg::l7b, 28, State::zmm},
    {"avx512dq", 4, Reg::l7b, 17, State::zmm},
    {"avx512vl", 4, Reg::l7b, 31, State::zmm},
    {"gfni", kExtra, Reg::l7c, 8, State::none},
    {"avxvnni", kExtra, Reg::l71a, 4, State::ymm},
    {"avxvnniint8", kExtra, Reg::l71d, 4, State::ymm},
    {"avxneconvert", kExtra, Reg::l71d, 5, State::ymm},
    {"avx512vbmi", kExtra, Reg::l7c, 1, State::zmm},
    {"avx512vbmi2", kExtra, Reg::l7c, 6, State::zmm},
    {"avx512vpopcntdq", kExtra, Reg::l7c, 14, State::zmm},
    {"avx512vnni", kExtra, Reg::l7c, 11, State::zmm},
    {"avx512bf16", kExtra, Reg::l71a, 5, State::zmm},
    {"avx512fp16", kExtra, Reg::l7d, 23, State::zmm},
};
constexpr int kLowestLevel = 2, kHighestLevel = 4;
using FeatureSet = uint64_t;  // bit i: kFeatures[i]

FeatureSet level_features(int level) {
  FeatureSet set = 0;
  for (size_t i = 0; i < std::size(kFeatures); ++i)
    if (kFeatures[i].level <= level) set |= FeatureSet{1} << i;
  return set;
}
std::optional<size_t> find_feature(std::string_view name) {
  for (size_t i = 0; i < std::size(kFeatures); ++i)
    if (name == kFeatures[i].name) return i;
  return std::nullopt;
}
bool contains(FeatureSet set, FeatureSet part) { return (set & part) == part; }
bool contains(FeatureSet set, const char* name) { return set >> *find_feature(name) & 1; }

#if defined(__x86_64__)
FeatureSet host_features() {
  uint32_t regs[7] = {};
  auto reg = [&](Reg r) -> uint32_t& { return regs[static_cast<int>(r)]; };
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  reg(Reg::l1c) = c;
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d)) reg(Reg::x1c) = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    const uint32_t last_subleaf = a;
    reg(Reg::l7b) = b;
    reg(Reg::l7c) = c;
    reg(Reg::l7d) = d;
    if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
      reg(Reg::l71a) = a;
      reg(Reg::l71d) = d;
    }
  }
  uint32_t saved = 0;
  if (reg(Reg::l1c) >> 27 & 1) {  // OSXSAVE
    uint32_t high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  }
  const bool ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6;
  FeatureSet set = 0;
  for (size_t i = 0; i < std::size(kFeatures); ++i) {
    const Feature& f = kFeatures[i];
    if (!(reg(f.reg) >> f.bit & 1)) continue;
    if ((f.state == State::ymm && !ymm) || (f.state == State::zmm && !zmm)) continue;
    set |= FeatureSet{1} << i;
  }
  return set;
}
#endif

Target x86_target(int level, FeatureSet set) {
  Target t;
  t.llvm_cpu = t.isa = "x86-64-v" + std::to_string(level);
  const FeatureSet base = level_features(level);
  set |= base;
  for (size_t i = 0; i < std::size(kFeatures); ++i) {
    if (!(set >> i & 1)) continue;
    if (!(base >> i & 1)) t.isa += std::string("+") + kFeatures[i].name;
    t.llvm_features += (t.llvm_features.empty() ? "+" : ",+") + std::string(kFeatures[i].name);
  }
  const bool avx512 = contains(set, "avx512f") && contains(set, "avx512bw") && contains(set, "avx512dq") && contains(set, "avx512vl");
  // LLVM's x86-64-v4 would otherwise split vectors that it may shape itself into halves.
  if (avx512) t.llvm_features += ",+evex512,-prefer-256-bit";
  t.vector_bytes = avx512 ? 64 : contains(set, "avx2") ? 32 : 16;
  t.vector_registers = avx512 ? 32 : 16;
  t.fma = contains(set, "fma");
  t.f16c = contains(set, "f16c");
  t.avx512_vnni = avx512 && contains(set, "avx512vnni");
  t.avx512_bf16 = avx512 && contains(set, "avx512bf16");
  return t;
}

Target arm_target() {
  Target t;
  t.isa = "armv8-a";
  t.llvm_cpu = "generic";
  t.llvm_features = "+fp-armv8,+neon";
  t.vector_registers = 32;
  t.fma = t.f16c = true;
  return t;
}

Result<Target> host_target() {
#if defined(__x86_64__)
  const FeatureSet set = host_features();
  int level = kHighestLevel;
  while (level >= kLowestLevel && !contains(set, level_features(level))) --level;
  if (level < kLowestLevel) return unsupported("this CPU is older than x86-64-v2 (it lacks SSE4.2 or POPCNT)");
  Target t = x86_target(level, set);
#elif defined(__aarch64__)
  Target t = arm_target();
#else
  return unsupported("no CPU code generation for this machine's architecture");
  Target t;
#endif
  auto cache_bytes = [](int name, int64_t* out) {
    long v = ::sysconf(name);
    if (v > 0) *out = v;  // 0 where the system does not know: the default stays
  };
  cache_bytes(_SC_LEVEL1_DCACHE_SIZE, &t.l1_bytes);
  cache_bytes(_SC_LEVEL2_CACHE_SIZE, &t.l2_bytes);
  cache_bytes(_SC_LEVEL3_CACHE_SIZE, &t.l3_bytes);
  return t;
}

Error unknown(const std::string& text) {
  return usage("unknown target `" + text + "`")
      .with_hint("known: eval; cpu (this machine), cpu:x86-64-v2, cpu:x86-64-v3, cpu:x86-64-v4, each also with +feature (as in "
                 "cpu:x86-64-v3+avxvnni), cpu:armv8-a; " + cuda_target_names());
}

Result<Target> parse_cpu(const std::string& text, std::string_view isa) {
  if (isa == "host") return host_target();
  if (isa == "armv8-a") return arm_target();
  const std::string_view prefix = "x86-64-v";
  if (isa.substr(0, prefix.size()) != prefix || isa.size() == prefix.size()) return unknown(text);
  const int level = isa[prefix.size()] - '0';
  isa.remove_prefix(prefix.size() + 1);
  if (level < kLowestLevel || level > kHighestLevel) return unknown(text);
  FeatureSet extra = 0;
  while (!isa.empty()) {
    if (isa[0] != '+') return unknown(text);
    isa.remove_prefix(1);
    const std::string_view name = isa.substr(0, isa.find('+'));
    const std::optional<size_t> i = find_feature(name);
    if (!i) {
      std::string names;
      for (const Feature& f : kFeatures) names += std::string(names.empty() ? "" : ", ") + f.name;
      return usage("unknown CPU feature `" + std::string(name) + "` in target `" + text + "`").with_hint("known: " + names);
    }
    extra |= FeatureSet{1} << *i;
    isa.remove_prefix(name.size());
  }
  return x86_target(level, extra);
}
}  // namespace

std::string Target::to_string() const {
  switch (backend) {
    case Backend::eval: return "eval";
    case Backend::cpu: return "cpu:" + isa;
    case Backend::cuda: return "cuda:" + isa + (gpu.default_device ? "" : "+" + gpu.device);
  }
  return "unknown";
}

std::string Target::key() const {
  if (backend == Backend::cuda) return to_string() + " multiprocessors=" + std::to_string(gpu.multiprocessors);
  return to_string() + " cpu=" + llvm_cpu + " features=" + llvm_features + " vector=" + std::to_string(vector_bytes) + "x" +
         std::to_string(vector_registers) + " fma=" + std::to_string(fma) + " f16c=" + std::to_string(f16c) +
         " vnni=" + std::to_string(avx512_vnni) + " bf16=" + std::to_string(avx512_bf16) + " caches=" + std::to_string(l1_bytes) +
         "," + std::to_string(l2_bytes) + "," + std::to_string(l3_bytes);
}

bool Target::has(std::string_view feature) const {
  std::string_view rest = llvm_features;
  while (!rest.empty()) {
    std::string_view item = rest.substr(0, rest.find(','));
    if (item.size() == feature.size() + 1 && item[0] == '+' && item.substr(1) == feature) return true;
    rest.remove_prefix(item.size() == rest.size() ? item.size() : item.size() + 1);
  }
  return false;
}

Result<Target> parse_target(const std::string& text) {
  if (text == "eval") {
    Target t;
    t.backend = Backend::eval;
    return t;
  }
  if (text == "cpu") return host_target();
  if (text.rfind("cpu:", 0) == 0) return parse_cpu(text, std::string_view(text).substr(4));
  if (text.rfind("cuda:", 0) == 0) {
    if (auto t = cuda_target(std::string_view(text).substr(5))) return std::move(*t);
  }
  return unknown(text);
}

bool runs_here(const Target& t) {
  if (t.backend == Backend::eval) return true;
  if (t.backend != Backend::cpu) return false;
#if defined(__x86_64__)
  if (t.isa.rfind("x86-64", 0) != 0) return false;
  const FeatureSet here = host_features();
  for (size_t i = 0; i < std::size(kFeatures); ++i)
    if (t.has(kFeatures[i].name) && !(here >> i & 1)) return false;
  return true;
#elif defined(__aarch64__)
  return t.isa == "armv8-a";
#else
  return false;
#endif
}

}  // namespace weft
