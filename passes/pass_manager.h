// The passes over a Module, and what runs them.
//
// A pass is `Result<bool> pass_<name>(Module&, PassContext&)`: whether it changed the module, or the user's Error. It is a
// row in passes.def and a file without a header; its place stands in pipeline.cpp. After each pass the manager removes
// dead ops and checks the module: a pass that leaves it broken, or drops an op's origin, is our bug and stops the process.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/target.h"
#include "ir/core/module.h"
#include "passes/shard/device_table.h"

namespace weft {

// tf32: factors of f32 are rounded to it, and the rest stays f32.
enum class Precision : uint8_t { f32, tf32, f16, bf16 };
const char* precision_name(Precision p);
std::optional<Precision> precision_from_name(std::string_view name);

struct PassContext {
  Target target;
  int opt_level = 2;
  // Constants up to this size may be computed by a pass; larger ones move to the prepare graph.
  int64_t fold_bytes = 1 << 16;
  // What becomes a state: IN=OUT of an input and an output, or "auto" for all pairs that are found.
  std::vector<std::string> states;
  // In which type products, convolutions and attention (but not in tf32) of f32 compute; nullopt: as the model says. But not
  // those of these ONNX nodes.
  std::optional<Precision> precision;
  std::vector<std::string> keep_f32;
  // The ranks that the model is shared out between; without axes there is one. Axis "dp" cuts the batch (dim 0 of the inputs)
  // and nothing else, "tp" everything else, "pp" the ops into stages, any other one whatever is fastest.
  Mesh mesh;
  // N > 1: results whose bits no number of ranks changes that divides N; 0: as is fastest. See chunk_sums.cpp.
  int64_t deterministic = 0;
  // Those ranks' devices and links; nullopt: what the target is known to be like.
  std::optional<DeviceTable> devices;
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(const std::string& pass, int done, int total)> progress;
  std::vector<std::string> notes;  // for the user
};

// Those given, else what the target is known to be like.
inline DeviceTable devices_of(const PassContext& cx) { return cx.devices ? *cx.devices : default_devices(cx.target); }

using PassFunction = Result<bool> (*)(Module&, PassContext&);
struct PassInfo {
  std::string name;  // "fold-constants"
  std::string what;  // one line
  PassFunction run;
};
// Every pass there is, in the order of passes.def.
std::span<const PassInfo> list_passes();

// Passes run one after the other, again and again until none of them changes anything, at most `rounds` times.
struct Stage {
  std::vector<std::string> passes;
  int rounds = 1;
};
std::vector<Stage> pipeline_of(int opt_level);

struct PipelineOptions {
  int opt_level = 2;
  // In place of the level's passes; an empty list runs none.
  std::optional<std::vector<std::string>> passes;
  std::vector<std::string> disabled;
  // A name, or NAME:k for its k-th run (from 1). start_at leaves out all before it, stop_after all behind it.
  std::string start_at, stop_after;
  // Names, or "all": the module's text after each of their runs that changed it goes to `print`.
  std::vector<std::string> print_after;
  std::function<void(const std::string& text)> print;
  // 000_input.wir, then 003_fuse-pointwise.wir and so on where something changed; the number counts runs.
  std::string dump_dir;
  // For tests: infer every type again after each pass, and hold "changed" against the module's text.
  bool check_types = false;
  bool check_changed = false;
};

struct PassRun {
  std::string name;
  bool changed = false;
  double ms = 0;
  int ops_before = 0, ops_after = 0;
};

// Runs the passes. Appends a line per run to `runs`, if given. Errors: kUsage for a pass that does not exist, the user's
// Errors of passes (with the pass in the message), kCancelled.
Status run_pipeline(Module& m, PassContext& cx, const PipelineOptions& options, std::vector<PassRun>* runs = nullptr);

}  // namespace weft
