// Names, classes, ranges, the integer carriers and sub-byte packing. The float conversions are in dtype_convert.cpp.
#include "ir/base/dtype.h"

#include <array>
#include <cstring>
#include <type_traits>

#include "ir/base/check.h"

namespace weft {

namespace {
struct Row {
  const char* name;
  int bits;
  char cls;
};
constexpr Row kRows[] = {
#define WEFT_X(e, text, bits, cls) {text, bits, cls},
    WEFT_DTYPES(WEFT_X)
#undef WEFT_X
};
constexpr size_t kCount = sizeof kRows / sizeof kRows[0];

const Row& row(DType t) {
  CHECK(static_cast<size_t>(t) < kCount);
  return kRows[static_cast<size_t>(t)];
}

// Sign-extends (signed carriers) or masks the low `bits` bits.
template <class T>
T narrow(T v, int bits) {
  int drop = static_cast<int>(sizeof(T)) * 8 - bits;
  return static_cast<T>(static_cast<std::make_unsigned_t<T>>(v) << drop) >> drop;
}

// memcpy per element: rows may start at any byte (file-mapped constants), and compilers turn it into plain moves.
template <class S, class C>
void load_as(const void* src, C* dst, int64_t n) {
  const char* p = static_cast<const char*>(src);
  for (int64_t i = 0; i < n; ++i) {
    S v;
    std::memcpy(&v, p + i * static_cast<int64_t>(sizeof v), sizeof v);
    dst[i] = static_cast<C>(v);
  }
}
template <class S, class C>
void store_as(const C* src, void* dst, int64_t n) {
  char* p = static_cast<char*>(dst);
  for (int64_t i = 0; i < n; ++i) {
    S v = static_cast<S>(src[i]);
    std::memcpy(p + i * static_cast<int64_t>(sizeof v), &v, sizeof v);
  }
}
template <class B, class C>
void load_narrow(int bits, const void* src, C* dst, int64_t n) {
  const B* p = static_cast<const B*>(src);
  for (int64_t i = 0; i < n; ++i) dst[i] = narrow(static_cast<C>(p[i]), bits);
}
template <class B, class C>
void store_narrow(int bits, const C* src, void* dst, int64_t n) {
  B* p = static_cast<B*>(dst);
  for (int64_t i = 0; i < n; ++i) p[i] = static_cast<B>(narrow(src[i], bits));
}
}  // namespace

const char* dtype_name(DType t) { return row(t).name; }
int bit_width(DType t) { return row(t).bits; }
char dtype_class(DType t) { return row(t).cls; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kCount; ++i)
    if (name == kRows[i].name) return static_cast<DType>(i);
  return std::nullopt;
}

int64_t int_min(DType t) {
  CHECK(is_int(t) || t == DType::b1);
  return is_signed_int(t) ? INT64_MIN >> (64 - bit_width(t)) : 0;
}
int64_t int_max(DType t) {
  CHECK(is_int(t) || t == DType::b1);
  if (t == DType::b1) return 1;
  if (t == DType::u64) return INT64_MAX;
  return INT64_MAX >> (is_signed_int(t) ? 64 - bit_width(t) : 63 - bit_width(t));
}

void load_row_i64(DType t, const void* src, int64_t* dst, int64_t n) {
  switch (t) {
    case DType::i64: return load_as<int64_t>(src, dst, n);
    case DType::i32: return load_as<int32_t>(src, dst, n);
    case DType::i16: return load_as<int16_t>(src, dst, n);
    case DType::i8: return load_as<int8_t>(src, dst, n);
    case DType::i4:
    case DType::i2: return load_narrow<int8_t>(bit_width(t), src, dst, n);
    case DType::b1: {
      const uint8_t* p = static_cast<const uint8_t*>(src);
      for (int64_t i = 0; i < n; ++i) dst[i] = p[i] != 0;
      return;
    }
    default: UNREACHABLE();
  }
}

void store_row_i64(DType t, const int64_t* src, void* dst, int64_t n) {
  switch (t) {
    case DType::i64: return store_as<int64_t>(src, dst, n);
    case DType::i32: return store_as<int32_t>(src, dst, n);
    case DType::i16: return store_as<int16_t>(src, dst, n);
    case DType::i8: return store_as<int8_t>(src, dst, n);
    case DType::i4:
    case DType::i2: return store_narrow<int8_t>(bit_width(t), src, dst, n);
    case DType::b1: {
      uint8_t* p = static_cast<uint8_t*>(dst);
      for (int64_t i = 0; i < n; ++i) p[i] = src[i] != 0;
      return;
    }
    default: UNREACHABLE();
  }
}

void load_row_u64(DType t, const void* src, uint64_t* dst, int64_t n) {
  switch (t) {
    case DType::u64: return load_as<uint64_t>(src, dst, n);
    case DType::u32: return load_as<uint32_t>(src, dst, n);
    case DType::u16: return load_as<uint16_t>(src, dst, n);
    case DType::u8: return load_as<uint8_t>(src, dst, n);
    case DType::u4:
    case DType::u2: return load_narrow<uint8_t>(bit_width(t), src, dst, n);
    default: UNREACHABLE();
  }
}

void store_row_u64(DType t, const uint64_t* src, void* dst, int64_t n) {
  switch (t) {
    case DType::u64: return store_as<uint64_t>(src, dst, n);
    case DType::u32: return store_as<uint32_t>(src, dst, n);
    case DType::u16: return store_as<uint16_t>(src, dst, n);
    case DType::u8: return store_as<uint8_t>(src, dst, n);
    case DType::u4:
    case DType::u2: return store_narrow<uint8_t>(bit_width(t), src, dst, n);
    default: UNREACHABLE();
  }
}

void unpack_subbyte(DType t, const void* packed, void* bytes, int64_t n) {
  CHECK(is_subbyte(t));
  const int bits = bit_width(t), per = 8 / bits, mask = (1 << bits) - 1;
  const bool sign = is_signed_int(t);
  const uint8_t* p = static_cast<const uint8_t*>(packed);
  uint8_t* q = static_cast<uint8_t*>(bytes);
  auto element = [&](int byte, int k) {
    const int v = (byte >> (k * bits)) & mask;
    return static_cast<uint8_t>(sign ? narrow(static_cast<int8_t>(v), bits) : v);
  };
  // Of whole bytes by a table.
  std::array<std::array<uint8_t, 4>, 256> table;
  for (int byte = 0; byte < 256; ++byte)
    for (int k = 0; k < per; ++k) table[static_cast<size_t>(byte)][static_cast<size_t>(k)] = element(byte, k);
  const int64_t whole = n / per;
  if (per == 2)
    for (int64_t i = 0; i < whole; ++i) std::memcpy(q + i * 2, table[p[i]].data(), 2);
  else
    for (int64_t i = 0; i < whole; ++i) std::memcpy(q + i * 4, table[p[i]].data(), 4);
  for (int64_t i = whole * per; i < n; ++i) q[i] = element(p[i / per], static_cast<int>(i % per));
}

void pack_subbyte(DType t, const void* bytes, void* packed, int64_t n) {
  CHECK(is_subbyte(t));
  const int bits = bit_width(t), per = 8 / bits, mask = (1 << bits) - 1;
  const uint8_t* q = static_cast<const uint8_t*>(bytes);
  uint8_t* p = static_cast<uint8_t*>(packed);
  for (int64_t i = 0; i < n;) {
    int v = 0;
    for (int k = 0; k < per && i < n; ++k, ++i) v |= (q[i] & mask) << (k * bits);
    *p++ = static_cast<uint8_t>(v);
  }
}

}  // namespace weft
