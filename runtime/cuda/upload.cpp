#include "runtime/cuda/upload.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "ir/base/text.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/current.h"

namespace weft {

using namespace cu;

namespace {

constexpr int64_t kChunk = 4 << 20;  // of the device's memory, at multiples of itself
constexpr int kMostWorkers = 8;      // a thread copies some 10 GB/s

class Uploader {
 public:
  Uploader(const Driver& d, CUcontext context, std::byte* to, std::span<const UploadPiece> pieces)
      : d_(d), context_(context), to_(to), pieces_(pieces), bytes_(pieces.back().offset + pieces.back().bytes) {}
  ~Uploader() {
    Current current(d_, context_);
    for (Worker& w : workers_) {
      if (w.stream) d_.cuStreamSynchronize(w.stream);
      for (CUevent e : w.taken)
        if (e) d_.cuEventDestroy_v2(e);
      if (w.stream) d_.cuStreamDestroy_v2(w.stream);
    }
    if (staging_) d_.cuMemFreeHost(staging_);
  }

  Status run(ThreadPool* pool, const std::string& doing) {
    const int64_t chunks = (bytes_ + kChunk - 1) / kChunk;
    const int64_t threads = pool ? std::min(pool->threads(), kMostWorkers) : 1;
    workers_.resize(static_cast<size_t>(std::clamp<int64_t>(chunks / 2, 1, threads)));
    {
      Current current(d_, context_);
      void* p = nullptr;
      CU_TRY(d_.cuMemAllocHost_v2(&p, workers_.size() * 2 * static_cast<size_t>(std::min(bytes_, kChunk))), doing);
      staging_ = static_cast<std::byte*>(p);
      for (Worker& w : workers_) {
        CU_TRY(d_.cuStreamCreate(&w.stream, CU_STREAM_NON_BLOCKING), doing);
        for (CUevent& e : w.taken) CU_TRY(d_.cuEventCreate(&e, CU_EVENT_DISABLE_TIMING), doing);
      }
    }
    auto work = [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) note(run_worker(static_cast<size_t>(i), chunks, doing));
    };
    const auto count = static_cast<int64_t>(workers_.size());
    if (pool && count > 1) pool->parallel_for(count, work);
    else work(0, count, 0);
    return std::move(failed_);
  }

 private:
  struct Worker {
    CUstream stream = nullptr;
    CUevent taken[2] = {};  // the device has read the buffer
  };

  void note(Status s) {
    std::lock_guard lock(mutex_);
    if (failed_.ok()) failed_ = std::move(s);
  }

  Status run_worker(size_t number, int64_t chunks, const std::string& doing) {
    Current current(d_, context_);
    Worker& w = workers_[number];
    const int64_t size = std::min(bytes_, kChunk);
    for (int64_t n = 0;; ++n) {
      const int64_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks) break;
      std::byte* buffer = staging_ + (2 * static_cast<int64_t>(number) + n % 2) * size;
      CUevent taken = w.taken[n % 2];
      if (n >= 2) CU_TRY(d_.cuEventSynchronize(taken), doing);
      const int64_t from = chunk * kChunk, end = std::min(bytes_, from + kChunk);
      TRY(gather(buffer, from, end));
      CU_TRY(d_.cuMemcpyHtoDAsync_v2(address(to_ + from), buffer, static_cast<size_t>(end - from), w.stream), doing);
      CU_TRY(d_.cuEventRecord(taken, w.stream), doing);
    }
    CU_TRY(d_.cuStreamSynchronize(w.stream), doing);
    return {};
  }

  // The pieces' bytes that belong at from .. end.
  Status gather(std::byte* buffer, int64_t from, int64_t end) const {
    auto it = std::partition_point(pieces_.begin(), pieces_.end(), [&](const UploadPiece& p) { return p.offset + p.bytes <= from; });
    for (; it != pieces_.end() && it->offset < end; ++it) {
      const int64_t lo = std::max(from, it->offset), hi = std::min(end, it->offset + it->bytes);
      if (it->check) TRY(it->check->check(lo - it->offset, hi - it->offset));
      std::memcpy(buffer + (lo - from), it->from + (lo - it->offset), static_cast<size_t>(hi - lo));
    }
    return {};
  }

  const Driver& d_;
  CUcontext context_;
  std::byte* to_;
  std::span<const UploadPiece> pieces_;
  int64_t bytes_;
  std::vector<Worker> workers_;
  std::byte* staging_ = nullptr;
  std::atomic<int64_t> next_{0};
  std::mutex mutex_;
  Status failed_;
};

}  // namespace

Status upload_pieces(const Driver& driver, CUcontext context, std::byte* to, std::span<const UploadPiece> pieces, ThreadPool* pool,
                     const std::string& name) {
  if (pieces.empty()) return {};
  const int64_t bytes = pieces.back().offset + pieces.back().bytes;
  return Uploader(driver, context, to, pieces).run(pool, "uploading " + human_bytes(static_cast<double>(bytes)) + " to " + name);
}

}  // namespace weft
