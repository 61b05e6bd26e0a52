#include "runtime/executor/strided.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "ir/base/check.h"

namespace weft {

namespace {

constexpr int64_t kParallelBytes = 256 << 10;  // from here on over several threads, in pieces of at least kPieceBytes
constexpr int64_t kPieceBytes = 64 << 10;
constexpr int64_t kTile = 32;

struct Axis {
  int64_t n, dst, src;  // strides in elements
};

// The loops of a copy, outermost first, as few as possible: by falling stride of dst, dims that lie behind each other
// merged. The two innermost are walked in tiles when src runs along the outer of them (a transpose).
struct Loops {
  Axis axes[kMaxStridedRank];
  int rank = 0;
  bool tiled = false;

  Loops(int r, const int64_t* dims, const int64_t* dst, const int64_t* src) {
    for (int i = 0; i < r; ++i)
      if (dims[i] != 1) axes[rank++] = {dims[i], dst[i], src[i]};
    // Insertion sort: std::stable_sort allocates.
    for (int i = 1; i < rank; ++i)
      for (int k = i; k > 0 && std::abs(axes[k].dst) > std::abs(axes[k - 1].dst); --k) std::swap(axes[k], axes[k - 1]);
    int out = 0;
    for (int i = 1; i < rank; ++i) {
      Axis& a = axes[out];
      const Axis& b = axes[i];
      int64_t reach_dst = 0, reach_src = 0;
      bool fits = !__builtin_mul_overflow(b.dst, b.n, &reach_dst) && !__builtin_mul_overflow(b.src, b.n, &reach_src);
      if (fits && a.dst == reach_dst && a.src == reach_src) a = {a.n * b.n, b.dst, b.src};
      else axes[++out] = b;
    }
    if (rank) rank = out + 1;
    while (rank < 2) {
      for (int i = rank; i > 0; --i) axes[i] = axes[i - 1];
      axes[0] = {1, 0, 0};
      if (rank++ == 0) axes[0] = {1, 1, 1};
    }
  }
  // Brings the dim along which src runs to the second innermost place.
  void tile() {
    int best = -1;
    for (int i = 0; i + 1 < rank; ++i)
      if (axes[i].n > 1 && (best < 0 || std::abs(axes[i].src) < std::abs(axes[best].src))) best = i;
    if (best < 0 || axes[best].src == 0 || std::abs(axes[best].src) >= std::abs(axes[rank - 1].src)) return;
    std::rotate(axes + best, axes + best + 1, axes + rank - 1);
    tiled = true;
  }
};

template <class T>
void copy_row(T* d, int64_t ds, const T* s, int64_t ss, int64_t n) {
  if (ds == 1 && ss == 1) {
    std::memcpy(d, s, static_cast<size_t>(n) * sizeof(T));
  } else if (ds == 1 && ss == 0) {
    std::fill(d, d + n, *s);
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * ds] = s[i * ss];
  }
}

template <class T>
void copy_plane(T* d, const T* s, const Axis& j, const Axis& i, int64_t j0, int64_t j1) {
  for (int64_t jb = j0; jb < j1; jb += kTile)
    for (int64_t ib = 0; ib < i.n; ib += kTile) {
      int64_t je = std::min(jb + kTile, j1), ie = std::min(ib + kTile, i.n);
      for (int64_t y = jb; y < je; ++y)
        for (int64_t x = ib; x < ie; ++x) d[y * j.dst + x * i.dst] = s[y * j.src + x * i.src];
    }
}

// Work items: pieces of the second innermost dim, for every index of the outer dims.
struct Pieces {
  int64_t per_plane, pieces, size;  // pieces of one plane; all; indices of the dim a piece holds
};
Pieces split(const Loops& l, size_t element) {
  const Axis &j = l.axes[l.rank - 2], &i = l.axes[l.rank - 1];
  int64_t planes = 1;
  for (int k = 0; k + 2 < l.rank; ++k) planes *= l.axes[k].n;
  int64_t row = i.n * static_cast<int64_t>(element);
  int64_t size = std::clamp<int64_t>(kPieceBytes / std::max<int64_t>(row, 1), 1, j.n);
  if (l.tiled) size = std::min((size + kTile - 1) / kTile * kTile, j.n);
  int64_t per_plane = (j.n + size - 1) / size;
  return {per_plane, planes * per_plane, size};
}

template <class T>
void copy_pieces(const Loops& l, const Pieces& p, std::byte* dst, const std::byte* src, int64_t begin, int64_t end) {
  const Axis &j = l.axes[l.rank - 2], &i = l.axes[l.rank - 1];
  for (int64_t k = begin; k < end; ++k) {
    int64_t plane = k / p.per_plane, j0 = k % p.per_plane * p.size, j1 = std::min(j0 + p.size, j.n);
    T* d = reinterpret_cast<T*>(dst);
    const T* s = reinterpret_cast<const T*>(src);
    for (int a = l.rank - 3; a >= 0; --a) {
      int64_t at = plane % l.axes[a].n;
      plane /= l.axes[a].n;
      d += at * l.axes[a].dst;
      s += at * l.axes[a].src;
    }
    if (l.tiled) {
      copy_plane(d, s, j, i, j0, j1);
    } else {
      for (int64_t y = j0; y < j1; ++y) copy_row(d + y * j.dst, i.dst, s + y * j.src, i.src, i.n);
    }
  }
}

struct Element16 {
  uint64_t a, b;
};
// An element at any address: callers' memory may be unaligned.
template <size_t n>
struct Bytes {
  std::byte b[n];
};

void copy_elements(const Loops& l, size_t size, std::byte* dst, const std::byte* src, ThreadPool* pool) {
  Pieces p = split(l, size);
  bool aligned = (reinterpret_cast<uintptr_t>(dst) | reinterpret_cast<uintptr_t>(src)) % std::min<size_t>(size, 8) == 0;
  auto work = [&](int64_t begin, int64_t end, int) {
    if (!aligned) {
      switch (size) {
        case 2: return copy_pieces<Bytes<2>>(l, p, dst, src, begin, end);
        case 4: return copy_pieces<Bytes<4>>(l, p, dst, src, begin, end);
        case 8: return copy_pieces<Bytes<8>>(l, p, dst, src, begin, end);
        default: return copy_pieces<Bytes<16>>(l, p, dst, src, begin, end);
      }
    }
    switch (size) {
      case 1: return copy_pieces<uint8_t>(l, p, dst, src, begin, end);
      case 2: return copy_pieces<uint16_t>(l, p, dst, src, begin, end);
      case 4: return copy_pieces<uint32_t>(l, p, dst, src, begin, end);
      case 8: return copy_pieces<uint64_t>(l, p, dst, src, begin, end);
      case 16: return copy_pieces<Element16>(l, p, dst, src, begin, end);
      default: UNREACHABLE();
    }
  };
  int64_t elements = 1;
  for (int k = 0; k < l.rank; ++k) elements *= l.axes[k].n;
  int64_t piece_bytes = elements / p.pieces * static_cast<int64_t>(size);
  if (!pool || elements * static_cast<int64_t>(size) < kParallelBytes || p.pieces < 2) return work(0, p.pieces, 0);
  pool->parallel_for(p.pieces, work, std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(piece_bytes, 1)));
}

