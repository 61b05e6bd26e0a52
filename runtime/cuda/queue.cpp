// A stream of a GPU as the executor's queue, and launches recorded in it as graphs.
#include <chrono>
#include <cstring>
#include <thread>

#include "ir/base/text.h"
#include "runtime/cuda/gpu_impl.h"

namespace weft {

namespace {

using namespace cu;

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

// The way of an input past work that is still under way: two places where its bytes wait, on both sides of the link.
struct Lane {
  struct Place {
    std::byte *host = nullptr, *device = nullptr;
    CUevent landed = nullptr, read = nullptr;  // on the device; from there to where they belong
    bool used = false;
  };
  int64_t capacity = 0;
  Place places[2];
  size_t next = 0;

  Status open(const Driver& d, CudaGpu& gpu, int64_t bytes, const std::string& doing) {
    capacity = bytes;
    for (Place& p : places) {
      void* host = nullptr;
      CU_TRY(d.cuMemAllocHost_v2(&host, static_cast<size_t>(bytes)), doing);
      p.host = static_cast<std::byte*>(host);
      TRY_ASSIGN(p.device, gpu.allocate(bytes, MemoryUse::tensors));
      CU_TRY(d.cuEventCreate(&p.landed, CU_EVENT_DISABLE_TIMING), doing);
      CU_TRY(d.cuEventCreate(&p.read, CU_EVENT_DISABLE_TIMING), doing);
    }
    return {};
  }
  void close(const Driver& d, CudaGpu& gpu) {
    for (Place& p : places) {
      if (p.host) d.cuMemFreeHost(p.host);
      if (p.device) gpu.release(p.device);
      if (p.landed) d.cuEventDestroy_v2(p.landed);
      if (p.read) d.cuEventDestroy_v2(p.read);
      p = {};
    }
    capacity = 0;
  }
};

class GpuQueue : public DeviceQueue {
 public:
  explicit GpuQueue(std::shared_ptr<CudaGpu> gpu) : gpu_(std::move(gpu)), d_(gpu_->driver) {}
  ~GpuQueue() override {
    Current current(d_, gpu_->context);
    if (stream_) d_.cuStreamSynchronize(stream_);
    for (auto& [to, lane] : lanes_) lane.close(d_, *gpu_);
    if (early_) d_.cuStreamDestroy_v2(early_);
    if (order_) d_.cuEventDestroy_v2(order_);
    for (CUevent e : notes_) d_.cuEventDestroy_v2(e);
    if (stream_) d_.cuStreamDestroy_v2(stream_);
    if (marked_) d_.cuMemFreeHost(const_cast<uint32_t*>(marked_));
  }
  Status open(int urgency) {
    Current current(d_, gpu_->context);
    const std::string doing = "opening a stream on " + gpu_->name();
    CU_TRY(d_.cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, -urgency), doing);
    CU_TRY(d_.cuEventCreate(&order_, CU_EVENT_DISABLE_TIMING), doing);
    void* p = nullptr;
    CU_TRY(d_.cuMemAllocHost_v2(&p, sizeof *marked_), doing);
    marked_ = static_cast<volatile uint32_t*>(p);
    *marked_ = 0;
    return {};
  }

