// Plan: the host program. Buffers, tensors (typed views of buffers), kernels, and regions of commands. One Plan per
// pipeline stage; ranks differ by symbols (rank.tp, ...). It prints, parses back and is verified at load, because a plan
// file may be hostile. Every size, offset, grid and trip count is a Dim over the plan's symbols, so a step that only
// changes dims changes no command.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ir/base/dim.h"
#include "ir/base/dtype.h"
#include "ir/base/hash.h"
#include "ir/base/mesh.h"

namespace weft {

enum class Space : uint8_t { host, pinned, device, peer };

// What owns a buffer's bytes and how long they live.
enum class Storage : uint8_t {
  arena,     // in the context's one arena at `offset`, live over [first, last]
  constant,  // bytes of the executable's constant pool (`source` is its entry)
  prepared,  // written once by the prepare region, kept by the executable
  input,     // bound by the caller (`source` is the input number)
  output,    // bound by the caller or allocated by the context (`source` is the output number)
  state,     // owned by the context across steps (`source` is the state number)
  dynamic,   // alloc/free commands: the size is first known at run time
  report,    // what kernels find wrong, for `expect`: of the context, zero at first, written only then
};

struct PlanBuffer {
  std::string name;
  Storage storage = Storage::arena;
  Space space = Space::host;
  Dim bytes;
  int64_t alignment = 64;      // a power of two; what callers bind and constants are aligned to their element only
  int64_t offset = -1;         // arena, when all sizes are constant; -1: the context plans offsets when it binds dims
  int first = -1, last = -1;   // arena lifetime in command numbers of the region tree (pre-order), inclusive
  int source = -1;
  bool prepare = false;        // arena: belongs to the prepare region, whose numbers first and last are
};

// A typed view. Element strides; a sub-byte tensor's rows are padded to whole bytes, which its strides show: i4 [3,5]
// has strides [6,1]. Strides may be 0 or negative; `offset` is where element [0,0,...] lies.
struct PlanTensor {
  std::string name;
  int buffer = -1;
  Dim offset;                  // bytes into the buffer
  DType dtype = DType::f32;
  Shape dims;
  std::vector<Dim> strides;
};

struct PlanKernel {
  std::string name;            // symbol in its object, unique in the plan
  Hash hash;                   // of the KernelSpec and target: the cache key
  int object = -1;             // which code blob of the executable holds it
  int threads = 0;             // CUDA: of a block
  std::vector<std::string> nodes;  // ONNX nodes that use it, for reports; never part of the hash
  Dim flops, bytes;            // per launch at its first use, for the profile's roof
};

enum class Access : uint8_t { read, write, update };  // update: reads and writes

// On the CPU the kernel's `ptrs` are its tensor parameters in order, its `dims` the dim and scalar parameters in order
// (a scalar as the bits of its double); the other kinds are for CUDA.
struct Param {
  enum class Kind : uint8_t { tensor, dim, scalar, tensor_map, peer_table, workspace };
  Kind kind = Kind::tensor;
  Access access = Access::read;  // tensor, tensor_map, peer_table, workspace
  int tensor = -1;
  Dim dim;
  double scalar = 0;
};

enum class CommandKind : uint8_t {
  launch,      // kernel over `tasks`
  copy,        // tensors[0] -> tensors[1], same dims and dtype, any strides
  fill,        // tensors[0] with `scalar`
  host_call,   // `name` from host.def on tensors (the first `index` are inputs, the rest outputs), `text` its attributes;
               // symbols in `sets` get values from the dims that the function gives its outputs
  set,         // symbol `name` = dim
  read,        // symbol `name` = integer element `index` (row-major) of tensors[0]; waits for it: ends a capture region
  check,       // dim must be > 0 (a condition as 0/1), else Error with `text`
  expect,      // tensors[0] (i64 scalar in a report buffer) is 0, else it is a code of the index that lies outside of `dim`
               // elements (see report_code), an Error with `text`. Looked at when the run has been waited for
  select,      // regions[i] for the first i whose ranges[i] holds (an empty one always does); a variant choice
  if_then,     // tensors[0] (bool scalar) ? regions[0] : regions[1], which may be absent
  loop,        // regions[0] `tasks` times or until tensors[0] (bool scalar, optional, read before each iteration) is
               // false; symbol `name` (optional) counts iterations and afterwards holds how many there were
  alloc,       // dynamic (or run-time sized output) buffer of tensors[0] gets its size now
  free,
  swap,        // exchanges the storage of the buffers of tensors[0] and tensors[1]: both arena with one lifetime and
               // size, both dynamic, or both state (loop-carried values, states)
  collective,  // `name` (as the op's) over `group` from tensors[0] to tensors[1], both dense, started on its stream; `text` says
               // the rest: "dim=0 reduction=sum", split and join of all_to_all, root, pairs=0,1,1,0. send has no result, recv no
               // operand: their root is the other rank, their tag agrees. The first `index` tensors are read
  wait_collective,
  record,      // event number `event` on `stream`
  wait,        // `stream` waits for `event`
};
const char* command_name(CommandKind k);

struct Region;

struct Command {
  CommandKind kind = CommandKind::launch;
  int stream = 0;
  int event = -1;
  std::string name;
  std::string text;
  std::vector<int> tensors;           // operands, all commands but launch
  std::vector<std::string> sets;      // host_call
  std::vector<std::string> nodes;     // provenance: ONNX nodes this command computes
  // launch
  int kernel = -1;
  std::vector<Param> params;
  Dim tasks;                          // CPU: [0, tasks) split over threads; loop: trip count (overflow(): unbounded)
  Dim grid[3], cluster[3];            // CUDA
  Dim shared_bytes;
  Dim scratch_bytes;                  // per thread (CPU) or workspace
  bool dependent = false;             // programmatic dependent launch
  // others
  Dim dim;
  int64_t index = 0;
  double scalar = 0;
  std::string group;
  std::vector<std::unique_ptr<Region>> regions;
  std::vector<std::vector<Dim>> ranges;  // select: per region lo, hi pairs (inclusive), one per symbol in `text` ("m,n")
};

struct Region {
  std::vector<Command> commands;
};

// What a kernel reports of an index: never 0.
constexpr int64_t report_code(int64_t index) { return index >= 0 ? 2 * index + 1 : -2 * index; }
constexpr int64_t reported_index(int64_t code) { return code % 2 ? (code - 1) / 2 : -(code / 2); }

// An entry's input or output, or a state. A state's `tensor` is the value before a step, `paired` the one after it.
//   overwrite (axis -1)  both lie in its buffer, or in two state buffers that the plan swaps
//   append               both lie in its buffer with capacity strides; at the start of a step the symbol `length` is the
//                        extent of `tensor` along `axis`, after it that of `paired`. `capacity` (optional) is a symbol in
//                        the strides: the context chooses it and grows the buffer; without it the range of `length` holds
struct PlanPort {
  std::string name;
  int tensor = -1;
  int paired = -1;
  int axis = -1;
  std::string length, capacity;
  RankShare share;                    // of a state: a rank's part
  int number = -1;                    // an output of a stage: its place among those of all stages; -1: there is one stage
};

struct PlanConstant {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  Hash hash;
};

struct PlanGroup {                    // ranks that differ along these axes of the mesh, the first one outermost
  std::string name;
  std::vector<std::string> axes;
};

struct Plan {
  std::string name, target;
  Mesh mesh;                          // the ranks that run this plan together; without axes there is one
  int stage = -1;                     // the ranks of that coordinate along kStageAxis run this plan, others other ones; -1: all run it
  SymbolTable symbols;
  std::vector<PlanBuffer> buffers;
  std::vector<PlanTensor> tensors;
  std::vector<PlanKernel> kernels;
  std::vector<PlanConstant> constants;
  std::vector<PlanGroup> groups;
  std::vector<PlanPort> inputs, outputs, states;
  Region prepare;                     // run once at load
  Region main;
  int64_t arena_bytes = 0;            // when all offsets are constant

