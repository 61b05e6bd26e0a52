// Names, extents and sizes of collectives, and what makes one legal.
#include <array>

#include "ir/base/text.h"
#include "runtime/comm/communicator.h"

namespace weft {

namespace {

constexpr std::array<const char*, 8> kKinds = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all",
                                               "broadcast", "collective_permute", "send", "recv"};
constexpr std::array<const char*, 5> kReductions = {"sum", "mean", "max", "min", "prod"};

template <class E, size_t N>
std::optional<E> find_name(const std::array<const char*, N>& names, std::string_view name) {
  for (size_t i = 0; i < N; ++i)
    if (names[i] == name) return static_cast<E>(i);
  return {};
}

Result<int64_t> product(std::initializer_list<int64_t> factors) {
  int64_t n = 1;
  for (int64_t f : factors)
    if (f < 0) return invalid("a collective with an extent of " + std::to_string(f));
  for (int64_t f : factors)
    if (f == 0) return int64_t{0};
  for (int64_t f : factors)
    if (__builtin_mul_overflow(n, f, &n)) return resources("a collective of more than 2^63 elements");
  return n;
}
// Bytes of `rows` rows of `inner` elements.
Result<int64_t> bytes_of(DType t, int64_t rows, int64_t inner, bool whole_rows) {
  TRY_ASSIGN(int64_t elements, product({rows, inner}));
  TRY_ASSIGN(int64_t bits, product({elements, bit_width(t)}));
  if (whole_rows && is_subbyte(t) && inner * bit_width(t) % 8 != 0)
    return unsupported("a collective cuts a row of " + std::to_string(inner) + " " + dtype_name(t) + " elements, which is not whole bytes")
        .with_hint("shard along another axis");
  return bits / 8 + (bits % 8 != 0);
}

Status check_pairs(const Collective& c, int n) {
  if (c.pairs.size() % 2 != 0) return invalid("collective_permute has a source without a target");
  std::vector<char> seen(static_cast<size_t>(n) * 2);
  for (size_t i = 0; i < c.pairs.size(); ++i) {
    const int64_t r = c.pairs[i];
    if (r < 0 || r >= n) return invalid("collective_permute names rank " + std::to_string(r) + " of a group of " + std::to_string(n));
    char& twice = seen[static_cast<size_t>(r) * 2 + i % 2];
    if (twice++) return invalid("collective_permute names rank " + std::to_string(r) + " twice as a " + (i % 2 ? "target" : "source"));
  }
  return {};
}

}  // namespace

const char* collective_name(CollectiveKind kind) { return kKinds[static_cast<size_t>(kind)]; }
std::optional<CollectiveKind> collective_from_name(std::string_view name) { return find_name<CollectiveKind>(kKinds, name); }
const char* reduction_name(CommReduction r) { return kReductions[static_cast<size_t>(r)]; }
std::optional<CommReduction> reduction_from_name(std::string_view name) { return find_name<CommReduction>(kReductions, name); }

Status Collective::set_extents(std::span<const int64_t> dims, int64_t dim, int64_t join, int n) {
  const int64_t rank = static_cast<int64_t>(dims.size());
  outer = middle = inner = 1;
  auto times = [&](int64_t& extent, int64_t begin, int64_t end) -> Status {
    for (int64_t i = begin; i < end; ++i) {
      TRY_ASSIGN(extent, product({extent, dims[static_cast<size_t>(i)]}));
    }
    return {};
  };
  const bool gather = kind == CollectiveKind::all_gather, all = kind == CollectiveKind::all_to_all;
  if (!gather && !all && kind != CollectiveKind::reduce_scatter) return times(inner, 0, rank);
  auto axis = [&](int64_t& a) -> Status {
    if (a < -rank || a >= rank)
      return invalid(std::string(collective_name(kind)) + " along axis " + std::to_string(a) + " of a tensor of rank " + std::to_string(rank));
    if (a < 0) a += rank;
    return {};
  };
  TRY(axis(dim));
  if (!all) join = dim;
  TRY(axis(join));
  const int64_t extent = dims[static_cast<size_t>(dim)];
  if (!gather && (n < 1 || extent % n != 0))
    return invalid(std::string(collective_name(kind)) + " cuts an axis of " + std::to_string(extent) + " between " + std::to_string(n) + " ranks");
  const int64_t part = gather ? extent : extent / n;
  split_first = dim < join;
  TRY(times(outer, 0, std::min(dim, join)));
  if (split_first) {
    TRY_ASSIGN(middle, product({part}));
    TRY(times(middle, dim + 1, join));
    return times(inner, join, rank);
  }
  TRY(times(middle, join, dim));
  TRY_ASSIGN(inner, product({part}));
  return times(inner, dim + 1, rank);
}

Result<int> place_in_group(std::span<const int> ranks, int rank, int size) {
  std::vector<char> seen(static_cast<size_t>(size));
  int place = -1;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] < 0 || ranks[i] >= size) return invalid("a group with rank " + std::to_string(ranks[i]) + " of " + std::to_string(size));
    if (seen[static_cast<size_t>(ranks[i])]++) return invalid("a group that names rank " + std::to_string(ranks[i]) + " twice");
    if (ranks[i] == rank) place = static_cast<int>(i);
  }
  if (place < 0) return invalid("rank " + std::to_string(rank) + " asks for a group without itself");
  return place;
}

Result<CollectiveBytes> collective_bytes(const Collective& c, int n) {
  using K = CollectiveKind;
  const std::string name = collective_name(c.kind);
  if (c.dtype == DType::str) return unsupported(name + " of strings");
  const bool reduces = c.kind == K::all_reduce || c.kind == K::reduce_scatter;
  if (reduces && is_complex(c.dtype) && (c.reduction == CommReduction::max || c.reduction == CommReduction::min))
    return invalid(name + " " + reduction_name(c.reduction) + " of complex numbers");
  if (c.kind == K::broadcast || c.kind == K::send || c.kind == K::recv)
    if (c.root < 0 || c.root >= n) return invalid(name + " names rank " + std::to_string(c.root) + " of a group of " + std::to_string(n));
  if (c.kind == K::permute) TRY(check_pairs(c, n));
  CollectiveBytes b;
  switch (c.kind) {
    case K::all_gather: {
      TRY_ASSIGN(b.in, bytes_of(c.dtype, c.outer, c.inner, n > 1));
      TRY_ASSIGN(int64_t rows, product({c.outer, n}));
      TRY_ASSIGN(b.out, bytes_of(c.dtype, rows, c.inner, n > 1));
      break;
    }
    case K::reduce_scatter: {
      TRY_ASSIGN(b.out, bytes_of(c.dtype, c.outer, c.inner, n > 1));
      TRY_ASSIGN(int64_t rows, product({c.outer, n}));
      TRY_ASSIGN(b.in, bytes_of(c.dtype, rows, c.inner, n > 1));
      break;
    }
    case K::all_to_all: {
      TRY_ASSIGN(int64_t rows, product({c.outer, n, c.middle}));
      TRY_ASSIGN(b.in, bytes_of(c.dtype, rows, c.inner, n > 1));
      b.out = b.in;
      break;
    }
    default: {
      TRY_ASSIGN(int64_t bytes, bytes_of(c.dtype, 1, c.inner, false));
      b = {c.kind == K::recv ? 0 : bytes, c.kind == K::send ? 0 : bytes};
    }
  }
  return b;
}

}  // namespace weft
