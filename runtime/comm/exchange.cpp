#include "runtime/comm/exchange.h"

#include <algorithm>
#include <cstring>

#include "runtime/comm/reduce.h"

namespace weft {

namespace {

// Rows of `bytes` along outer and middle; strides in bytes.
struct Rows {
  int64_t on, mn, bytes;
};
void copy_rows(Rows r, char* dst, int64_t dst_o, int64_t dst_m, const char* src, int64_t src_o, int64_t src_m) {
  if (dst_m == r.bytes && src_m == r.bytes) r.bytes *= std::exchange(r.mn, 1);
  if (r.mn == 1 && dst_o == r.bytes && src_o == r.bytes) r.bytes *= std::exchange(r.on, 1);
  for (int64_t o = 0; o < r.on; ++o)
    for (int64_t m = 0; m < r.mn; ++m)
      std::memcpy(dst + o * dst_o + m * dst_m, src + o * src_o + m * src_m, static_cast<size_t>(r.bytes));
}

// Where the piece begins in a tensor of these strides.
int64_t start(const ExchangePiece& p, const Exchange::Strides& s, int64_t part) { return p.o0 * s.o + part * s.p + p.m0 * s.m + p.k0; }

}  // namespace

Exchange exchange_of(const Collective& c, int rank, int size) {
  using K = CollectiveKind;
  Exchange x{};
  x.kind = c.kind, x.dtype = c.dtype, x.reduction = c.reduction;
  x.unit = is_subbyte(c.dtype) ? 1 : byte_size(c.dtype);
  x.rank = rank, x.size = size;
  x.outer = c.outer, x.middle = 1, x.parts = 1;
  x.inner = is_subbyte(c.dtype) ? packed_bytes(c.dtype, c.inner) : c.inner;
  x.packs = true;
  const int64_t n = size, k = x.inner;
  switch (c.kind) {
    case K::all_gather:
      x.in = {k, 0, k}, x.out = {n * k, k, k};
      break;
    case K::reduce_scatter:
      x.parts = n;
      x.in = {n * k, k, k}, x.out = {k, 0, k};
      break;
    case K::all_to_all: {
      const int64_t m = x.middle = c.middle;
      x.parts = n;
      x.in = {n * m * k, c.split_first ? m * k : k, c.split_first ? k : n * k};
      x.out = {n * m * k, c.split_first ? k : m * k, c.split_first ? n * k : k};
      break;
    }
    case K::broadcast:
      x.outer = 1;
      x.in = x.out = {k, 0, k};
      x.packs = rank == c.root;
      x.source = static_cast<int>(c.root);
      break;
    case K::permute:
      x.outer = 1;
      x.in = x.out = {k, 0, k};
      x.packs = false;
      x.source = -1;
      for (size_t i = 0; i + 1 < c.pairs.size(); i += 2) {
        if (c.pairs[i] == rank) x.packs = true;
        if (c.pairs[i + 1] == rank) x.source = static_cast<int>(c.pairs[i]);
      }
      break;
    default:
      x.outer = 1;
      x.in = x.out = {k, 0, k};
  }
  return x;
}

// Whole rows where they fit, else a part of one; so what a piece is of a compact tensor is contiguous.
static void size_piece(const Exchange& x, int64_t bytes, ExchangePiece& p) {
  const int64_t budget = std::max<int64_t>(1, bytes / (x.parts * x.unit));
  p.kn = std::min(x.inner - p.k0, budget);
  p.mn = p.on = 1;
  if (p.kn < x.inner) return;
  p.mn = std::min(x.middle - p.m0, budget / x.inner);
  if (p.mn < x.middle) return;
  p.on = std::min(x.outer - p.o0, budget / (x.inner * x.middle));
}

bool first_piece(const Exchange& x, int64_t bytes, ExchangePiece& p) {
  if (x.outer == 0 || x.middle == 0 || x.inner == 0) return false;
  p = {};
  size_piece(x, bytes, p);
  return true;
}

bool next_piece(const Exchange& x, int64_t bytes, ExchangePiece& p) {
  if ((p.k0 += p.kn) == x.inner) {
    p.k0 = 0;
    if ((p.m0 += p.mn) == x.middle) {
      p.m0 = 0;
      if ((p.o0 += p.on) == x.outer) return false;
    }
  }
  size_piece(x, bytes, p);
  return true;
}

void pack_piece(const Exchange& x, const ExchangePiece& p, const void* in, void* area) {
  const Rows rows{p.on, p.mn, p.kn * x.unit};
  for (int64_t part = 0; part < x.parts; ++part)
    copy_rows(rows, static_cast<char*>(area) + part * p.units() * x.unit, p.mn * p.kn * x.unit, p.kn * x.unit,
              static_cast<const char*>(in) + start(p, x.in, part) * x.unit, x.in.o * x.unit, x.in.m * x.unit);
}

static void place_part(const Exchange& x, const ExchangePiece& p, const void* part, int64_t from, void* out) {
  copy_rows({p.on, p.mn, p.kn * x.unit}, static_cast<char*>(out) + start(p, x.out, from) * x.unit, x.out.o * x.unit, x.out.m * x.unit,
            static_cast<const char*>(part), p.mn * p.kn * x.unit, p.kn * x.unit);
}

void deliver_piece(const Exchange& x, const ExchangePiece& p, std::span<const void* const> areas, void* out) {
  const int64_t part_bytes = p.units() * x.unit;
  // Where a compact result has this piece: without a gap.
  void* place = static_cast<char*>(out) + start(p, x.out, 0) * x.unit;
  switch (x.kind) {
    case CollectiveKind::all_reduce:
    case CollectiveKind::reduce_scatter: return reduce_rows(x.dtype, x.reduction, areas, place, x.elements(p.units()));
    case CollectiveKind::all_gather:
    case CollectiveKind::all_to_all:
      for (int s = 0; s < x.size; ++s) place_part(x, p, areas[static_cast<size_t>(s)], s, out);
      return;
    default:
      if (x.source < 0) std::memset(place, 0, static_cast<size_t>(part_bytes));
      else std::memcpy(place, areas[static_cast<size_t>(x.source)], static_cast<size_t>(part_bytes));
  }
}

}  // namespace weft
