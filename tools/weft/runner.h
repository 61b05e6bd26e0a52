// A model ready to run, compiled or under the reference evaluator, so that verbs need not tell them apart.
#pragma once

#include <memory>
#include <optional>

#include "frontend/api/compilation.h"
#include "tools/weft/cli.h"
#include "tools/weft/inputs.h"

namespace weft::cli {

struct Runner {
  std::vector<api::PortInfo> inputs, outputs;
  InputHints hints;
  std::string target;
  std::unique_ptr<Module> module;           // eval: what runs; else null
  std::optional<api::Executable> exe;       // compiled
  std::optional<api::Context> context;
  api::CompileStats stats;

  Result<api::NamedTensors> run(const api::NamedTensors& in, const api::RunOptions& options = {});
};

bool is_eval(const api::CompileOptions& o);
// Loads the model at `path` and compiles it, unless the target is eval.
Result<Runner> make_runner(Cli& cli, const std::string& path);
Result<Runner> make_runner(const api::CompileOptions& options, const std::string& path);

}  // namespace weft::cli
