#include "runtime/comm/reduce.h"

#include <cstring>
#include <type_traits>

#include "ir/base/check.h"

namespace weft {

namespace {

constexpr int64_t kBlock = 512;  // elements at once, a multiple of 8: whole bytes of every sub-byte type

// A block of elements as the carrier that they accumulate in, and back. `bytes` is scratch for sub-byte types.
template <class C>
struct Block {
  C values[kBlock];

  void load(DType t, const void* src, int64_t n) {
    if constexpr (std::is_same_v<C, float>) {
      if (t == DType::f32) return void(std::memcpy(values, src, static_cast<size_t>(n) * 4));
      double wide[kBlock];
      load_row_f64(t, unpacked(t, src, n), wide, n);
      for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(wide[i]);
    } else if constexpr (std::is_same_v<C, double>) {
      load_row_f64(t, src, values, is_complex(t) ? n / 2 : n);
    } else if constexpr (std::is_same_v<C, int64_t>) {
      load_row_i64(t, unpacked(t, src, n), values, n);
    } else {
      load_row_u64(t, unpacked(t, src, n), values, n);
    }
  }
  void store(DType t, void* dst, int64_t n) {
    void* to = is_subbyte(t) ? bytes : dst;
    if constexpr (std::is_same_v<C, float>) {
      if (t == DType::f32) return void(std::memcpy(dst, values, static_cast<size_t>(n) * 4));
      double wide[kBlock];
      for (int64_t i = 0; i < n; ++i) wide[i] = values[i];
      store_row_f64(t, wide, to, n);
    } else if constexpr (std::is_same_v<C, double>) {
      store_row_f64(t, values, to, is_complex(t) ? n / 2 : n);
    } else if constexpr (std::is_same_v<C, int64_t>) {
      store_row_i64(t, values, to, n);
    } else {
      store_row_u64(t, values, to, n);
    }
    if (is_subbyte(t)) pack_subbyte(t, bytes, dst, n);
  }

 private:
  uint8_t bytes[kBlock];
  const void* unpacked(DType t, const void* src, int64_t n) {
    if (!is_subbyte(t)) return src;
    unpack_subbyte(t, src, bytes, n);
    return bytes;
  }
};

// Integers wrap: signed overflow is no behaviour to rely on.
template <class C>
C add(C a, C b) {
  if constexpr (std::is_same_v<C, int64_t>) return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else return a + b;
}
template <class C>
C multiply(C a, C b) {
  if constexpr (std::is_same_v<C, int64_t>) return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  else return a * b;
}

template <class C>
void combine(CommReduction r, C* acc, const C* x, int64_t n, bool complex) {
  switch (r) {
    case CommReduction::sum:
    case CommReduction::mean:
      for (int64_t i = 0; i < n; ++i) acc[i] = add(acc[i], x[i]);
      return;
    case CommReduction::max:  // what is not a number is unequal to itself
      for (int64_t i = 0; i < n; ++i) acc[i] = acc[i] >= x[i] || acc[i] != acc[i] ? acc[i] : x[i];
      return;
    case CommReduction::min:
      for (int64_t i = 0; i < n; ++i) acc[i] = acc[i] <= x[i] || acc[i] != acc[i] ? acc[i] : x[i];
      return;
    case CommReduction::prod:
      if (!complex) {
        for (int64_t i = 0; i < n; ++i) acc[i] = multiply(acc[i], x[i]);
        return;
      }
      for (int64_t i = 0; i + 1 < n; i += 2) {
        const C re = acc[i] * x[i] - acc[i + 1] * x[i + 1], im = acc[i] * x[i + 1] + acc[i + 1] * x[i];
        acc[i] = re, acc[i + 1] = im;
      }
      return;
  }
}

template <class C>
void reduce(DType t, CommReduction r, std::span<const void* const> sources, void* dst, int64_t count) {
  Block<C> acc, x;
  const bool complex = is_complex(t);
  const int64_t step = complex ? kBlock / 2 : kBlock;
  for (int64_t begin = 0; begin < count; begin += step) {
    const int64_t elements = std::min(step, count - begin), n = complex ? 2 * elements : elements;
    const int64_t offset = begin * bit_width(t) / 8;
    acc.load(t, static_cast<const char*>(sources[0]) + offset, n);
    for (size_t s = 1; s < sources.size(); ++s) {
      x.load(t, static_cast<const char*>(sources[s]) + offset, n);
      combine(r, acc.values, x.values, n, complex);
    }
    if (r == CommReduction::mean)
      for (int64_t i = 0; i < n; ++i) acc.values[i] /= static_cast<C>(sources.size());
    acc.store(t, static_cast<char*>(dst) + offset, n);
  }
}

}  // namespace

void reduce_rows(DType t, CommReduction r, std::span<const void* const> sources, void* dst, int64_t count) {
  switch (dtype_class(t)) {
    case 'f': return t == DType::f64 ? reduce<double>(t, r, sources, dst, count) : reduce<float>(t, r, sources, dst, count);
    case 'c': return reduce<double>(t, r, sources, dst, count);
    case 'u': return reduce<uint64_t>(t, r, sources, dst, count);
    case 'i':
    case 'b': return reduce<int64_t>(t, r, sources, dst, count);
  }
  UNREACHABLE();
}

}  // namespace weft
