// Collectives between the ranks of a group, on host memory: one collective as a value, and the interface that every
// transport has. Threads of one process, processes of one machine and MPI give the same bits, since the arithmetic is ours
// (reduce.h) and runs in rank order.
//
// A Communicator belongs to one rank and blocks. All ranks of a group must run the same collectives in the same order; a
// difference (kind, dtype, size, label) is an Error on every rank that shows the last ten collectives of both. A rank that
// does not come within the time-out, or dies, is named in the Error of the others. The first failure ends the whole job:
// every later call on any of its communicators returns that cause.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/result.h"

namespace weft {

enum class CollectiveKind : uint8_t { all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, permute, send, recv };
enum class CommReduction : uint8_t { sum, mean, max, min, prod };

// The op's name: "all_reduce", …, "collective_permute" for permute.
const char* collective_name(CollectiveKind kind);
std::optional<CollectiveKind> collective_from_name(std::string_view name);
const char* reduction_name(CommReduction r);
std::optional<CommReduction> reduction_from_name(std::string_view name);

// One call. Tensors are contiguous and row-major; n is the size of the group. Extents are in elements:
//   all_reduce, broadcast, permute, send, recv   in and out are [inner]; send has no out, recv no in
//   all_gather       in [outer, inner], out [outer, n, inner]
//   reduce_scatter   in [outer, n, inner], out [outer, inner]
//   all_to_all       split_first: in [outer, n, middle, inner], out [outer, middle, n, inner]
//                    else:        in [outer, middle, n, inner], out [outer, n, middle, inner]
// The row of a sub-byte type that is cut or joined must be whole bytes. in == out is legal where both have one size.
struct Collective {
  CollectiveKind kind = CollectiveKind::all_reduce;
  DType dtype = DType::f32;
  CommReduction reduction = CommReduction::sum;
  int64_t outer = 1, middle = 1, inner = 0;
  bool split_first = true;
  int64_t root = 0;            // broadcast: whose data; send: the target; recv: the source
  int64_t tag = 0;             // send, recv: must agree
  std::vector<int64_t> pairs;  // permute: source, target, source, target, …; who is no target gets zeros
  std::string label;           // e.g. the ONNX node; part of what must agree, but for send and recv
  uint64_t turn = 0;           // e.g. the model's run; as the label, so that a rank which left one out is not mistaken for the next

  // Sets the extents from the dims of a rank's operand. `dim` is the axis that is joined or cut (all_to_all: cut), `join`
  // the one along which all_to_all joins. Error kInvalidModel for an axis that is not there or that n does not divide.
  Status set_extents(std::span<const int64_t> dims, int64_t dim, int64_t join, int n);
};

// The Error of a collective that cannot run in a group of n, else the bytes of its operand and result.
struct CollectiveBytes {
  int64_t in = 0, out = 0;
};
Result<CollectiveBytes> collective_bytes(const Collective& c, int n);

// Where `rank` stands in a group of some of `size` ranks. Error kInvalidModel for a list without it, or with a rank twice or
// out of range.
Result<int> place_in_group(std::span<const int> ranks, int rank, int size);

struct CommOptions {
  std::chrono::milliseconds timeout{300'000};  // for one collective, between this rank's arrival and that of the last
  // MPI, whose launcher ends all ranks when one dies: once it is true, who waits gives up with an Error that says for whom.
  const std::atomic<bool>* cancel = nullptr;
  // A rank that waits may keep its processor for some microseconds, since no other rank needs it; unset: where there are as many
  // processors as ranks.
  std::optional<bool> spins;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // One call at a time. After an Error the communicator stays failed.
  virtual Status run(const Collective& c, const void* in, void* out) = 0;

  // A group of some of these ranks, in the order given, among them this one. Each of them must call it with the same list;
  // the others need not.
  virtual Result<std::unique_ptr<Communicator>> split(std::span<const int> ranks) = 0;

  // Ends the job: whoever waits in a collective, and every later call, gets this Error with the rank's number. From any thread.
  virtual void abort(const Error& why) = 0;

  // The last collectives of this rank, one a line: number, kind, reduction, dtype, bytes, label, whether it is done.
  virtual std::string history() const = 0;

  // "threads", "processes", "mpi"
  virtual const char* transport() const = 0;
};

}  // namespace weft
