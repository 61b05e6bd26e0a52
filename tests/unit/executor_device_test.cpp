// Tensors that lie on the device: used where they are, refused where they cannot be. The device of these tests is memory of
// the host that is moved about only through its queue, which counts.
#include <map>

#include "frontend/api/runtime/executable_state.h"
#include "tests/unit/executor_support.h"
#include "weft/dlpack.h"

namespace weft::executor_test {
namespace {

struct Counts {
  int uploads = 0, downloads = 0, copies = 0, waits = 0;
};

class FakeQueue : public DeviceQueue {
 public:
  explicit FakeQueue(Counts& c) : counts_(c) {}
  Status upload(std::byte* to, const void* from, int64_t bytes) override { return ++counts_.uploads, move(to, from, bytes); }
  Status download(void* to, const std::byte* from, int64_t bytes) override { return ++counts_.downloads, move(to, from, bytes); }
  Status copy(std::byte* to, const std::byte* from, int64_t bytes) override { return ++counts_.copies, move(to, from, bytes); }
  Status clear(std::byte* to, int64_t bytes) override { return std::memset(to, 0, static_cast<size_t>(bytes)), Status(); }
  Status launch(const DeviceLaunch& l) override {
    auto kernel = reinterpret_cast<KernelFn>(l.function);
    kernel(l.ptrs.data(), reinterpret_cast<const int64_t*>(l.dims), 0, l.grid[0], nullptr);
    return {};
  }
  // A recorded launch runs at once and is not run again: tests of graphs need a GPU.
  Status begin_graph() override { return unsupported("graphs"); }
  Result<std::unique_ptr<DeviceGraph>> end_graph() override { return unsupported("graphs"); }
  Status replay(DeviceGraph&) override { return unsupported("graphs"); }
  Status finish() override { return ++counts_.waits, Status(); }

