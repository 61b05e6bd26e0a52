// Tensors, weights and states on a device, its limits and faults. The device of these tests is memory of the host that is
// moved about only through its queue, which counts.
#include <map>

#include "frontend/api/runtime/executable_state.h"
#include "tests/unit/executor_support.h"
#include "weft/dlpack.h"

namespace weft::executor_test {
namespace {

struct Counts {
  int uploads = 0, downloads = 0, copies = 0, waits = 0, launches = 0, replays = 0;
  bool fault = false;  // the launches' kernels fault, of which the queue hears when it waits
};

// A launch as a graph keeps it: with its pointers, and where its dims lie.
struct FakeLaunch {
  KernelFn kernel = nullptr;
  std::vector<void*> ptrs;
  const std::byte* dims = nullptr;
  int64_t grid = 0;
  void run() const { kernel(ptrs.data(), reinterpret_cast<const int64_t*>(dims), 0, grid, nullptr); }
};
struct FakeGraph : DeviceGraph {
  std::vector<FakeLaunch> launches;
};

class FakeQueue : public DeviceQueue {
 public:
  explicit FakeQueue(Counts& c) : counts_(c) {}
  Status upload(std::byte* to, const void* from, int64_t bytes) override { return ++counts_.uploads, move(to, from, bytes); }
  Status download(void* to, const std::byte* from, int64_t bytes) override { return ++counts_.downloads, move(to, from, bytes); }
  Status copy(std::byte* to, const std::byte* from, int64_t bytes) override { return ++counts_.copies, move(to, from, bytes); }
  Status copy_rows(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch, int64_t row_bytes, int64_t rows) override {
    EXPECT_GE(std::min(to_pitch, from_pitch), row_bytes);
    ++counts_.copies;
    for (int64_t i = 0; i < rows; ++i) TRY(move(to + i * to_pitch, from + i * from_pitch, row_bytes));
    return {};
  }
  Status clear(std::byte* to, int64_t bytes) override { return std::memset(to, 0, static_cast<size_t>(bytes)), Status(); }
  Status launch(const DeviceLaunch& l) override {
    if (counts_.fault) return {};
    const FakeLaunch made{reinterpret_cast<KernelFn>(l.function), {l.ptrs.begin(), l.ptrs.end()}, l.dims, l.grid[0]};
    if (recorded_) return recorded_->launches.push_back(made), Status();
    ++counts_.launches;
    return made.run(), Status();
  }
  Status begin_graph() override { return recorded_ = std::make_unique<FakeGraph>(), Status(); }
  Result<std::unique_ptr<DeviceGraph>> end_graph() override { return std::unique_ptr<DeviceGraph>(std::move(recorded_)); }
  Status replay(DeviceGraph& g) override {
    ++counts_.replays;
    for (const FakeLaunch& l : static_cast<FakeGraph&>(g).launches) l.run();
    return {};
  }
  void* stream() override { return nullptr; }
  void give_up_after(std::chrono::milliseconds, std::function<Error()>) override {}
  Status finish() override {
    ++counts_.waits;
    return counts_.fault ? Status(error(Code::kDevice, "running kernels on the fake: an illegal address").with_hint("start it again")) : Status();
  }
  Status mark(uint32_t number) override { return marked_ = number, Status(); }
  uint32_t marked() const override { return marked_; }
  Status begin_after(void* stream) override { return order(stream, "begin"); }
  Status end_before(void* stream) override { return order(stream, "end"); }
  Status note(int) override { return {}; }
  Status begin_after_note(DeviceQueue&, int) override { return {}; }

