#include "tests/support/cuda_kernels.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"

namespace weft::test {

// The number in front of `unit` in the log; 0 when it is not there.
static int64_t number_before(const std::string& log, const std::string& unit) {
  for (size_t at = log.find(unit); at != std::string::npos; at = log.find(unit, at + 1)) {
    size_t from = at;
    while (from > 0 && log[from - 1] >= '0' && log[from - 1] <= '9') --from;
    if (from != at) return std::stoll(log.substr(from, at - from));
  }
  return 0;
}

KernelUse parse_use(const std::string& log) {
  KernelUse u;
  u.registers = static_cast<int>(number_before(log, " registers"));
  u.stack_bytes = number_before(log, " bytes stack frame");
  u.spill_bytes = number_before(log, " bytes spill stores") + number_before(log, " bytes spill loads");
  u.shared_bytes = number_before(log, " bytes smem");
  return u;
}

std::string nvrtc_missing() {
  auto n = nvrtc();
  return n.ok() ? "" : n.error().message;
}

static void check_one(const KernelSpec& spec, const Target& target, std::mutex& mutex) {
  KernelSpec plain = spec;
  plain.runners_up.clear();
  const std::string text = print_spec(plain);
  auto back = parse_spec(text);
  CudaSource source{"kernel", cuda_source(spec, target, "kernel")};
  auto binary = compile_cuda(source, target.isa);
  std::lock_guard lock(mutex);
  EXPECT_TRUE(back.ok() && print_spec(*back) == text) << text;
  ASSERT_TRUE(binary.ok()) << binary.error().to_string() << "\n" << source.text << text;
  EXPECT_FALSE(binary->code.empty());
  if (target.gpu.ptx) return;
  KernelUse use = parse_use(binary->log);
  const std::string what = binary->log + source.text + text;
  EXPECT_GT(use.registers, 0) << what;
  // Around a subroutine (a division in 64 bits, a slow path of double precision), and for tiles of 64 sums a thread of which
  // two blocks must fit, ptxas saves a few registers; in double precision that is at every division and exponential.
  const int64_t few = source.text.find("f64 t") == std::string::npos ? 256 : 512;
  EXPECT_LE(use.spill_bytes, few) << what;
  EXPECT_LE(use.registers * spec.config.threads, target.gpu.registers_per_multiprocessor) << what;
  EXPECT_LE(use.shared_bytes, 48 << 10) << what;
  EXPECT_LE(use.shared_bytes + spec.config.shared_bytes, target.gpu.shared_per_block) << what;
  EXPECT_TRUE(spec.config.threads % 32 == 0 && spec.config.threads <= 1024 && spec.config.blocks >= 1) << what;
}

void check_cuda_kernels(const std::vector<KernelSpec>& specs, const Target& target) {
  static std::set<std::string> seen;
  std::vector<const KernelSpec*> fresh;
  for (const KernelSpec& s : specs)
    if (seen.insert(target.isa + spec_hash(s, target).hex()).second) fresh.push_back(&s);
  std::atomic<size_t> next{0};
  std::mutex mutex;
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < fresh.size();) check_one(*fresh[i], target, mutex);
  };
  std::thread helper;
  if (fresh.size() > 1) helper = std::thread(work);
  work();
  if (helper.joinable()) helper.join();
}

}  // namespace weft::test
