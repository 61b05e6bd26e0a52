// Convolutions against direct sums over windows, for many geometries; auto_pad, integers, scales; windows' symbolic dims.
#include "ir/ops/conv.h"

#include "ir/ops/common.h"
#include "tests/unit/infer_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

Tensor wave(std::vector<int64_t> dims, int64_t salt) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  Doubles v(n);
  for (int64_t k = 0; k < n; ++k) v[k] = static_cast<double>((k * 7 + salt * 13) % 19 - 9);
  return f32(std::move(dims), v);
}

// Every product x[n, c, i] * w at its place: for conv o = (i + pad - k * dilation) / stride, for conv_transpose
// o = i * stride - pad + k * dilation.
Doubles direct(const Tensor& x, const Tensor& w, const std::vector<WindowAxis>& axes, int64_t group, bool transposed, int64_t channels) {
  Doubles vx = load_all<double>(x), vw = load_all<double>(w);
  Ints in(x.dims.begin() + 2, x.dims.end()), kernel(w.dims.begin() + 2, w.dims.end()), out;
  for (auto& a : axes) out.push_back(a.out.value());
  int64_t out_size = 1, mg = channels / group, cg = x.dims[1] / group;
  for (int64_t d : out) out_size *= d;
  Doubles y(x.dims[0] * channels * out_size, 0.0);
  Ints outer{x.dims[0], group, cg, mg}, o(4, 0);
  do {
    Ints i(in.size(), 0);
    int64_t x_at = ((o[0] * group + o[1]) * cg + o[2]);
    do {
      Ints k(kernel.size(), 0);
      int64_t w_at = transposed ? (o[1] * cg + o[2]) * mg + o[3] : (o[1] * mg + o[3]) * cg + o[2], xe = x_at;
      for (size_t d = 0; d < in.size(); ++d) xe = xe * in[d] + i[d];
      do {
        int64_t we = w_at, ye = (o[0] * group + o[1]) * mg + o[3];
        bool hit = true;
        for (size_t d = 0; d < in.size(); ++d) {
          const WindowAxis& a = axes[d];
          int64_t pad = a.pad_begin.value(), at = transposed ? i[d] * a.stride - pad + k[d] * a.dilation : i[d] + pad - k[d] * a.dilation;
          if (!transposed) {
            hit = hit && at % a.stride == 0;
            at /= a.stride;
          }
          hit = hit && at >= 0 && at < out[d];
          we = we * kernel[d] + k[d];
          ye = ye * out[d] + at;
        }
        if (hit) y[ye] += vx[xe] * vw[we];
      } while (next_index(k, kernel));
    } while (next_index(i, in));
  } while (next_index(o, outer));
  return y;
}

struct ConvCase {
  Ints x, w, pads, strides, dilations;
  int64_t group = 1;
};
const ConvCase kCases[] = {
    {{1, 2, 7}, {3, 2, 3}, {1, 1}, {2}, {1}},
    {{2, 3, 5, 6}, {4, 3, 3, 2}, {1, 0, 2, 1}, {2, 1}, {1, 2}},
    {{1, 4, 6, 5}, {4, 1, 3, 3}, {1, 1, 1, 1}, {1, 1}, {1, 1}, 4},
    {{2, 4, 5, 5}, {6, 2, 2, 2}, {0, 0, 0, 0}, {3, 2}, {2, 2}, 2},
    {{1, 2, 4, 3, 5}, {2, 2, 2, 3, 2}, {1, 1, 0, 0, 1, 1}, {1, 2, 1}, {1, 1, 2}},
    {{1, 1, 3, 3}, {1, 1, 1, 1}, {2, 2, 2, 2}, {2, 2}, {1, 1}},
};

TEST(EvalConv, EveryGeometry) {
  for (const ConvCase& c : kCases) {
    ConvAttrs a;
    a.pads = c.pads;
    a.strides = c.strides;
    a.dilations = c.dilations;
    a.group = c.group;
    Tensor x = wave(c.x, 1), w = wave(c.w, 2);
    auto axes = window_axes(a, to_shape({c.x.begin() + 2, c.x.end()}), to_shape({c.w.begin() + 2, c.w.end()}));
    ASSERT_TRUE(axes.ok());
    EXPECT_EQ(doubles(run_op(OpKind::conv, {x, w}, a)), direct(x, w, axes.value(), c.group, false, c.w[0]));
  }
}
TEST(EvalConv, TransposedEveryGeometry) {
  for (ConvCase c : kCases) {
    std::swap(c.w[0], c.w[1]);
    c.w[0] = c.x[1];
    ConvTransposeAttrs a;
    a.pads = c.pads;
    a.strides = c.strides;
    a.dilations = c.dilations;
    a.group = c.group;
    a.output_padding.assign(c.strides.size(), 1);
    Tensor x = wave(c.x, 3), w = wave(c.w, 4);
    auto axes = transpose_window_axes(a, to_shape({c.x.begin() + 2, c.x.end()}), to_shape({c.w.begin() + 2, c.w.end()}));
    ASSERT_TRUE(axes.ok());
    EXPECT_EQ(doubles(run_op(OpKind::conv_transpose, {x, w}, a)), direct(x, w, axes.value(), c.group, true, c.w[1] * c.group));
  }
}

