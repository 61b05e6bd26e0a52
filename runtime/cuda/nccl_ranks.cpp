// Ranks over NCCL: one GPU each. What NCCL does not lay out as a collective wants it (parts along an inner dim) passes through
// memory of its own, by copies of rows.
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "runtime/cuda/nccl.h"
#include "runtime/cuda/peer_ranks.h"

namespace weft {

namespace {

using namespace nccl_api;

#define NCCL_TRY(call, doing) \
  if (int result_ = (call); result_ != ncclSuccess) return nccl_error(result_, comm_, doing)

std::optional<int> nccl_type(DType t) {
  switch (t) {
    case DType::i8: return ncclInt8;
    case DType::u8: return ncclUint8;
    case DType::i32: return ncclInt32;
    case DType::u32: return ncclUint32;
    case DType::i64: return ncclInt64;
    case DType::u64: return ncclUint64;
    case DType::f16: return ncclFloat16;
    case DType::bf16: return ncclBfloat16;
    case DType::f32: return ncclFloat32;
    case DType::f64: return ncclFloat64;
    default: return std::nullopt;
  }
}
int nccl_reduction(CommReduction r) {
  switch (r) {
    case CommReduction::sum: return ncclSum;
    case CommReduction::mean: return ncclAvg;
    case CommReduction::max: return ncclMax;
    case CommReduction::min: return ncclMin;
    default: return ncclProd;
  }
}
bool reduces(CollectiveKind k) { return k == CollectiveKind::all_reduce || k == CollectiveKind::reduce_scatter; }

class NcclRanks : public DeviceRanks {
 public:
  NcclRanks(std::shared_ptr<CudaGpu> gpu, const Nccl& n, int rank, int size) : gpu_(std::move(gpu)), n_(n), rank_(rank), size_(size) {}
  ~NcclRanks() override {
    Current current(gpu_->driver, gpu_->context);
    end();  // peers may be gone: nothing is waited for
    for (std::byte* p : memory_)
      if (p) gpu_->release(p);
  }
  Status open(const ncclUniqueId& id) {
    Current current(gpu_->driver, gpu_->context);
    ncclConfig_t config;
    config.blocking = 1;
    NCCL_TRY(n_.ncclCommInitRankConfig(&comm_, size_, id, rank_, &config), "joining the ranks on " + gpu_->name());
    return {};
  }

  // Bytes serve for what is only moved.
  bool supports(const Collective& c) const override { return !reduces(c.kind) || nccl_type(c.dtype); }
  const char* transport(const Collective&) const override { return "NCCL"; }
  void abort(const Error& why) override {
    std::lock_guard lock(mutex_);
    if (failed_) return;
    failed_ = why;
    Current current(gpu_->driver, gpu_->context);
    end();
  }

