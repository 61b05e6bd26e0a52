// tune(): configurations of kernels by measuring them where they run, all kernels of the model at once.
#include <algorithm>
#include <chrono>
#include <set>

#include "frontend/api/compilation.h"
#include "frontend/api/runtime/group_state.h"

namespace weft {

namespace {

using Clock = std::chrono::steady_clock;

// What a kernel takes under each of its configurations.
struct Measured {
  std::string predicted, fastest;
  double predicted_ns = 0, fastest_ns = 0;
};

class Tuner {
 public:
  Tuner(const std::string& model, const api::CompileOptions& options, const api::TuneOptions& how)
      : model_(model), options_(options), how_(how),
        end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(how.seconds))) {
    options_.tuning.clear();
  }

  Result<api::TuneReport> run(Tuning known) {
    constexpr size_t kMostRanks = 6;
    for (size_t rank = 0; rank < kMostRanks && (rank == 0 || Clock::now() < end_); ++rank) {
      Tuning t = known;
      t.rank = rank;
      TRY_ASSIGN(bool more, measure(t, rank));
      if (!more) break;
    }
    api::TuneReport report;
    report.kernels = static_cast<int>(measured_.size());
    Tuning found = known;
    for (const auto& [key, m] : measured_) {
      if (m.fastest == m.predicted) continue;
      ++report.changed;
      found.chosen[key] = m.fastest;
    }
    TRY_ASSIGN(report.before_ms, latency(known));
    report.after_ms = report.before_ms;
    if (report.changed) {
      TRY_ASSIGN(report.after_ms, latency(found));
    }
    if (report.after_ms >= report.before_ms) {
      report.after_ms = report.before_ms;
      report.changed = 0;
      found = std::move(known);
    }
    report.table = print_tuning(found);
    return report;
  }

 private:
  struct Ready {
    std::map<std::string, SpecChoice> choices;  // by kernel
    std::optional<api::Executable> exe;
    std::optional<api::Context> context;
  };

  // `beyond`: built only when some kernel has more configurations than that.
  Result<Ready> ready(const Tuning& tuning, size_t beyond) {
    Ready r;
    Compilation c(options_);
    c.set_tuning(tuning);
    TRY(c.load_file(model_));
    TRY(c.apply_shapes());
    TRY(c.optimise());
    TRY(c.lower());
    const Lowered& l = c.lowered();
    for (size_t k = 0; k < l.specs.size(); ++k)
      if (l.specs[k].choice.candidates > std::max<size_t>(1, beyond)) r.choices[l.plan.kernels[k].name] = l.specs[k].choice;
    if (beyond && r.choices.empty()) return r;
    TRY_ASSIGN(r.exe, c.build());
    if (!inputs_) {
      TRY_ASSIGN(inputs_, how_.inputs(r.exe->inputs()));
    }
    r.context = r.exe->context();
    constexpr int kWarm = 3;  // recorded as a graph from the second on
    for (int i = 0; i < kWarm; ++i) TRY(once(r, nullptr));
    return r;
  }

  Status once(Ready& r, std::vector<api::ProfileEvent>* profile) {
    api::RunOptions o;
    o.cancel = options_.cancel;
    o.profile = profile;
    o.device_outputs = true;
    auto out = r.context->run(*inputs_, {}, o);
    // States that are full begin again.
    if (!out.ok() && out.error().code == Code::kResources && !r.exe->states().empty()) {
      TRY(r.context->reset_states());
      out = r.context->run(*inputs_, {}, o);
    }
    if (!out.ok()) return std::move(out.error());
    return {};
  }

  // Whether there was anything to measure.
  Result<bool> measure(const Tuning& tuning, size_t rank) {
    constexpr int kRounds = 3, kRuns = 4;
    TRY_ASSIGN(Ready r, ready(tuning, rank));
    if (r.choices.empty()) return false;
    std::map<std::string, double> least;  // by kernel: of the rounds' means
    for (int round = 0; round < kRounds; ++round) {
      std::vector<api::ProfileEvent> events;
      for (int i = 0; i < kRuns; ++i) TRY(once(r, &events));
      for (const api::ProfileRow& row : r.exe->profile_rows(events, *r.context)) {
        if (!r.choices.count(row.name) || !row.calls) continue;
        const double ns = static_cast<double>(row.total_ns) / static_cast<double>(row.calls);
        auto [it, fresh] = least.emplace(row.name, ns);
        it->second = std::min(it->second, ns);
      }
    }
    constexpr double kWorth = 0.97;  // of the predicted one's time, or it is noise
    for (const auto& [kernel, ns] : least) {
      const SpecChoice& c = r.choices[kernel];
      auto [it, fresh] = measured_.emplace(c.key, Measured{c.name, c.name, ns, ns});
      Measured& m = it->second;
      if (ns >= m.fastest_ns || ns >= kWorth * m.predicted_ns) continue;
      m.fastest = c.name;
      m.fastest_ns = ns;
    }
    return true;
  }

  // The median of runs.
  Result<double> latency(const Tuning& tuning) {
    constexpr int kRuns = 21;
    TRY_ASSIGN(Ready r, ready(tuning, 0));
    std::vector<double> ms;
    for (int i = 0; i < kRuns; ++i) {
      const auto begin = Clock::now();
      TRY(once(r, nullptr));
      ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
    std::nth_element(ms.begin(), ms.begin() + kRuns / 2, ms.end());
    return ms[kRuns / 2];
  }

  const std::string& model_;
  api::CompileOptions options_;
  const api::TuneOptions& how_;
  Clock::time_point end_;
  std::optional<api::NamedTensors> inputs_;
  std::map<std::string, Measured> measured_;  // by key
};

}  // namespace

namespace api {

Result<TuneReport> tune(const std::string& model, const CompileOptions& options, const TuneOptions& how) {
  if (!how.inputs) return usage("tune() needs values for the inputs to run on");
  if (has_processes(options.group)) return usage("tune() measures in one process: each rank of a group would choose other kernels");
  Tuning known;
  if (!options.tuning.empty()) {
    TRY_ASSIGN(known, read_tuning(options.tuning));
  }
  return Tuner(model, options, how).run(std::move(known));
}

}  // namespace api

}  // namespace weft
