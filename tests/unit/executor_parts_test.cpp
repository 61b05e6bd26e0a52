// The executor's parts on their own: compiled dims, strided copies, blocks.
#include <gtest/gtest.h>

#include <random>

#include "runtime/executor/dim_program.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/strided.h"

namespace weft::executor_parts_test {
namespace {

TEST(ExecutorDims, AgreesWithDim) {
  SymbolTable symbols = {{"a", {}}, {"b", {}}, {"c", {}}};
  std::mt19937 random(11);
  auto leaf = [&]() -> Dim {
    switch (random() % 4) {
      case 0: return Dim::symbol("a");
      case 1: return Dim::symbol("b");
      case 2: return Dim::symbol("c");
      default: return Dim(static_cast<int64_t>(random() % 9) - 4);
    }
  };
  auto build = [&](auto&& self, int depth) -> Dim {
    if (depth == 0) return leaf();
    Dim x = self(self, depth - 1), y = self(self, depth - 1);
    switch (random() % 7) {
      case 0: return x + y;
      case 1: return x - y;
      case 2: return x * y;
      case 3: return floordiv(x, y);
      case 4: return mod(x, y);
      case 5: return min(x, y);
      default: return max(x, y);
    }
  };
  DimProgram program(symbols);
  program.set_late(program.slot("c"));
  int defined = 0;
  for (int round = 0; round < 2000; ++round) {
    Dim d = build(build, static_cast<int>(random() % 5));
    if (d.is_overflow()) {
      EXPECT_FALSE(program.compile(d).ok());
      continue;
    }
    Result<CompiledDim> c = program.compile(d);
    ASSERT_TRUE(c.ok()) << c.error().message;
    EXPECT_EQ(c->late, d.contains("c"));
    for (int k = 0; k < 5; ++k) {
      SymbolValues values;
      std::vector<int64_t> slots;
      for (auto& [name, info] : symbols) slots.push_back(values[name] = static_cast<int64_t>(random() % 21) - 10);
      std::optional<int64_t> want = d.eval(values);
      int64_t got = 0;
      bool fine = program.eval(*c, slots.data(), &got);
      ASSERT_EQ(fine, want.has_value()) << d.to_string();
      if (!fine) continue;
      ++defined;
      ASSERT_EQ(got, *want) << d.to_string();
    }
  }
  EXPECT_GT(defined, 5000);
}

TEST(ExecutorDims, Refuses) {
  DimProgram program(SymbolTable{{"a", {}}});
  Dim a = Dim::symbol("a");
  int64_t v = 0, slots[] = {INT64_MAX};
  EXPECT_FALSE(program.eval(*program.compile(a + 1), slots, &v));
  EXPECT_FALSE(program.eval(*program.compile(a * a), slots, &v));
  EXPECT_FALSE(program.eval(*program.compile(a * 2), slots, &v));
  slots[0] = 0;
  EXPECT_FALSE(program.eval(*program.compile(floordiv(7, a)), slots, &v));
  slots[0] = kNoValue;
  EXPECT_FALSE(program.eval(*program.compile(a), slots, &v));
  EXPECT_FALSE(program.compile(Dim::symbol("b")).ok());
  Dim deep = a;
  for (int i = 0; i < 100; ++i) deep = max(a * 3, floordiv(deep + 1, a + 7));
  EXPECT_FALSE(program.compile(deep).ok());
}

// Byte `byte` of element `at`; of packed types the element.
int get(const std::vector<uint8_t>& v, DType t, int64_t at, int byte) {
  if (!is_subbyte(t)) return v[static_cast<size_t>(at * byte_size(t) + byte)];
  int bits = bit_width(t), per = 8 / bits;
  return (v[static_cast<size_t>(at / per)] >> (at % per * bits)) & ((1 << bits) - 1);
}
void put(std::vector<uint8_t>& v, DType t, int64_t at, int byte, int x) {
  if (!is_subbyte(t)) {
    v[static_cast<size_t>(at * byte_size(t) + byte)] = static_cast<uint8_t>(x);
    return;
  }
  int bits = bit_width(t), per = 8 / bits, shift = static_cast<int>(at % per) * bits, mask = (1 << bits) - 1;
  uint8_t& b = v[static_cast<size_t>(at / per)];
  b = static_cast<uint8_t>((b & ~(mask << shift)) | (x << shift));
}

// Against one element at a time, over random dims, permutations, gaps, reversals and broadcasts.
TEST(ExecutorStrided, CopiesAgree) {
  std::mt19937 random(5);
  auto pool = ThreadPool::create(3).value();
  for (int round = 0; round < 600; ++round) {
    DType types[] = {DType::u8, DType::f16, DType::f32, DType::i64, DType::c128, DType::i4, DType::u2};
    DType t = types[random() % 7];
    int rank = static_cast<int>(random() % 5), bits = bit_width(t);
    std::vector<int64_t> dims, dst(static_cast<size_t>(rank)), src(static_cast<size_t>(rank));
    for (int i = 0; i < rank; ++i)
      dims.push_back(
          round % 20 == 0 && rank < 4 ? static_cast<int64_t>(1 + random() % 50) : static_cast<int64_t>(random() % 7));
    auto layout = [&](std::vector<int64_t>& strides, bool may_broadcast) {  // returns lo, hi in elements
      std::vector<int> order(static_cast<size_t>(rank));
      for (int i = 0; i < rank; ++i) order[static_cast<size_t>(i)] = i;
      std::shuffle(order.begin(), order.end(), random);
      int64_t next = 1, lo = 0, hi = 1;
      for (int i : order) {
        int64_t s = next * static_cast<int64_t>(random() % 4 ? 1 : 1 + random() % 2);
        next = s * std::max<int64_t>(dims[static_cast<size_t>(i)], 1);
        if (may_broadcast && random() % 5 == 0) s = 0;
        if (random() % 5 == 0) s = -s;
        strides[static_cast<size_t>(i)] = s;
        (s < 0 ? lo : hi) += s * std::max<int64_t>(dims[static_cast<size_t>(i)] - 1, 0);
      }
      return std::pair(lo, hi);
    };
    auto [dlo, dhi] = layout(dst, false);
    auto [slo, shi] = layout(src, true);
    // Whole bytes before the first element, for packed types.
    int64_t per = bits < 8 ? 8 / bits : 1, size = byte_size(t), dfrom = -((-dlo + per - 1) / per),
            sfrom = -((-slo + per - 1) / per);  // in bytes or elements
    auto bytes = [&](int64_t from, int64_t hi) { return static_cast<size_t>(((hi + per - 1) / per - from) * size); };
    std::vector<uint8_t> s(bytes(sfrom, shi)), d(bytes(dfrom, dhi), 0xa5), want;
    for (uint8_t& b : s) b = static_cast<uint8_t>(random());
    want = d;
    int64_t n = 1;
    for (int64_t x : dims) n *= x;
    for (int64_t k = 0; k < n; ++k) {
      int64_t rest = k, from = 0, to = 0;
      for (int i = rank - 1; i >= 0; --i) {
        int64_t at = rest % dims[static_cast<size_t>(i)];
        rest /= dims[static_cast<size_t>(i)];
        from += at * src[static_cast<size_t>(i)];
        to += at * dst[static_cast<size_t>(i)];
      }
      for (int b = 0; b < size; ++b) put(want, t, to - dfrom * per, b, get(s, t, from - sfrom * per, b));
    }
    StridedRef to{reinterpret_cast<std::byte*>(d.data()) - dfrom * size, t, rank, dims.data(), dst.data()};
    StridedRef from{reinterpret_cast<std::byte*>(s.data()) - sfrom * size, t, rank, dims.data(), src.data()};
    strided_copy(to, from, round % 2 ? pool.get() : nullptr);
    ASSERT_EQ(d, want) << "round " << round << " " << dtype_name(t);
  }
}

TEST(ExecutorStrided, LargeCopies) {
  auto pool = ThreadPool::create(2).value();
  for (int64_t n : {int64_t{1} << 20, (int64_t{1} << 20) + 77}) {
    std::vector<float> a(static_cast<size_t>(n)), b(a.size());
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
    int64_t one = 1, minus = -1;
    auto ref = [&](std::vector<float>& v, const int64_t* stride, int64_t at) {
      return StridedRef{reinterpret_cast<std::byte*>(v.data() + at), DType::f32, 1, &n, stride};
    };
    strided_copy(ref(b, &one, 0), ref(a, &one, 0), pool.get());
    EXPECT_EQ(a, b);
    strided_copy(ref(b, &one, 0), ref(a, &minus, n - 1), pool.get());
    EXPECT_TRUE(std::equal(a.rbegin(), a.rend(), b.begin()));
  }
  int64_t dims[] = {3, 517, 703}, dense[] = {517 * 703, 703, 1}, turned[] = {517 * 703, 1, 517};
  std::vector<float> a(3 * 517 * 703), b(a.size());
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
  strided_copy({reinterpret_cast<std::byte*>(b.data()), DType::f32, 3, dims, dense},
      {reinterpret_cast<std::byte*>(a.data()), DType::f32, 3, dims, turned}, pool.get());
  bool same = true;
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 517; ++j)
      for (int64_t k = 0; k < 703; ++k)
        same = same &&
               b[static_cast<size_t>((i * 517 + j) * 703 + k)] == a[static_cast<size_t>(i * 517 * 703 + j + k * 517)];
  EXPECT_TRUE(same);
}

TEST(ExecutorStrided, FillsConvert) {
  auto fill = [](DType t, double v) {
    alignas(16) std::array<std::byte, 64> m{};
    int64_t dims[] = {2, 2}, strides[] = {2, 1};
    strided_fill({m.data(), t, 2, dims, strides}, v, nullptr);
    return m;
  };
  auto as_double = [](DType t, const auto& m, int at) {
    double v = 0;
    int64_t i = 0;
    uint64_t u = 0;
    const std::byte* p = m.data() + at * byte_size(t);
    if (is_float(t)) return load_row_f64(t, p, &v, 1), v;
    if (is_unsigned_int(t)) return load_row_u64(t, p, &u, 1), static_cast<double>(u);
    return load_row_i64(t, p, &i, 1), static_cast<double>(i);
  };
  for (DType t : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i8, DType::u16, DType::u64})
    for (int at = 0; at < 4; ++at) EXPECT_EQ(as_double(t, fill(t, 3.0), at), 3.0) << dtype_name(t);
  EXPECT_EQ(as_double(DType::i8, fill(DType::i8, -1e9), 0), -128);
  EXPECT_EQ(as_double(DType::u8, fill(DType::u8, -1), 0), 0);
  EXPECT_EQ(as_double(DType::i32, fill(DType::i32, -2.9), 0), -2);
  EXPECT_EQ(as_double(DType::i64, fill(DType::i64, 1e300), 0), static_cast<double>(INT64_MAX));
  EXPECT_EQ(as_double(DType::b1, fill(DType::b1, 0.5), 3), 1);
  EXPECT_EQ(static_cast<int>(fill(DType::i4, -1)[0]), 0xff);
}