  // From pageable memory the driver copies aside before it returns.
  Status upload(std::byte* to, const void* from, int64_t bytes) override {
    Current current(d_, gpu_->context);
    constexpr int64_t kWorthIt = 64 << 10;
    if (busy_ && bytes >= kWorthIt) return upload_early(to, from, bytes);
    CU_TRY(d_.cuMemcpyHtoDAsync_v2(address(to), from, static_cast<size_t>(bytes), stream_), moving(bytes, "to"));
    return {};
  }
  Status download(void* to, const std::byte* from, int64_t bytes) override {
    Current current(d_, gpu_->context);
    if (give_up_) TRY(watch());  // a copy to pageable memory waits by itself, and for ever
    CU_TRY(d_.cuMemcpyDtoHAsync_v2(to, address(from), static_cast<size_t>(bytes), stream_), moving(bytes, "from"));
    return finish();
  }
  Status copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuMemcpyDtoDAsync_v2(address(to), address(from), static_cast<size_t>(bytes), stream_), moving(bytes, "on"));
    return {};
  }
  Status copy_rows(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch, int64_t row_bytes, int64_t rows) override {
    Current current(d_, gpu_->context);
    CUDA_MEMCPY2D c;
    c.srcMemoryType = c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    c.srcDevice = address(from);
    c.srcPitch = static_cast<size_t>(from_pitch);
    c.dstDevice = address(to);
    c.dstPitch = static_cast<size_t>(to_pitch);
    c.WidthInBytes = static_cast<size_t>(row_bytes);
    c.Height = static_cast<size_t>(rows);
    CU_TRY(d_.cuMemcpy2DAsync_v2(&c, stream_), moving(row_bytes * rows, "on"));
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
    CUlaunchAttribute attributes[2] = {};
    c.attrs = attributes;
    if (l.cluster[0] * l.cluster[1] * l.cluster[2] > 1) {
      CUlaunchAttribute& a = attributes[c.numAttrs++];
      a.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
      a.value.clusterDim = {static_cast<unsigned>(l.cluster[0]), static_cast<unsigned>(l.cluster[1]), static_cast<unsigned>(l.cluster[2])};
    }
    if (l.dependent) {
      CUlaunchAttribute& a = attributes[c.numAttrs++];
      a.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
      a.value.programmaticStreamSerializationAllowed = 1;
    }
    busy_ = true;
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
    busy_ = true;
    CU_TRY(d_.cuGraphLaunch(static_cast<CudaGraph&>(graph).exec(), stream_), "running a graph on " + gpu_->name());
    return {};
  }

  Status finish() override {
    Current current(d_, gpu_->context);
    if (give_up_) TRY(watch());
    CU_TRY(d_.cuStreamSynchronize(stream_), "running kernels on " + gpu_->name());
    busy_ = false;
    return {};
  }

  void give_up_after(std::chrono::milliseconds time, std::function<Error()> then) override {
    patience_ = time;
    give_up_ = std::move(then);
  }

  void* stream() override {
    busy_ = true;
    return stream_;
  }

  Status mark(uint32_t number) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuStreamWriteValue32_v2(stream_, reinterpret_cast<CUdeviceptr>(marked_), number, 0), "running kernels on " + gpu_->name());
    return {};
  }
  uint32_t marked() const override { return *marked_; }

  Status begin_after(void* stream) override { return order(static_cast<CUstream>(stream), stream_); }
  Status end_before(void* stream) override { return order(stream_, static_cast<CUstream>(stream)); }
  Status note(int number) override {
    Current current(d_, gpu_->context);
    const std::string doing = "ordering streams on " + gpu_->name();
    for (CUevent e = nullptr; notes_.size() <= static_cast<size_t>(number); notes_.push_back(e)) CU_TRY(d_.cuEventCreate(&e, CU_EVENT_DISABLE_TIMING), doing);
    CU_TRY(d_.cuEventRecord(notes_[static_cast<size_t>(number)], stream_), doing);
    return {};
  }
  Status begin_after_note(DeviceQueue& other, int number) override {
    Current current(d_, gpu_->context);
    CU_TRY(d_.cuStreamWaitEvent(stream_, static_cast<GpuQueue&>(other).notes_[static_cast<size_t>(number)], 0), "ordering streams on " + gpu_->name());
    return {};
  }

 private:
  // Asks again and again whether all is done: at once at first, since a step takes a millisecond, then with pauses.
  Status watch() {
    const auto begin = std::chrono::steady_clock::now();
    while (true) {
      const CUresult r = d_.cuStreamQuery(stream_);
      if (r == CUDA_SUCCESS) return {};
      if (r != CUDA_ERROR_NOT_READY) return cuda_error(r, "running kernels on " + gpu_->name());
      const auto waited = std::chrono::steady_clock::now() - begin;
      if (waited > patience_) return give_up_();
      if (waited > std::chrono::milliseconds(20)) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }

  // While the queue is busy: over the link at once, by a stream of its own; only the last step, on the device, takes its turn.
  Status upload_early(std::byte* to, const void* from, int64_t bytes) {
    const std::string doing = moving(bytes, "to");
    if (!early_) CU_TRY(d_.cuStreamCreate(&early_, CU_STREAM_NON_BLOCKING), doing);
    Lane& lane = lanes_[to];
    if (lane.capacity < bytes) {
      CU_TRY(d_.cuStreamSynchronize(stream_), doing);
      lane.close(d_, *gpu_);
      TRY(lane.open(d_, *gpu_, bytes, doing));
    }
    Lane::Place& p = lane.places[lane.next++ % 2];
    if (std::exchange(p.used, true)) CU_TRY(d_.cuEventSynchronize(p.read), doing);
    std::memcpy(p.host, from, static_cast<size_t>(bytes));
    CU_TRY(d_.cuMemcpyHtoDAsync_v2(address(p.device), p.host, static_cast<size_t>(bytes), early_), doing);
    CU_TRY(d_.cuEventRecord(p.landed, early_), doing);
    CU_TRY(d_.cuStreamWaitEvent(stream_, p.landed, 0), doing);
    CU_TRY(d_.cuMemcpyDtoDAsync_v2(address(to), address(p.device), static_cast<size_t>(bytes), stream_), doing);
    CU_TRY(d_.cuEventRecord(p.read, stream_), doing);
    return {};
  }

  Status order(CUstream first, CUstream then) {
    Current current(d_, gpu_->context);
    const std::string doing = "ordering streams on " + gpu_->name();
    CU_TRY(d_.cuEventRecord(order_, first), doing);
    CU_TRY(d_.cuStreamWaitEvent(then, order_, 0), doing);
    return {};
  }
  std::string moving(int64_t bytes, const char* where) const {
    return "moving " + human_bytes(static_cast<double>(bytes)) + " " + where + " " + gpu_->name();
  }

  std::shared_ptr<CudaGpu> gpu_;
  const Driver& d_;
  CUstream stream_ = nullptr, early_ = nullptr;
  std::unordered_map<std::byte*, Lane> lanes_;  // by where the bytes belong
  bool busy_ = false;                    // launches may be under way
  std::chrono::milliseconds patience_{0};
  std::function<Error()> give_up_;       // empty: waits for as long as it takes
  CUevent order_ = nullptr;
  std::vector<CUevent> notes_;
  volatile uint32_t* marked_ = nullptr;  // in memory of the host that the device writes
  std::vector<void*> parameters_;
};

}  // namespace

Result<std::unique_ptr<DeviceQueue>> CudaGpu::queue(int urgency) {
  auto q = std::make_unique<GpuQueue>(shared_from_this());
  TRY(q->open(urgency));
  return std::unique_ptr<DeviceQueue>(std::move(q));
}

}  // namespace weft
