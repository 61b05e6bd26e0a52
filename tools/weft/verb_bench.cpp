// weft bench: how long a model takes, run again and again; per kernel on demand.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <thread>

#include "frontend/api/reference.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"
#include "tools/weft/bench_collectives.h"
#include "tools/weft/npy.h"
#include "tools/weft/planning.h"
#include "tools/weft/ranks.h"
#include "tools/weft/roof.h"
#include "tools/weft/runner.h"
#include "tools/weft/tuning.h"

namespace weft::cli {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

struct BenchArgs {
  std::string model, trace;
  InputOptions inputs;
  int64_t warmup = 5, iterations = 0;
  double duration = 0;
  int concurrency = 1;
  bool profile = false, no_transfers = false, reset_states = false, collectives = false, alone = false;
};

struct Timing {
  std::vector<double> ms;  // sorted
  double wall_s = 0;
  double mean = 0, deviation = 0;
  std::optional<double> queued_ms;  // of a run when none waits for the one before
  double calling_ms = 0;            // what such a run takes of the calling thread, when no other is queued
  // The least value that a share of all does not exceed.
  double percentile(double share) const {
    auto n = static_cast<double>(ms.size());
    return ms[static_cast<size_t>(std::clamp(std::ceil(share * n) - 1, 0.0, n - 1))];
  }
  double median() const { return (ms[(ms.size() - 1) / 2] + ms[ms.size() / 2]) / 2; }
};

// One thread of execution: a context of its own, or the evaluator.
class Worker {
 public:
  Worker(const Runner& r, const Inputs& in, bool reset_states)
      : runner_(r), inputs_(in), reset_states_(reset_states), outputs_(r.outputs.size()) {
    if (r.exe) context_ = r.exe->context();
    for (const api::PortInfo& p : r.inputs) tensors_.push_back(in.tensors[p.name]);
  }
  Status upload() {
    for (api::Tensor& t : tensors_) {
      TRY_ASSIGN(t, runner_.exe->upload(t));
    }
    return {};
  }
  Status run(const api::RunOptions& options) {
    if (context_) {
      if (reset_states_) TRY(context_->reset_states());
      Status s = context_->run(tensors_, outputs_, options);
      // States that grow are full some day.
      if (s.ok() || s.error().code != Code::kResources || runner_.exe->states().empty()) return s;
      TRY(context_->reset_states());
      return context_->run(tensors_, outputs_, options);
    }
    TRY(evaluate_module(*runner_.module, inputs_.tensors, options.cancel));
    return {};
  }
  api::Context& context() { return *context_; }

 private:
  const Runner& runner_;
  const Inputs& inputs_;
  bool reset_states_;
  std::optional<api::Context> context_;
  std::vector<api::Tensor> tensors_, outputs_;
};

class Bench {
 public:
  Bench(Cli& cli, const BenchArgs& a, const Runner& r, const Inputs& in) : cli_(cli), a_(a) {
    options_.cancel = &cli.cancel;
    options_.microbatches = cli.common.microbatches;
    options_.device_outputs = a.no_transfers;
    for (int i = 0; i < a.concurrency; ++i) workers_.emplace_back(r, in, a.reset_states);
  }

  Status warm_up() {
    if (a_.no_transfers)
      for (Worker& w : workers_) TRY(w.upload());
    for (Worker& w : workers_)
      for (int64_t i = 0; i < std::max<int64_t>(a_.warmup, 1); ++i) TRY(w.run(options_));
    return {};
  }

  // All workers at once, until each has done its iterations or the time is up.
  Result<Timing> measure() {
    const double limit = a_.duration > 0 ? a_.duration : a_.iterations > 0 ? INFINITY : 3;
    std::vector<std::thread> threads;
    begin_ = Clock::now();
    for (size_t i = 1; i < workers_.size(); ++i) threads.emplace_back([this, i, limit] { work(workers_[i], limit, false); });
    work(workers_[0], limit, true);
    for (std::thread& t : threads) t.join();
    timing_.wall_s = seconds_since(begin_);
    cli_.log.end_progress();
    if (error_) return std::move(*error_);
    std::sort(timing_.ms.begin(), timing_.ms.end());
    double sum = 0, squares = 0;
    for (double v : timing_.ms) sum += v;
    timing_.mean = sum / static_cast<double>(timing_.ms.size());
    for (double v : timing_.ms) squares += (v - timing_.mean) * (v - timing_.mean);
    timing_.deviation = std::sqrt(squares / static_cast<double>(timing_.ms.size()));
    return std::move(timing_);
  }

