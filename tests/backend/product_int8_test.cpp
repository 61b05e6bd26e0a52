// Products of 8-bit integers with sums in i32, exact: every mix of signs, instructions of four steps, of two and of one.
#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/quantize.h"
#include "tests/backend/support.h"

namespace weft::backend_test::product_int8 {

namespace {

// All levels whose instructions differ: vpdpbusd of 64 and 32 bytes, vpmaddwd of 64, 32 and 16.
const std::vector<std::string>& levels() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> out = targets();
    if (out.size() == 1) return out;  // main() was given one
    for (const char* text : {"cpu:x86-64-v4", "cpu:x86-64-v3+avxvnni"})
      if (runs_here(*parse_target(text))) out.push_back(text);
    return out;
  }();
  return all;
}

// Of the type's whole range, with its ends.
Tensor elements(DType t, std::vector<int64_t> dims, uint64_t seed) {
  std::mt19937_64 rng(seed);
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  const int64_t lo = int_min(t), count = int_max(t) - lo + 1;
  std::vector<int64_t> v;
  for (int64_t k = 0; k < n; ++k) v.push_back(rng() % 8 == 0 ? (rng() % 2 ? lo : int_max(t)) : lo + static_cast<int64_t>(rng() % static_cast<uint64_t>(count)));
  return tensor_of_values(t, std::move(dims), v);
}

enum class Side { both_open, left, right };  // which factor is constant

void check(const char* spec, DType a, DType b, std::vector<int64_t> a_dims, std::vector<int64_t> b_dims, Side constant = Side::right) {
  SCOPED_TRACE(std::string(spec) + " " + dtype_name(a) + " " + dtype_name(b) + " " + shape_text(to_shape(a_dims)) + " x " + shape_text(to_shape(b_dims)));
  TestGraph g;
  ContractAttrs at;
  at.spec = spec;
  const Tensor x = elements(a, std::move(a_dims), 1), y = elements(b, std::move(b_dims), 2);
  Value* left = constant == Side::left ? g.constant(x) : g.input(x);
  Value* right = constant == Side::right ? g.constant(y) : g.input(y);
  g.check({g.op(OpKind::contract, {left, right}, at)}, Bound::exact(), -1, levels());
}

constexpr DType kBytes[] = {DType::u8, DType::i8};

}  // namespace

TEST(ProductInt8, EveryMixOfSigns) {
  for (DType a : kBytes)
    for (DType b : kBytes)
      for (Side constant : {Side::both_open, Side::left, Side::right})
        for (int64_t k : {64, 131}) check("mk,kn->mn", a, b, {21, k}, {k, 50}, constant);
}

TEST(ProductInt8, SizesThatFillNoTile) {
  for (DType a : kBytes)
    for (int64_t m : {1, 2, 5, 70})
      for (int64_t k : {5, 18, 300, 1201}) check("mk,kn->mn", a, DType::i8, {m, k}, {k, m == 1 ? 130 : 37});
}

TEST(ProductInt8, EveryOrderOfTheFactors) {
  for (DType b : kBytes)
    for (int64_t k : {60, 63}) {
      check("mk,nk->mn", DType::u8, b, {33, k}, {40, k}, Side::both_open);
      check("mk,nk->mn", DType::i8, b, {33, k}, {40, k});
      check("km,kn->mn", DType::i8, b, {k, 33}, {k, 40}, Side::left);
      check("km,nk->nm", DType::u8, b, {k, 33}, {40, k}, Side::both_open);
      check("bmk,bkn->bmn", DType::i8, b, {3, 17, k}, {3, k, 35}, Side::both_open);
      check("bmkl,lnk->bmn", DType::i8, b, {2, 9, k, 3}, {3, 35, k});
    }
}

