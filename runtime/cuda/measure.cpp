#include "runtime/cuda/measure.h"

#include <functional>
#include <memory>

#include "runtime/cuda/current.h"

namespace weft {

using namespace cu;

namespace {

constexpr size_t kBytes = 256 << 20;

// A GPU with a stream and memory, for a while.
class Bench {
 public:
  static Result<std::unique_ptr<Bench>> open(int ordinal) {
    TRY_ASSIGN(const Driver* d, cuda_driver());
    auto b = std::make_unique<Bench>(*d, ordinal);
    CU_TRY(d->cuDeviceGet(&b->device_, ordinal), b->doing());
    CU_TRY(d->cuDevicePrimaryCtxRetain(&b->context, b->device_), b->doing());
    Current current(*d, b->context);
    CU_TRY(d->cuStreamCreate(&b->stream, CU_STREAM_NON_BLOCKING), b->doing());
    for (CUevent& e : b->events_) CU_TRY(d->cuEventCreate(&e, CU_EVENT_DEFAULT), b->doing());
    CU_TRY(d->cuMemAlloc_v2(&b->memory, kBytes), b->doing());
    return b;
  }
  Bench(const Driver& d, int ordinal) : d_(d), ordinal_(ordinal) {}
  ~Bench() {
    if (!context) return;
    {
      Current current(d_, context);
      if (host) d_.cuMemFreeHost(host);
      if (memory) d_.cuMemFree_v2(memory);
      for (CUevent e : events_)
        if (e) d_.cuEventDestroy_v2(e);
      if (stream) d_.cuStreamDestroy_v2(stream);
    }
    d_.cuDevicePrimaryCtxRelease_v2(device_);
  }

  std::string doing() const { return "measuring GPU " + std::to_string(ordinal_); }

  // Of the fastest of a few: bytes a second.
  Result<double> rate(size_t bytes, const std::function<CUresult()>& copy) {
    Current current(d_, context);
    double best = 0;
    for (int i = 0; i < 4; ++i) {
      CU_TRY(d_.cuEventRecord(events_[0], stream), doing());
      CU_TRY(copy(), doing());
      CU_TRY(d_.cuEventRecord(events_[1], stream), doing());
      CU_TRY(d_.cuStreamSynchronize(stream), doing());
      float ms = 0;
      CU_TRY(d_.cuEventElapsedTime(&ms, events_[0], events_[1]), doing());
      if (ms > 0) best = std::max(best, static_cast<double>(bytes) / ms * 1e3);
    }
    return best;
  }

  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUdeviceptr memory = 0;
  void* host = nullptr;  // page-locked, when it is asked for

 private:
  const Driver& d_;
  int ordinal_;
  CUdevice device_ = 0;
  CUevent events_[2] = {};
};

}  // namespace

Result<CopyRates> measure_copies(int ordinal) {
  TRY_ASSIGN(const Driver* d, cuda_driver());
  TRY_ASSIGN(auto b, Bench::open(ordinal));
  {
    Current current(*d, b->context);
    CU_TRY(d->cuMemAllocHost_v2(&b->host, kBytes), b->doing());
  }
  CopyRates r;
  TRY_ASSIGN(r.to_device, b->rate(kBytes, [&] { return d->cuMemcpyHtoDAsync_v2(b->memory, b->host, kBytes, b->stream); }));
  TRY_ASSIGN(r.from_device, b->rate(kBytes, [&] { return d->cuMemcpyDtoHAsync_v2(b->host, b->memory, kBytes, b->stream); }));
  TRY_ASSIGN(auto other, Bench::open(ordinal));
  TRY_ASSIGN(r.on_device, b->rate(2 * kBytes, [&] { return d->cuMemcpyDtoDAsync_v2(other->memory, b->memory, kBytes, b->stream); }));
  return r;
}

Result<double> measure_peer_copy(int from, int to) {
  TRY_ASSIGN(const Driver* d, cuda_driver());
  TRY_ASSIGN(auto a, Bench::open(from));
  TRY_ASSIGN(auto b, Bench::open(to));
  {
    Current current(*d, a->context);
    const CUresult r = d->cuCtxEnablePeerAccess(b->context, 0);  // else the driver goes over the host
    if (r != CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED && r != CUDA_ERROR_PEER_ACCESS_UNSUPPORTED) CU_TRY(r, a->doing());
  }
  return a->rate(kBytes, [&] { return d->cuMemcpyPeerAsync(b->memory, b->context, a->memory, a->context, kBytes, a->stream); });
}

Result<PeerLink> peer_link(int from, int to) {
  TRY_ASSIGN(const Driver* d, cuda_driver());
  const std::string doing = "asking for the link between GPUs " + std::to_string(from) + " and " + std::to_string(to);
  CUdevice a = 0, b = 0;
  CU_TRY(d->cuDeviceGet(&a, from), doing);
  CU_TRY(d->cuDeviceGet(&b, to), doing);
  int access = 0, atomics = 0;
  CU_TRY(d->cuDeviceGetP2PAttribute(&access, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, a, b), doing);
  CU_TRY(d->cuDeviceGetP2PAttribute(&atomics, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, a, b), doing);
  return PeerLink{access != 0, atomics != 0};
}

}  // namespace weft