TEST(ExecutorStrided, Extents) {
  int64_t lo = 0, hi = 0;
  int64_t dims[] = {3, 4}, strides[] = {-4, 1}, huge[] = {INT64_MAX / 2, 1}, none[] = {0, 4};
  EXPECT_TRUE(strided_extent(DType::f32, 2, dims, strides, &lo, &hi));
  EXPECT_EQ(lo, -32);
  EXPECT_EQ(hi, 16);
  EXPECT_FALSE(strided_extent(DType::f32, 2, none, strides, &lo, &hi));
  EXPECT_EQ(hi, 0);
  EXPECT_FALSE(strided_extent(DType::f32, 2, dims, huge, &lo, &hi));
  EXPECT_LT(hi, lo);
  EXPECT_TRUE(strided_extent(DType::i4, 0, nullptr, nullptr, &lo, &hi));
  EXPECT_EQ(hi, 1);
}

TEST(ExecutorMemory, BlocksAndPool) {
  Block b;
  ASSERT_TRUE(b.reserve(100, 4096).ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % 4096, 0u);
  std::byte* p = b.data();
  ASSERT_TRUE(b.reserve(50).ok());
  EXPECT_EQ(b.data(), p);
  Status s = b.reserve(int64_t{1} << 60);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().code, Code::kResources);
  BlockPool pool;
  int x = *pool.take(1000), y = *pool.take(10);
  EXPECT_NE(x, y);
  pool.give_back(x);
  pool.give_back(y);
  int64_t bytes = pool.bytes();
  EXPECT_EQ(*pool.take(5), y);  // the smallest that fits
  EXPECT_EQ(*pool.take(900), x);
  pool.give_back_all();
  EXPECT_EQ(*pool.take(2000), x);  // the largest grows
  EXPECT_GT(pool.bytes(), bytes);
}

}  // namespace
}  // namespace weft::executor_parts_test
