// Executable: a compiled model. Context: one thread of execution of it. Part of the public API, and all of it that
// programs need which only run models.
//
//   weft::Context context = executable.context();
//   auto out = context.run({{"x", weft::Tensor::view(data, {1, 3, 224, 224})}});
//   const float* y = (*out)["y"].data_as<const float>();
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weft/group.h"
#include "weft/tensor.h"

namespace weft::api {

// One dim of an input or output: a number, or an expression whose value a run decides.
struct Extent {
  std::string text;                // "224", "batch", "past+1"
  int64_t min = 0, max = 0;        // max is INT64_MAX when nothing bounds it
  int64_t optimum = 0;             // what it was compiled to be best for; 0: nothing was said
  bool fixed() const { return min == max; }
};

struct PortInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Extent> dims;
  std::string describe() const;    // "x: f32[batch,3,224,224]"
};

// A value that a Context keeps from one run to the next.
struct StateInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Extent> dims;
  int axis = -1;                   // grows along this axis with each run; -1: overwritten
};

// Where the time of a compilation went, and what came out of it.
struct CompileStats {
  std::vector<std::pair<std::string, double>> stage_ms;  // import, passes, lower, kernels, load; in order
  double total_ms = 0;
  int kernels = 0, kernels_compiled = 0, kernels_cached = 0;
  int commands = 0;                // of the host program
  int64_t code_bytes = 0, constant_bytes = 0;
  int64_t prepared_bytes = 0, prepared_cached_bytes = 0;  // of weights laid out anew; found in the cache
  int64_t uploaded_bytes = 0;      // of weights, to a GPU
  double upload_ms = 0;            // while kernels were compiled
  // Of the dims' optimum or lower bound where they are not fixed. The arena's size, and the least that any placement of
  // the same buffers could need.
  int64_t arena_bytes = 0, max_live_bytes = 0;
  std::vector<std::string> notes;  // what the user may want to know, such as dims that were left open
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// Tensors by name, in order.
class NamedTensors {
 public:
  NamedTensors() = default;
  NamedTensors(std::initializer_list<NamedTensor> tensors) : tensors_(tensors) {}
  void add(std::string name, Tensor tensor) { tensors_.push_back({std::move(name), std::move(tensor)}); }
  const Tensor* find(std::string_view name) const;         // null: none
  const Tensor& operator[](std::string_view name) const;   // an empty Tensor: none
  size_t size() const { return tensors_.size(); }
  auto begin() const { return tensors_.begin(); }
  auto end() const { return tensors_.end(); }

 private:
  std::vector<NamedTensor> tensors_;
};

// One measured kernel launch, host call, copy or fill.
struct ProfileEvent {
  int command = 0;                 // of the host program
  int64_t start_ns = 0, end_ns = 0;  // of the steady clock
};
struct ProfileRow {
  std::string name;                // kernel, or kind of command
  std::vector<std::string> nodes;  // ONNX nodes it computes
  int64_t calls = 0, total_ns = 0, min_ns = 0, max_ns = 0;
  double flops = 0, bytes = 0;     // over all calls; 0 when unknown
};

struct RunOptions {
  const std::atomic<bool>* cancel = nullptr;     // set it from any thread: the run ends with kCancelled
  std::vector<ProfileEvent>* profile = nullptr;  // appended to when set
  // Looks at the results of every kernel: the first one that makes a NaN or plus infinity of numbers ends the run with Error
  // kCheckFailed, naming its ONNX nodes and the element. Slow: for finding out.
  bool check_numerics = false;
  std::vector<std::string>* faulty_nodes = nullptr;  // with it: receives all ONNX nodes of that kernel
  // On a GPU: outputs that are not given stay there, as views of the context's memory, valid until its next run.
  bool device_outputs = false;
  // On a GPU: false lets run() return while the GPU is still at work, unless outputs are brought to the host. Then inputs
  // and outputs on the GPU must stay until Context::finish.
  bool wait = true;
  // On a GPU: a stream of the caller's (a cudaStream_t or CUstream; not the null stream). The run begins after what is queued there, and what is queued
  // there afterwards begins after the run; with wait = false no host thread waits for either.
  void* stream = nullptr;
  // Of a model that is cut into stages (axis pp of its mesh): the batch, dim 0 of the inputs, goes through it in so many equal
  // parts, so that each stage works on one part while others work on other ones. States are kept for each part. Dim 0 must be
  // open (a symbol) in the inputs that have it and in all outputs; values of inputs without it serve all parts.
  int microbatches = 1;
};

class Context;

struct LoadOptions {
  // Empty: the best of the file's targets that runs here, on the GPU `device` before the processor. "cpu", "cuda", or one
  // of them.
  std::string target;
  int device = 0;
  // File of an Ed25519 public key in PEM form: only what is signed with it is loaded. require_signature without one: with any.
  std::string verify_key;
  bool require_signature = false;
  double gpu_memory = 0.9;  // of the GPU's memory: what weights, activations, states and tensors may take together
  int threads = 0;        // 0: as many as the processors this process may use
  // The ranks of a model that was compiled for a mesh; none: threads of this process.
  std::optional<Group> group;
  // Weights that are laid out at load are kept here; empty: where compile() keeps them.
  std::string cache_dir;
  bool use_cache = true;
};

// Immutable; copies share. Thread safe: any number of threads may use one at once.
class Executable {
 public:
  // A compiled model (.weft). It holds native code: load only files that you trust. Errors: kUsage for a file that is no
  // artefact or of another format version, kInvalidModel for a damaged one, kUnsupported when no target of it runs here
  // (naming what is there), kResources, kDevice. Thread safe.
  static Result<Executable> load(const std::string& path, const LoadOptions& options = {});

