#include "runtime/executor/device_copy.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

namespace weft {

namespace {

struct Loop {
  int64_t count, to, from;  // strides in bytes
};

// What is copied as a whole, and the loops around it, the outermost first; those that are one walk are joined.
struct Walk {
  int64_t row = 0;  // bytes
  std::vector<Loop> loops;
};

std::optional<Walk> walk_of(const StridedRef& dst, const StridedRef& src) {
  Walk w;
  const int64_t bits = is_subbyte(dst.dtype) ? packed_bytes(dst.dtype, 8) : 8 * byte_size(dst.dtype);
  int rank = dst.rank;
  w.row = bits / 8;
  if (is_subbyte(dst.dtype)) {
    // Whole rows: elements alone are not addressable.
    while (rank > 0 && dst.dims[rank - 1] == 1) --rank;
    if (rank > 0 && (dst.strides[rank - 1] != 1 || src.strides[rank - 1] != 1)) return std::nullopt;
    w.row = packed_bytes(dst.dtype, rank > 0 ? dst.dims[--rank] : 1);
  }
  std::vector<Loop> loops;
  for (int i = 0; i < rank; ++i) {
    if (dst.dims[i] == 1) continue;
    if (dst.strides[i] * bits % 8 || src.strides[i] * bits % 8) return std::nullopt;
    loops.push_back({dst.dims[i], dst.strides[i] * bits / 8, src.strides[i] * bits / 8});
  }
  std::stable_sort(loops.begin(), loops.end(), [](const Loop& a, const Loop& b) { return std::llabs(a.to) > std::llabs(b.to); });
  for (const Loop& l : loops) {
    if (!w.loops.empty() && w.loops.back().to == l.to * l.count && w.loops.back().from == l.from * l.count)
      w.loops.back() = {w.loops.back().count * l.count, l.to, l.from};
    else w.loops.push_back(l);
  }
  if (!w.loops.empty() && w.loops.back().to == w.row && w.loops.back().from == w.row) {
    w.row *= w.loops.back().count;
    w.loops.pop_back();
  }
  return w;
}

}  // namespace

Status device_copy(DeviceQueue& queue, const StridedRef& dst, const StridedRef& src) {
  if (std::find(dst.dims, dst.dims + dst.rank, 0) != dst.dims + dst.rank) return {};
  std::optional<Walk> walk = walk_of(dst, src);
  if (!walk) return unsupported(std::string("a copy between strides of packed ") + dtype_name(dst.dtype) + " on a device");
  std::vector<Loop>& loops = walk->loops;
  const int64_t row = walk->row;
  // One loop is the device's own.
  constexpr int64_t kMostPitch = INT32_MAX;
  Loop rows{1, row, row};
  auto fits = [&](const Loop& l) { return std::min(l.to, l.from) >= row && std::max(l.to, l.from) <= kMostPitch; };
  auto best = loops.end();
  for (auto it = loops.begin(); it != loops.end(); ++it)
    if (fits(*it) && (best == loops.end() || it->count > best->count)) best = it;
  if (best != loops.end()) {
    rows = *best;
    loops.erase(best);
  }
  std::vector<int64_t> at(loops.size(), 0);
  for (std::byte *to = dst.data, *from = src.data;;) {
    TRY(rows.count == 1 ? queue.copy(to, from, row) : queue.copy_rows(to, rows.to, from, rows.from, row, rows.count));
    size_t k = loops.size();
    while (k > 0 && ++at[k - 1] == loops[k - 1].count) {
      --k;
      at[k] = 0;
      to -= loops[k].to * (loops[k].count - 1);
      from -= loops[k].from * (loops[k].count - 1);
    }
    if (k == 0) return {};
    to += loops[k - 1].to;
    from += loops[k - 1].from;
  }
}

}  // namespace weft
