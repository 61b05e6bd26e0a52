// Products with weights of few bits that are dequantised as they are read: scales and zero points of groups along the sum.
#include "ir/ops/contract.h"
#include "ir/ops/quantize.h"
#include "tests/backend/support.h"

namespace weft::backend_test::product_weights {

namespace {

enum class Zero { none, one, groups };

struct Case {
  DType weights = DType::u4;
  int64_t rows = 1, k = 256, n = 100, group = 32;  // group 0: one scale for each column
  Zero zero = Zero::groups;
  DType activations = DType::f32;
  bool open = false, columns_first = true;
};

Tensor elements(DType t, std::vector<int64_t> dims, uint64_t seed) {
  std::mt19937_64 rng(seed);
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  std::vector<int64_t> v;
  for (int64_t k = 0; k < n; ++k) v.push_back(int_min(t) + static_cast<int64_t>(rng() % static_cast<uint64_t>(int_max(t) - int_min(t) + 1)));
  return tensor_of_values(t, std::move(dims), v);
}

void build(TestGraph& g, const Case& c) {
  std::vector<int64_t> dims{c.n, c.k}, groups{c.n, c.group ? c.k / c.group : 1};
  if (!c.columns_first) std::swap(dims[0], dims[1]), std::swap(groups[0], groups[1]);
  DequantizeAttrs q;
  q.axis = c.columns_first == (c.group > 0) ? 1 : 0;
  q.block_size = c.group;
  if (!c.group) groups = {c.n};
  Value* scale = g.constant(random_tensor(c.activations, groups, 3, 0.01, 0.1));
  Value* zero = nullptr;
  const std::vector<int64_t> ones(static_cast<size_t>(groups[0] * (c.group ? groups[1] : 1)), 1);
  if (c.zero == Zero::one) zero = g.constant(tensor_of_values(c.weights, groups, ones));
  if (c.zero == Zero::groups) zero = g.constant(elements(c.weights, groups, 4));
  Value* w = g.op(OpKind::dequantize_linear, {g.constant(elements(c.weights, dims, 5)), scale, zero}, q);
  if (c.open) g.bind("rows", c.rows);
  Value* x = g.input(c.activations, {c.open ? Dim::symbol("rows") : Dim(c.rows), Dim(c.k)});
  ContractAttrs at;
  at.spec = c.columns_first ? "mk,nk->mn" : "mk,kn->mn";
  g.builder().graph()->outputs.push_back(g.op(OpKind::contract, {x, w}, at));
  g.builder().graph()->output_names.push_back("y");
}

void check(const Case& c) {
  SCOPED_TRACE(std::string(dtype_name(c.weights)) + ", " + std::to_string(c.rows) + " rows, groups of " + std::to_string(c.group) + ", zero points " +
      std::to_string(static_cast<int>(c.zero)) + ", " + dtype_name(c.activations) + (c.open ? ", open" : ""));
  TestGraph g;
  build(g, c);
  g.check({}, Bound::range(c.activations == DType::f32 ? 32 : 4), 2);
}

}  // namespace

TEST(ProductWeights, TypesGroupsAndZeroPoints) {
  for (DType t : {DType::u4, DType::i4, DType::u8, DType::i8, DType::u2, DType::i2})
    for (int64_t group : {0, 16, 32, 128})
      for (Zero zero : {Zero::none, Zero::one, Zero::groups}) check({.weights = t, .rows = group == 32 ? 1 : 5, .group = group, .zero = zero});
}

TEST(ProductWeights, RowsAndColumns) {
  for (DType t : {DType::u4, DType::i8})
    for (int64_t rows : {1, 2, 3, 17, 70})
      for (bool open : {false, true}) {
        check({.weights = t, .rows = rows, .k = 384, .n = 130, .open = open});
        check({.weights = t, .rows = rows, .k = 2048, .n = 33, .group = 64, .open = open, .columns_first = false});
      }
}

TEST(ProductWeights, ActivationsOf16Bits) {
  for (DType t : {DType::f16, DType::bf16})
    for (int64_t rows : {1, 9}) check({.weights = DType::i4, .rows = rows, .activations = t});
}

// One scale and zero point for all are numbers in the kernel.
TEST(ProductWeights, OneScale) {
  for (DType t : {DType::u4, DType::i8, DType::u8})
    for (int64_t rows : {1, 40}) {
      TestGraph g;
      Value* zero = g.constant(tensor_of_values<int64_t>(t, {}, {is_signed_int(t) ? -3 : 9}));
      Value* w = g.op(OpKind::dequantize_linear, {g.constant(elements(t, {90, 64}, 5)), g.constant(random_tensor(DType::f32, {}, 3, 0.01, 0.1)), zero});
      ContractAttrs at;
      at.spec = "mk,nk->mn";
      g.check({g.op(OpKind::contract, {g.input(DType::f32, {rows, 64}), w}, at)}, Bound::range(32), 2);
    }
}

// Groups that are no whole words are computed all the same.
TEST(ProductWeights, OddGroups) {
  for (int64_t rows : {1, 6}) check({.weights = DType::u4, .rows = rows, .k = 60, .group = 12});
}

// The kernel reads the weights' own bits: words of them beside scales and zero points.
TEST(ProductWeights, StayQuantised) {
  for (DType t : {DType::u4, DType::i8}) {
    TestGraph g;
    build(g, {.weights = t, .rows = 4});
    api::CompileOptions o;
    o.target = "cpu:x86-64-v3";
    Compilation compilation(o);
    compilation.adopt(g.module().clone());
    ASSERT_TRUE(compilation.apply_shapes().ok() && compilation.optimise().ok() && compilation.lower().ok());
    std::vector<DType> forms;
    int64_t bits = 0;
    for (const KernelSpec& s : compilation.lowered().specs)
      for (const SpecOperand& operand : s.operands)
        if (operand.tile) {
          forms.push_back(operand.dtype);
          bits = s.config.bits;
          EXPECT_EQ(parse_spec(print_spec(s))->config, s.config);
        }
    EXPECT_EQ(bits, bit_width(t));
    EXPECT_EQ(forms, (t == DType::u4 ? std::vector{DType::u32, DType::u8, DType::f32} : std::vector{DType::i32, DType::i8, DType::f32}));
  }
}

}  // namespace weft::backend_test::product_weights
