#include "tools/weft/bisect.h"

#include <algorithm>
#include <map>

#include "frontend/api/compilation.h"
#include "frontend/api/reference.h"
#include "tools/weft/search.h"

namespace weft::cli {

namespace {

using Values = std::vector<HostValue>;

bool is_step(const Op& op) { return op.kind != OpKind::constant && op.kind != OpKind::prepared; }

// Cuts the main graph behind `last`: what it and the ops before it give to later ops is what comes out.
void cut_behind(Module& m, const Op* last) {
  Graph& g = *m.main();
  std::vector<Op*> kept, later;
  for (auto& op : g.ops) (later.empty() && (kept.empty() || kept.back() != last) ? kept : later).push_back(op.get());
  auto is_read_later = [&](const Value& v) {
    return v.is_output() || std::any_of(v.uses.begin(), v.uses.end(), [&](const Use& u) {
      return std::find(later.begin(), later.end(), u.op) != later.end();
    });
  };
  std::vector<Value*> outputs;
  for (Op* op : kept)
    for (auto& r : op->results)
      if (is_step(*op) && r->type.is_ranked() && is_read_later(*r)) outputs.push_back(r.get());
  g.outputs = outputs;
  g.output_names.clear();
  for (const Value* v : outputs) {
    const std::string base = v->name.empty() ? op_name(v->def->kind) : v->name;
    std::string name = base;
    for (int k = 1; std::find(g.output_names.begin(), g.output_names.end(), name) != g.output_names.end(); ++k) name = base + "." + std::to_string(k);
    g.output_names.push_back(name);
  }
  while (!later.empty()) {
    g.erase(later.back());
    later.pop_back();
  }
  m.states.clear();
}

class Bisector {
 public:
  Bisector(const Module& imported, const Values& inputs, const VerifyOptions& o) : imported_(imported), inputs_(inputs), options_(o) {
    options_.compile.states.clear();
    options_.compile.dump_ir.clear();
    options_.compile.group.reset();  // parts are compiled for threads, whatever the whole ran on
    options_.compile.progress = nullptr;  // a line per stage of every try is no progress
  }

  Result<FirstWrong> run(const Values* recorded) {
    TRY_ASSIGN(want_, evaluate_values(imported_, inputs_, options_.compile.cancel));
    if (recorded)
      if (std::string wrong = difference(imported_, want_, *recorded); !wrong.empty()) return FirstWrong{"import", "", {}, wrong};
    std::vector<PassRun> runs;
    TRY_ASSIGN(std::unique_ptr<Module> optimised, passes_up_to("", &runs));
    TRY_ASSIGN(std::string wrong, wrong_evaluation(*optimised));
    return wrong.empty() ? first_op(*optimised) : first_pass(runs);
  }

 private:
  // The module after the passes up to PASS:k; all of them when that is empty.
  Result<std::unique_ptr<Module>> passes_up_to(const std::string& stop, std::vector<PassRun>* runs = nullptr) {
    Compilation c(options_.compile);
    c.adopt(imported_.clone());
    PipelineOptions o = c.pipeline_options();
    o.stop_after = stop;
    TRY(c.optimise(o, runs));
    return c.take_module();
  }

  std::string difference(const Module& m, const Values& got, const Values& want) const {
    if (got.size() != want.size()) return "other outputs";
    for (size_t i = 0; i < got.size(); ++i) {
      Difference d = compare_values(m.main()->output_names[i], got[i], want[i], options_);
      if (!d.ok) return d.reason;
    }
    return "";
  }
  // How the outputs of a module differ from those of the imported one; empty: they do not.
  Result<std::string> wrong_evaluation(const Module& m) {
    auto got = evaluate_values(m, inputs_, options_.compile.cancel);
    if (!got.ok() && got.error().code == Code::kCancelled) return std::move(got.error());
    return got.ok() ? difference(m, *got, want_) : "the evaluator: " + got.error().message;
  }

  Result<FirstWrong> first_pass(const std::vector<PassRun>& runs) {
    std::vector<std::string> steps;
    std::map<std::string, int> occurrences;
    for (const PassRun& r : runs) {
      int k = ++occurrences[r.name];
      if (r.changed) steps.push_back(r.name + ":" + std::to_string(k));
    }
    std::map<int, std::string> wrong;
    auto fails = [&](int k) -> Result<bool> {
      TRY_ASSIGN(std::unique_ptr<Module> m, passes_up_to(steps[k]));
      TRY_ASSIGN(wrong[k], wrong_evaluation(*m));
      return !wrong[k].empty();
    };
    TRY_ASSIGN(int first, first_failure(static_cast<int>(steps.size()), fails));
    if (!wrong.count(first)) TRY(fails(first));
    return FirstWrong{"pass", steps[first], {}, wrong[first]};
  }

  // How what is compiled differs from what is evaluated of the same module. What cannot be compiled does not count.
  Result<std::string> wrong_program(std::unique_ptr<Module> m) {
    auto want = evaluate_values(*m, inputs_, options_.compile.cancel);
    if (!want.ok()) return std::move(want.error());
    std::unique_ptr<Module> kept = m->clone();
    Compilation c(options_.compile);
    c.adopt(std::move(m));
    if (!c.lower().ok()) return std::string();
    TRY_ASSIGN(api::Executable exe, c.build());
    std::vector<std::string> names;
    for (const api::PortInfo& p : exe.inputs()) names.push_back(p.name);
    api::Context context = exe.context();
    TRY_ASSIGN(Values got, run_values(context, names, inputs_, {.cancel = options_.compile.cancel}));
    return difference(*kept, got, *want);
  }

  Result<FirstWrong> first_op(const Module& optimised) {
    std::vector<int> steps;  // numbers of ops
    std::vector<const Op*> ops;
    for (auto& op : optimised.main()->ops) {
      if (is_step(*op)) steps.push_back(static_cast<int>(ops.size()));
      ops.push_back(op.get());
    }
    std::map<int, std::string> wrong;
    auto fails = [&](int k) -> Result<bool> {
      std::unique_ptr<Module> m = optimised.clone();
      auto it = m->main()->ops.begin();
      std::advance(it, steps[k]);
      cut_behind(*m, it->get());
      TRY_ASSIGN(wrong[k], wrong_program(std::move(m)));
      return !wrong[k].empty();
    };
    int n = static_cast<int>(steps.size());
    bool reproduced = false;
    if (n > 0) {
      TRY_ASSIGN(reproduced, fails(n - 1));
    }
    if (!reproduced) return FirstWrong{"program", "", {}, "what is compiled of it without its states gives the evaluator's outputs"};
    TRY_ASSIGN(int first, first_failure(n, fails));
    const Op& op = *ops[steps[first]];
    return FirstWrong{"op", op.describe(), op.provenance, wrong[first]};
  }

  const Module& imported_;
  const Values& inputs_;
  VerifyOptions options_;
  Values want_;
};

}  // namespace

Result<FirstWrong> find_first_wrong(const Module& imported, const std::vector<HostValue>& inputs, const std::vector<HostValue>* recorded,
                                    const VerifyOptions& options) {
  return Bisector(imported, inputs, options).run(recorded);
}

}  // namespace weft::cli
