// Resampling, regions of interest, deform_conv, det, max_unpool.
#include "ir/ops/pool.h"
#include "ir/ops/resample.h"
#include "tests/unit/infer_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

ResizeAttrs mode(const char* m, const char* coordinates = "half_pixel") {
  ResizeAttrs a;
  a.mode = m;
  a.coordinate_transformation_mode = coordinates;
  return a;
}
Doubles resized(const Doubles& x, double scale, ResizeAttrs a) {
  int64_t n = static_cast<int64_t>(x.size());
  a.axes = {1};
  return doubles(run_op(OpKind::resize, {f32({1, n}, x), Operand(), f32({1}, {scale})}, a));
}

TEST(EvalResize, NearestModesAndCoordinates) {
  ResizeAttrs a = mode("nearest");
  EXPECT_EQ(resized({1, 2}, 2, a), (Doubles{1, 1, 2, 2}));
  EXPECT_EQ(resized({1, 2, 3, 4}, 0.5, mode("nearest", "asymmetric")), (Doubles{1, 3}));
  EXPECT_EQ(resized({1, 2, 3, 4}, 0.5, a), (Doubles{1, 3}));  // 0.5 and 2.5 go down
  a.nearest_mode = "round_prefer_ceil";
  EXPECT_EQ(resized({1, 2, 3, 4}, 0.5, a), (Doubles{2, 4}));
  a.nearest_mode = "ceil";
  EXPECT_EQ(resized({1, 2, 3}, 2, a), (Doubles{1, 2, 2, 3, 3, 3}));
  a.nearest_mode = "floor";
  EXPECT_EQ(resized({1, 2, 3}, 2, a), (Doubles{1, 1, 1, 2, 2, 3}));
  EXPECT_EQ(resized({1, 2, 3}, 2, mode("nearest", "tf_half_pixel_for_nn")), (Doubles{1, 2, 2, 3, 3, 3}));
  // Strings move, too.
  ResizeAttrs s = mode("nearest");
  auto r = run_op(OpKind::resize, {strings({2}, {"a", "b"}), Operand(), Operand(), fixed(i64({1}, {3}))}, s);
  EXPECT_EQ(*result_of(r).strings, (std::vector<std::string>{"a", "a", "b"}));
}

TEST(EvalResize, LinearAndCubic) {
  expect_near(resized({1, 2}, 2, mode("linear")), {1, 1.25, 1.75, 2});
  expect_near(resized({1, 2, 3}, 2, mode("linear", "align_corners")), {1, 1.4, 1.8, 2.2, 2.6, 3});
  expect_near(resized({0, 1, 2, 3}, 2, mode("cubic", "asymmetric")), {0, 0.40625, 1, 1.5, 2, 2.59375, 3, 3.09375}, 1e-5);
  expect_near(resized({4, 8}, 0.5, mode("linear", "pytorch_half_pixel")), {4});
  ResizeAttrs out = mode("cubic");
  out.exclude_outside = true;
  expect_near(resized({5, 5, 5}, 1.5, out), {5, 5, 5, 5});
}

TEST(EvalResize, AntialiasAveragesWhatItSkips) {
  ResizeAttrs a = mode("linear");
  a.antialias = true;
  // A triangle of half width 2 around 0.5 and 2.5; elements outside repeat the edge.
  expect_near(resized({1, 2, 3, 4}, 0.5, a), {(1 * 0.25 + 1 * 0.75 + 2 * 0.75 + 3 * 0.25) / 2, (2 * 0.25 + 3 * 0.75 + 4 * 0.75 + 4 * 0.25) / 2});
  a.exclude_outside = true;
  expect_near(resized({1, 2, 3, 4}, 0.5, a), {(1 * 0.75 + 2 * 0.75 + 3 * 0.25) / 1.75, (2 * 0.25 + 3 * 0.75 + 4 * 0.75) / 1.75});
}