 private:
  static Status order(void* stream, const char* what) { return static_cast<std::vector<std::string>*>(stream)->push_back(what), Status(); }
  uint32_t marked_ = 0;
  std::unique_ptr<FakeGraph> recorded_;
  static Status move(void* to, const void* from, int64_t bytes) { return std::memcpy(to, from, static_cast<size_t>(bytes)), Status(); }
  Counts& counts_;
};

class FakeDevice : public Device {
 public:
  std::string name() const override { return "the fake"; }
  int number() const override { return 3; }
  Result<std::byte*> allocate(int64_t bytes, MemoryUse use) override {
    if (bytes > limit) return resources("no room").with_hint("have more");
    uses.push_back(use);
    auto* p = static_cast<std::byte*>(::operator new(static_cast<size_t>(bytes), std::align_val_t(256)));
    std::memset(p, 0xee, static_cast<size_t>(bytes));
    return p;
  }
  Result<std::unique_ptr<DeviceRange>> range(MemoryUse) override { return std::unique_ptr<DeviceRange>(); }
  int64_t available() const override { return limit; }
  Status upload(std::byte* to, std::span<const UploadPiece> pieces, ThreadPool*) override {
    int64_t end = 0;
    for (const UploadPiece& p : pieces) {
      EXPECT_GE(p.offset, end);
      if (p.check) TRY(p.check->check(0, p.bytes));
      std::memcpy(to + p.offset, p.from, static_cast<size_t>(p.bytes));
      end = p.offset + p.bytes;
    }
    return {};
  }
  void release(std::byte* memory) override { ::operator delete(memory, std::align_val_t(256)); }
  Result<std::unique_ptr<DeviceQueue>> queue(int) override { return std::unique_ptr<DeviceQueue>(std::make_unique<FakeQueue>(counts)); }
  Result<void*> load(std::span<const std::byte>, const std::string&, int64_t) override { return unsupported("code"); }
  Counts counts;
  std::vector<MemoryUse> uses;
  int64_t limit = 1 << 20;  // bytes of an allocation
};

// y = 2x + 1 by a kernel, z = x; the grid is of four rows. The profile keeps it from recording graphs.
constexpr const char* kScalePlan = R"(wplan 1
kernel @scale object 0 threads 1
buffer #x input 0 bytes 128 buffer #y output 0 bytes 128
tensor %x f32[4,8] #x tensor %y f32[4,8] #y
input x %x output y %y output z %x
main { launch @scale(%x, out %y, 8) tasks 4 grid [4,1,1] nodes ["Mul_0", "Add_1"] })";

class ExecutorDevice : public testing::Test {
 protected:
  ExecutorDevice() {
    ExecutableParts parts;
    parts.plan = parse_plan(kScalePlan).value();
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

TEST_F(ExecutorDevice, AnyStrides) {
  Context c(exe);
  Floats wide({8, 9}), y({8, 4}, F(32, -1));
  TensorView turned = on_device(wide), out_turned = on_device(y);
  turned.dims = out_turned.dims = {4, 8};
  turned.strides = {1, 9};
  out_turned.strides = {1, 4};
  std::vector<TensorView> out = {out_turned, TensorView()};
  ASSERT_TRUE(run(c, {turned}, out).ok());
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 8; ++j) EXPECT_EQ(y.v[static_cast<size_t>(4 * j + i)], 2 * (9 * j + i) + 1);
}

TEST_F(ExecutorDevice, TheCallersStream) {
  Context c(exe);
  std::vector<std::string> stream;
  options.stream = &stream;
  std::vector<TensorView> out(2);
  ASSERT_TRUE(run(c, {x.view()}, out).ok());
  EXPECT_EQ(stream, (std::vector<std::string>{"begin", "end"}));
}

TEST_F(ExecutorDevice, FaultsNameTheKernel) {
  Context c(exe);
  std::vector<TensorView> out(2);
  options.device_outputs = true;
  options.profile = nullptr;
  options.wait = false;
  ASSERT_TRUE(run(c, {on_device(x)}, out).ok());
  device->counts.fault = true;
  const Error e = c.finish().error();
  EXPECT_EQ(e.code, Code::kDevice);
  EXPECT_SAYS(e.to_string(), "an illegal address, in kernel scale of Mul_0, Add_1");
  EXPECT_EQ(e.node, "Mul_0");
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
  out[0] = on_device(wide, 0);
  out[0].dims = {4, 8};
  EXPECT_SAYS(error(x.view()), "output y lies on GPU 0");
  Context host(load("wplan 1 buffer #x input 0 bytes 16 tensor %x f32[4] #x input x %x output y %x main { }"));
  Floats four({4});
  EXPECT_SAYS(run_error(host, {on_device(four)}), "lies on GPU 3, the model runs on the host");
}

// Constants share a block; one that a splat expands, one that only the prepare region reads.
TEST_F(ExecutorDevice, Weights) {
  ExecutableParts parts;
  parts.plan = parse_plan(R"(wplan 1
kernel @scale object 0 threads 1
constant a f32[1,8] constant b f32[1,8] constant p f32[1,8]
buffer #a constant 0 bytes 32 buffer #b constant 1 bytes 32 buffer #p constant 2 bytes 32
buffer #q prepared bytes 32 buffer #z output 0 bytes 32
tensor %a f32[1,8] #a tensor %b f32[1,8] #b tensor %p f32[1,8] #p tensor %q f32[1,8] #q
output a %a output b %b output q %q
prepare { launch @scale(%p, out %q, 8) tasks 1 grid [1,1,1] }
main { })").value();
  const float ramp[8] = {0, 1, 2, 3, 4, 5, 6, 7}, five = 5;
  auto bytes = [](const float* p, size_t n, bool splat) { return ConstantBytes{reinterpret_cast<const std::byte*>(p), n * 4, splat, nullptr}; };
  parts.constants = {bytes(ramp, 8, false), bytes(&five, 1, true), bytes(ramp, 8, false)};
  parts.device = device;
  parts.functions = {reinterpret_cast<void*>(k_scale)};
  auto made = make_executable(std::move(parts));
  ASSERT_TRUE(made.ok()) << made.error().to_string();
  EXPECT_EQ(std::count(device->uses.begin(), device->uses.end(), MemoryUse::weights), 2);
  EXPECT_EQ(uploaded_bytes(**made).bytes, 96);
  Context c(*made);
  std::vector<TensorView> out(3);
  ASSERT_TRUE(run(c, {}, out).ok());
  EXPECT_EQ(elements<float>(out[0]), F(ramp, ramp + 8));
  EXPECT_EQ(elements<float>(out[1]), F(8, 5));
  EXPECT_EQ(elements<float>(out[2])[7], 15);
}

// A check is asked about all bytes that are used, on the host and on the way to a device, and about no others.
TEST_F(ExecutorDevice, WeightsThatAreChecked) {
  struct Check : BytesCheck {
    Status check(int64_t begin, int64_t end) const override {
      asked += end - begin;
      return right ? Status() : Status(invalid("byte " + std::to_string(begin) + " is wrong"));
    }
    mutable std::atomic<int64_t> asked{0};
    bool right = true;
  };
  const std::vector<float> values(3 << 20, 2);  // three steps
  for (bool on_device : {false, true})
    for (int wrong : {-1, 0, 1, 2}) {
      ExecutableParts parts;
      parts.plan = parse_plan(R"(wplan 1
constant a f32[3145728] constant b f32[64] constant c f32[64]
buffer #a constant 0 bytes 12582912 buffer #b constant 1 bytes 256 buffer #c constant 2 bytes 256
tensor %a f32[3145728] #a tensor %b f32[64] #b tensor %c f32[64] #c
output a %a output b %b
main { })").value();
      std::shared_ptr<Check> checks[3];
      for (int i = 0; i < 3; ++i) {
        checks[i] = std::make_shared<Check>();
        checks[i]->right = i != wrong;
        const size_t bytes = i == 0 ? values.size() * 4 : i == 1 ? 4 : 256;
        parts.constants.push_back({reinterpret_cast<const std::byte*>(values.data()), bytes, i == 1, nullptr, checks[i]});
      }
      device->limit = 1 << 24;
      if (on_device) parts.device = device;
      parts.pool = ThreadPool::create(2).value();
      auto made = make_executable(std::move(parts));
      EXPECT_EQ(made.ok(), wrong < 0 || wrong == 2) << wrong;
      EXPECT_EQ(checks[2]->asked, 0) << "nothing reads it";
      if (!made.ok()) EXPECT_SAYS(made.error().message, " is wrong");
      else EXPECT_TRUE(checks[0]->asked == 12582912 && checks[1]->asked >= 4);
    }
}

TEST_F(ExecutorDevice, WhatWouldFit) {
  ExecutableParts parts;
  parts.plan = parse_plan(R"(wplan 1
symbol n 1 .. 1000000 symbol m 1 .. 1000000
kernel @scale object 0 threads 1
buffer #x input 0 bytes 4*n*m buffer #t arena bytes 4*n*m live 0 .. 1 buffer #y output 0 bytes 4*n*m
tensor %x f32[n,m] #x tensor %t f32[n,m] #t tensor %y f32[n,m] #y
input x %x output y %y
main { launch @scale(%x, out %t, m) tasks n grid [1,1,1] launch @scale(%t, out %y, m) tasks n grid [1,1,1] })").value();
  parts.device = device;
  parts.functions = {reinterpret_cast<void*>(k_scale)};
  Context c(make_executable(std::move(parts)).value());
  device->limit = 4 * 60;
  Floats big({10, 8});
  std::vector<TensorView> out(1);
  const Status s = run(c, {big.view()}, out);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().code, Code::kResources);
  EXPECT_SAYS(s.error().to_string(), "the activations would fit with n = 7, or m = 6; have more");
}

// x joins the state at row `past`; y is the sum of all rows. A step is one graph, whatever the length.
void k_append(void* const* p, const int64_t* d, int64_t, int64_t, void*) {
  std::memcpy(static_cast<float*>(p[1]) + 2 * d[0], p[0], 2 * sizeof(float));
}
void k_sum(void* const* p, const int64_t* d, int64_t, int64_t, void*) {
  float sum = 0;
  for (int64_t i = 0; i < 2 * d[0]; ++i) sum += static_cast<const float*>(p[0])[i];
  *static_cast<float*>(p[1]) = sum;
}

TEST_F(ExecutorDevice, GrowingStatesStayInTheGraph) {
  ExecutableParts parts;
  parts.plan = parse_plan(R"(wplan 1
symbol past 0 .. 300 symbol room 1 .. 300
kernel @append object 0 threads 1 kernel @sum object 1 threads 1
buffer #x input 0 bytes 8 buffer #s state 0 bytes 8*room buffer #y output 0 bytes 4
tensor %x f32[1,2] #x tensor %s0 f32[past,2] #s tensor %s1 f32[past+1,2] #s tensor %y f32[1] #y
input x %x output y %y state s %s0 -> %s1 append 0 length past capacity room
main { launch @append(%x, inout %s1, past) tasks 1 grid [1,1,1] launch @sum(%s1, out %y, past+1) tasks past+1 grid [1,1,1] })").value();
  parts.device = device;
  parts.functions = {reinterpret_cast<void*>(k_append), reinterpret_cast<void*>(k_sum)};
  Context c(make_executable(std::move(parts)).value());
  options.profile = nullptr;
  float sum = 0;
  for (int step = 0; step < 150; ++step) {
    Floats row({1, 2}, F{static_cast<float>(step), 1});
    sum += row.v[0] + row.v[1];
    std::vector<TensorView> out(1);
    ASSERT_TRUE(run(c, {row.view()}, out).ok());
    ASSERT_EQ(elements<float>(out[0])[0], sum) << step;
    // The state's memory grows at 64 and 128 rows, which are other shapes: run once step by step.
    const bool first = step == 0 || step == 64 || step == 128;
    EXPECT_EQ(device->counts.launches, first ? 2 : 0) << step;
    EXPECT_EQ(device->counts.replays, first ? 0 : 1) << step;
    EXPECT_LE(device->counts.uploads, first ? 3 : 2) << step;  // x, and the launches' dims
  }
}

// y[i] = x[k[i]], clamped, which a kernel reports.
void k_report(void* const* p, const int64_t* d, int64_t, int64_t, void*) {
  const int64_t k = *static_cast<const int64_t*>(p[0]);
  if (k < -d[0] || k >= d[0]) *static_cast<int64_t*>(p[1]) = report_code(k);
}

TEST_F(ExecutorDevice, ReportsAreErrors) {
  for (int64_t k : {INT64_C(0), INT64_C(1), INT64_C(-1), INT64_C(700), INT64_C(-701)}) EXPECT_EQ(reported_index(report_code(k)), k);
  ExecutableParts parts;
  parts.plan = parse_plan(R"(wplan 1
kernel @check object 0 threads 1
buffer #k input 0 bytes 8 buffer #r report pinned bytes 8
tensor %k i64[1] #k tensor %r i64[] #r
input k %k output y %k
main { launch @check(%k, out %r, 512) tasks 1 grid [1,1,1] expect %r 512 "axis 1" nodes ["Gather_0"] })").value();
  EXPECT_EQ(print_plan(parse_plan(print_plan(parts.plan)).value()), print_plan(parts.plan));
  parts.device = device;
  parts.functions = {reinterpret_cast<void*>(k_report)};
  Context c(make_executable(std::move(parts)).value());
  std::vector<TensorView> out(1);
  Ints good({1}, {511}), bad({1}, {-513});
  EXPECT_TRUE(run(c, {good.view()}, out).ok());
  const Status s = run(c, {bad.view()}, out);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().code, Code::kInvalidModel);
  EXPECT_EQ(s.error().node, "Gather_0");
  EXPECT_SAYS(s.error().to_string(), "index -513 is outside a dim of 512, axis 1");
  EXPECT_TRUE(run(c, {good.view()}, out).ok());
}

TEST_F(ExecutorDevice, ThePublicApi) {
  api::Executable e = api::make_public({api::describe_ports({&plan_of(*exe)}), {exe}, nullptr}, {}, {}, 1);
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
