#include "frontend/quantize/formats.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "ir/base/text.h"

namespace weft::quantize {

namespace {

const Format kFormats[] = {
    {.name = "int8", .weight = DType::i8, .activations = true, .activation = DType::i8},
    {.name = "int8w", .weight = DType::i8},
    {.name = "fp8", .weight = DType::f8e4m3fn, .activations = true, .activation = DType::f8e4m3fn},
    {.name = "int4w", .weight = DType::i4, .block = 32},
    {.name = "int4", .weight = DType::i4, .activations = true, .activation = DType::i8, .block = 32},
};

}  // namespace

std::string format_names() {
  std::vector<std::string> names;
  for (const Format& f : kFormats) names.push_back(f.name);
  return join(names, ", ");
}

Result<Format> parse_format(const std::string& text) {
  const size_t colon = text.find(':');
  for (Format f : kFormats) {
    if (f.name != text.substr(0, colon)) continue;
    if (colon == std::string::npos) return f;
    const char *from = text.data() + colon + 1, *end = text.data() + text.size();
    const auto [at, ec] = std::from_chars(from, end, f.block);
    if (ec != std::errc() || at != end || f.block < 1) return usage("format " + quote(text) + ": a block has at least one input");
    f.name = text;
    return f;
  }
  return usage("unknown format " + quote(text)).with_hint(format_names() + "; behind a colon how many inputs share a scale, as in int4w:64");
}

CodeRange code_range(DType t, bool symmetric) {
  if (t == DType::f8e4m3fn) return {-448, 448};
  const auto low = static_cast<float>(int_min(t)), high = static_cast<float>(int_max(t));
  return {symmetric ? -high : low, high};
}

float to_code(DType t, float scaled) {
  if (std::isnan(scaled)) return 0;
  if (is_float(t)) return static_cast<float>(round_to(t, scaled));
  const CodeRange r = code_range(t, false);
  return std::clamp(std::nearbyint(scaled), r.low, r.high);
}

int64_t block_of(const Format& f, const Layer& l) { return f.block && l.plain() ? std::min(f.block, l.columns) : l.columns; }

Codes empty_codes(const Matrix& w, DType type, int64_t block) {
  Codes c{.type = type, .rows = w.rows, .columns = w.columns, .block = block, .codes = std::vector<float>(w.values.size()), .scales = {}};
  const float high = code_range(type, true).high;
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t from = 0; from < w.columns; from += block) {
      float largest = 0;
      for (int64_t k = from; k < std::min(from + block, w.columns); ++k) largest = std::max(largest, std::fabs(w.row(r)[k]));
      const float scale = largest / high;
      c.scales.push_back(std::isnormal(scale) ? scale : 0);
    }
  // A block of zeros takes the finest scale that there is: biases are rounded to multiples of it.
  float finest = std::numeric_limits<float>::infinity();
  for (float s : c.scales)
    if (s > 0) finest = std::min(finest, s);
  for (float& s : c.scales)
    if (s == 0) s = std::isfinite(finest) ? finest : 0x1p-10f;
  return c;
}

Codes round_to_nearest(const Matrix& w, DType type, int64_t block) {
  Codes c = empty_codes(w, type, block);
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t k = 0; k < w.columns; ++k) c.codes[r * w.columns + k] = to_code(type, w.row(r)[k] / c.scale(r, k));
  return c;
}

Matrix decoded(const Codes& c) {
  Matrix m{c.rows, c.columns, c.codes};
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t k = 0; k < c.columns; ++k) m.row(r)[k] *= c.scale(r, k);
  return m;
}

}  // namespace weft::quantize
