#include "runtime/cuda/gpu.h"

#include <cstring>
#include <mutex>
#include <vector>

#include "ir/base/text.h"

namespace weft {

namespace {

using namespace cu;

CUdeviceptr address(const std::byte* p) { return reinterpret_cast<CUdeviceptr>(p); }

// Makes the context the calling thread's for a while; other users of CUDA in the process have their own.
class Current {
 public:
  Current(const Driver& d, CUcontext context) : driver_(d) { pushed_ = d.cuCtxPushCurrent_v2(context) == CUDA_SUCCESS; }
  ~Current() {
    CUcontext old = nullptr;
    if (pushed_) driver_.cuCtxPopCurrent_v2(&old);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const Driver& driver_;
  bool pushed_;
};

class CudaGpu : public Device, public std::enable_shared_from_this<CudaGpu> {
 public:
  CudaGpu(const Driver& d, CudaDevice facts) : driver(d), facts_(std::move(facts)) {}
  ~CudaGpu() override {
    if (!context) return;
    Current current(driver, context);
    for (CUmodule m : modules_) driver.cuModuleUnload(m);
  }

  // The context stays for as long as the process: making another one takes tenths of a second.
  Status open() {
    CUdevice device = 0;
    CU_TRY(driver.cuDeviceGet(&device, facts_.ordinal), "opening " + name());
    CU_TRY(driver.cuDevicePrimaryCtxRetain(&context, device), "opening " + name());
    return {};
  }

  std::string name() const override { return "GPU " + std::to_string(facts_.ordinal) + " (" + facts_.name + ")"; }

  int number() const override { return facts_.ordinal; }

  Result<std::byte*> allocate(int64_t bytes) override {
    Current current(driver, context);
    CUdeviceptr p = 0;
    CUresult r = driver.cuMemAlloc_v2(&p, static_cast<size_t>(bytes));
    if (r == CUDA_SUCCESS) return reinterpret_cast<std::byte*>(p);
    size_t free = 0, total = 0;
    driver.cuMemGetInfo_v2(&free, &total);
    return cuda_error(r, "allocating " + human_bytes(static_cast<double>(bytes)) + " on " + name() + ", which has " +
                             human_bytes(static_cast<double>(free)) + " of " + human_bytes(static_cast<double>(total)) + " free");
  }
  void release(std::byte* memory) override {
    Current current(driver, context);
    driver.cuMemFree_v2(address(memory));  // waits for what still runs
  }

  Result<std::unique_ptr<DeviceQueue>> queue() override;

  Result<void*> load(std::span<const std::byte> code, const std::string& kernel, int64_t shared_bytes) override {
    Current current(driver, context);
    const std::string doing = "loading kernel " + kernel + " on " + name();
    CUmodule module = nullptr;
    CU_TRY(driver.cuModuleLoadData(&module, code.data()), doing);
    {
      std::lock_guard lock(mutex_);
      modules_.push_back(module);
    }
    CUfunction function = nullptr;
    CU_TRY(driver.cuModuleGetFunction(&function, module, kernel.c_str()), doing);
    constexpr int64_t kStaticLimit = 48 << 10;  // more must be asked for
    if (shared_bytes > kStaticLimit)
      CU_TRY(driver.cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared_bytes)), doing);
    return static_cast<void*>(function);
  }

  const Driver& driver;
  CUcontext context = nullptr;

 private:
  CudaDevice facts_;
  std::mutex mutex_;  // of the modules
  std::vector<CUmodule> modules_;
};

class CudaGraph : public DeviceGraph {
 public:
  CudaGraph(std::shared_ptr<CudaGpu> gpu, CUgraphExec exec) : gpu_(std::move(gpu)), exec_(exec) {}
  ~CudaGraph() override {
    Current current(gpu_->driver, gpu_->context);
    gpu_->driver.cuGraphExecDestroy(exec_);
  }
  CUgraphExec exec() const { return exec_; }

 private:
  std::shared_ptr<CudaGpu> gpu_;
  CUgraphExec exec_;
};

class GpuQueue : public DeviceQueue {
 public:
  explicit GpuQueue(std::shared_ptr<CudaGpu> gpu) : gpu_(std::move(gpu)), d_(gpu_->driver) {}
  ~GpuQueue() override {
    Current current(d_, gpu_->context);
    if (!stream_) return;
    d_.cuStreamSynchronize(stream_);
    d_.cuStreamDestroy_v2(stream_);
  }
  Status open() {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "opening a stream on " + gpu_->name());
    return {};
  }

