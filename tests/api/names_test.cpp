// Inputs by name, views, the caller's output buffers.
#include "tests/api/api_support.h"

namespace weft::api_test {
namespace {

struct Difference : testing::Test {
  Executable exe = compiled(kDifference);
  Context c = exe.context();
  float a[6] = {10, 20, 30, 40, 50, 60}, b[6] = {1, 2, 3, 4, 5, 6};
  const std::vector<float> want = {9, 18, 27, 36, 45, 54};
};

TEST_F(Difference, AnyOrder) {
  auto out = c.run({{"b", Tensor::view(b, {2, 3})}, {"a", Tensor::view(a, {2, 3})}});
  ASSERT_TRUE(out.ok()) << out.error().to_string();
  EXPECT_EQ(floats((*out)["y"]), want);
  EXPECT_EQ(out->size(), 1u);
  EXPECT_TRUE((*out)["z"].empty());
  EXPECT_EQ(out->find("z"), nullptr);
}

TEST_F(Difference, ErrorsNameTheTensor) {
  Tensor x = Tensor::view(a, {2, 3}), y = Tensor::view(b, {2, 3});
  auto unknown = c.run({{"a", x}, {"c", y}});
  EXPECT_ERROR(unknown, kUsage);
  EXPECT_EQ(unknown.error().tensor, "c");
  EXPECT_NE(unknown.error().hint.find("a, b"), std::string::npos);
  auto missing = c.run({{"a", x}});
  EXPECT_ERROR(missing, kUsage);
  EXPECT_EQ(missing.error().tensor, "b");
  EXPECT_ERROR(c.run({{"a", x}, {"a", x}, {"b", y}}), kUsage);
  EXPECT_ERROR(c.run({{"a", x}, {"b", Tensor()}}), kUsage);
  auto dims = c.run({{"a", Tensor::view(a, {3, 2})}, {"b", y}});
  EXPECT_ERROR(dims, kUsage);
  EXPECT_EQ(dims.error().tensor, "a");
  EXPECT_ERROR(c.run({{"a", Tensor::view(a, {6})}, {"b", y}}), kUsage);
  double d[6] = {};
  EXPECT_ERROR(c.run({{"a", Tensor::view(d, {2, 3})}, {"b", y}}), kUsage);
  // The context still works.
  ASSERT_TRUE(c.run({{"a", x}, {"b", y}}).ok());
}

TEST_F(Difference, ViewsOfAnyStrides) {
  // Column-major, backwards, and one row for all.
  float columns[6] = {10, 40, 20, 50, 30, 60}, backwards[6] = {6, 5, 4, 3, 2, 1};
  Tensor x = Tensor::view(columns, DType::f32, {2, 3}, {1, 2}), y = Tensor::view(backwards + 5, DType::f32, {2, 3}, {-3, -1});
  auto out = c.run({{"a", x}, {"b", y}});
  ASSERT_TRUE(out.ok()) << out.error().to_string();
  EXPECT_EQ(floats((*out)["y"]), want);
  auto same = c.run({{"a", x}, {"b", Tensor::view(b, DType::f32, {2, 3}, {0, 1})}});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(floats((*same)["y"]), (std::vector<float>{9, 18, 27, 39, 48, 57}));
}

TEST_F(Difference, ConstInputsAreRead) {
  const float* x = a;
  auto out = c.run({{"a", Tensor::view(x, {2, 3})}, {"b", Tensor::view(b, {2, 3})}});
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(floats((*out)["y"]), want);
}

TEST_F(Difference, IntoTheCallersBuffer) {
  float y[6] = {};
  auto out = c.run({{"a", Tensor::view(a, {2, 3})}, {"b", Tensor::view(b, {2, 3})}}, {{"y", Tensor::view(y, {2, 3})}});
  ASSERT_TRUE(out.ok()) << out.error().to_string();
  EXPECT_EQ((*out)["y"].data(), y);
  EXPECT_EQ(std::vector<float>(y, y + 6), want);
  // Strided, and over an input.
  float wide[12] = {};
  ASSERT_TRUE(c.run({{"a", Tensor::view(a, {2, 3})}, {"b", Tensor::view(b, {2, 3})}}, {{"y", Tensor::view(wide, DType::f32, {2, 3}, {6, 2})}}).ok());
  EXPECT_EQ(wide[10], 54);
  EXPECT_EQ(wide[1], 0);
  ASSERT_TRUE(c.run({{"a", Tensor::view(a, {2, 3})}, {"b", Tensor::view(b, {2, 3})}}, {{"y", Tensor::view(a, {2, 3})}}).ok());
  EXPECT_EQ(std::vector<float>(a, a + 6), want);
}

TEST_F(Difference, BuffersThatDoNotFit) {
  NamedTensors in = {{"a", Tensor::view(a, {2, 3})}, {"b", Tensor::view(b, {2, 3})}};
  float y[6] = {};
  EXPECT_ERROR(c.run(in, {{"y", Tensor::view(y, {3, 2})}}), kUsage);
  EXPECT_ERROR(c.run(in, {{"z", Tensor::view(y, {2, 3})}}), kUsage);
  EXPECT_ERROR(c.run(in, {{"y", Tensor::view(static_cast<const float*>(y), {2, 3})}}), kUsage);
  int32_t whole[6] = {};
  auto type = c.run(in, {{"y", Tensor::view(whole, {2, 3})}});
  EXPECT_ERROR(type, kUsage);
  EXPECT_EQ(type.error().tensor, "y");
}

TEST_F(Difference, ResultsOutliveTheNextRunAndTheContext) {
  NamedTensors kept;
  {
    Context other = exe.context();
    auto out = other.run({{"a", Tensor::view(a, {2, 3})}, {"b", Tensor::view(b, {2, 3})}});
    ASSERT_TRUE(out.ok());
    kept = *out;
    ASSERT_TRUE(other.run({{"a", Tensor::view(b, {2, 3})}, {"b", Tensor::view(b, {2, 3})}}).ok());
  }
  EXPECT_EQ(floats(kept["y"]), want);
}

TEST_F(Difference, ByPosition) {
  std::vector<Tensor> in = {Tensor::view(a, {2, 3}), Tensor::view(b, {2, 3})}, out(1);
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(floats(out[0]), want);  // a view of the context's memory
  float y[6] = {};
  out[0] = Tensor::view(y, {2, 3});
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(std::vector<float>(y, y + 6), want);
  EXPECT_ERROR(c.run(std::span(in).first(1), out), kUsage);
  out.clear();
  EXPECT_ERROR(c.run(in, out), kUsage);
}

TEST(Tensors, Basics) {
  EXPECT_TRUE(Tensor().empty());
  EXPECT_EQ(Tensor().numel(), 0);
  auto t = Tensor::of(std::vector<int64_t>{1, 2, 3, 4}, {2, 2});
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(t->describe(), "i64[2,2]");
  EXPECT_EQ(t->bytes(), 32);
  EXPECT_EQ(t->data_as<float>(), nullptr);
  EXPECT_EQ(t->data_as<int64_t>()[3], 4);
  EXPECT_ERROR(Tensor::of(std::vector<float>{1, 2}, {3}), kUsage);
  EXPECT_ERROR(Tensor::make(DType::f32, {2, -1}), kUsage);
  EXPECT_ERROR(Tensor::make(DType::f32, {int64_t{1} << 40, int64_t{1} << 40}), kResources);
  const float x[2] = {1, 2};
  Tensor view = Tensor::view(x, {2});
  EXPECT_TRUE(view.read_only());
  EXPECT_EQ(view.mutable_data(), nullptr);
  EXPECT_EQ(view.data_as<float>(), nullptr);
  EXPECT_EQ(view.data_as<const float>(), x);
}

TEST(Tensors, CopiesOfStrings) {
  auto t = Tensor::of(std::vector<std::string>{"a", "b", "c", "d"}, {2, 2});
  ASSERT_TRUE(t.ok());
  auto turned = Tensor::view(t->mutable_data(), DType::str, {2, 2}, {1, 2}).copy();
  ASSERT_TRUE(turned.ok());
  EXPECT_EQ(turned->data_as<std::string>()[1], "c");
}

}  // namespace
}  // namespace weft::api_test
