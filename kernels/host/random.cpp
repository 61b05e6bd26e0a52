#include "kernels/host/random.h"

#include <cmath>

namespace weft {

static uint32_t seed_bits(double seed) {
  if (!std::isfinite(seed)) return 0;
  double m = std::fmod(std::trunc(seed), 4294967296.0);
  return static_cast<uint32_t>(static_cast<int64_t>(m));
}

RandomStream::RandomStream(double seed) : engine_(seed_bits(seed)) {}

double RandomStream::uniform() {
  const double high = engine_() >> 5, low = engine_() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

double RandomStream::normal() {
  if (spare_) {
    double v = *spare_;
    spare_.reset();
    return v;
  }
  double x, y, r;
  do {
    x = 2 * uniform() - 1;
    y = 2 * uniform() - 1;
    r = x * x + y * y;
  } while (r >= 1 || r == 0);
  const double f = std::sqrt(-2 * std::log(r) / r);
  spare_ = f * x;
  return f * y;
}

}  // namespace weft