  Status run(const Collective& c, const std::byte* in, std::byte* out, DeviceQueue& queue) override {
    Current current(gpu_->driver, gpu_->context);
    const std::string doing = std::string(collective_name(c.kind)) + " on " + gpu_->name();
    {
      std::lock_guard lock(mutex_);
      if (failed_) return *failed_;
    }
    auto stream = static_cast<cu::CUstream>(queue.stream());
    TRY_ASSIGN(CollectiveBytes bytes, collective_bytes(c, size_));
    if (bytes.in == 0 && bytes.out == 0) return {};
    const int64_t cell = reduces(c.kind) ? byte_size(c.dtype) : 1;  // of what NCCL counts
    const int type = reduces(c.kind) ? *nccl_type(c.dtype) : ncclUint8;
    auto count = [&](int64_t b) { return static_cast<size_t>(b / cell); };
    switch (c.kind) {
      case CollectiveKind::all_reduce:
        NCCL_TRY(n_.ncclAllReduce(in, out, count(bytes.in), type, nccl_reduction(c.reduction), comm_, stream), doing);
        return {};
      case CollectiveKind::broadcast:
        NCCL_TRY(n_.ncclBroadcast(in, out, count(bytes.in), type, static_cast<int>(c.root), comm_, stream), doing);
        return {};
      case CollectiveKind::all_gather: {
        TRY_ASSIGN(std::byte * parts, c.outer == 1 ? Result<std::byte*>(out) : memory(0, bytes.out));
        NCCL_TRY(n_.ncclAllGather(in, parts, count(bytes.in), type, comm_, stream), doing);
        return c.outer == 1 ? Status{} : spread(queue, out, parts, c.outer, bytes.in / c.outer);
      }
      case CollectiveKind::reduce_scatter: {
        const std::byte* parts = in;
        if (c.outer > 1) {
          TRY_ASSIGN(std::byte * packed, memory(0, bytes.in));
          TRY(pack(queue, packed, in, c.outer, bytes.out / c.outer));
          parts = packed;
        }
        NCCL_TRY(n_.ncclReduceScatter(parts, out, count(bytes.out), type, nccl_reduction(c.reduction), comm_, stream), doing);
        return {};
      }
      case CollectiveKind::all_to_all: return all_to_all(c, bytes, in, out, queue, stream, doing);
      case CollectiveKind::permute: {
        bool target = false;
        NCCL_TRY(n_.ncclGroupStart(), doing);
        for (size_t i = 0; i + 1 < c.pairs.size(); i += 2) {
          if (c.pairs[i] == rank_) NCCL_TRY(n_.ncclSend(in, count(bytes.in), type, static_cast<int>(c.pairs[i + 1]), comm_, stream), doing);
          if (c.pairs[i + 1] != rank_) continue;
          target = true;
          NCCL_TRY(n_.ncclRecv(out, count(bytes.out), type, static_cast<int>(c.pairs[i]), comm_, stream), doing);
        }
        NCCL_TRY(n_.ncclGroupEnd(), doing);
        return target ? Status{} : queue.clear(out, bytes.out);
      }
      case CollectiveKind::send: NCCL_TRY(n_.ncclSend(in, count(bytes.in), type, static_cast<int>(c.root), comm_, stream), doing); return {};
      case CollectiveKind::recv: NCCL_TRY(n_.ncclRecv(out, count(bytes.out), type, static_cast<int>(c.root), comm_, stream), doing); return {};
    }
    return {};
  }

 private:
  void end() {
    if (comm_) n_.ncclCommAbort(std::exchange(comm_, nullptr));
  }
  // [rows, n, row] <- [n, rows, row], and back.
  Status spread(DeviceQueue& queue, std::byte* to, const std::byte* parts, int64_t rows, int64_t row) {
    for (int r = 0; r < size_; ++r) TRY(queue.copy_rows(to + r * row, size_ * row, parts + r * rows * row, row, row, rows));
    return {};
  }
  Status pack(DeviceQueue& queue, std::byte* parts, const std::byte* from, int64_t rows, int64_t row) {
    for (int r = 0; r < size_; ++r) TRY(queue.copy_rows(parts + r * rows * row, row, from + r * row, size_ * row, row, rows));
    return {};
  }
  Status all_to_all(const Collective& c, const CollectiveBytes& bytes, const std::byte* in, std::byte* out, DeviceQueue& queue, cu::CUstream stream,
                    const std::string& doing) {
    const int64_t part = bytes.in / size_, cell = part / (c.outer * c.middle);  // of `inner`
    TRY_ASSIGN(std::byte * sent, memory(0, bytes.in));
    TRY_ASSIGN(std::byte * got, memory(1, bytes.out));
    const int64_t rows = c.split_first ? c.outer : c.outer * c.middle;
    TRY(pack(queue, sent, in, rows, part / rows));
    NCCL_TRY(n_.ncclGroupStart(), doing);
    for (int r = 0; r < size_; ++r) {
      NCCL_TRY(n_.ncclSend(sent + r * part, static_cast<size_t>(part), ncclUint8, r, comm_, stream), doing);
      NCCL_TRY(n_.ncclRecv(got + r * part, static_cast<size_t>(part), ncclUint8, r, comm_, stream), doing);
    }
    NCCL_TRY(n_.ncclGroupEnd(), doing);
    return c.split_first ? spread(queue, out, got, c.outer * c.middle, cell) : spread(queue, out, got, c.outer, c.middle * cell);
  }
  // A graph that was recorded with smaller memory keeps it: nothing is given back before the end.
  Result<std::byte*> memory(size_t which, int64_t bytes) {
    if (bytes <= capacity_[which]) return memory_[memory_.size() - 2 + which];
    if (memory_.empty()) memory_.resize(2);
    else if (memory_[memory_.size() - 2 + which]) memory_.insert(memory_.begin(), memory_[memory_.size() - 2 + which]);
    TRY_ASSIGN(memory_[memory_.size() - 2 + which], gpu_->allocate(bytes, MemoryUse::activations));
    capacity_[which] = bytes;
    return memory_[memory_.size() - 2 + which];
  }