 private:
  static Status move(void* to, const void* from, int64_t bytes) { return std::memcpy(to, from, static_cast<size_t>(bytes)), Status(); }
  Counts& counts_;
};

class FakeDevice : public Device {
 public:
  std::string name() const override { return "the fake"; }
  int number() const override { return 3; }
  Result<std::byte*> allocate(int64_t bytes) override { return static_cast<std::byte*>(::operator new(static_cast<size_t>(bytes), std::align_val_t(256))); }
  void release(std::byte* memory) override { ::operator delete(memory, std::align_val_t(256)); }
  Result<std::unique_ptr<DeviceQueue>> queue() override { return std::unique_ptr<DeviceQueue>(std::make_unique<FakeQueue>(counts)); }
  Result<void*> load(std::span<const std::byte>, const std::string&, int64_t) override { return unsupported("code"); }
  Counts counts;
};

// y = 2x + 1 by a kernel, z = x; the grid is of four rows. The profile keeps it from recording graphs.
constexpr const char* kPlan = R"(wplan 1
kernel @scale object 0 threads 1
buffer #x input 0 bytes 128 buffer #y output 0 bytes 128
tensor %x f32[4,8] #x tensor %y f32[4,8] #y
input x %x output y %y output z %x
main { launch @scale(%x, out %y, 8) tasks 4 grid [4,1,1] })";

class ExecutorDevice : public testing::Test {
 protected:
  ExecutorDevice() {
    ExecutableParts parts;
    parts.plan = parse_plan(kPlan).value();
    parts.device = device;
    parts.functions = {reinterpret_cast<void*>(k_scale)};
    exe = make_executable(std::move(parts)).value();
    options.profile = &events;
  }
  TensorView on_device(Floats& host, int number = 3) {
    TensorView v = host.view();
    v.device = number;
    return v;
  }
  Status run(Context& c, std::vector<TensorView> in, std::vector<TensorView>& out) {
    device->counts = {};
    return c.run(in, out, options);
  }

  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  std::shared_ptr<const ExecutableImpl> exe;
  std::vector<ProfileEvent> events;
  RunOptions options;
  Floats x{{4, 8}};
};

TEST_F(ExecutorDevice, HostTensorsTravel) {
  Context c(exe);
  std::vector<TensorView> out(2);
  ASSERT_TRUE(run(c, {x.view()}, out).ok());
  ASSERT_TRUE(run(c, {x.view()}, out).ok());
  EXPECT_EQ(device->counts.uploads, 1);
  EXPECT_EQ(device->counts.downloads, 2);
  EXPECT_EQ(elements<float>(out[0])[31], 63);
  EXPECT_EQ(elements<float>(out[1]), x.v);
}

TEST_F(ExecutorDevice, ResidentTensorsDoNot) {
  Context c(exe);
  Floats y({4, 8}, F(32, 0)), z({4, 8}, F(32, 0));
  std::vector<TensorView> out = {on_device(y), on_device(z)};
  ASSERT_TRUE(run(c, {on_device(x)}, out).ok());
  ASSERT_TRUE(run(c, {on_device(x)}, out).ok());
  EXPECT_EQ(device->counts.uploads + device->counts.downloads, 0);
  EXPECT_EQ(device->counts.copies, 1);  // z, which the program does not write
  EXPECT_EQ(y.v[31], 63);
  EXPECT_EQ(z.v, x.v);
}

TEST_F(ExecutorDevice, OutputsStayWhereAsked) {
  Context c(exe);
  options.device_outputs = true;
  options.wait = false;
  std::vector<TensorView> out(2);
  ASSERT_TRUE(run(c, {on_device(x)}, out).ok());
  ASSERT_TRUE(run(c, {on_device(x)}, out).ok());  // without the upload of the launches' dims
  const int waits = device->counts.waits;
  EXPECT_EQ(device->counts.uploads, 0);
  EXPECT_EQ(device->counts.downloads, 0);
  EXPECT_EQ(out[0].device, 3);
  EXPECT_EQ(elements<float>(out[0])[31], 63);
  EXPECT_EQ(elements<float>(out[1]), x.v);
  EXPECT_NE(out[1].data, x.v.data());
  ASSERT_TRUE(c.finish().ok());
  EXPECT_EQ(device->counts.waits, waits + 1);
  // The result of a run is the next one's input: the two outputs' memory changes places.
  const TensorView before = out[0];
  ASSERT_TRUE(run(c, {before}, out).ok());
  EXPECT_NE(out[0].data, before.data);
  EXPECT_EQ(elements<float>(before)[31], 63);
  EXPECT_EQ(elements<float>(out[0])[31], 127);
}

TEST_F(ExecutorDevice, OutputsThatAreInputs) {
  Context c(exe);
  std::vector<TensorView> out = {on_device(x), TensorView()};
  ASSERT_TRUE(run(c, {on_device(x)}, out).ok());
  EXPECT_EQ(x.v[31], 63);
}

TEST_F(ExecutorDevice, WhatIsRefused) {
  Context c(exe);
  std::vector<TensorView> out(2);
  auto error = [&](TensorView in) {
    Status s = run(c, {in}, out);
    return s.ok() ? "" : s.error().to_string();
  };
  EXPECT_SAYS(error(on_device(x, 1)), "input x lies on GPU 1, the model runs on the fake");
  Floats wide({8, 8});
  TensorView turned = on_device(wide);
  turned.dims = {4, 8};
  turned.strides = {1, 8};
  EXPECT_SAYS(error(turned), "must be row-major");
  out[0] = turned;
  EXPECT_SAYS(error(x.view()), "has other strides");
  out[0] = on_device(wide, 0);
  out[0].dims = {4, 8};
  EXPECT_SAYS(error(x.view()), "output y lies on GPU 0");
  Context host(load("wplan 1 buffer #x input 0 bytes 16 tensor %x f32[4] #x input x %x output y %x main { }"));
  Floats four({4});
  EXPECT_SAYS(run_error(host, {on_device(four)}), "lies on GPU 3, the model runs on the host");
}

TEST_F(ExecutorDevice, ThePublicApi) {
  api::Executable e = api::make_public(exe, {}, {}, 1);
  api::Context c = e.context();
  api::Tensor host = api::Tensor::view(x.v.data(), {4, 8});
  auto there = e.upload(host);
  ASSERT_TRUE(there.ok());
  EXPECT_EQ(there->device(), 3);
  std::vector<api::ProfileEvent> recorded;
  api::RunOptions o;
  o.device_outputs = true;
  o.profile = &recorded;
  ASSERT_TRUE(c.run({{"x", *there}}, {}, o).ok());
  device->counts = {};
  auto out = c.run({{"x", *there}}, {}, o);
  ASSERT_TRUE(out.ok()) << out.error().to_string();
  EXPECT_EQ(device->counts.uploads + device->counts.downloads, 0);
  EXPECT_EQ((*out)["y"].device(), 3);
  auto back = e.download((*out)["y"]);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->data_as<float>()[31], 63);
  EXPECT_EQ((*out)["y"].copy().error().code, Code::kUsage);
  EXPECT_EQ(e.download(api::Tensor::view_on_gpu(1, x.v.data(), DType::f32, {4, 8})).error().code, Code::kUsage);
  auto dlpack = there->to_dlpack();
  ASSERT_TRUE(dlpack.ok());
  EXPECT_EQ((*dlpack)->dl_tensor.device.device_type, kDLCUDA);
  auto again = api::Tensor::from_dlpack(*dlpack);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->device(), 3);
}

}  // namespace
}  // namespace weft::executor_test
