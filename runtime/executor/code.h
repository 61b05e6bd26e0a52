// A plan in the form in which it runs: dims compiled, kernels resolved, regions flattened into steps with jumps.
//
// "Early" is what the caller's shapes decide: it is evaluated once per distinct shapes (Bound, in bound.h). "Late" is what
// the run itself decides (symbols of set, read, loop, host calls and state lengths; memory of dynamic and swapped
// buffers): it is evaluated each time a step that needs it is reached. Of late dims, those of state lengths alone are known
// when a run starts: launches that need no others are in a device's graphs, which read them from memory.
#pragma once

#include <string>
#include <vector>

#include "kernels/host/registry.h"
#include "runtime/cpu/object_loader.h"
#include "runtime/executable.h"
#include "runtime/executor/dim_program.h"

namespace weft {

// What an address of the type's elements is a multiple of.
inline int64_t element_alignment(DType t) { return byte_size(t) < 8 ? byte_size(t) : 8; }

struct TensorCode {
  int buffer = -1, rank = 0;
  DType dtype = DType::f32;
  CompiledDim offset;
  uint32_t dims = 0;       // PlanCode::dims from here on: the dims, then the strides
  uint32_t values = 0;     // Bound::values from here on: TensorValues
  bool late_shape = false; // offset, dims or strides are late
  bool late = false;       // late_shape, or the memory is
  bool late_pointer = false;  // a launch's pointer has to be found when it is its turn
};

// Where a tensor lies, as numbers: [offset, lo, hi, dims…, strides…]; lo and hi are the bytes of the buffer it touches
// (equal when it has no elements).
struct TensorValues {
  int64_t* v;
  int64_t& offset() const { return v[0]; }
  int64_t& lo() const { return v[1]; }
  int64_t& hi() const { return v[2]; }
  int64_t* dims() const { return v + 3; }
  int64_t* strides(int rank) const { return v + 3 + rank; }
};
constexpr uint32_t tensor_value_count(int rank) { return 3 + 2 * static_cast<uint32_t>(rank); }

struct BufferCode {
  CompiledDim bytes;
  int64_t element = 1;       // alignment that the types of its tensors need
  bool late_memory = false;  // dynamic, swapped, or an output whose size is late
  bool swapped = false;
};

// dims[dim] of a tensor gives the symbol its value: (dim - rest) / coefficient.
struct Solve {
  int port = 0, dim = 0, slot = 0;  // port: number of the input, or of the host call's output
  CompiledDim coefficient, rest;
};

struct Step {
  enum class Kind : uint8_t {
    launch, copy, fill, host_call, collective, set, read, check, select, branch, jump, loop_enter, loop_next, alloc, free, swap, wait_collective, record, wait
  };
  Kind kind;
  int command;              // pre-order number
  int target = -1;          // branch: when false; jump; loop_enter: behind the loop; loop_next: first step of the body
  int item = -1;            // launch, host call, collective, select, loop: number in its table
  int slot = -1;            // set, read, loop's counter; wait_collective, record, wait: the event
  int stretch = -1;         // number of the one that begins here
  CompiledDim dim;          // set, check, loop's trip count
  bool unbounded = false;   // loop
  const Command* source = nullptr;
};

struct LaunchCode {
  KernelFn fn = nullptr;             // on the host
  void* function = nullptr;          // on a device, with its launch
  int64_t grid[3] = {1, 1, 1}, cluster[3] = {1, 1, 1};
  int threads = 0;
  int64_t shared_bytes = 0;
  bool dependent = false;
  uint32_t ptrs = 0, ptr_count = 0;  // in Program::ptr_tensors and Bound::ptrs
  uint32_t dims = 0, dim_count = 0;  // in Program::dims and Bound::dims
  CompiledDim tasks, scratch;
  bool late = false;                 // a pointer, a dim, tasks or scratch is; for a device not one that is known at the start
};

struct HostCallCode {
  HostFn fn = nullptr;
  std::vector<int> sets;        // slots
  std::vector<Solve> solves;
  std::vector<char> sized_here; // per output: its dims depend on `sets`
};

struct CollectiveCode {
  Communicator* group = nullptr;
  DeviceRanks* on_device = nullptr;  // null: through the host
  Collective call;              // but for its extents
  int64_t dim = 0, join = 0;
  int in = -1, out = -1;        // tensors; -1: none
  int event = -1;               // it runs beside what follows until that is waited for; -1: what follows waits
};

struct SelectCode {
  std::vector<int> slots;
  std::vector<std::vector<CompiledDim>> ranges;  // lo, hi per slot
  std::vector<int> targets;                      // first steps
};

struct ExpectCode {
  int buffer = -1;                   // of the report
  CompiledDim dim;
  const Command* source = nullptr;
};

// Consecutive launches and collectives on the device, of which all is early: a device is given them as one graph.
struct Stretch {
  int first = 0, end = 0;
};

// One region tree.
struct Program {
  std::vector<Step> steps;
  std::vector<Step> checks;                  // of early dims, which hold or not before anything runs
  std::vector<Stretch> stretches;            // in order; only for a device
  std::vector<LaunchCode> launches;
  std::vector<HostCallCode> host_calls;
  std::vector<CollectiveCode> collectives;
  std::vector<SelectCode> selects;
  int loops = 0;
  int events = 0;                            // of collectives that run beside other work: their numbers are below it
  int records = 0;                           // likewise of record and wait; 0: there is one stream
  std::vector<int> ptr_tensors;
  std::vector<CompiledDim> dims;             // dim and scalar parameters
  std::vector<uint32_t> starting_dims;       // a device's: those that are known at the start of a run, in order
  std::vector<ExpectCode> expects;           // for the end of a run
  std::vector<std::vector<uint32_t>> patches; // per buffer that a run binds: its early pointers in ptr_tensors
  std::vector<int> tensors;                  // all that its commands access
  std::vector<int> arena;                    // its arena buffers
};

struct StateCode {
  int tensor = -1, paired = -1, axis = -1;
  int length = -1, capacity = -1;  // slots; -1: none
};

struct PlanCode {
  DimProgram program;
  std::vector<TensorCode> tensors;
  std::vector<CompiledDim> dims;
  uint32_t value_count = 0;
  std::vector<BufferCode> buffers;
  std::vector<Solve> inputs;            // in order; the rest of the inputs' dims is checked
  std::vector<char> from_inputs;        // per slot: an input gives it its value
  std::vector<StateCode> states;
  std::vector<int64_t> fixed;           // per slot: its value from the start, or kNoValue
  Program prepare, main;

  const CompiledDim* dims_of(int tensor) const { return dims.data() + tensors[tensor].dims; }
};

// Error unless the condition of a check holds.
Status check_condition(const PlanCode& code, const Step& check, const int64_t* slots);

// The plan is verified and outlives the code. Error: a kernel or host function that is not there, a symbol that nothing
// gives a value, a command that the CPU cannot run (kUnsupported).
Result<PlanCode> compile_plan(const Plan& plan, const ExecutableParts& parts);

}  // namespace weft