// Packed elements of `bits` bits, low bits first; positions in elements. Threads would share bytes, so alone.
struct BitCopy {
  int bits;
  uint8_t* dst;
  const uint8_t* src;
  const Loops& loops;

  void element(int64_t d, int64_t s) const {
    int per = 8 / bits, mask = (1 << bits) - 1;
    int64_t sb = s >= 0 ? s / per : -((-s + per - 1) / per), db = d >= 0 ? d / per : -((-d + per - 1) / per);
    int v = (src[sb] >> (static_cast<int>(s - sb * per) * bits)) & mask, shift = static_cast<int>(d - db * per) * bits;
    dst[db] = static_cast<uint8_t>((dst[db] & ~(mask << shift)) | (v << shift));
  }
  void run(int axis, int64_t d, int64_t s) const {
    if (axis == loops.rank) return element(d, s);
    const Axis& a = loops.axes[axis];
    int64_t i = 0;
    int per = 8 / bits;
    if (axis == loops.rank - 1 && a.dst == 1 && a.src == 1 && d % per == 0 && s % per == 0) {
      std::memcpy(dst + d / per, src + s / per, static_cast<size_t>(a.n / per));
      i = a.n / per * per;
    }
    for (; i < a.n; ++i) run(axis + 1, d + i * a.dst, s + i * a.src);
  }
};

}  // namespace