  int add_buffer(PlanBuffer b) { buffers.push_back(std::move(b)); return static_cast<int>(buffers.size()) - 1; }
  int add_tensor(PlanTensor t) { tensors.push_back(std::move(t)); return static_cast<int>(tensors.size()) - 1; }
};

// Numbers the commands of a region tree in pre-order and calls f(command, number).
template <class R, class F>
void for_each_command(R& region, F&& f, int& number) {
  for (auto& c : region.commands) {
    f(c, number++);
    for (auto& r : c.regions) for_each_command(*r, f, number);
  }
}

// The tensors that a command itself accesses: f(tensor, Access).
template <class F>
void for_each_access(const Command& c, F&& f) {
  for (const Param& p : c.params)
    if (p.tensor >= 0) f(p.tensor, p.access);
  for (size_t i = 0; i < c.tensors.size(); ++i) {
    Access a = Access::read;
    switch (c.kind) {
      case CommandKind::copy: a = i == 0 ? Access::read : Access::write; break;
      case CommandKind::fill: a = Access::write; break;
      case CommandKind::collective:
      case CommandKind::host_call: a = static_cast<int64_t>(i) < c.index ? Access::read : Access::write; break;
      case CommandKind::alloc:
      case CommandKind::free:
      case CommandKind::swap: a = Access::update; break;
      default: break;
    }
    f(c.tensors[i], a);
  }
}

// Row-major element strides, a sub-byte type's rows padded to whole bytes; and the bytes of such a tensor.
std::vector<Dim> plan_strides(const Shape& dims, DType t);
Dim plan_bytes(const Shape& dims, DType t);
// The bytes of its buffer that a tensor touches, [lo, hi); where dims decide that: [0, INT64_MAX).
std::pair<int64_t, int64_t> bytes_of(const PlanTensor& t);

// Sets first and last of every arena buffer from the accesses of the plan's commands. A buffer whose value may cross
// iterations of a loop lives over the whole loop; swapped buffers live equally long. -1 for one that is never accessed.
void assign_lifetimes(Plan& p);

std::string print_plan(const Plan& p);
Result<Plan> parse_plan(std::string_view text);
// Every index in range, every symbol declared, every tensor inside its buffer where that is provable, parameters of
// each command of the right number and kind, arena buffers alive where they are used, bytes that overlap in the arena
// never live at once, and accesses to the same bytes from different streams ordered by events.
Status verify_plan(const Plan& p);
// The plans of all stages of a pipeline, each verified, in order: what ranks of different stages exchange fits together and comes
// in an order in which nobody waits forever. Within a stage ranks run one plan, so there it is so anyway.
Status verify_collectives(const std::vector<const Plan*>& stages);

// Offsets for arena buffers: greedy by size, by lifetime, by breadth and by time, the best of them; if that is over 3 %
// above max_live, a bounded search. Milliseconds for thousands of requests. Deterministic. Alignments are
// powers of two; the sum of the sizes, rounded up to them, must fit an int64.
struct ArenaRequest {
  int64_t bytes;
  int64_t alignment;
  int first, last;
};
struct ArenaLayout {
  std::vector<int64_t> offsets;
  int64_t bytes = 0;
  int64_t max_live = 0;  // the lower bound
};
ArenaLayout plan_arena(const std::vector<ArenaRequest>& requests);
int64_t max_live_bytes(const std::vector<ArenaRequest>& requests);

}  // namespace weft
