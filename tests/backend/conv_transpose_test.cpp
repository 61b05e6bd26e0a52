// conv_transpose on a CPU: groups, strides, dilations, output padding and shape, bias, scales, ranks.
#include "ir/ops/conv.h"
#include "tests/backend/support.h"

namespace weft::backend_test {
namespace {

TEST(ConvTranspose, Geometry) {
  std::vector<ConvTransposeAttrs> all(5);
  all[1].strides = {2, 3};
  all[1].pads = {1, 0, 1, 1};
  all[2].strides = {2, 2};
  all[2].dilations = {2, 1};
  all[2].group = 2;
  all[2].output_padding = {1, 1};
  all[3].strides = {2, 2};
  all[3].auto_pad = "SAME_UPPER";
  all[4].strides = {2, 2};
  all[4].output_shape = {14, 9};
  for (const ConvTransposeAttrs& a : all) {
    TestGraph g;
    g.bind("h", 5);
    Value* x = g.input(DType::f32, {2, 4, a.output_shape.empty() ? Dim::symbol("h") : Dim(5), 4});
    Value* y = g.op(OpKind::conv_transpose,
        {x, g.constant(random_tensor(DType::f32, {4, 3, 3, 2}, 5)), g.constant(random_tensor(DType::f32, {3 * a.group}, 6))}, a);
    g.check({y}, Bound::range(16));
  }
}
TEST(ConvTranspose, RanksScalesAndIntegers) {
  TestGraph g;
  ConvTransposeAttrs line;
  line.strides = {2};
  Value* y = g.op(OpKind::conv_transpose, {g.input(DType::f16, {1, 2, 6}), g.input(DType::f16, {2, 2, 3})}, line);
  ConvTransposeAttrs volume;
  volume.strides = {1, 2, 1};
  Value* z = g.op(OpKind::conv_transpose, {g.input(DType::f32, {1, 2, 2, 3, 2}), g.input(DType::f32, {2, 1, 2, 2, 3})}, volume);
  ConvTransposeAttrs scaled;
  scaled.has_out_type = true;
  Value* s = g.op(OpKind::conv_transpose, {g.input(DType::u8, {1, 2, 6}), g.input(DType::i8, {2, 2, 3}), g.input(DType::f32, {2}),
      g.input(DType::f32, {}), g.input(DType::f32, {2})}, scaled);
  g.check({y, z, s}, Bound::range(16));
}

}  // namespace
}  // namespace weft::backend_test