// Sums that instructions which saturate, or 16 bits, could not hold.
TEST(ProductInt8, Extremes) {
  for (DType a : kBytes)
    for (DType b : kBytes)
      for (bool low : {false, true}) {
        TestGraph g;
        ContractAttrs at;
        at.spec = "mk,kn->mn";
        auto end = [&](DType t, int64_t n) { return std::vector<int64_t>(static_cast<size_t>(n), low ? int_min(t) : int_max(t)); };
        Value* x = g.input(tensor_of_values(a, {16, 4099}, end(a, 16 * 4099)));
        Value* y = g.constant(tensor_of_values(b, {4099, 48}, end(b, 4099 * 48)));
        g.check({g.op(OpKind::contract, {x, y}, at)}, Bound::exact(), -1, levels());
      }
}

TEST(ProductInt8, OpenDims) {
  for (DType a : kBytes)
    for (DType b : kBytes) {
      TestGraph g;
      g.bind("rows", 23);
      g.bind("steps", 77);
      ContractAttrs at;
      at.spec = "mk,kn->mn";
      Value* rows = g.op(OpKind::contract, {g.input(elements(a, {23, 76}, 1), Shape{Dim::symbol("rows"), 76}), g.constant(elements(b, {76, 90}, 2))}, at);
      const Shape left{Dim::symbol("rows"), Dim::symbol("steps")}, right{Dim::symbol("steps"), 31};
      Value* steps = g.op(OpKind::contract, {g.input(elements(a, {23, 77}, 3), left), g.input(elements(b, {77, 31}, 4), right)}, at);
      g.check({rows, steps}, Bound::exact(), -1, levels());
    }
}

TEST(ProductInt8, FourBitWeights) {
  for (DType a : kBytes)
    for (DType b : {DType::i4, DType::u4}) {
      check("mk,kn->mn", a, b, {1, 130}, {130, 64});
      check("mk,kn->mn", a, b, {20, 130}, {130, 64});
      check("mk,kn->mn", b, a, {20, 130}, {130, 64}, Side::left);
    }
}

// Windows, strides, groups and channels that are no multiple of four; a border of the zero point.
TEST(ProductInt8, Convolutions) {
  struct Case {
    int64_t channels, size, out, kernel, stride, group, dilation;
  };
  const Case cases[] = {{16, 14, 24, 1, 1, 1, 1}, {13, 15, 20, 1, 2, 1, 1}, {12, 13, 17, 3, 1, 1, 1}, {3, 31, 16, 7, 2, 1, 1},
                        {8, 14, 12, 3, 2, 1, 1},  {16, 9, 24, 3, 1, 4, 1},  {24, 12, 24, 3, 1, 24, 1}, {6, 20, 18, 3, 1, 1, 2}};
  for (const Case& c : cases)
    for (DType x : kBytes)
      for (DType w : kBytes) {
        SCOPED_TRACE(std::to_string(c.channels) + " channels, window " + std::to_string(c.kernel) + " " + dtype_name(x) + " " + dtype_name(w));
        TestGraph g;
        ConvAttrs at;
        at.group = c.group;
        at.strides = {c.stride, c.stride};
        at.dilations = {c.dilation, c.dilation};
        const int64_t pad = c.kernel / 2, zero = x == DType::u8 ? 131 : -3;
        Value* in = g.input(elements(x, {2, c.channels, c.size, c.size}, 5));
        Value* pads = g.constant(tensor_of_values<int64_t>(DType::i64, {8}, {0, 0, pad, pad, 0, 0, pad, pad}));
        in = g.op(OpKind::pad, {in, pads, g.constant(tensor_of_values<int64_t>(x, {}, {zero})), nullptr}, PadAttrs{});
        g.check({g.op(OpKind::conv, {in, g.constant(elements(w, {c.out, c.channels / c.group, c.kernel, c.kernel}, 6)), nullptr}, at)}, Bound::exact(), 2,
            levels());
      }
}

