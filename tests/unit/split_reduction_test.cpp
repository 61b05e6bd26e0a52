// Reductions of long rows as two kernels.
#include <gtest/gtest.h>

#include "codegen/split_reduction.h"

namespace weft::split_reduction_test {

namespace {

// The sum of each of `points` rows, plus something per point.
KernelSpec sum_spec(const std::string& points, const std::string& row) {
  auto s = parse_spec(R"(weft.kernel 1 "sum"
params [n0] ptrs 3
axis i0 )" + points + R"( parallel
axis r0 )" + row + R"( row
operand read x ptr 2 : f32 index [i0,r0] strides [)" + row + R"(,1] offset 0
operand read b ptr 0 : f32 index [i0] strides [1] offset 0
operand write y ptr 1 : f32 index [i0] strides [1] offset 0
stage reduce {
    in0 = load x 0
  body
    t0:f32 = in0
    out t0
  combine
    t0:f32 = in0
    t1:f32 = in1
    t2:f32 = add(t0, t1)
    out t2
  init [0.0]
}
stage map_row {
    in0 = acc 0 0
    in1 = load b 1
  body
    t0:f32 = in0
    t1:f32 = in1
    t2:f32 = add(t0, t1)
    out t2
  stores [2]
}
config loops mr=0 nr=0 mc=0 nc=0 kc=0 unroll=1 task_axes=0 task_block=0
)");
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  return s.ok() ? std::move(*s) : KernelSpec{};
}

}  // namespace

TEST(SplitReduction, TwoKernels) {
  auto r = split_reduction(sum_spec("4", "65536*n0"), 1056);
  ASSERT_TRUE(r);
  EXPECT_EQ(shape_text(r->dims), "4,256");
  EXPECT_EQ(r->partials, std::vector<DType>{DType::f32});
  EXPECT_EQ(r->first_ptrs, (std::vector<int>{2, -1}));
  EXPECT_EQ(r->second_ptrs, (std::vector<int>{-1, 0, 1}));
  EXPECT_EQ(r->first.operands[0].linear(), *Dim::parse("65536*n0*i0+256*n0*part+r0"));
  EXPECT_EQ(r->first.axes[2].extent, *Dim::parse("256*n0"));
  EXPECT_EQ(r->first.axes[1].name, "part");
  EXPECT_FALSE(r->first.axes[1].row);
  EXPECT_TRUE(r->second.axes[1].row);
  for (const KernelSpec* s : {&r->first, &r->second}) {
    auto back = parse_spec(print_spec(*s));
    EXPECT_TRUE(back.ok() && print_spec(*back) == print_spec(*s)) << print_spec(*s);
    EXPECT_FALSE(split_reduction(*s, 1056));
  }
}

// Columns of a matrix, times what all of them share: neighbours are columns, and so are the parts' results.
TEST(SplitReduction, AcrossRows) {
  KernelSpec s = sum_spec("1024", "4096");
  s.operands[0].strides = {Dim(1), Dim(1024)};
  s.operands[1].index = {Dim::symbol("r0")};
  auto r = split_reduction(s, 1056);
  ASSERT_TRUE(r);
  EXPECT_EQ(shape_text(r->dims), "64,1024");
  EXPECT_EQ(r->first.operands[1].linear(), *Dim::parse("1024*part+i0"));
  s.operands[0].strides = {Dim(4096), Dim(1)};
  EXPECT_FALSE(split_reduction(s, 1056));
}

TEST(SplitReduction, NotForOthers) {
  EXPECT_FALSE(split_reduction(sum_spec("4", "1024"), 1056));       // short
  EXPECT_FALSE(split_reduction(sum_spec("4096", "65536"), 1056));   // enough results
  EXPECT_FALSE(split_reduction(sum_spec("1", "131101"), 1056));     // a prime
  KernelSpec half = sum_spec("1", "65536");
  half.stages[0].body.insts[0].type = DType::f16;                   // sums that memory would round
  EXPECT_FALSE(split_reduction(half, 1056));
  KernelSpec map = sum_spec("1", "65536");
  map.stages[1].kind = SpecStage::Kind::map;
  EXPECT_FALSE(split_reduction(map, 1056));
}

}  // namespace weft::split_reduction_test