  // Runs in batches of a tenth of a second, each queued behind the one before; the middle of five batches.
  Result<double> queued(double ms) {
    api::RunOptions o = options_;
    o.wait = false;
    TRY_ASSIGN(const int64_t runs, same_for_all(cli_, std::clamp<int64_t>(static_cast<int64_t>(100 / std::max(ms, 1e-3)), 3, 10000)));
    std::vector<double> means;
    for (int k = 0; k < 5; ++k) {
      auto begin = Clock::now();
      for (int64_t i = 0; i < runs; ++i) TRY(workers_[0].run(o));
      TRY(workers_[0].context().finish());
      means.push_back(seconds_since(begin) * 1e3 / static_cast<double>(runs));
    }
    std::sort(means.begin(), means.end());
    return means[2];
  }
  // The median of single calls that do not wait, after each of which all is waited for.
  Result<double> calling() {
    constexpr int kCalls = 101;
    api::RunOptions o = options_;
    o.wait = false;
    std::vector<double> ms;
    for (int i = 0; i < kCalls; ++i) {
      auto begin = Clock::now();
      TRY(workers_[0].run(o));
      ms.push_back(seconds_since(begin) * 1e3);
      TRY(workers_[0].context().finish());
    }
    std::nth_element(ms.begin(), ms.begin() + kCalls / 2, ms.end());
    return ms[kCalls / 2];
  }

  // Separate runs: taking times costs time.
  Status profile(int64_t runs) {
    api::RunOptions o = options_;
    o.profile = &events_;
    for (int64_t i = 0; i < runs; ++i) TRY(workers_[0].run(o));
    return {};
  }
  const std::vector<api::ProfileEvent>& events() const { return events_; }
  const api::Context& context() { return workers_[0].context(); }

 private:
  // How many runs come next. Of ranks that are processes the first one says so, for about a tenth of a second, since all have to
  // make as many.
  Result<int64_t> more_runs(int64_t done, double limit) const {
    if (!cli_.in_job()) return INT64_MAX;
    const double elapsed = seconds_since(begin_);
    const int64_t some = done ? std::clamp<int64_t>(static_cast<int64_t>(0.1 * static_cast<double>(done) / elapsed), 1, 1 << 20) : 1;
    return same_for_all(cli_, elapsed >= limit ? 0 : some);
  }
  void work(Worker& w, double limit, bool tell) {
    std::vector<double> ms;
    double told = 0;
    for (int64_t i = 0, end = 0; a_.iterations <= 0 || i < a_.iterations; ++i) {
      if (i == end) {
        Result<int64_t> more = more_runs(i, limit);
        if (!more.ok()) fail(std::move(more.error()));
        if (!more.ok() || *more <= 0) break;
        end = std::min(*more, INT64_MAX - i) + i;
      }
      auto begin = Clock::now();
      Status s = w.run(options_);
      ms.push_back(seconds_since(begin) * 1e3);
      double elapsed = seconds_since(begin_);
      if (!s.ok()) fail(std::move(s.error()));
      if (stop_ || (elapsed >= limit && !cli_.in_job())) break;
      if (!tell || elapsed - told < 0.5) continue;
      told = elapsed;
      cli_.log.progress("bench " + std::to_string(i + 1) + (a_.iterations > 0 ? "/" + std::to_string(a_.iterations) : "") + " runs", elapsed);
    }
    std::lock_guard lock(mutex_);
    timing_.ms.insert(timing_.ms.end(), ms.begin(), ms.end());
  }

  void fail(Error e) {
    std::lock_guard lock(mutex_);
    error_ = std::move(e);
    stop_ = true;
  }

