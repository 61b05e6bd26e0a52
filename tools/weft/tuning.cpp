#include "tools/weft/tuning.h"

#include <charconv>
#include <filesystem>

#include "frontend/api/compilation.h"
#include "runtime/artefact/artefact.h"
#include "tools/weft/npy.h"

namespace weft::cli {

constexpr const char* kSeconds = "30";

void add_tune_option(Verb& v, Cli& cli) {
  v.flag_or_text("--tune", cli.common.tune, kSeconds,
                 "first measure, for some SECONDS (30), which configuration of each kernel is fastest here, and write them to the file --tuning");
}

Status tune_if_asked(Cli& cli, const std::string& model, const InputOptions& inputs) {
  if (cli.common.tune.empty()) return {};
  std::string& file = cli.common.compile.tuning;
  if (file.empty()) return usage("--tune needs --tuning FILE, where what it finds goes");
  if (cli.in_job()) return usage("--tune measures in one process, and this is one of several").with_hint("tune first, with --rendezvous none");
  if (is_artefact(model)) return usage("--tune chooses kernels: " + model + " is compiled already");
  api::TuneOptions how;
  const std::string& text = cli.common.tune;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, how.seconds);
  if (error != std::errc() || end != last || !(how.seconds > 0)) return usage("--tune=" + text + " is no number of seconds");
  api::CompileOptions options = compile_options(cli);
  std::error_code ec;
  if (!std::filesystem::exists(file, ec)) options.tuning.clear();
  InputHints hints;
  {
    Compilation c(options);
    TRY(c.load_file(model));
    hints = input_hints(c.module());
  }
  how.inputs = [&](const std::vector<api::PortInfo>& ports) -> Result<api::NamedTensors> {
    TRY_ASSIGN(Inputs in, make_inputs(ports, inputs, hints));
    return std::move(in.tensors);
  };
  TRY_ASSIGN(api::TuneReport report, api::tune(model, options, how));
  TRY(write_file(file, "# weft tuning table: KEY NAME, the configuration to take for a kernel\n" + report.table));
  cli.log.end_progress();
  cli.log.info("tuning: of " + std::to_string(report.kernels) + " kernels " + std::to_string(report.changed) + " are faster otherwise than predicted; " +
               ms_text(report.before_ms) + " ms a run, now " + ms_text(report.after_ms) + " ms; wrote " + file);
  return {};
}

}  // namespace weft::cli
