// DLPack in and out.
#include "tests/api/api_support.h"

namespace weft::api_test {
namespace {

// A producer's tensor that counts how often it is deleted.
struct Producer {
  float data[6] = {1, 2, 3, 4, 5, 6};
  int64_t shape[2] = {2, 3}, strides[2] = {3, 1};
  int deleted = 0;
  DLManagedTensorVersioned managed{};

  Producer() {
    managed.version = {DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION};
    managed.manager_ctx = this;
    managed.deleter = [](DLManagedTensorVersioned* t) { ++static_cast<Producer*>(t->manager_ctx)->deleted; };
    managed.dl_tensor = {data, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, strides, 0};
  }
};

TEST(DlPack, InSharesAndReleasesOnce) {
  Producer p;
  {
    auto t = Tensor::from_dlpack(&p.managed);
    ASSERT_TRUE(t.ok()) << t.error().to_string();
    EXPECT_EQ(t->data(), p.data);
    EXPECT_EQ(t->describe(), "f32[2,3]");
    Tensor copy = *t;
    EXPECT_EQ(p.deleted, 0);
  }
  EXPECT_EQ(p.deleted, 1);
}

TEST(DlPack, StridesAndOffsets) {
  Producer p;
  p.strides[0] = 1;
  p.strides[1] = 2;
  p.managed.dl_tensor.byte_offset = 0;
  auto t = Tensor::from_dlpack(&p.managed);
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(floats(*t), (std::vector<float>{1, 3, 5, 2, 4, 6}));
  Producer q;
  q.shape[0] = 1;
  q.managed.dl_tensor.strides = nullptr;
  q.managed.dl_tensor.byte_offset = 12;
  auto u = Tensor::from_dlpack(&q.managed);
  ASSERT_TRUE(u.ok());
  EXPECT_EQ(floats(*u), (std::vector<float>{4, 5, 6}));
}

TEST(DlPack, TheOldStruct) {
  static int deleted = 0;
  float x = 7;
  DLManagedTensor m{{&x, {kDLCPU, 0}, 0, {kDLFloat, 32, 1}, nullptr, nullptr, 0}, nullptr, [](DLManagedTensor*) { ++deleted; }};
  {
    auto t = Tensor::from_dlpack(&m);
    ASSERT_TRUE(t.ok());
    EXPECT_EQ(t->rank(), 0);
    EXPECT_EQ(floats(*t), std::vector<float>{7});
  }
  EXPECT_EQ(deleted, 1);
}

TEST(DlPack, ReadOnlyStaysSo) {
  Producer p;
  p.managed.flags = DLPACK_FLAG_BITMASK_READ_ONLY;
  auto t = Tensor::from_dlpack(&p.managed);
  ASSERT_TRUE(t.ok());
  EXPECT_TRUE(t->read_only());
}

TEST(DlPack, WhatIsRefusedIsReleased) {
  Producer device, lanes, type, version, shape;
  device.managed.dl_tensor.device.device_type = kDLCUDAManaged;
  lanes.managed.dl_tensor.dtype.lanes = 4;
  type.managed.dl_tensor.dtype = {kDLFloat, 24, 1};
  version.managed.version.major = 2;
  shape.shape[0] = -1;
  for (Producer* p : {&device, &lanes, &type, &version}) EXPECT_ERROR(Tensor::from_dlpack(&p->managed), kUnsupported);
  EXPECT_ERROR(Tensor::from_dlpack(&shape.managed), kUsage);
  for (Producer* p : {&device, &lanes, &type, &version, &shape}) EXPECT_EQ(p->deleted, 1);
  EXPECT_ERROR(Tensor::from_dlpack(static_cast<DLManagedTensor*>(nullptr)), kUsage);
}

TEST(DlPack, OutKeepsTheElementsAlive) {
  DLManagedTensorVersioned* out = nullptr;
  {
    auto t = Tensor::of(std::vector<float>{1, 2, 3, 4}, {2, 2});
    auto exported = t->to_dlpack();
    ASSERT_TRUE(exported.ok());
    out = *exported;
  }
  EXPECT_EQ(out->dl_tensor.ndim, 2);
  EXPECT_EQ(out->dl_tensor.shape[1], 2);
  EXPECT_EQ(out->dl_tensor.strides[0], 2);
  EXPECT_EQ(out->dl_tensor.dtype.bits, 32);
  EXPECT_EQ(static_cast<float*>(out->dl_tensor.data)[3], 4);
  out->deleter(out);
  EXPECT_ERROR(Tensor().to_dlpack(), kUsage);
  EXPECT_ERROR(Tensor::of(std::vector<std::string>{"a"}, {1})->to_dlpack(), kUnsupported);
}

TEST(DlPack, ThereAndBackIntoAModel) {
  Executable exe = compiled(kDifference);
  Context c = exe.context();
  Producer a, b;
  auto x = Tensor::from_dlpack(&a.managed), y = Tensor::from_dlpack(&b.managed);
  auto out = c.run({{"a", *x}, {"b", *y}});
  ASSERT_TRUE(out.ok());
  auto exported = (*out)["y"].to_dlpack();
  ASSERT_TRUE(exported.ok());
  auto back = Tensor::from_dlpack(*exported);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(floats(*back), std::vector<float>(6, 0));
}

}  // namespace
}  // namespace weft::api_test