  Cli& cli_;
  const BenchArgs& a_;
  api::RunOptions options_;
  std::vector<Worker> workers_;
  std::vector<api::ProfileEvent> events_;
  Clock::time_point begin_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // of what follows
  std::optional<Error> error_;
  Timing timing_;
};

// --- per kernel -------------------------------------------------------------------------------------------------------

struct Profile {
  std::vector<api::ProfileRow> rows;
  std::optional<Roof> roof;  // of this machine's processors; none for kernels that run on a GPU
  int64_t runs = 0, total_ns = 0;
  double share_of_roof(const api::ProfileRow& r) const {
    return r.total_ns > 0 ? roof->seconds(r.flops, r.bytes, r.calls) / (static_cast<double>(r.total_ns) * 1e-9) : 0;
  }
};

Json profile_json(const Profile& p) {
  Json j, kernels = Json::array();
  j["runs"] = p.runs;
  if (p.roof) {
    Json rates = Json::array();
    for (const auto& [limit, rate] : p.roof->bytes_per_s) {
      Json r;
      r["up_to_bytes"] = limit == INT64_MAX ? Json() : Json(limit);
      r["bytes_per_s"] = rate;
      rates.push_back(r);
    }
    j["roof"]["flops_per_s"] = p.roof->flops_per_s;
    j["roof"]["copy"] = rates;
  }
  for (const api::ProfileRow& r : p.rows) {
    Json k;
    k["name"] = r.name;
    k["nodes"] = r.nodes;
    k["calls"] = r.calls;
    k["total_ms"] = static_cast<double>(r.total_ns) * 1e-6;
    k["share"] = static_cast<double>(r.total_ns) / static_cast<double>(p.total_ns);
    k["flops"] = r.flops;
    k["bytes"] = r.bytes;
    k["share_of_roof"] = p.roof && r.flops + r.bytes > 0 ? Json(p.share_of_roof(r)) : Json();
    kernels.push_back(k);
  }
  j["kernels"] = kernels;
  return j;
}

std::string percent(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1f %%", v * 100);
  return buffer;
}

std::string profile_text(const Profile& p) {
  constexpr size_t kRows = 30;
  std::vector<std::vector<std::string>> rows;
  const double runs = static_cast<double>(p.runs), total = static_cast<double>(p.total_ns);
  double rest = 0;
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const api::ProfileRow& r = p.rows[i];
    const double ns = static_cast<double>(r.total_ns);
    if (i >= kRows) {
      rest += ns;
      continue;
    }
    const bool known = r.flops + r.bytes > 0 && ns > 0;
    rows.push_back({shorten(r.name, 12), si_text(static_cast<double>(r.calls) / runs), ms_text(ns / runs * 1e-6),
        percent(ns / total), known ? si_text(r.flops / ns * 1e9) : "", known ? si_text(r.bytes / ns * 1e9) : "",
        known && p.roof ? percent(p.share_of_roof(r)) : "", shorten(join(r.nodes, ", "), 64)});
  }
  if (rest > 0)
    rows.push_back({std::to_string(p.rows.size() - kRows) + " more", "", ms_text(rest / runs * 1e-6), percent(rest / total), "", "", "", ""});
  const std::string kernels = table({"kernel", "calls", "ms/run", "share", "flop/s", "B/s", "of roof", "nodes"}, rows, {7});
  if (!p.roof) return "\n" + kernels;
  std::string text = "\nroof of this machine, measured now: " + si_text(p.roof->flops_per_s) + "flop/s, copies";
  for (const auto& [limit, rate] : p.roof->bytes_per_s)
    text += (limit == INT64_MAX ? " beyond " : " up to " + human_bytes(static_cast<double>(limit)) + " ") + si_text(rate) + "B/s" +
            (limit == INT64_MAX ? "" : ",");
  return text + "\n" + kernels;
}

// Chrome's trace format: chrome://tracing and Perfetto read it.
std::string trace_text(const api::Executable& exe, const std::vector<api::ProfileEvent>& events) {
  std::map<int, std::string> names;
  Json list = Json::array();
  for (const api::ProfileEvent& e : events) {
    auto [it, fresh] = names.emplace(e.command, "");
    if (fresh) it->second = exe.command_name(e.command);
    Json j;
    j["name"] = it->second;
    j["ph"] = "X";
    j["ts"] = static_cast<double>(e.start_ns - events.front().start_ns) * 1e-3;
    j["dur"] = static_cast<double>(e.end_ns - e.start_ns) * 1e-3;
    j["pid"] = 1;
    j["tid"] = 1;
    list.push_back(j);
  }
  Json out;
  out["traceEvents"] = list;
  out["displayTimeUnit"] = "ms";
  return out.dump() + "\n";
}

// --- report -----------------------------------------------------------------------------------------------------------

Json latency_json(const Timing& t) {
  Json j;
  j["min"] = t.ms.front();
  j["mean"] = t.mean;
  j["median"] = t.median();
  j["p90"] = t.percentile(0.9);
  j["p99"] = t.percentile(0.99);
  j["max"] = t.ms.back();
  return j;
}