  std::shared_ptr<CudaGpu> gpu_;
  const Nccl& n_;
  int rank_, size_;
  ncclComm_t comm_ = nullptr;
  std::mutex mutex_;                // of failed_
  std::optional<Error> failed_;
  std::vector<std::byte*> memory_;  // outgrown ones, then the two at use
  int64_t capacity_[2] = {0, 0};
};

// Which machine and GPU a rank has.
struct Seat {
  char host[64] = {}, gpu[64] = {};
};

}  // namespace

// Null on all ranks where NCCL is not there, or has to serve two ranks on one GPU, which it does not.
static Result<std::unique_ptr<DeviceRanks>> join_nccl(std::shared_ptr<CudaGpu> gpu, Communicator& group) {
  Seat mine;
  gethostname(mine.host, sizeof mine.host - 1);
  std::strncpy(mine.gpu, gpu->facts().pci.c_str(), sizeof mine.gpu - 1);
  auto n = nccl();
  if (!n.ok()) mine.gpu[0] = 0;
  std::vector<Seat> seats(static_cast<size_t>(group.size()));
  Collective gather;
  gather.kind = CollectiveKind::all_gather;
  gather.dtype = DType::u8;
  gather.inner = sizeof(Seat);
  gather.label = "where ranks are";
  TRY(group.run(gather, &mine, seats.data()));
  for (size_t i = 0; i < seats.size(); ++i) {
    if (!seats[i].gpu[0]) return std::unique_ptr<DeviceRanks>();
    for (size_t j = 0; j < i; ++j)
      if (!std::strcmp(seats[i].host, seats[j].host) && !std::strcmp(seats[i].gpu, seats[j].gpu)) return std::unique_ptr<DeviceRanks>();
  }
  ncclUniqueId id{};
  Current current(gpu->driver, gpu->context);
  if (group.rank() == 0)
    if (int r = (*n)->ncclGetUniqueId(&id); r != ncclSuccess) return nccl_error(r, nullptr, "starting NCCL");
  Collective share;
  share.kind = CollectiveKind::broadcast;
  share.dtype = DType::u8;
  share.inner = sizeof id;
  share.label = "NCCL's id";
  TRY(group.run(share, &id, &id));
  auto ranks = std::make_unique<NcclRanks>(std::move(gpu), **n, group.rank(), group.size());
  TRY(ranks->open(id));
  return std::unique_ptr<DeviceRanks>(std::move(ranks));
}

Result<std::unique_ptr<DeviceRanks>> CudaGpu::join(Communicator& group, std::span<const std::byte> code) {
  TRY_ASSIGN(auto large, join_nccl(shared_from_this(), group));
  TRY_ASSIGN(auto peers, join_peers(shared_from_this(), group, code, large));
  return peers ? std::move(peers) : std::move(large);
}

}  // namespace weft