  // From pageable memory the driver copies aside before it returns.
  Status upload(std::byte* to, const void* from, int64_t bytes) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuMemcpyHtoDAsync_v2(address(to), from, static_cast<size_t>(bytes), stream_), moving(bytes, "to"));
    return {};
  }
  Status download(void* to, const std::byte* from, int64_t bytes) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuMemcpyDtoHAsync_v2(to, address(from), static_cast<size_t>(bytes), stream_), moving(bytes, "from"));
    return finish();
  }
  Status copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuMemcpyDtoDAsync_v2(address(to), address(from), static_cast<size_t>(bytes), stream_), moving(bytes, "on"));
    return {};
  }
  Status clear(std::byte* to, int64_t bytes) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuMemsetD8Async(address(to), 0, static_cast<size_t>(bytes), stream_), moving(bytes, "on"));
    return {};
  }

  Status launch(const DeviceLaunch& l) override {
    Current current(d_, gpu_->context);
    parameters_.clear();
    for (void* const& p : l.ptrs) parameters_.push_back(const_cast<void**>(&p));
    const std::byte* dims = l.dims;
    parameters_.push_back(&dims);
    CUlaunchConfig c;
    c.gridDimX = static_cast<unsigned>(l.grid[0]);
    c.gridDimY = static_cast<unsigned>(l.grid[1]);
    c.gridDimZ = static_cast<unsigned>(l.grid[2]);
    c.blockDimX = static_cast<unsigned>(l.threads);
    c.sharedMemBytes = static_cast<unsigned>(l.shared_bytes);
    c.hStream = stream_;
    CUlaunchAttribute cluster{};
    if (l.cluster[0] * l.cluster[1] * l.cluster[2] > 1) {
      cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
      cluster.value.clusterDim = {static_cast<unsigned>(l.cluster[0]), static_cast<unsigned>(l.cluster[1]), static_cast<unsigned>(l.cluster[2])};
      c.attrs = &cluster;
      c.numAttrs = 1;
    }
    CU_TRY(d_.cuLaunchKernelEx(&c, static_cast<CUfunction>(l.function), parameters_.data(), nullptr), "launching a kernel on " + gpu_->name());
    return {};
  }

  Status begin_graph() override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuStreamBeginCapture_v2(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "recording a graph on " + gpu_->name());
    return {};
  }
  Result<std::unique_ptr<DeviceGraph>> end_graph() override {
    Current current(d_, gpu_->context);
    const std::string doing = "recording a graph on " + gpu_->name();
    CUgraph graph = nullptr;
    CU_TRY(d_.cuStreamEndCapture(stream_, &graph), doing);
    CUgraphExec exec = nullptr;
    CUresult r = d_.cuGraphInstantiateWithFlags(&exec, graph, 0);
    d_.cuGraphDestroy(graph);
    CU_TRY(r, doing);
    return std::unique_ptr<DeviceGraph>(std::make_unique<CudaGraph>(gpu_, exec));
  }
  Status replay(DeviceGraph& graph) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuGraphLaunch(static_cast<CudaGraph&>(graph).exec(), stream_), "running a graph on " + gpu_->name());
    return {};
  }

  Status finish() override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuStreamSynchronize(stream_), "running kernels on " + gpu_->name());
    return {};
  }

 private:
  std::string moving(int64_t bytes, const char* where) const {
    return "moving " + human_bytes(static_cast<double>(bytes)) + " " + where + " " + gpu_->name();
  }

  std::shared_ptr<CudaGpu> gpu_;
  const Driver& d_;
  CUstream stream_ = nullptr;
  std::vector<void*> parameters_;
};

Result<std::unique_ptr<DeviceQueue>> CudaGpu::queue() {
  auto q = std::make_unique<GpuQueue>(shared_from_this());
  TRY(q->open());
  return std::unique_ptr<DeviceQueue>(std::move(q));
}

}  // namespace

Result<std::shared_ptr<Device>> open_gpu(int ordinal) {
  TRY_ASSIGN(std::vector<CudaDevice> devices, cuda_devices());
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= devices.size()) {
    Error e(Code::kDevice, "there is no GPU " + std::to_string(ordinal) + ", but " + std::to_string(devices.size()));
    return e.with_hint("`weft doctor` lists them"), e;
  }
  TRY_ASSIGN(const Driver* driver, cuda_driver());
  auto gpu = std::make_shared<CudaGpu>(*driver, devices[static_cast<size_t>(ordinal)]);
  TRY(gpu->open());
  return std::shared_ptr<Device>(std::move(gpu));
}

}  // namespace weft
