// A context's parts: what it has bound (context.cpp), the caller's inputs and outputs (ports.cpp), states (states.cpp).
#pragma once

#include <memory>
#include <vector>

#include "runtime/executor/executable_impl.h"

namespace weft {

class ContextImpl : public OutputMemory {
 public:
  explicit ContextImpl(std::shared_ptr<const ExecutableImpl> exe);

  Status run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options);
  Status finish();
  Status reset_state(int state);
  Result<TensorView> state(int state);
  Status set_state(int state, const TensorView& value);
  Result<std::unique_ptr<ContextImpl>> fork() const;
  const Bound* current() const { return current_; }
  SymbolValues symbols() const;

 private:
  static constexpr size_t kMaxBounds = 16;  // distinct shapes remembered

  // --- context.cpp
  Status try_run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options);
  Status bind_symbols(std::span<const TensorView> inputs);
  Status check_input(int input, const TensorView& view) const;
  Error dim_error(int input, int dim, const TensorView& view, const std::string& what) const;
  Status activate();
  std::string fitting_dims() const;
  Status explained(Status s) const;

  // --- ports.cpp
  struct Input {
    Block staged, device;
    std::byte *lo = nullptr, *hi = nullptr;  // the caller's bytes that the run reads; empty when staged
  };
  struct Output {
    Block own, spare;          // what callers see of it may be an input of the next run: then the two change places
    Block device, device_spare;  // the same for where the program writes, when that is not the host
    bool given = false;        // the caller gives memory, other than what a run before gave it
    bool direct = false;       // the program writes into that memory
    std::byte* base = nullptr; // of the output's buffer, when it has one of its own
  };
  Status bind_inputs(std::span<const TensorView> inputs);
  Status bind_outputs(std::span<TensorView> outputs);
  Status finish_outputs(std::span<TensorView> outputs, bool device_outputs);
  Status finish_output(int output, TensorView& view, bool device_outputs);
  Status check_place(const char* kind, const PlanPort& port, const TensorView& view) const;
  Status check_output(int output, const TensorView& view, const int64_t* dims, int rank) const;
  Result<std::byte*> output_memory(int output, TensorValues v, int64_t bytes);
  Result<std::byte*> allocate_output(int output, TensorValues v, int64_t bytes) override { return output_memory(output, v, bytes); }
  bool has_own_buffer(int output) const;
  Status reserve(Block& block, Block& spare, int64_t bytes);
  Status show_on_device(int output, TensorView& view, StridedRef from);
  Error misplaced(const char* kind, const PlanPort& port, const std::string& what) const;
  bool overlaps_inputs(const std::byte* lo, const std::byte* hi) const;
  bool overlaps(int output, const std::byte* lo, const std::byte* hi) const;

  // --- states.cpp
  struct State {
    bool written = false;
    std::vector<int64_t> shape;   // dims (0 along the axis) and strides of what its memory holds
    Block shown;                  // a copy for callers, when it lies on a device
    State() = default;
    State(const State& o) : written(o.written), shape(o.shape) {}
    State& operator=(const State& o) {
      written = o.written;
      shape = o.shape;
      return *this;
    }
  };
  Status bind_capacities();
  Status bind_states();
  Status place_state(int state);
  Status move_state(int state, TensorValues now);
  Status finish_states();
  void clear_unwritten_states();
  Status clear_state(int state);
  void step_slots();  // early values and lengths

  Status open_queue();
  Status bind_reports();
  Status check_reports();

  std::shared_ptr<const ExecutableImpl> exe_;
  std::unique_ptr<DeviceQueue> beside_;         // for collectives beside other work; null: there are none
  std::unique_ptr<DeviceQueue> second_;         // for stream 1; null: there is none
  std::unique_ptr<DeviceQueue> queue_;          // null: the host, or before the first run
  Machine machine_;
  std::vector<std::unique_ptr<Bound>> bounds_;  // the most recent first
  Bound* current_ = nullptr;
  std::vector<int64_t> early_;                  // slots as this run's inputs and capacities bind them
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::span<TensorView> views_;                 // the caller's outputs, during a run
  std::vector<State> states_;
  std::vector<Block> state_blocks_;             // per buffer
  Block reports_;
  std::vector<int64_t> lengths_, capacities_;   // per slot
  std::vector<int64_t> slots_, values_;         // scratch
};

}  // namespace weft