TEST(EvalResize, SizesPoliciesRoiAndIntegers) {
  ResizeAttrs a = mode("nearest");
  a.axes = {1, 0};
  a.keep_aspect_ratio_policy = "not_larger";
  auto r = run_op(OpKind::resize, {f32({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), Operand(), Operand(), fixed(i64({2}, {6, 6}))}, a);
  EXPECT_EQ(result_of(r).dims, (Ints{3, 6}));
  a.keep_aspect_ratio_policy = "not_smaller";
  EXPECT_EQ(result_of(run_op(OpKind::resize, {f32({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), Operand(), Operand(), i64({2}, {6, 6})}, a)).dims,
      (Ints{6, 12}));
  ResizeAttrs crop = mode("linear", "tf_crop_and_resize");
  crop.extrapolation_value = 9;
  auto cropped = run_op(OpKind::resize, {f32({4}, {0, 1, 2, 3}), fixed(f32({2}, {0.5, 1.5})), Operand(), fixed(i64({1}, {3}))}, crop);
  expect_near(doubles(cropped), {1.5, 3, 9});
  auto whole = run_op(OpKind::resize, {ints(DType::u8, {2}, {0, 255}), Operand(), fixed(f32({1}, {2}))}, mode("linear"));
  EXPECT_EQ(integers(whole), (Ints{0, 64, 191, 255}));
}

TEST(EvalResize, Errors) {
  auto x = f32({2}, {1, 2});
  EXPECT_FALSE(run_op(OpKind::resize, {x}, mode("nearest")).ok());
  EXPECT_FALSE(run_op(OpKind::resize, {x, Operand(), fixed(f32({1}, {2})), fixed(i64({1}, {2}))}, mode("nearest")).ok());
  EXPECT_FALSE(run_op(OpKind::resize, {x, Operand(), fixed(f32({1}, {-2}))}, mode("nearest")).ok());
  EXPECT_FALSE(run_op(OpKind::resize, {x, Operand(), fixed(f32({1}, {2}))}, mode("bent")).ok());
  EXPECT_FALSE(run_op(OpKind::resize, {x, Operand(), fixed(f32({1}, {1e-9}))}, mode("nearest")).value()[0].tensor.numel() > 0);
}

TEST(InferResize, SymbolicDims) {
  Net n;
  Value* x = n.input("f32[b,3,h,w]");
  Value* scales = n.b.constant(n.module.constants.add_bytes("", DType::f32, {4}, [] {
    float v[] = {1, 1, 2, 0.5f};
    auto* p = reinterpret_cast<std::byte*>(v);
    return std::vector<std::byte>(p, p + sizeof v);
  }()));
  EXPECT_EQ(text_of(n.op(OpKind::resize, {x, nullptr, scales}, mode("nearest"))), "f32[b,3,2*h," + floordiv(Dim::symbol("w"), 2).to_string() + "]");
  EXPECT_EQ(text_of(n.op(OpKind::resize, {x, nullptr, nullptr, n.ints({2, 3, 8, 9})}, mode("linear"))), "f32[2,3,8,9]");
  EXPECT_EQ(n.op(OpKind::resize, {x, nullptr, n.input("f32[4]")}, mode("linear"))->type.rank(), 4);
}

TEST(EvalGridSample, ModesAndPadding) {
  Tensor x = f32({1, 1, 2, 2}, {1, 2, 3, 4});
  // x first: the centres of the corners, the middle, and a point far to the right.
  Tensor grid = f32({1, 1, 4, 2}, {-0.5, -0.5, 0.5, -0.5, 0, 0, 3, 0.5});
  GridSampleAttrs a;
  expect_near(doubles(run_op(OpKind::grid_sample, {x, grid}, a)), {1, 2, 2.5, 0});
  a.padding_mode = "border";
  expect_near(doubles(run_op(OpKind::grid_sample, {x, grid}, a)), {1, 2, 2.5, 4});
  a.padding_mode = "reflection";
  expect_near(doubles(run_op(OpKind::grid_sample, {x, grid}, a)), {1, 2, 2.5, 3});
  a.mode = "nearest";
  a.padding_mode = "zeros";
  EXPECT_EQ(doubles(run_op(OpKind::grid_sample, {x, grid}, a)), (Doubles{1, 2, 1, 0}));  // 0.5 rounds to even
  a.mode = "cubic";
  a.align_corners = true;
  expect_near(doubles(run_op(OpKind::grid_sample, {x, f32({1, 1, 1, 2}, {1, -1})}, a)), {2});
  GridSampleAttrs line;
  expect_near(doubles(run_op(OpKind::grid_sample, {f32({1, 2, 2}, {1, 3, 10, 30}), f32({1, 1, 1}, {0})}, line)), {2, 20});
  EXPECT_EQ(doubles(run_op(OpKind::grid_sample, {x, f32({1, 1, 1, 2}, {NAN, 1e30})}, line)), Doubles{0});
  a.mode = "bilinear";
  EXPECT_FALSE(run_op(OpKind::grid_sample, {x, grid}, a).ok());
}

TEST(EvalAffineGrid, IdentityAndShift) {
  Tensor theta = f32({1, 2, 3}, {1, 0, 0.5, 0, 2, 0});
  AffineGridAttrs a;
  auto r = run_op(OpKind::affine_grid, {theta, fixed(i64({4}, {1, 1, 1, 2}))}, a);
  EXPECT_EQ(result_of(r).dims, (Ints{1, 1, 2, 2}));
  expect_near(doubles(r), {0, 0, 1, 0});
  a.align_corners = true;
  expect_near(doubles(run_op(OpKind::affine_grid, {theta, i64({4}, {1, 1, 2, 2})}, a)), {-0.5, -2, 1.5, -2, -0.5, 2, 1.5, 2});
  EXPECT_FALSE(run_op(OpKind::affine_grid, {theta, i64({5}, {1, 1, 1, 2, 2})}, a).ok());
}

TEST(EvalRoi, AlignAndPool) {
  Tensor x = f32({1, 1, 2, 2}, {1, 2, 3, 4});
  RoiAlignAttrs a;
  a.coordinate_transformation_mode = "output_half_pixel";
  expect_near(doubles(run_op(OpKind::roi_align, {x, f32({1, 4}, {0, 0, 1, 1}), i64({1}, {0})}, a)), {2.5});
  a.mode = "max";
  expect_near(doubles(run_op(OpKind::roi_align, {x, f32({1, 4}, {0, 0, 1, 1}), i64({1}, {0})}, a)), {1});  // the largest weighted neighbour
  EXPECT_FALSE(run_op(OpKind::roi_align, {x, f32({1, 4}, {0, 0, 1, 1}), i64({1}, {1})}, a).ok());
  EXPECT_FALSE(run_op(OpKind::roi_align, {x, f32({1, 4}, {0, 0, 1e30, 1}), i64({1}, {0})}, a).ok());
  MaxRoiPoolAttrs p;
  p.pooled_shape = {2, 2};
  EXPECT_EQ(doubles(run_op(OpKind::max_roi_pool, {x, f32({1, 5}, {0, 0, 0, 1, 1})}, p)), (Doubles{1, 2, 3, 4}));
  EXPECT_EQ(doubles(run_op(OpKind::max_roi_pool, {x, f32({1, 5}, {0, 7, 7, 8, 8})}, p)), (Doubles{0, 0, 0, 0}));
}

TEST(EvalDeformConv, OffsetsMaskAndBias) {
  Tensor x = f32({1, 1, 2, 2}, {1, 2, 3, 4}), w = f32({1, 1, 1, 1}, {10});
  Tensor offset = f32({1, 2, 2, 2}, {0, 0, 0, 0.5, 0.5, 0, 0, 0});
  DeformConvAttrs a;
  expect_near(doubles(run_op(OpKind::deform_conv, {x, w, offset}, a)), {15, 20, 30, 20});
  Tensor mask = f32({1, 1, 2, 2}, {1, 0, 1, 1});
  expect_near(doubles(run_op(OpKind::deform_conv, {x, w, offset, f32({1}, {1}), mask}, a)), {16, 1, 31, 21});
  EXPECT_FALSE(run_op(OpKind::deform_conv, {x, w, f32({1, 1, 2, 2}, {0, 0, 0, 0})}, a).ok());
}

TEST(EvalDet, PivotsAndSingular) {
  expect_near(doubles(run_op(OpKind::det, {f32({2, 2, 2}, {0, 1, 2, 3, 1, 2, 2, 4})})), {-2, 0});
  expect_near(doubles(run_op(OpKind::det, {floats(DType::f64, {3, 3}, {2, 0, 1, 1, 3, 2, 1, 1, 1})})), {0});
  EXPECT_FALSE(run_op(OpKind::det, {f32({1, 2}, {1, 2})}).ok());
}

TEST(EvalMaxUnpool, PlacesAndEmbeds) {
  MaxUnpoolAttrs a;
  a.kernel_shape = {2, 2};
  a.strides = {2, 2};
  Tensor x = f32({1, 1, 1, 2}, {5, 6}), at = i64({1, 1, 1, 2}, {1, 6});
  EXPECT_EQ(doubles(run_op(OpKind::max_unpool, {x, at}, a)), (Doubles{0, 5, 0, 0, 0, 0, 6, 0}));
  auto big = run_op(OpKind::max_unpool, {x, at, i64({4}, {1, 1, 2, 5})}, a);
  EXPECT_EQ(doubles(big), (Doubles{0, 5, 0, 0, 0, 0, 0, 6, 0, 0}));
  EXPECT_FALSE(run_op(OpKind::max_unpool, {x, i64({1, 1, 1, 2}, {1, 8})}, a).ok());
  EXPECT_FALSE(run_op(OpKind::max_unpool, {x, at, i64({4}, {1, 1, 1, 5})}, a).ok());
}

}  // namespace
}  // namespace weft::eval_test
