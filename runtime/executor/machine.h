// Runs a program's steps: the interpreter behind Context::run and behind the prepare region. It owns the arena, the
// threads' scratch and the pool of dynamic buffers; constants, inputs, outputs and states are given to it.
#pragma once

#include <vector>

#include "runtime/executor/bound.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/strided.h"

namespace weft {

// Memory for outputs whose size is known only when the program allocates them.
class OutputMemory {
 public:
  virtual ~OutputMemory() = default;
  // dims and strides: of the output's tensor; bytes: of its buffer.
  virtual Result<std::byte*> allocate_output(int output, TensorValues v, int64_t bytes) = 0;
};

class Machine {
 public:
  // device: where tensors lie; null: the host.
  Machine(const Plan& plan, const PlanCode& code, const Program& program, ThreadPool* pool, Device* device);
  // Before the first activation of a machine on a device. beside: for a program with `events`; collectives run in it. second: for
  // one with `records`; the work of stream 1.
  void set_queues(DeviceQueue* queue, DeviceQueue* beside = nullptr, DeviceQueue* second = nullptr) {
    queue_ = queue;
    beside_ = beside;
    second_ = second;
  }

  // Makes `bound` the current one: memory for its arena and scratch, pointers where they changed.
  Status activate(Bound* bound);
  // The memory of a constant, prepared, input, output or state buffer, until it is set again.
  void set_memory(int buffer, std::byte* data, int64_t bytes) {
    base_[buffer] = data;
    size_[buffer] = bytes;
  }
  std::byte* memory(int buffer) const { return base_[buffer]; }

  // Counts runs, also those that end before they begin: collectives of different ones do not meet.
  void next_turn() { ++turn_; }
  // slots: the late values known at the start (state lengths) may be set between begin and run.
  void begin();
  void set_slot(int slot, int64_t value) { slots_[slot] = value; }
  const std::vector<int64_t>& slots() const { return slots_; }
  Status run(const RunOptions& options, OutputMemory* outputs);

  // A tensor's place now; valid between begin and the next activate. Error when it is not computable or out of bounds.
  Result<StridedRef> locate(int tensor);

  // What was under way on the device when it failed, as the message of an Error and its node; nothing when that is not known.
  void explain_fault(Error& e) const;
  int64_t arena_capacity() const { return arena_.capacity(); }

  // State buffers that the plan swapped in the last run: pairs to be swapped by their owner too.
  const std::vector<std::pair<int, int>>& swapped_states() const { return swapped_states_; }

 private:
  Status step(const Step& s);
  Status launch(const Step& s);
  Status late_launch(const LaunchCode& l, int64_t* tasks, const Step& s);
  Status copy(const Step& s);
  Status fill(const Step& s);
  Status host_call(const Step& s);
  Status collective(const Step& s);
  Status collective_on_device(const CollectiveCode& code, const Collective& call, const std::byte* in, std::byte* out, DeviceQueue& queue);
  Status wait_collective(int event, DeviceQueue& queue);
  DeviceQueue& queue_of(const Step& s) { return s.source->stream == 0 || !second_ || in_turn_ ? *queue_ : *second_; }
  Status record(const Step& s);
  Status wait(const Step& s);
  Status part_streams();
  Status join_streams();
  Status host_outputs(const Step& s, const HostCallCode& h, size_t inputs);
  static Status resize_output(void* self, int output, std::span<const int64_t> dims);
  Status resize(int output, std::span<const int64_t> dims);
  Status read(const Step& s);
  Status select(const Step& s);
  Status loop(const Step& s);
  Result<bool> condition(int tensor);
  Status allocate(int buffer, int tensor);
  void release(int buffer);
  void swap(const Step& s);
  Status assign(int slot, int64_t value);
  Result<int64_t> value(const CompiledDim& d, const Dim& source, const char* what);
  Status patch();
  Status start_dims();
  Status reserve_scratch(int64_t bytes);
  Status launch_on_device(const LaunchCode& l, const Step& s);
  Status run_step();
  Status run_checked(const RunOptions& options);
  Result<StridedRef> fetched(int tensor, Block* host);
  Status run_stretch(size_t number);
  Status fetch(void* to, const std::byte* from, int64_t bytes);
  Status set_view(size_t operand, const StridedRef& r, bool is_output);
  Status upload_outputs(size_t inputs);
  Error no_memory(int tensor) const;

  const Plan& plan_;
  const PlanCode& code_;
  const Program& program_;
  ThreadPool* pool_;
  DeviceQueue* queue_ = nullptr;  // null: tensors lie in the host's memory
  DeviceQueue* beside_ = nullptr; // null: collectives take their turn in the queue
  DeviceQueue* second_ = nullptr; // null: all kernels take their turn in the queue
  std::vector<char> beside_now_;  // per event: a collective that has begun since all queues were joined
  std::vector<DeviceQueue*> recorded_;  // per event: in which queue since then; null: in none
  bool in_turn_ = false;          // collectives end before what follows begins
  Bound* bound_ = nullptr;
  OutputMemory* outputs_ = nullptr;

  std::vector<int64_t> slots_;
  std::vector<std::byte*> base_;  // per buffer
  std::vector<int64_t> size_;
  std::vector<int> block_;        // per buffer: its block of the pool, or -1
  std::vector<int> patched_buffers_;  // those with patches
  struct Loop {
    int64_t count = 0, trips = 0;
  };
  std::vector<Loop> loops_;
  std::vector<std::pair<int, int>> swapped_states_;
  size_t at_ = 0;                 // next step
  bool recording_ = false;        // a graph
  const Stretch* replayed_ = nullptr;  // the last graph of this run

  GrowingBlock arena_;
  Block scratch_;
  Block device_dims_;             // Bound::dims, on the device
  int64_t scratch_stride_ = 0;
  BlockPool dynamic_;

  std::vector<Collective> collectives_;  // with the extents of their last turn
  uint64_t turn_ = 0;
  Block sent_, received_;                // what a device's collective passes through the host
  // The host call under way.
  std::vector<TensorView> views_;
  const Step* call_ = nullptr;
  size_t call_inputs_ = 0;
  std::vector<int64_t> call_dims_;
  struct Staged {
    Block memory;                 // of the host, while the function runs
    std::byte* device = nullptr;
    int64_t bytes = 0;
  };
  std::vector<Staged> staged_;    // by operand
};

}  // namespace weft
