#include <algorithm>

#include "codegen/cpu/attention_scratch.h"

namespace weft {

static int64_t up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

bool choose_attention(KernelSpec& s, const Target& target) {
  auto axes = attention_axes(s);
  if (!axes) return false;
  constexpr int64_t kMostRows = 192, kFewRows = 4, kKeys = 64;
  const Dim rows = axes->rows_extent(s);
  const int64_t lanes = target.vector_bytes / 4;
  const bool wide = target.vector_bytes >= 64;  // twice the registers, too
  SpecConfig& c = s.config;
  c = {};
  c.name = "attention";
  c.mr = s.estimate(rows) <= kFewRows && !s.ordered ? 1 : wide ? 12 : 6;
  c.nr = 2 * lanes;
  c.nc = kKeys;
  // The block of results and that of scores stay in the second-level cache.
  c.mc = c.mr == 1 ? kFewRows : std::min(kMostRows, up_to(rows.is_const() ? rows.value() : kMostRows, c.mr));
  s.tasks = axes->batch_extent(s) * ceildiv(rows, Dim(c.mc));
  return true;
}

AttentionScratch attention_scratch(const KernelSpec& s, const AttentionAxes& a) {
  const SpecConfig& c = s.config;
  AttentionScratch m;
  m.columns = up_to(a.column_size, c.nr);
  auto area = [&](int64_t floats) {
    int64_t at = m.total;
    m.total += up_to(floats, 16);
    return at;
  };
  m.q = area(c.mc * a.inner_size);
  m.keys = area(c.mr > 1 ? a.inner_size * c.nc : 0);
  m.scores = area(c.mc * c.nc);
  m.values = area(c.nc * m.columns);
  m.result = area(c.mc * m.columns);
  m.top = area(c.mc);
  m.sum = area(c.mc);
  return m;
}

}  // namespace weft
