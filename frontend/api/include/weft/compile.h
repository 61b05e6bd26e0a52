// compile(): a model to an Executable. Part of the public API.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "weft/executable.h"

namespace weft {
struct Module;
}

namespace weft::api {

enum class LogLevel : uint8_t { debug, info, warning, error };

struct Progress {
  std::string stage;               // "import", "passes", "lower", "kernels", "load"
  std::string detail;              // what is under way: a pass, a kernel
  int64_t done = 0, total = 0;     // of the stage; total 0: unknown
  double elapsed_s = 0;            // since compile() began
};

struct CompileOptions {
  // "cpu": this machine. "cpu:x86-64-v3" and others: see `weft doctor`. "cuda": the GPU `device`; "cuda:sm_90a" and others.
  // "auto": "cuda" where there is such a GPU, and NVRTC to compile for it, else "cpu".
  std::string target = "auto";
  int device = 0;  // for GPUs: which one, in the driver's order
  double gpu_memory = 0.9;  // of the GPU's memory: what weights, activations, states and tensors may take together
  // Threads for runs and for compiling, the caller included. 0: as many as the processors this process may use.
  int threads = 0;
  // "x=1..32x3x224x224@8": dims of input x. A number fixes a dim, a range bounds it, `@` names the value to optimise for,
  // `?` leaves it open.
  std::vector<std::string> shapes;
  // "past=present": an input and an output that each context keeps from run to run, in place of the caller; see
  // Executable::states. "auto": all pairs of which the output is the input with something behind it, or with some rows
  // replaced. States start empty, or as zeros where their dims are fixed.
  std::vector<std::string> states;
  // "f16", "bf16": products of matrices, convolutions and attention of f32 compute in it, with sums of f32. "tf32": products and
  // convolutions round their factors to 10 bits of mantissa, to nearest, ties away from zero; all else stays f32. "f32", or
  // empty: as the model says. keep_f32: ONNX nodes that are left as they are.
  std::string precision;
  std::vector<std::string> keep_f32;
  // "dp=2,tp=4": the ranks that the model is shared out between, as axes of a mesh with their sizes; empty: one. Axis dp cuts
  // the batch (dim 0 of the inputs), tp everything else, pp the ops into stages of a pipeline, axes of other names whatever is
  // fastest. Inputs and outputs are whole.
  std::string mesh;
  // N from 2 to 256: on a processor the results have the same bits for every number of ranks that divides N, one included; sums are
  // formed in a fixed order, and those that ranks would share out as N parts. Costs time, see docs/ranks.md. 0: as is fastest.
  int deterministic = 0;
  // "layers.*.q_proj.weight=1:tp": tensors of these ONNX names are cut along dim 1 by the mesh's axis tp; and a JSON file of the
  // same. See docs/sharding.md.
  std::vector<std::string> shardings;
  std::string shardings_file;
  // Which of the model's own configurations (ONNX's multi-device annotations) holds: its devices are the mesh where `mesh` is empty.
  // Empty: the only one, if there is one; "none": none.
  std::string configuration;
  // What the devices and links of a mesh are like: a table that weft brings along ("h100x8"), or a JSON file, see docs/planning.md;
  // empty: as the target's usually are.
  std::string device_table;
  // The ranks: as many as the mesh has. None: threads of this process, which on a processor divide its threads between them. Of a
  // group of processes each one calls compile(); rank 0 compiles kernels first, and the others find them in the cache.
  std::optional<Group> group;
  // File of a tuning table, see tune(): configurations of kernels that were measured are taken in place of predicted ones.
  std::string tuning;
  // 0: only what lowering needs; 1, 2, 3: more and more passes.
  int opt_level = 2;
  std::vector<std::string> disabled_passes;
  // Compiled kernels are kept in this folder; empty: $WEFT_CACHE_DIR, else $XDG_CACHE_HOME/weft, else ~/.cache/weft.
  std::string cache_dir;
  bool use_cache = true;
  // Writes the module after each pass that changed it into this folder.
  std::string dump_ir;
  // Each kernel's CUDA source is written into this folder, once; one that was changed there is compiled in place of ours.
  std::string kernel_sources;
  // Folder in which files of external data may lie, symbolic links included; empty: the model's folder, without links.
  std::string external_data_root;
  // Called at least once a second, from any of weft's threads, one call at a time.
  std::function<void(const Progress&)> progress;
  // Set it from any thread: compile() soon returns kCancelled.
  const std::atomic<bool>* cancel = nullptr;
  // Called one at a time.
  std::function<void(LogLevel, const std::string&)> log;
};

// Compiles an ONNX model (.onnx) or a module's text (.wir). Thread safe.
// Errors: kUsage (target, shapes, a file that is not there), kInvalidModel, kUnsupported (naming every operator that the
// target cannot run, before anything is compiled; or LLVM is missing), kResources, kCancelled.
Result<Executable> compile(const std::string& path, const CompileOptions& options = {});
// The same from memory: the bytes of an ONNX model, or of a module's text. External data needs external_data_root. The
// bytes are not needed afterwards.
Result<Executable> compile(std::span<const std::byte> bytes, const CompileOptions& options = {});
// For those who build modules themselves, against weft's own headers.
Result<Executable> compile(std::unique_ptr<Module> module, const CompileOptions& options = {});

struct TuneOptions {
  double seconds = 30;  // after which nothing new is begun
  // Values for the inputs to run on; called once.
  std::function<Result<NamedTensors>(const std::vector<PortInfo>&)> inputs;
};
struct TuneReport {
  std::string table;       // lines for CompileOptions::tuning: those of the options' own table, and what was found
  int kernels = 0;         // between whose configurations there was a choice
  int changed = 0;         // for which another one than predicted is faster
  double before_ms = 0, after_ms = 0;  // of a run, the median
};
// Compiles the model several times, each time with the next best of the configurations that were predicted for each kernel,
// runs it on the device, and finds the fastest ones by the time that each kernel took. What is found is left out where the whole
// is not faster with it. Errors as of compile() and Context::run.
Result<TuneReport> tune(const std::string& model, const CompileOptions& options, const TuneOptions& how);

struct ArtefactOptions {
  // Where weights go: into the file; into one beside it, with ".weights" behind its name; nowhere, so that the file has to be
  // refitted before it runs (constants of at most 64 elements stand in the module's text all the same).
  enum class Weights : uint8_t { embed, external, strip };
  Weights weights = Weights::embed;
  // Weights as kernels read them, laid out when the model is compiled and not at each load. Which: those for which the file does
  // not grow, because the weights that they are made of are not needed any more; all that this machine can make; none.
  enum class Prepared : uint8_t { fit, all, none };
  Prepared prepared = Prepared::fit;
  // A .weft of the same model with other weights: its kernels are taken, none of a target is compiled, and weights are prepared
  // as they are there. For its targets when none is named.
  std::string refit;
  // File of an Ed25519 private key in PEM form, with which the file is signed; needs libsodium.
  std::string sign_key;
};

// Compiles a model ahead of time, for each of the targets ("cpu" means cpu:x86-64-v3), and writes a .weft, which
// Executable::load reads. No GPU is needed for cuda:sm_90a and the like. Two such calls write the same bytes. Returns the
// file's size. Errors as of compile; kResources when the file cannot be written: then there is none, or the one before; kUsage
// for a refit of another model, naming what differs.
Result<int64_t> compile_to_file(const std::string& model, const std::string& path, const std::vector<std::string>& targets,
                                const CompileOptions& options = {}, const ArtefactOptions& artefact = {});

// "0.1.0"
const char* version();

}  // namespace weft::api