// What follows a product of quantised tensors: zero points' share of the sum, scales, bias, activation, the next one's type.
TEST(ProductInt8, Epilogues) {
  for (DType a : kBytes)
    for (DType out : kBytes)
      for (bool image : {false, true}) {
        TestGraph g;
        Value *sum, *share, *scale, *bias;
        CastAttrs to_float;
        if (image) {
          sum = g.op(OpKind::conv, {g.input(elements(a, {1, 20, 13, 13}, 1)), g.constant(elements(DType::i8, {34, 20, 1, 1}, 2)), nullptr}, ConvAttrs{});
          share = g.constant(random_tensor(DType::i32, {34, 1, 1}, 3));
          scale = g.constant(random_tensor(DType::f32, {34, 1, 1}, 4, 0.0005, 0.001));
          bias = g.constant(random_tensor(DType::f32, {34, 1, 1}, 5));
        } else {
          ContractAttrs at;
          at.spec = "mk,kn->mn";
          sum = g.op(OpKind::contract, {g.input(elements(a, {19, 70}, 1)), g.constant(elements(DType::i8, {70, 34}, 2))}, at);
          share = g.constant(random_tensor(DType::i32, {34}, 3));
          scale = g.constant(random_tensor(DType::f32, {34}, 4, 0.0005, 0.001));
          bias = g.constant(random_tensor(DType::f32, {34}, 5));
        }
        Value* y = g.op(OpKind::mul, {g.op(OpKind::cast, {g.op(OpKind::add, {sum, share})}, to_float), scale});
        y = g.op(OpKind::relu, {g.op(OpKind::add, {y, bias})});
        Value* step = g.constant(tensor_of_values<double>(DType::f32, {}, {0.03}));
        y = g.op(OpKind::quantize_linear, {y, step, g.constant(tensor_of_values<int64_t>(out, {}, {7}))});
        g.check({y}, Bound::exact(), 2, levels());
      }
}

// The instruction each target gets, and the forms of constant factors.
TEST(ProductInt8, KernelsAndForms) {
  struct Case {
    const char* target;
    int64_t dot;
    DType left, right;
  };
  const Case cases[] = {{"cpu:x86-64-v4+avx512vnni", 4, DType::i8, DType::i8}, {"cpu:x86-64-v3+avxvnni", 4, DType::i8, DType::i8},
                        {"cpu:x86-64-v4", 2, DType::i16, DType::i8}, {"cpu:x86-64-v2", 2, DType::i16, DType::i8}};
  const std::string text = R"(weft.module 1 "bytes"
const @w : i8[301,90] = splat(3)
const @k : i8[32,32,3,3] = splat(-5)
graph @main(%x: u8[40,301], %i: u8[1,32,20,20]) -> (y = %y, z = %z) {
  %w = constant @w : i8[301,90]
  %k = constant @k : i8[32,32,3,3]
  %y = contract(%x, %w) {spec="ij,jk->ik"}
  %z = conv(%i, %k, _)
}
)";
  for (const Case& c : cases) {
    api::CompileOptions o;
    o.target = c.target;
    Compilation compilation(o);
    ASSERT_TRUE(compilation.load_bytes(std::as_bytes(std::span(text))).ok() && compilation.apply_shapes().ok());
    ASSERT_TRUE(compilation.optimise().ok() && compilation.lower().ok());
    std::vector<DType> forms;
    for (const KernelSpec& s : compilation.lowered().specs) {
      for (const SpecOperand& operand : s.operands)
        if (operand.tile) forms.push_back(operand.dtype);
      EXPECT_EQ(s.config.dot, s.config.name == "contraction" ? c.dot : 0) << c.target;
      auto again = parse_spec(print_spec(s));
      ASSERT_TRUE(again.ok()) << again.error().to_string();
      EXPECT_EQ(again->config, s.config);
    }
    EXPECT_EQ(forms, (std::vector<DType>{c.right, c.left})) << c.target;
  }
}

}  // namespace weft::backend_test::product_int8
