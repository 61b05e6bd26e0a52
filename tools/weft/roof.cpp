#include "tools/weft/roof.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace weft::cli {

namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// Twelve independent chains hide the latency of a multiply-add on every core so far.
constexpr int kChains = 12;

#if defined(__x86_64__)
[[gnu::target("avx512f")]] float fma_avx512(int64_t n) {
  __m512 x[kChains], f = _mm512_set1_ps(0.999f);
  for (auto& v : x) v = _mm512_set1_ps(1);
  for (int64_t i = 0; i < n; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) x[k] = _mm512_fmadd_ps(x[k], f, f);
  float sum = 0;
  for (auto& v : x) sum += _mm512_cvtss_f32(v);
  return sum;
}
[[gnu::target("avx2,fma")]] float fma_avx2(int64_t n) {
  __m256 x[kChains], f = _mm256_set1_ps(0.999f);
  for (auto& v : x) v = _mm256_set1_ps(1);
  for (int64_t i = 0; i < n; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) x[k] = _mm256_fmadd_ps(x[k], f, f);
  float sum = 0;
  for (auto& v : x) sum += _mm256_cvtss_f32(v);
  return sum;
}
#endif

// Four floats, multiply and add apart: SSE and NEON.
using Quad [[gnu::vector_size(16)]] = float;
float fma_quad(int64_t n) {
  const Quad f = {0.999f, 0.999f, 0.999f, 0.999f};
  Quad x[kChains];
  for (Quad& v : x) v = f;
  for (int64_t i = 0; i < n; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) x[k] = x[k] * f + f;
  float sum = 0;
  for (Quad& v : x) sum += v[0];
  return sum;
}

// Calls per second of `work`, summed over threads that all run it: the best of some short spells, since other programs
// may run as well.
double rate(int threads, const std::function<std::function<void()>()>& make_work) {
  constexpr int kSpells = 12;
  constexpr double kSpell = 0.003;  // seconds
  std::vector<double> rates(static_cast<size_t>(threads), 0);
  std::vector<std::thread> pool;
  for (double& best : rates)
    pool.emplace_back([&best, &make_work] {
      std::function<void()> work = make_work();
      work();
      for (int k = 0; k < kSpells; ++k) {
        int64_t n = 0;
        auto begin = Clock::now();
        do work(), ++n;
        while (since(begin) < kSpell);
        best = std::max(best, static_cast<double>(n) / since(begin));
      }
    });
  for (std::thread& t : pool) t.join();
  double sum = 0;
  for (double r : rates) sum += r;
  return sum;
}

double measure_flops(const Target& t, int threads) {
  float (*fma)(int64_t) = fma_quad;
  int width = 4;
#if defined(__x86_64__)
  if (t.vector_bytes >= 64 && __builtin_cpu_supports("avx512f")) fma = fma_avx512, width = 16;
  else if (t.vector_bytes >= 32 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) fma = fma_avx2, width = 8;
#endif
  constexpr int64_t kRounds = 20'000;
  double calls = rate(threads, [fma] {
    return [fma] {
      float v = fma(kRounds);
      asm volatile("" : : "g"(v));  // so that nothing is dropped
    };
  });
  return calls * kRounds * kChains * width * 2;
}

// Bytes read plus bytes written a second when every thread copies within `bytes` of its own.
double measure_copy(int64_t bytes, int threads) {
  const auto half = static_cast<size_t>(bytes / 2);
  double calls = rate(threads, [half]() -> std::function<void()> {
    std::shared_ptr<char[]> from(new char[half]()), to(new char[half]());
    return [from, to, half] {
      std::memcpy(to.get(), from.get(), half);
      asm volatile("" : : "r"(to.get()) : "memory");  // so that no copy is dropped
    };
  });
  return calls * static_cast<double>(half) * 2;
}

}  // namespace

double Roof::rate_for(int64_t bytes) const {
  for (const auto& [limit, r] : bytes_per_s)
    if (bytes <= limit) return r;
  return bytes_per_s.empty() ? 0 : bytes_per_s.back().second;
}

double Roof::seconds(double flops, double bytes, int64_t calls) const {
  double rate = rate_for(calls > 0 ? static_cast<int64_t>(bytes / static_cast<double>(calls)) : 0);
  return std::max(flops_per_s > 0 ? flops / flops_per_s : 0, rate > 0 ? bytes / rate : 0);
}

Roof measure_roof(const Target& target, int threads) {
  Roof r;
  r.flops_per_s = measure_flops(target, threads);
  const int64_t l1 = target.l1_bytes / 2, l2 = target.l2_bytes / 2, l3 = target.l3_bytes / 2 / threads;
  r.bytes_per_s.push_back({target.l1_bytes * threads, measure_copy(l1, threads)});
  r.bytes_per_s.push_back({target.l2_bytes * threads, measure_copy(l2, threads)});
  if (l3 > l2) r.bytes_per_s.push_back({target.l3_bytes, measure_copy(l3, threads)});
  r.bytes_per_s.push_back({INT64_MAX, measure_copy(std::max<int64_t>(64 << 20, 4 * target.l3_bytes / threads), threads)});
  // What fits into a near memory is no slower than what does not.
  for (size_t k = r.bytes_per_s.size() - 1; k-- > 0;) r.bytes_per_s[k].second = std::max(r.bytes_per_s[k].second, r.bytes_per_s[k + 1].second);
  return r;
}

}  // namespace weft::cli