TEST(EvalConv, BiasIntegersAndScales) {
  Tensor x = ints(DType::u8, {1, 1, 3}, {200, 100, 50}), w = ints(DType::i8, {2, 1, 2}, {1, -1, 2, 0});
  auto r = run_op(OpKind::conv, {x, w, ints(DType::i32, {2}, {1, -1})}, ConvAttrs{});
  EXPECT_EQ(result_of(r).dtype, DType::i32);
  EXPECT_EQ(integers(r), (Ints{101, 51, 399, 199}));
  ConvAttrs a;
  a.has_out_type = true;
  EXPECT_EQ(doubles(run_op(OpKind::conv, {x, w, f32({2}, {1, 0}), f32({}, {0.5}), f32({2}, {1, 0.1})}, a)).size(), 4u);
  expect_near(doubles(run_op(OpKind::conv, {x, w, f32({2}, {1, 0}), f32({}, {0.5}), f32({2}, {1, 0.1})}, a)), {51, 26, 20, 10});
  EXPECT_EQ(integers(run_op(OpKind::conv, {i64({1, 1, 1}, {INT64_MAX}), i64({1, 1, 1}, {2})}, ConvAttrs{})), Ints{-2});
}

TEST(EvalConv, TilesOfManyPositions) {
  // More columns than a tile holds: the last tile is partial and rows are cut.
  Tensor x = wave({1, 64, 60, 61}, 5), w = wave({2, 64, 3, 3}, 6);
  ConvAttrs a;
  a.pads = {1, 1, 1, 1};
  auto axes = window_axes(a, {60, 61}, {3, 3});
  EXPECT_EQ(doubles(run_op(OpKind::conv, {x, w}, a)), direct(x, w, axes.value(), 1, false, 2));
}

TEST(EvalConv, EmptyInputsAndErrors) {
  auto none = run_op(OpKind::conv, {f32({0, 1, 3}, {}), f32({1, 1, 2}, {1, 1})}, ConvAttrs{});
  EXPECT_EQ(result_of(none).dims, (Ints{0, 1, 2}));
  EXPECT_FALSE(run_op(OpKind::conv, {f32({1, 1, 1}, {1}), f32({1, 1, 2}, {1, 1})}, ConvAttrs{}).ok());
  EXPECT_FALSE(run_op(OpKind::conv, {f32({1, 2, 3}, {1, 2, 3, 4, 5, 6}), f32({1, 1, 2}, {1, 1})}, ConvAttrs{}).ok());
  ConvAttrs bad;
  bad.group = 0;
  EXPECT_FALSE(run_op(OpKind::conv, {f32({1, 1, 3}, {1, 2, 3}), f32({1, 1, 2}, {1, 1})}, bad).ok());
  bad.group = 1;
  bad.strides = {0};
  EXPECT_FALSE(run_op(OpKind::conv, {f32({1, 1, 3}, {1, 2, 3}), f32({1, 1, 2}, {1, 1})}, bad).ok());
}

TEST(InferConv, AutoPadCeilAndSymbols) {
  Net n;
  ConvAttrs a;
  a.auto_pad = "SAME_UPPER";
  a.strides = {2, 2};
  Value *x = n.input("f32[b,3,h,224]"), *w = n.input("f32[8,3,3,3]");
  EXPECT_EQ(text_of(n.op(OpKind::conv, {x, w}, a)), "f32[b,8," + ceildiv(Dim::symbol("h"), 2).to_string() + ",112]");
  auto same = window_axes(a, {Dim(5), Dim(6)}, {3, 3});
  EXPECT_TRUE(same.value()[0].pad_begin.is(1) && same.value()[0].pad_end.is(1));
  EXPECT_TRUE(same.value()[1].pad_begin.is(0) && same.value()[1].pad_end.is(1));
  a.auto_pad = "SAME_LOWER";
  EXPECT_TRUE(window_axes(a, {Dim(5), Dim(6)}, {3, 3}).value()[1].pad_begin.is(1));
  // The last window starts in the padding: dropped.
  WindowAttrs c;
  c.strides = {3};
  c.pads = {0, 1};
  EXPECT_TRUE(window_axes(c, {Dim(3)}, {1}, true).value()[0].out.is(1));
  c.strides = {2};
  c.pads = {};
  EXPECT_TRUE(window_axes(c, {Dim(4)}, {3}, true).value()[0].out.is(2));
}

TEST(InferConv, TransposedShapes) {
  Net n;
  ConvTransposeAttrs a;
  a.strides = {2, 2};
  a.group = 2;
  Value *x = n.input("f32[1,4,h,5]"), *w = n.input("f32[4,3,3,3]");
  EXPECT_EQ(text_of(n.op(OpKind::conv_transpose, {x, w}, a)), "f32[1,6," + (Dim::symbol("h") * Dim(2) + Dim(1)).to_string() + ",11]");
  a.auto_pad = "SAME_UPPER";
  EXPECT_EQ(text_of(n.op(OpKind::conv_transpose, {x, w}, a)), "f32[1,6,2*h,10]");
  a.auto_pad = "NOTSET";
  a.output_shape = {10, 8};
  EXPECT_EQ(text_of(n.op(OpKind::conv_transpose, {n.input("f32[1,4,3,3]"), w}, a)), "f32[1,6,10,8]");
  auto axes = transpose_window_axes(a, {Dim(3), Dim(3)}, {3, 3});
  EXPECT_EQ(axes.value()[0].pad_begin.value(), -1);  // beyond what the input reaches
  a.output_shape = {10};
  EXPECT_FALSE(n.try_op(OpKind::conv_transpose, {x, w}, a).ok());
}

}  // namespace
}  // namespace weft::eval_test