std::string report_text(const Runner& r, const BenchArgs& a, const Timing& t) {
  std::string text = "target       " + r.target + ", " + std::to_string(r.exe ? r.exe->threads() : 1) + " threads" +
                     (a.concurrency > 1 ? ", " + std::to_string(a.concurrency) + " runs at once" : "") + "\n";
  text += "compile      " + ms_text(r.stats.total_ms) + " ms";
  if (r.exe)
    text += " (" + std::to_string(r.stats.kernels_compiled) + " kernels compiled, " + std::to_string(r.stats.kernels_cached) + " from the cache)";
  text += "\nruns         " + std::to_string(t.ms.size()) + " in " + ms_text(t.wall_s * 1e3) + " ms, after " +
          std::to_string(std::max<int64_t>(a.warmup, 1)) + " to warm up\n";
  text += "throughput   " + ms_text(static_cast<double>(t.ms.size()) / t.wall_s) + " runs/s\n";
  text += "latency, ms  min " + ms_text(t.ms.front()) + "  mean " + ms_text(t.mean) + "  median " + ms_text(t.median()) + "  p90 " +
          ms_text(t.percentile(0.9)) + "  p99 " + ms_text(t.percentile(0.99)) + "  max " + ms_text(t.ms.back()) + "\n";
  if (t.queued_ms) text += "queued       " + ms_text(*t.queued_ms) + " ms a run, when none waits for the one before; " + ms_text(t.calling_ms) +
                      " ms of the calling thread\n";
  if (t.deviation > 0.1 * t.mean)
    text += "             times vary (standard deviation " + percent(t.deviation / t.mean) +
            " of the mean): trust the median, and close what else runs\n";
  return text;
}

// A rank's time by itself with what exchanges are priced at.
double together_ms(const Timing& t, const Prediction& p) { return t.median() + (p.exchange_seconds() - p.hidden_s) * 1e3; }
std::string alone_text(const Timing& t, const Prediction& p) {
  return "alone        a rank takes " + ms_text(t.median()) + " ms by itself (its results mean nothing); exchanges are priced at " +
         ms_text(p.exchange_seconds() * 1e3) + " ms, of which " + ms_text(p.hidden_s * 1e3) + " hidden\n" + "together     " + ms_text(together_ms(t, p)) +
         " ms; the planner expects " + ms_text(p.seconds() * 1e3) + "\n";
}

Result<Profile> take_profile(const Cli& cli, Bench& bench, const Runner& r, const Timing& t) {
  Profile p;
  TRY_ASSIGN(p.runs, same_for_all(cli, std::clamp<int64_t>(static_cast<int64_t>(500 / std::max(t.median(), 1e-3)), 1, 20)));
  TRY(bench.profile(p.runs));
  p.rows = r.exe->profile_rows(bench.events(), bench.context());
  for (const api::ProfileRow& row : p.rows) p.total_ns += row.total_ns;
  p.total_ns = std::max<int64_t>(p.total_ns, 1);
  TRY_ASSIGN(Target target, parse_target(r.target));
  if (target.backend == Backend::cpu && cli.speaks) p.roof = measure_roof(target, r.exe->threads());
  return p;
}

