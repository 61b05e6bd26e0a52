// Whole views as dense row-major vectors of doubles, and back.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/host/walk.h"

namespace weft {

inline std::vector<double> dense_doubles(const TensorView& v) {
  std::vector<double> out;
  out.reserve(static_cast<size_t>(std::max<int64_t>(v.numel(), 0)));
  for (Walk w(v); !w.done(); w.next()) {
    double d = 0;
    if (is_float(v.dtype)) load_cell(v, w.offset(), &d);
    else d = static_cast<double>(integer_at(v, w.offset()));
    out.push_back(d);
  }
  return out;
}
// Integers are truncated and saturate.
inline void store_doubles(const std::vector<double>& from, const TensorView& v) {
  bool whole = !is_float(v.dtype);
  double least = whole ? static_cast<double>(int_min(v.dtype)) : 0;
  double most = whole ? std::min(static_cast<double>(int_max(v.dtype)), 0x1.fffffffffffffp62) : 0;  // the last double below 2^63
  size_t k = 0;
  for (Walk w(v); !w.done(); w.next(), ++k) {
    if (is_float(v.dtype)) store_cell(v, w.offset(), from[k]);
    else if (is_unsigned_int(v.dtype)) store_cell(v, w.offset(), static_cast<uint64_t>(std::clamp(from[k], least, most)));
    else store_cell(v, w.offset(), static_cast<int64_t>(std::clamp(from[k], least, most)));
  }
}

}  // namespace weft
