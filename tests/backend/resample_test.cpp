// resize, grids and regions of interest on a CPU.
#include "ir/ops/resample.h"

#include "ir/ops/conv.h"
#include "ir/ops/pool.h"
#include "tests/backend/support.h"

namespace weft::backend_test {
namespace {

const char* const kCoordinates[] = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn"};

Tensor scales(const std::vector<double>& v) { return tensor_of_values<double>(DType::f32, {static_cast<int64_t>(v.size())}, v); }
void check_resize(ResizeAttrs a, DType t, const std::vector<double>& by, const Bound& bound) {
  TestGraph g;
  a.axes = {2, 3};
  Value* x = g.input(t, {2, 3, 5, 7});
  g.check({g.op(OpKind::resize, {x, nullptr, g.constant(scales(by))}, a)}, bound);
}

TEST(Resize, NearestEveryModeAndCoordinate) {
  for (const char* c : kCoordinates)
    for (const char* n : {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}) {
      ResizeAttrs a;
      a.coordinate_transformation_mode = c;
      a.nearest_mode = n;
      check_resize(a, DType::f32, {2, 1.7}, Bound::exact());
      check_resize(a, DType::i64, {0.6, 3}, Bound::exact());
    }
}
TEST(Resize, LinearAndCubic) {
  for (const char* c : kCoordinates)
    for (const char* m : {"linear", "cubic"}) {
      ResizeAttrs a;
      a.coordinate_transformation_mode = c;
      a.mode = m;
      check_resize(a, DType::f32, {2, 0.7}, Bound::range(8));
      a.exclude_outside = true;
      check_resize(a, DType::f16, {1.5, 2}, Bound::range(2));
    }
}
TEST(Resize, Antialias) {
  for (const char* m : {"linear", "cubic"})
    for (bool exclude : {false, true}) {
      ResizeAttrs a;
      a.mode = m;
      a.antialias = true;
      a.exclude_outside = exclude;
      check_resize(a, DType::f32, {0.3, 0.6}, Bound::range(8));
      check_resize(a, DType::u8, {0.6, 1.5}, Bound::exact());
    }
}
TEST(Resize, SymbolicSizesAndRoi) {
  for (const char* m : {"nearest", "linear"}) {
    TestGraph g;
    g.bind("h", 4);
    ResizeAttrs a;
    a.mode = m;
    Value* x = g.input(DType::f32, {1, 2, Dim::symbol("h"), 6});
    Value* sizes = g.constant(tensor_of_values<int64_t>(DType::i64, {4}, {1, 2, 9, 5}));
    Value* twice = g.constant(scales({1, 1, 2, 1}));
    Value* y = g.op(OpKind::resize, {x, nullptr, nullptr, sizes}, a);
    g.check({y, g.op(OpKind::resize, {x, nullptr, twice}, a)}, Bound::range(8));
    TestGraph crop;
    a.coordinate_transformation_mode = "tf_crop_and_resize";
    a.extrapolation_value = 3;
    a.axes = {1};
    Value* z = crop.op(OpKind::resize, {crop.input(DType::f32, {2, 6}), crop.constant(scales({0.4, 1.3})), nullptr,
        crop.constant(tensor_of_values<int64_t>(DType::i64, {1}, {5}))}, a);
    crop.check({z}, Bound::range(8));
  }
}

TEST(Resize, ScalesRoiAndPolicyAtRunTime) {
  TestGraph g;
  ResizeAttrs a;
  a.mode = "linear";
  a.axes = {1, 2};
  Value* x = g.input(DType::f32, {2, 5, 7});
  Value* y = g.op(OpKind::resize, {x, nullptr, g.input(scales({1.5, 0.6}))}, a);
  a.keep_aspect_ratio_policy = "not_larger";
  Value* z = g.op(OpKind::resize, {x, nullptr, nullptr, g.input(tensor_of_values<int64_t>(DType::i64, {2}, {9, 9}))}, a);
  ResizeAttrs crop;
  crop.coordinate_transformation_mode = "tf_crop_and_resize";
  crop.axes = {2};
  Value* w = g.op(OpKind::resize, {x, g.input(scales({0.2, 1.2})), nullptr, g.input(tensor_of_values<int64_t>(DType::i64, {1}, {4}))}, crop);
  ResizeAttrs plain;
  Value* v = g.op(OpKind::resize, {x, nullptr, nullptr, g.input(tensor_of_values<int64_t>(DType::i64, {3}, {2, 3, 8}))}, plain);
  g.check({y, z, w, v}, Bound::range(8));
  TestGraph bad;
  EXPECT_EQ(bad.failure({bad.op(OpKind::resize, {bad.input(DType::f32, {2, 3}), nullptr, bad.input(scales({1, -1}))}, plain)}).code,
      Code::kInvalidModel);
}

TEST(AffineGrid, PlaneAndVolume) {
  for (bool corners : {false, true}) {
    TestGraph g;
    AffineGridAttrs a;
    a.align_corners = corners;
    Value* y = g.op(OpKind::affine_grid, {g.input(DType::f32, {2, 2, 3}), g.constant(tensor_of_values<int64_t>(DType::i64, {4}, {2, 1, 4, 5}))}, a);
    Value* z = g.op(OpKind::affine_grid, {g.input(DType::f16, {1, 3, 4}), g.constant(tensor_of_values<int64_t>(DType::i64, {5}, {1, 1, 2, 1, 3}))},
        a);
    Value* open = g.op(OpKind::affine_grid, {g.input(DType::f32, {1, 2, 3}), g.input(tensor_of_values<int64_t>(DType::i64, {4}, {1, 1, 3, 2}))}, a);
    g.check({y, z, open}, Bound::range(4));
  }
}

TEST(GridSample, EveryModeAndPadding) {
  for (const char* m : {"nearest", "linear", "cubic"})
    for (const char* p : {"zeros", "border", "reflection"})
      for (bool corners : {false, true}) {
        TestGraph g;
        GridSampleAttrs a;
        a.mode = m;
        a.padding_mode = p;
        a.align_corners = corners;
        Value* y = g.op(OpKind::grid_sample, {g.input(DType::f32, {2, 2, 4, 5}), g.input(DType::f32, {2, 3, 4, 2})}, a);
        g.check({y}, Bound::range(16));
      }
}

TEST(GridSample, RanksAndTypes) {
  TestGraph g;
  GridSampleAttrs linear, cubic;
  cubic.mode = "cubic";
  Value* line = g.op(OpKind::grid_sample, {g.input(DType::f16, {1, 2, 6}), g.input(DType::f32, {1, 4, 1})}, cubic);
  Value* volume = g.op(OpKind::grid_sample, {g.input(DType::f32, {1, 2, 3, 4, 2}), g.input(DType::f32, {1, 2, 2, 2, 3})}, linear);
  Value* wide = g.op(OpKind::grid_sample, {g.input(DType::f32, {1, 1, 2, 3, 2, 3}), g.input(DType::f32, {1, 2, 1, 1, 2, 4})}, cubic);  // on the host
  Value* whole = g.op(OpKind::grid_sample, {g.input(DType::u8, {1, 1, 4}), g.input(DType::f32, {1, 5, 1})}, linear);
  g.check({line, volume, wide, whole}, Bound::range(16));
}

TEST(Regions, AlignAndPool) {
  Tensor boxes = tensor_of_values<double>(DType::f32, {2, 4}, {0.5, 1, 6.2, 5, 2, 2, 3, 7.5});
  for (const char* m : {"avg", "max"})
    for (int64_t ratio : {0, 2}) {
      TestGraph g;
      RoiAlignAttrs a;
      a.mode = m;
      a.sampling_ratio = ratio;
      a.output_height = 2;
      a.output_width = 3;
      a.spatial_scale = 0.9;
      Value* y = g.op(OpKind::roi_align,
          {g.input(DType::f32, {2, 3, 8, 7}), g.input(boxes), g.input(tensor_of_values<int64_t>(DType::i64, {2}, {1, 0}))}, a);
      g.check({y}, Bound::range(4));
    }
  TestGraph g;
  MaxRoiPoolAttrs a;
  a.pooled_shape = {2, 2};
  Value* y = g.op(OpKind::max_roi_pool, {g.input(DType::f32, {1, 2, 6, 6}), g.input(tensor_of_values<double>(DType::f32, {1, 5}, {0, 1, 0, 4, 5}))},
      a);
  g.check({y});
}

TEST(HostOps, DeformConvDetUnpool) {
  TestGraph g;
  DeformConvAttrs a;
  a.pads = {1, 1, 1, 1};
  a.offset_group = 2;
  Value* y = g.op(OpKind::deform_conv, {g.input(DType::f32, {1, 4, 5, 5}), g.input(DType::f32, {2, 4, 3, 3}), g.input(DType::f32, {1, 36, 5, 5}),
      nullptr, g.input(DType::f32, {1, 18, 5, 5})}, a);
  Value* d = g.op(OpKind::det, {g.input(DType::f32, {2, 3, 3})});
  MaxUnpoolAttrs u;
  u.kernel_shape = {2};
  u.strides = {2};
  Value* z = g.op(OpKind::max_unpool, {g.input(DType::f32, {1, 1, 3}), g.input(tensor_of_values<int64_t>(DType::i64, {1, 1, 3}, {1, 2, 5}))}, u);
  g.check({y, d, z}, Bound::range(4));
}

}  // namespace
}  // namespace weft::backend_test