Status bench_model(Cli& cli, const BenchArgs& a) {
  if (a.collectives) return a.model.empty() ? bench_collectives(cli) : Status(usage("--collectives measures exchanges without a model"));
  if (a.model.empty()) return usage("a model is missing: an .onnx, .weft or .wir file");
  TRY(join_ranks(cli, a.model, a.alone));
  if (a.alone && !cli.group) return usage("--alone is for models of several ranks: give --tp or --mesh");
  if (cli.group && a.concurrency > 1) return usage("--concurrency is for models of one rank: the ranks of others make one run at a time");
  std::optional<MeshCandidate> predicted;
  if (a.alone) {
    if (is_artefact(a.model)) return usage("--alone prices exchanges of a model: give it, not what was compiled of it");
    TRY_ASSIGN(predicted, predict_mesh(cli, a.model));
    if (!predicted->impossible.empty()) return invalid(predicted->impossible);
  }
  TRY(tune_if_asked(cli, a.model, a.inputs));
  TRY_ASSIGN(Runner r, make_runner(cli, a.model));
  if (!r.exe && (a.profile || !a.trace.empty())) return usage("--profile and --trace need a compiled model; --target eval compiles none");
  if (!r.exe && a.no_transfers) return usage("--no-transfers needs a compiled model; the evaluator has no device");
  TRY_ASSIGN(Inputs in, make_inputs(r.inputs, a.inputs, r.hints));
  for (const std::string& note : in.notes) cli.log.info(note);
  Bench bench(cli, a, r, in);
  TRY(bench.warm_up());
  TRY_ASSIGN(Timing t, bench.measure());
  if (a.no_transfers) {
    TRY_ASSIGN(t.queued_ms, bench.queued(t.median()));
    TRY_ASSIGN(t.calling_ms, bench.calling());
  }
  std::optional<Profile> profile;
  if (a.profile || !a.trace.empty()) {
    TRY_ASSIGN(profile, take_profile(cli, bench, r, t));
  }
  if (!cli.speaks) return {};
  if (!a.trace.empty()) TRY(write_file(a.trace, trace_text(*r.exe, bench.events())));
  if (!cli.json()) {
    print(report_text(r, a, t) + (predicted ? alone_text(t, predicted->prediction) : "") + (a.profile ? profile_text(*profile) : ""));
    return {};
  }
  Json j;
  j["model"] = a.model;
  j["target"] = r.target;
  j["threads"] = r.exe ? r.exe->threads() : 1;
  j["concurrency"] = a.concurrency;
  j["compile_ms"] = r.stats.total_ms;
  j["warmup"] = std::max<int64_t>(a.warmup, 1);
  j["iterations"] = static_cast<int64_t>(t.ms.size());
  j["duration_s"] = t.wall_s;
  j["latency_ms"] = latency_json(t);
  if (t.queued_ms) {
    j["queued_ms"] = *t.queued_ms;
    j["calling_ms"] = t.calling_ms;
  }
  if (predicted) {
    const Prediction& p = predicted->prediction;
    j["alone"]["exchange_ms"] = p.exchange_seconds() * 1e3;
    j["alone"]["hidden_ms"] = p.hidden_s * 1e3;
    j["alone"]["together_ms"] = together_ms(t, p);
    j["alone"]["predicted_ms"] = p.seconds() * 1e3;
  }
  j["throughput_per_s"] = static_cast<double>(t.ms.size()) / t.wall_s;
  j["notes"] = in.notes;
  if (r.exe) j["compile"] = to_json(r.stats);
  if (a.profile) j["profile"] = profile_json(*profile);
  return cli.emit(j);
}

}  // namespace

void add_bench(Cli& cli) {
  auto a = std::make_shared<BenchArgs>();
  Verb& v = add_verb(cli, "bench", "Measure latency and throughput of a model", [&cli, a] { return bench_model(cli, *a); });
  v.positional("model", a->model, "an .onnx, .weft or .wir file", false);
  add_input_options(v, a->inputs);
  v.number("--warmup", a->warmup, "runs before measuring, at least 1");
  v.number("--iterations", a->iterations, "measured runs of each worker; 0: as many as --duration allows");
  v.number("--duration", a->duration, "seconds to measure at most; default: 3, and without limit when --iterations is given");
  v.number("--concurrency", a->concurrency, 1, 256, "workers that run the model at once, each with a context of its own");
  v.flag("--no-transfers", a->no_transfers,
         "inputs are moved to the GPU once and outputs stay there; also times runs that do not wait for the one before");
  v.flag("--reset-states", a->reset_states, "states begin anew in every run, as for a prompt; left out, each run goes on from the one before");
  v.flag("--profile", a->profile, "time in ms, flop/s, bytes/s and share of the machine's roof of each kernel, from runs of their own");
  v.text("--trace", a->trace, "write those runs to a file in Chrome's trace format (JSON, times in µs)");
  v.flag("--collectives", a->collectives,
         "no model: us, bytes/s, bus bytes/s and share of the link of what ranks of --tp N (or --mesh) exchange, by transport, kind and size");
  v.flag("--alone", a->alone,
         "one rank of --tp N (or --mesh) runs without the others and exchanges nothing; what exchanges would add is priced as `weft plan` does");
  add_target_options(v, cli);
  add_signature_options(v, cli);
  add_compile_options(v, cli);
  add_rank_options(v, cli);
  add_tune_option(v, cli);
  v.epilog(
      "\nLatencies are in ms, throughput in runs a second.\n"
      "Examples:\n"
      "  weft bench model.onnx --shapes x=1x3x48x320 --iterations 200 --profile\n"
      "  weft bench --collectives --tp 2\n"
      "  weft bench model.onnx --concurrency 4 --threads 1 --json");
}

}  // namespace weft::cli