  const std::vector<PortInfo>& inputs() const;
  const std::vector<PortInfo>& outputs() const;
  const std::vector<StateInfo>& states() const;
  // "cpu:x86-64-v3"
  const std::string& target() const;
  // The model's metadata_props.
  const std::map<std::string, std::string>& metadata() const;
  const CompileStats& stats() const;
  // Threads that a run uses, the caller included.
  int threads() const;
  // The host program as text (.wplan).
  std::string plan_text() const;
  // A new thread of execution. It keeps the executable alive.
  Context context() const;
  // A copy in the memory of the GPU that runs the model: run() reads it there, every time. Where the host runs it: the tensor
  // itself. Errors: kResources, kDevice.
  Result<Tensor> upload(const Tensor& t) const;
  // Back to the host; a tensor of the host as it is. Error kUsage for a tensor of another GPU.
  Result<Tensor> download(const Tensor& t) const;
  // Sums by kernel, the longest total first; flops and bytes for dims as in `context`'s last run.
  std::vector<ProfileRow> profile_rows(const std::vector<ProfileEvent>& events, const Context& context) const;
  // The name of a command, for traces.
  std::string command_name(int command) const;

  struct State;
  explicit Executable(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const State& state() const { return *state_; }  // for weft itself

 private:
  std::shared_ptr<const State> state_;
};

// Owns the memory of activations and the states. Not thread safe: one per thread, or one lock around it.
class Context {
 public:
  // Computes all outputs from inputs by name, in any order. An output named in `into` is written to the tensor given there,
  // which must have its dtype and dims; the others come in memory of their own. The result has every output, in the
  // model's order.
  //
  // Errors: kUsage for a name that the model does not have or that is missing, and for a tensor that does not fit it;
  // kInvalidModel when the model itself rejects the values (an index out of range); kUnsupported, kResources, kCancelled.
  // Tensors on the GPU that runs the model are used where they lie; they must be row-major, else Error kUsage.
  // After an error the next run starts anew; states that grow are as before it, others may be part old, part new.
  Result<NamedTensors> run(const NamedTensors& inputs, const NamedTensors& into = {}, const RunOptions& options = {});

  // The same by position, for steady use: no heap allocation when dims were seen before. An empty output becomes a view
  // of the context's memory, valid until its next run.
  Status run(std::span<const Tensor> inputs, std::span<Tensor> outputs, const RunOptions& options = {});

  // Waits for runs that did not wait. An Error is that of the run which failed.
  Status finish();

  // Error kUsage for an unknown name.
  Status reset_state(std::string_view name);
  Status reset_states();
  // A view of its value, valid until the next run. Of several ranks, put together of their parts; of ranks that are processes all
  // call it.
  Result<Tensor> state(std::string_view name) const;
  // A second context with a copy of all states.
  Result<Context> fork() const;

  // Snapshots of all states, for going on later, in another process, or after a crash: results are the same bits. save() writes a
  // file (of several ranks one each, with ".rank0" and so on behind its name); again to the same file, it adds what runs have
  // changed since: of states that grow, their new rows. It is on disk when save() returns, and a crash while it runs leaves the
  // one before. restore() takes the last that all ranks have, in an executable of the same model, options and mesh. Of ranks that
  // are processes all call it. Errors: kResources; kUsage for a file that is not there or is another model's; kInvalidModel.
  Status save(const std::string& path);
  Status restore(const std::string& path);

  // Memory for activations at the dims of the last run, and the least any placement could need.
  int64_t arena_bytes() const;
  int64_t max_live_bytes() const;

  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

 private:
  friend class Executable;
  struct Impl;
  explicit Context(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::api
