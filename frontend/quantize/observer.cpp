#include "frontend/quantize/observer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "ir/base/text.h"

namespace weft::quantize {

namespace {

// What is zero, or as good as that, has bins, too.
constexpr double kLeastReach = 0x1p-100;

}  // namespace

void Histogram::widen(double to) {
  if (reach_ == 0) reach_ = kLeastReach;
  while (reach_ < to) {
    // Two bins become one, nearer to the middle.
    std::vector<double> wider(kBins, 0.0);
    for (int b = 0; b < kBins; ++b) wider[kBins / 4 + b / 2] += bins_[b];
    bins_ = std::move(wider);
    reach_ *= 2;
  }
}

void Histogram::add(std::span<const float> values) {
  float low = std::numeric_limits<float>::infinity(), high = -low;
  int64_t finite = 0;
  for (float v : values) {
    if (!std::isfinite(v)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
    ++finite;
  }
  not_finite_ += static_cast<int64_t>(values.size()) - finite;
  if (finite == 0) return;
  min_ = count_ ? std::min(min_, low) : low;
  max_ = count_ ? std::max(max_, high) : high;
  count_ += finite;
  widen(std::max(std::fabs(static_cast<double>(low)), std::fabs(static_cast<double>(high))));
  const double scale = kBins / (2 * reach_);
  for (float v : values)
    if (std::isfinite(v)) bins_[std::min(static_cast<int>((v + reach_) * scale), kBins - 1)] += 1;
}

Result<CalibratorOptions> parse_calibrator(const std::string& text) {
  CalibratorOptions out;
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  if (kind == "minmax") out.kind = Calibrator::minmax;
  else if (kind == "percentile") out.kind = Calibrator::percentile;
  else if (kind == "entropy") out.kind = Calibrator::entropy;
  else if (kind == "mse") out.kind = Calibrator::mse;
  else return usage("unknown calibrator " + quote(text)).with_hint("minmax, percentile, percentile:99.9, entropy, mse");
  if (colon == std::string::npos) return out;
  const char* end = text.data() + text.size();
  auto [at, ec] = std::from_chars(text.data() + colon + 1, end, out.percentile);
  if (out.kind != Calibrator::percentile || ec != std::errc() || at != end || !(out.percentile > 50 && out.percentile <= 100))
    return usage("calibrator " + quote(text) + ": a percentile is more than 50 and at most 100");
  return out;
}

namespace {

Range by_percentile(const Histogram& h, double percentile) {
  const double beyond = static_cast<double>(h.count()) * (1 - percentile / 100);
  const auto edge = [&](int from, int step) {
    double seen = 0;
    int b = from;
    for (; b >= 0 && b < Histogram::kBins; b += step)
      if ((seen += h.bins()[b]) > beyond) break;
    return b;
  };
  const double low = edge(0, 1) * h.width() - h.reach(), high = (edge(Histogram::kBins - 1, -1) + 1) * h.width() - h.reach();
  return {std::max(low, static_cast<double>(h.min())), std::min(high, static_cast<double>(h.max()))};
}

// Mean squared error of what a histogram's values become.
double squared_error(const Histogram& h, const ActivationScale& s, DType type) {
  const CodeRange codes = code_range(type, false);
  double sum = 0;
  for (int b = 0; b < Histogram::kBins; ++b) {
    if (h.bins()[b] == 0) continue;
    const auto x = static_cast<float>(h.center(b));
    const auto zero = static_cast<float>(s.zero);
    const float code = is_float(type) ? to_code(type, x / s.scale) : std::clamp(std::nearbyint(x / s.scale) + zero, codes.low, codes.high);
    const double d = x - (code - zero) * s.scale;
    sum += h.bins()[b] * d * d;
  }
  return sum;
}

// Kullback-Leibler divergence of the histogram within r, what lies outside added to its ends, from itself spread over `levels` equal
// steps; steps keep their mass and give it to those of their bins that are not empty.
double divergence(const Histogram& h, const Range& r, int levels) {
  const int first = std::clamp(static_cast<int>((r.low + h.reach()) / h.width()), 0, Histogram::kBins - 1);
  const int last = std::clamp(static_cast<int>(std::ceil((r.high + h.reach()) / h.width())) - 1, first, Histogram::kBins - 1);
  const int n = last - first + 1;
  std::vector<double> p(h.bins().begin() + first, h.bins().begin() + last + 1), q(n, 0.0);
  const std::vector<double> inside = p;
  for (int b = 0; b < first; ++b) p.front() += h.bins()[b];
  for (int b = last + 1; b < Histogram::kBins; ++b) p.back() += h.bins()[b];
  double total_p = 0, total_q = 0;
  for (int level = 0; level < levels; ++level) {
    const int from = static_cast<int>(static_cast<int64_t>(level) * n / levels), to = static_cast<int>(static_cast<int64_t>(level + 1) * n / levels);
    double mass = 0;
    int filled = 0;
    for (int b = from; b < to; ++b) mass += inside[b], filled += inside[b] != 0;
    for (int b = from; b < to; ++b)
      if (inside[b] != 0) q[b] = mass / filled;
  }
  for (int b = 0; b < n; ++b) total_p += p[b], total_q += q[b];
  if (total_q == 0) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (int b = 0; b < n; ++b)
    if (p[b] > 0) sum += p[b] / total_p * std::log((p[b] / total_p) / (std::max(q[b], 1e-4) / total_q));
  return sum;
}

// The whole range, its ends at most `reach` from zero.
Range cut(const Range& whole, double reach) { return {std::max(whole.low, -reach), std::min(whole.high, reach)}; }

template <class Cost>
Range best_cut(const Range& whole, Cost&& cost) {
  constexpr int kCuts = 100, kLeast = 10;  // of which the largest is the whole
  const double reach = std::max(-whole.low, whole.high);
  Range best = whole;
  double least = std::numeric_limits<double>::infinity();
  for (int i = kCuts; i >= kLeast; --i) {
    const Range r = cut(whole, reach * i / kCuts);
    if (const double c = cost(r); c < least) least = c, best = r;
  }
  return best;
}

}  // namespace

Range find_range(const Histogram& h, const CalibratorOptions& how, DType type, bool symmetric) {
  const Range whole{std::min(0.0, static_cast<double>(h.min())), std::max(0.0, static_cast<double>(h.max()))};
  if (h.count() == 0 || whole.low == whole.high) return whole;
  switch (how.kind) {
    case Calibrator::minmax: return whole;
    case Calibrator::percentile: {
      const Range r = by_percentile(h, how.percentile);
      return {std::min(0.0, r.low), std::max(0.0, r.high)};
    }
    case Calibrator::entropy: {
      const int levels = 1 << bit_width(type);
      return best_cut(whole, [&](const Range& r) {
        const double reach = std::max(-r.low, r.high);
        return divergence(h, symmetric ? Range{-reach, reach} : r, levels);
      });
    }
    case Calibrator::mse: return best_cut(whole, [&](const Range& r) { return squared_error(h, scale_of(r, type, symmetric), type); });
  }
  UNREACHABLE();
}

ActivationScale scale_of(const Range& r, DType type, bool symmetric) {
  const CodeRange codes = code_range(type, symmetric);
  ActivationScale out;
  const double reach = symmetric ? std::max(-r.low, r.high) / codes.high : (r.high - r.low) / (codes.high - codes.low);
  const auto scale = static_cast<float>(reach);
  if (!std::isnormal(scale)) return out;
  out.scale = scale;
  const double zero = std::nearbyint(codes.low - r.low / scale);
  if (!symmetric) out.zero = static_cast<int32_t>(std::clamp<double>(zero, codes.low, codes.high));
  return out;
}

}  // namespace weft::quantize
