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

namespace weft {

class LoadedObject;
class ThreadPool;

// Bytes of a plan constant (row-major, little endian); they must outlive the executable through `owner`.
struct ConstantBytes {
  const std::byte* data = nullptr;
  size_t size = 0;
  bool splat = false;  // data holds one element
  std::shared_ptr<const void> owner;
};

struct ExecutableParts {
  Plan plan;
  std::vector<std::shared_ptr<const LoadedObject>> objects;  // PlanKernel::object indexes these
  std::vector<ConstantBytes> constants;                      // parallel to plan.constants
  std::shared_ptr<ThreadPool> pool;
};

// One profiled launch or host call.
struct ProfileEvent {
  int command;          // pre-order number in plan.main
  int64_t start_ns, end_ns;
};

class ExecutableImpl;
class ContextImpl;

// Verifies the plan, resolves kernels, runs the prepare region.
Result<std::shared_ptr<const ExecutableImpl>> make_executable(ExecutableParts parts);
const Plan& plan_of(const ExecutableImpl& e);

struct RunOptions {
  std::vector<ProfileEvent>* profile = nullptr;  // appended to when set
  const std::atomic<bool>* cancel = nullptr;     // checked between commands: Error kCancelled
};

// Not thread safe; any number of contexts may run one executable at once.
class Context {
 public:
  explicit Context(std::shared_ptr<const ExecutableImpl> exe);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  // inputs: one view per plan input, in order, any strides (a copy is made where a kernel needs density). outputs: on
  // entry an empty view (the context allocates and keeps it until the next run) or the caller's buffer of the right
  // shape; on return the results. Binds symbols from the inputs' dims, checks ranges and equalities, plans the arena
  // for new dims (cached), then runs. No heap allocation when dims were seen before.
  Status run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options = {});
  // States by plan state number: zero length / zero fill, and a deep copy.
  Status reset_state(int state);
  Result<Context> fork() const;
  int64_t arena_bytes() const;     // of the last bound dims
  int64_t max_live_bytes() const;

 private:
  std::unique_ptr<ContextImpl> impl_;
};

}  // namespace weft
