// What the verbs share. A verb is a file with `void add_<verb>(Cli&)`: it declares its options and the function that does
// the work. Results go to stdout (a table, or one JSON object with --json), everything else to stderr. The exit code is
// the code of the Error.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "ir/base/result.h"
#include "tools/weft/args.h"
#include "tools/weft/json.h"
#include "tools/weft/log.h"
#include "weft/compile.h"

namespace weft::cli {

// Options that several verbs have.
struct Common {
  api::CompileOptions compile;
  std::string json;           // "-": stdout; a file name; empty: tables
  std::string log_level = "info", progress = "auto";
  bool quiet = false, no_cache = false;
  int tp = 1, pp = 1, dp = 1;  // axes of the mesh
  std::string parallel;       // "auto": a planned mesh
  int devices = 0;            // that it has; 0: not given
  int batch = 0;              // 0: not given
  std::vector<std::string> at;  // SYMBOL=N,…
  std::string rendezvous;     // of a job, see ranks.h
  double comm_timeout = 30;   // seconds
  int microbatches = 1;       // of a pipeline
  std::string tune;           // seconds; empty: not asked for
  std::string verify_key;     // of a .weft
  bool require_signature = false;
};

struct Cli {
  Args args;
  Common common;
  Log log;
  std::atomic<bool> cancel{false};
  std::string verb;
  std::function<Status()> work;  // set by the verb that was chosen
  int exit_code = 0;             // when work succeeds
  std::optional<api::Group> group;  // of a model with several ranks
  bool speaks = true;               // false: another rank says what came out, and writes the files

  Cli();
  bool in_job() const;  // the group's ranks are processes
  bool json() const { return !common.json.empty(); }
  // Prints {"schema": "weft.<verb>/1", …} to where --json says. Error kResources for a file that cannot be written.
  Status emit(const Json& body);
};

// A verb with --json, --log-level, --quiet, --progress; `work` runs after parsing.
Verb& add_verb(Cli& cli, const std::string& name, const std::string& help, std::function<Status()> work);
// --device, --threads
void add_thread_options(Verb& v, Cli& cli);
// These, and --target
void add_target_options(Verb& v, Cli& cli);
// Of what may be a .weft: its signature.
void add_signature_options(Verb& v, Cli& cli);
// --shapes, --external-data-root
void add_model_options(Verb& v, Cli& cli);
// These, and those of meshes and plans, -O, --disable-pass, --dump-ir, --cache-dir, --no-cache
void add_compile_options(Verb& v, Cli& cli);

// The options as compile() takes them, with callbacks to the log, for after parsing.
api::CompileOptions compile_options(Cli& cli);

Json to_json(const Error& e);
Json to_json(const api::CompileStats& s);
Json to_json(const std::vector<api::PortInfo>& ports);

void add_compile(Cli&);
void add_run(Cli&);
void add_bench(Cli&);
void add_verify(Cli&);
void add_inspect(Cli&);
void add_extract(Cli&);
void add_opt(Cli&);
void add_cache(Cli&);
void add_doctor(Cli&);
void add_launch(Cli&);
void add_plan(Cli&);
void add_quantize(Cli&);

// --- text on stdout ---------------------------------------------------------------------------------------------------

// Columns as wide as their widest cell; the first one to the left, the others to the right unless `left` names them.
std::string table(const std::vector<std::string>& heads, const std::vector<std::vector<std::string>>& rows, const std::vector<int>& left = {});
std::string ms_text(double ms);      // "0.123", "12.34", "1234.5"
std::string si_text(double v);       // "1.20 G"
std::string shorten(const std::string& s, size_t width);
void print(const std::string& text); // to stdout

}  // namespace weft::cli