void strided_copy(const StridedRef& dst, const StridedRef& src, ThreadPool* pool) {
  CHECK(dst.dtype == src.dtype && dst.rank == src.rank && dst.rank <= kMaxStridedRank && dst.dtype != DType::str);
  for (int i = 0; i < dst.rank; ++i)
    if (dst.dims[i] <= 0) return;
  Loops l(dst.rank, dst.dims, dst.strides, src.strides);
  if (is_subbyte(dst.dtype))
    return BitCopy{bit_width(dst.dtype), reinterpret_cast<uint8_t*>(dst.data), reinterpret_cast<const uint8_t*>(src.data), l}.run(0, 0, 0);
  const Axis& inner = l.axes[l.rank - 1];
  // One long row becomes a plane of pieces, so that threads can share it.
  constexpr int64_t kPiece = 8192;
  if (l.rank == 2 && l.axes[0].n == 1 && inner.n >= 2 * kPiece && inner.n % kPiece == 0) {
    l.axes[0] = {inner.n / kPiece, inner.dst * kPiece, inner.src * kPiece};
    l.axes[1].n = kPiece;
  } else if (l.rank == 2 && l.axes[0].n == 1 && inner.n > 2 * kPiece) {
    int64_t rest = inner.n % kPiece, whole = inner.n - rest, size = byte_size(dst.dtype);
    Axis tail = {rest, inner.dst, inner.src};
    l.axes[0] = {whole / kPiece, inner.dst * kPiece, inner.src * kPiece};
    l.axes[1].n = kPiece;
    copy_elements(l, static_cast<size_t>(size), dst.data, src.data, pool);
    l.axes[0] = {1, 0, 0};
    l.axes[1] = tail;
    return copy_elements(l, static_cast<size_t>(size), dst.data + whole * tail.dst * size, src.data + whole * tail.src * size, nullptr);
  }
  if (std::abs(inner.src) > 1) l.tile();
  copy_elements(l, static_cast<size_t>(byte_size(dst.dtype)), dst.data, src.data, pool);
}

void strided_fill(const StridedRef& dst, double value, ThreadPool* pool) {
  alignas(16) std::byte element[16] = {};
  // Without undefined conversions: beyond the range the nearest bound, NaN is 0.
  double whole = std::isnan(value) ? 0 : std::trunc(value);
  int64_t as_int = whole >= 9223372036854775808.0 ? INT64_MAX : whole < -9223372036854775808.0 ? INT64_MIN : static_cast<int64_t>(whole);
  uint64_t as_uint = whole >= 18446744073709551616.0 ? UINT64_MAX : whole < 0 ? 0 : static_cast<uint64_t>(whole);
  switch (dtype_class(dst.dtype)) {
    case 'f': store_row_f64(dst.dtype, &value, element, 1); break;
    case 'c': {
      double parts[2] = {value, 0};
      store_row_f64(dst.dtype, parts, element, 1);
      break;
    }
    case 'b': as_int = value != 0; [[fallthrough]];
    case 'i':
      as_int = std::clamp(as_int, int_min(dst.dtype), int_max(dst.dtype));
      store_row_i64(dst.dtype, &as_int, element, 1);
      break;
    case 'u':
      if (dst.dtype != DType::u64) as_uint = std::min(as_uint, static_cast<uint64_t>(int_max(dst.dtype)));
      store_row_u64(dst.dtype, &as_uint, element, 1);
      break;
    default: UNREACHABLE();
  }
  static constexpr int64_t kZeros[kMaxStridedRank] = {};
  strided_copy(dst, {element, dst.dtype, dst.rank, dst.dims, kZeros}, pool);
}

bool strided_extent(DType t, int rank, const int64_t* dims, const int64_t* strides, int64_t* lo, int64_t* hi) {
  int64_t from = 0, to = 0, bits = bit_width(t);
  *lo = 0, *hi = 0;
  for (int i = 0; i < rank; ++i) {
    if (dims[i] == 0) return false;
    int64_t reach;
    bool bad = dims[i] < 0 || __builtin_mul_overflow(dims[i] - 1, strides[i], &reach);
    int64_t& end = strides[i] < 0 ? from : to;
    if (bad || __builtin_add_overflow(end, reach, &end)) return *hi = -1, false;
  }
  if (__builtin_add_overflow(to, 1, &to) || __builtin_mul_overflow(from, bits, &from) || __builtin_mul_overflow(to, bits, &to))
    return *hi = -1, false;
  *lo = from / 8 - (from % 8 != 0);
  *hi = to / 8 + (to % 8 != 0);
  return true;
}

bool same_strides(int rank, const int64_t* dims, const int64_t* a, const int64_t* b) {
  bool same = true;
  for (int i = 0; i < rank; ++i) {
    if (dims[i] == 0) return true;
    same = same && (dims[i] == 1 || a[i] == b[i]);
  }
  return same;
}

bool plan_dense_strides(DType t, int rank, const int64_t* dims, int64_t* strides) {
  int64_t next = 1;
  for (int i = rank - 1; i >= 0; --i) {
    strides[i] = next;
    int64_t n = std::max<int64_t>(dims[i], 1);
    if (i == rank - 1 && is_subbyte(t)) {
      int64_t per = 8 / bit_width(t);
      if (__builtin_add_overflow(n, per - 1, &n)) return false;
      n = n / per * per;
    }
    if (__builtin_mul_overflow(next, n, &next)) return false;
  }
  return true;
}

}  // namespace weft
