// Executable: a verified Plan, its code and constants; immutable, shareable between threads. Context: one thread of
// execution: arena, dims, states. A program that only runs artefacts needs nothing but this.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/base/tensor_view.h"
#include "ir/plan/plan.h"
#include "runtime/bytes_check.h"
#include "runtime/cache/disk_cache.h"
#include "runtime/comm/communicator.h"
#include "runtime/cpu/object_loader.h"
#include "runtime/executor/device.h"

namespace weft {

class ThreadPool;
struct LoadedConstants;

// Bytes of a plan constant (row-major, little endian; sub-byte types one element a byte, which the executable packs);
// they must outlive the executable through `owner`.
struct ConstantBytes {
  const std::byte* data = nullptr;
  size_t size = 0;
  bool splat = false;  // data holds one element
  std::shared_ptr<const void> owner;
  std::shared_ptr<const BytesCheck> check;  // asked before bytes of data are read; null: they are right
};

// Where prepared tensors are kept between processes (see executor/prepared_cache.h). A disabled cache keeps nothing.
struct PreparedKeeping {
  DiskCache cache;
  std::string generator;                     // identity of what made the kernels: another one's tensors are not taken
  std::function<void(const Error&)> failed;  // nothing could be kept; all works without. May be empty
};

struct ExecutableParts {
  Plan plan;
  std::vector<std::shared_ptr<const LoadedObject>> objects;  // PlanKernel::object indexes these
  std::shared_ptr<Device> device;                            // that runs the kernels; null: the host
  std::vector<void*> functions;                              // its kernels; PlanKernel::object indexes these, then
  std::vector<ConstantBytes> constants;                      // parallel to plan.constants
  std::shared_ptr<LoadedConstants> loaded;                   // of them on the device (executor/constants.h); null: not yet
  std::shared_ptr<ThreadPool> pool;                          // null: the calling thread alone
  SymbolValues symbols;                                      // known before any input; make_executable adds rank.tp, …
  std::string push_code;                                     // kernels of collectives for the device; empty: none
  std::shared_ptr<Communicator> world;                       // of the plan's mesh: this rank among all of them
  std::vector<std::shared_ptr<Communicator>> groups;         // parallel to plan.groups; made by make_executable, as is
  std::vector<std::shared_ptr<DeviceRanks>> device_groups;   // the same on the devices; null: through the host
  std::chrono::milliseconds comm_timeout = CommOptions().timeout;  // for what a device waits for
  std::vector<KernelFn> builtin;                             // by kernel: functions to use instead of objects (tests)
  PreparedKeeping prepared;
};

// One profiled launch, host call, copy or fill.
struct ProfileEvent {
  int command;          // pre-order number in plan.main
  int64_t start_ns, end_ns;  // of the steady clock
};

class ExecutableImpl;
class ContextImpl;

// Verifies the plan, resolves kernels, runs the prepare region. Where the plan is for several ranks, all of them must make
// theirs at the same time. An executable of one of several ranks has one context at work at a time.
Result<std::shared_ptr<const ExecutableImpl>> make_executable(ExecutableParts parts);
// Ends the collectives that ranks of e's groups wait in, and all later ones, with this Error. From any thread.
void abort_collectives(const ExecutableImpl& e, const Error& why);
const Plan& plan_of(const ExecutableImpl& e);
// Bytes of prepared tensors: computed at load, and found on disk.
struct PreparedBytes {
  int64_t computed = 0, found = 0;
};
PreparedBytes prepared_bytes(const ExecutableImpl& e);
// The bytes of a prepared buffer of the plan, on the host; they live as long as the executable.
std::span<const std::byte> prepared_tensor(const ExecutableImpl& e, int buffer);
// Of constants that went to a device.
struct UploadedBytes {
  int64_t bytes = 0;
  double seconds = 0;
};
UploadedBytes uploaded_bytes(const ExecutableImpl& e);
// Where its kernels run; null: the host.
const std::shared_ptr<Device>& device_of(const ExecutableImpl& e);

struct RunOptions {
  std::vector<ProfileEvent>* profile = nullptr;  // appended to when set
  const std::atomic<bool>* cancel = nullptr;     // checked between commands: Error kCancelled
  bool device_outputs = false;                   // empty outputs become views of the device's memory
  bool check_numerics = false;                   // look at every command's results, see executor/numerics.h: slow
  std::vector<std::string>* faulty_nodes = nullptr;  // of the command that it finds
  bool wait = true;                              // false: the device may still be at work when run returns, see finish
  void* stream = nullptr;                        // a CUstream: the run comes after what is queued there, and before what will be
};

// Not thread safe; any number of contexts may run one executable at once.
//
// Errors of run: kUsage for inputs or outputs that do not fit (naming the input, its dim, what was expected and --shapes),
// kInvalidModel for a `check` of the plan that does not hold, kResources, kCancelled. After an error the next run starts anew; states that the
// plan appends to are as before it, states that it overwrites may be part old, part new.
//
// Views of sub-byte types are packed, low bits first; their strides count elements (ONNX's packing is dense_strides, the
// plan's rows are padded to whole bytes), and data is where element [0,0,…] lies.
class Context {
 public:
  explicit Context(std::shared_ptr<const ExecutableImpl> exe);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  // inputs: one view per plan input, in order, any strides (a copy is made where a kernel needs density). outputs: on
  // entry an empty view (the context allocates and keeps it until the next run) or the caller's buffer of the right
  // shape; on return the results. A view that still shows the context's memory counts as empty. Outputs may overlap
  // inputs. Binds symbols from the inputs' dims, checks ranges and equalities, plans the arena for new dims (cached),
  // then runs. No heap allocation when dims were seen before. Views of the executable's device, of the plan's strides, are
  // read and written where they lie.
  Status run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options = {});
  // Waits for all that was queued.
  Status finish();
  // States by plan state number: zero length / zero fill, the value now (valid until the next run), and a deep copy.
  // States that append with one length symbol are as long as each other, so they are reset together.
  Status reset_state(int state);
  Result<TensorView> state(int state) const;
  // As after a run that left this value, a tensor of the host: of the plan's dtype, rank and fixed dims, else Error kUsage. Those that
  // append with one length symbol are to be set alike.
  Status set_state(int state, const TensorView& value);
  Result<Context> fork() const;
  int64_t arena_bytes() const;     // of the last bound dims
  int64_t max_live_bytes() const;
  SymbolValues symbols() const;    // after the last run

 private:
  explicit Context(std::unique_ptr<ContextImpl> impl);
  std::unique_ptr<ContextImpl> impl_;
};

// Events summed by kernel, or by the ONNX nodes of their commands; the longest total first. Commands without a kernel or
// without nodes count under their kind. flops and bytes are the kernel's for one launch with `symbols`, times the calls (0
// when unknown).
struct ProfileRow {
  std::string name;
  std::vector<std::string> nodes;
  int64_t calls = 0, total_ns = 0, min_ns = 0, max_ns = 0;
  double flops = 0, bytes = 0;
};
enum class ProfileBy : uint8_t { kernel, node };
std::vector<ProfileRow> aggregate_profile(const Plan& plan, std::span<const ProfileEvent> events, ProfileBy by = ProfileBy::kernel,
                                          const SymbolValues& symbols = {});

}  // namespace weft
