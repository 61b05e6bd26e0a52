#include "tools/weft/verify_case.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>

#include "frontend/api/compilation.h"
#include "frontend/api/reference.h"
#include "frontend/onnx/tensor_io.h"
#include "ir/base/text.h"
#include "ir/core/shapes.h"
#include "ir/ops/random.h"
#include "runtime/artefact/artefact.h"
#include "runtime/cpu/thread_pool.h"
#include "tools/weft/bisect.h"
#include "tools/weft/runner.h"

namespace weft::cli {

namespace fs = std::filesystem;

namespace {

// Whether the op's values differ from run to run or from library to library.
bool draws(const Op& op) { return has_trait(op, kNondeterministic) && !(op.kind == OpKind::dropout && drops_nothing(op)); }

// What a value that is to come out is called and what type it has, before passes and lowering consume the module.
struct Port {
  std::string name;
  Type type;
};

const char* kind_text(const HostValue& v) {
  static constexpr const char* kNames[] = {"a tensor", "a sequence", "no value", "a map"};
  return kNames[static_cast<int>(v.kind)];
}

Difference compare_tensors(const std::string& name, const api::Tensor& got, const api::Tensor& want, const VerifyOptions& o) {
  if (o.range_tolerance <= 0) return compare(name, got, want, o.rtol, o.atol);
  Summary s = summarise(want);
  return compare(name, got, want, 0, o.range_tolerance * (s.max - s.min));
}

class CaseRunner {
 public:
  CaseRunner(const VerifyCase& c, const VerifyOptions& o) : case_(c), options_(o), compilation_(o.compile) {}

  CaseResult run() {
    Status s = is_artefact(case_.model) ? whole() : case_.folder.empty() ? generated() : recorded();
    if (!s.ok()) set(s.error());
    return std::move(result_);
  }

 private:
  // An Error's status depends on how far things have come.
  void set(const Error& e) {
    const bool early = !built_ && e.code == Code::kUnsupported;
    result_.status = e.code == Code::kCancelled ? CaseStatus::cancelled : early ? CaseStatus::unsupported : CaseStatus::failed;
    result_.reason = e.message;
    if (e.code == Code::kUsage && !options_.compile.shapes.empty()) {
      result_.status = CaseStatus::misused;
      if (!e.hint.empty()) result_.reason += "; " + e.hint;
    }
    // What is unsupported is the same for every node of a kind.
    if (!early && !e.node.empty() && e.message.find(e.node) == std::string::npos) result_.reason += " (node " + e.node + ")";
  }
  Status skip(const std::string& why) {
    result_.status = CaseStatus::skipped;
    result_.reason = why;
    return {};
  }

  Status load() {
    TRY(compilation_.load_file(case_.model));
    TRY(compilation_.apply_shapes());
    const Graph& g = *compilation_.module().main();
    for (auto& in : g.inputs) inputs_.push_back({in->name, in->type});
    for (size_t i = 0; i < g.outputs.size(); ++i)
      outputs_.push_back({i < g.output_names.size() ? g.output_names[i] : g.outputs[i]->name, g.outputs[i]->type});
    random_ = false;
    walk_nested(*compilation_.module().main(), [&](const Op* op) { random_ = random_ || draws(*op); });
    return {};
  }

  Status check_all(const Artefact& a) const {
    TRY_ASSIGN(auto pool, ThreadPool::create(options_.compile.threads));
    return a.check(pool.get());
  }
  // A compiled model without the one that it was made of: nothing can be compared but its hashes.
  Status whole() {
    built_ = true;
    TRY_ASSIGN(auto artefact, Artefact::open(case_.model));
    std::optional<PublicKey> key;
    if (!options_.verify_key.empty()) {
      TRY_ASSIGN(key, read_public_key(options_.verify_key));
    }
    if (key || options_.require_signature) TRY(artefact->check_signature(key));
    return check_all(*artefact);
  }

  Status compile() {
    if (!options_.artefact.empty()) {
      built_ = true;
      api::LoadOptions o;
      o.device = options_.compile.device;
      o.threads = options_.compile.threads;
      o.verify_key = options_.verify_key;
      o.require_signature = options_.require_signature;
      o.group = options_.compile.group;
      TRY_ASSIGN(auto artefact, Artefact::open(options_.artefact));
      TRY(check_all(*artefact));
      TRY_ASSIGN(api::Executable loaded, api::Executable::load(options_.artefact, o));
      context_ = loaded.context();
      return {};
    }
    TRY(compilation_.optimise());
    states_ = compilation_.module().states;
    TRY(compilation_.lower());
    built_ = true;
    TRY_ASSIGN(api::Executable exe, compilation_.build());
    context_ = exe.context();
    return {};
  }

  // --- against recorded outputs

  Status recorded() {
    TRY(load());
    std::unique_ptr<Module> imported = options_.bisect ? compilation_.module().clone() : nullptr;
    TRY(is_eval(options_.compile) ? compilation_.share_out() : compile());
    if (!states_.empty()) return skip("recorded inputs are bound by the caller, those of states are not; leave --state out");
    std::vector<std::string> sets;
    for (const auto& entry : fs::directory_iterator(case_.folder))
      if (entry.path().filename().string().rfind("test_data_set_", 0) == 0) sets.push_back(entry.path().string());
    std::sort(sets.begin(), sets.end());
    for (const std::string& set : sets) {
      TRY_ASSIGN(std::vector<HostValue> in, read_values(set, "input_", inputs_));
      TRY_ASSIGN(std::vector<HostValue> want, read_values(set, "output_", outputs_));
      TRY_ASSIGN(std::vector<HostValue> got, compute(in));
      for (size_t i = 0; i < got.size(); ++i) hold(outputs_[i].name, got[i], want[i]);
      if (result_.status != CaseStatus::passed) {
        if (imported) bisect(*imported, in, &want);
        if (sets.size() > 1) result_.reason = fs::path(set).filename().string() + ": " + result_.reason;
        return {};
      }
    }
    if (random_) return skip("the model draws random numbers: types and dims agree, values cannot");
    return {};
  }

  static Result<std::vector<HostValue>> read_values(const std::string& folder, const std::string& prefix, const std::vector<Port>& ports) {
    std::vector<HostValue> values;
    for (size_t i = 0; i < ports.size(); ++i) {
      const std::string path = folder + "/" + prefix + std::to_string(i) + ".pb";
      if (!fs::exists(path))
        return invalid(fs::path(folder).filename().string() + " has no " + prefix + std::to_string(i) + ".pb for " + name_text(ports[i].name));
      Result<HostValue> v = read_value_file(path, ports[i].type);
      // What is inferred to be an optional may be declared, and so recorded, as what it holds.
      if (!v.ok() && ports[i].type.kind == Type::Kind::optional) v = read_value_file(path, *ports[i].type.elem);
      if (!v.ok()) return std::move(v.error());
      values.push_back(std::move(*v));
    }
    return values;
  }

  Result<std::vector<HostValue>> compute(std::vector<HostValue> in) {
    if (!context_) return evaluate_values(compilation_.module(), std::move(in), options_.compile.cancel);
    std::vector<std::string> names;
    for (const Port& p : inputs_) names.push_back(p.name);
    return run_values(*context_, names, in,
                      {.cancel = options_.compile.cancel, .check_numerics = options_.check_numerics, .microbatches = options_.microbatches});
  }

  // --- against the evaluator

  Status generated() {
    const bool eval = is_eval(options_.compile);
    if (eval && options_.compile.mesh.empty()) return skip("nothing to hold the evaluator against; choose another --target");
    TRY(load());
    if (random_) return skip("the model draws random numbers, which differ from run to run");
    InputHints hints = input_hints(compilation_.module());
    std::unique_ptr<Module> module = compilation_.module().clone();
    TRY_ASSIGN(std::vector<api::PortInfo> ports, describe_inputs(*module));
    Result<Inputs> in = make_inputs(ports, options_.inputs, hints);
    if (!in.ok()) return skip(in.error().message + (in.error().hint.empty() ? "" : "; " + in.error().hint));
    TRY(eval ? compilation_.share_out() : compile());
    if (!states_.empty()) return steps(*module, hints);
    TRY(step(*module, in->tensors, in->tensors));
    return bisect(*module, in->tensors);
  }

  // Both run: the evaluator's outputs, or nothing where the case cannot be judged. `bound`: without the values of states.
  Result<std::optional<api::NamedTensors>> step(const Module& module, const api::NamedTensors& all, const api::NamedTensors& bound) {
    auto want = evaluate_module(module, all, options_.compile.cancel);
    // Only a user knows which values make sense; random ones may be indices out of range.
    if (!want.ok() && want.error().code == Code::kInvalidModel)
      return unjudged("the generated inputs are no valid ones: " + want.error().message + "; give others with --shapes, --range or --input");
    if (!want.ok() && want.error().code == Code::kUnsupported) return unjudged("the evaluator: " + want.error().message);
    if (!want.ok()) return std::move(want.error());
    if (options_.compile.group) TRY(options_.compile.group->exchange("the run"));  // the evaluator takes each rank its own time
    api::RunOptions run;
    run.cancel = options_.compile.cancel;
    run.check_numerics = options_.check_numerics;
    run.microbatches = options_.microbatches;
    TRY_ASSIGN(api::NamedTensors got, context_ ? context_->run(bound, {}, run) : evaluate_module(compilation_.module(), bound, run.cancel));
    for (const api::NamedTensor& t : got) hold(t.name, t.tensor, (*want)[t.name]);
    return std::optional(std::move(*want));
  }
  std::optional<api::NamedTensors> unjudged(const std::string& why) {
    (void)skip(why);
    return std::nullopt;
  }

  // Steps of a model with states, from empty ones on.
  Status steps(const Module& module, const InputHints& hints) {
    if (!context_) return skip("the evaluator keeps no states; leave --state out");
    constexpr int kSteps = 4;
    std::map<std::string, api::Tensor> held;  // by state
    for (int k = 0; k < kSteps && result_.status == CaseStatus::passed; ++k) {
      SymbolValues lengths;
      for (const State& s : states_)
        if (s.kind == State::Kind::append) lengths[s.length.symbol_name()] = k == 0 ? 0 : held[s.name].dims()[s.axis];
      std::unique_ptr<Module> now = module.clone();
      TRY(bind_symbols(*now, lengths));
      TRY_ASSIGN(std::vector<api::PortInfo> ports, describe_inputs(*now));
      std::erase_if(ports, [&](const api::PortInfo& p) {
        return std::any_of(states_.begin(), states_.end(), [&](const State& s) { return s.input == p.name; });
      });
      InputOptions values = options_.inputs;
      values.seed += k;
      TRY_ASSIGN(Inputs in, make_inputs(ports, values, hints));
      api::NamedTensors all = in.tensors;
      for (const State& s : states_) {
        if (k == 0) {
          TRY_ASSIGN(held[s.name], empty_state(*now, s, in.tensors));
        }
        all.add(s.input, held[s.name]);
      }
      TRY_ASSIGN(std::optional<api::NamedTensors> want, step(*now, all, in.tensors));
      if (!want) return {};
      for (const State& s : states_) {
        held[s.name] = (*want)[s.output];
        TRY_ASSIGN(api::Tensor got, context_->state(s.name));
        hold(s.output, got, held[s.name]);
      }
      TRY(bisect(*now, all));
    }
    return {};
  }
  // Its dims follow from those of the other inputs.
  static Result<api::Tensor> empty_state(const Module& m, const State& s, const api::NamedTensors& others) {
    SymbolValues symbols;
    const Value* state = nullptr;
    for (auto& in : m.main()->inputs) {
      if (in->name == s.input) state = in.get();
      const api::Tensor* t = others.find(in->name);
      for (size_t d = 0; t && d < in->type.shape.size(); ++d)
        if (in->type.shape[d].is_symbol()) symbols[in->type.shape[d].symbol_name()] = t->dims()[d];
    }
    api::Tensor::Dims dims;
    for (const Dim& d : state->type.shape) {
      auto n = d.eval(symbols);
      if (!n) return usage("dim " + d.to_string() + " of state " + name_text(s.name) + " follows from no input; fix it with --shapes");
      dims.push_back(*n);
    }
    return api::Tensor::make(state->type.dtype, dims);
  }

  // --- comparison

  void fail(const std::string& why) {
    if (result_.status == CaseStatus::passed) result_.reason = why;
    result_.status = CaseStatus::failed;
  }

  void hold(const std::string& name, const api::Tensor& got, const api::Tensor& want) {
    if (random_ && got.dtype() == want.dtype() && got.dims() == want.dims()) return;
    note(compare_tensors(name_text(name), got, want, options_));
  }
  void hold(const std::string& name, const HostValue& got, const HostValue& want) {
    if (random_) {
      auto a = from_host_value(got), b = from_host_value(want);
      if (a.ok() && b.ok()) return hold(name, *a, *b);
    }
    note(compare_values(name, got, want, options_));
  }
  void note(const Difference& d) {
    result_.max_abs = std::max(result_.max_abs, d.max_abs);
    result_.max_rel = std::max(result_.max_rel, d.max_rel);
    if (!d.ok) fail(d.reason);
  }

  // What is wrong is known; this says where it comes from.
  Status bisect(const Module& imported, const api::NamedTensors& inputs) {
    if (!options_.bisect || result_.status != CaseStatus::failed) return {};
    std::vector<HostValue> values;
    for (auto& in : imported.main()->inputs) {
      TRY_ASSIGN(weft::Tensor host, to_host_tensor(inputs[in->name]));
      values.emplace_back(std::move(host));
    }
    bisect(imported, values, nullptr);
    return {};
  }
  void bisect(const Module& imported, const std::vector<HostValue>& inputs, const std::vector<HostValue>* recorded) {
    const bool speaks = !options_.compile.group || options_.compile.group->rank() == 0;
    if (!options_.bisect || result_.status != CaseStatus::failed || !context_ || !speaks) return;
    Result<FirstWrong> first = find_first_wrong(imported, inputs, recorded, options_);
    if (first.ok()) result_.first_wrong = std::move(*first);
    else result_.reason += "; --bisect: " + first.error().message;
  }

  const VerifyCase& case_;
  const VerifyOptions& options_;
  Compilation compilation_;
  std::vector<Port> inputs_, outputs_;
  std::vector<State> states_;
  std::optional<api::Context> context_;
  bool built_ = false, random_ = false;
  CaseResult result_;
};

}  // namespace

Difference compare_values(const std::string& name, const HostValue& got, const HostValue& want, const VerifyOptions& options) {
  Difference all;
  auto wrong = [&](const std::string& why) {
    all.ok = false;
    all.reason = name_text(name) + ": " + why;
    return all;
  };
  if (got.kind != want.kind) return wrong(std::string("got ") + kind_text(got) + ", expected " + kind_text(want));
  if (got.kind == HostValue::Kind::tensor) {
    auto a = from_host_value(got), b = from_host_value(want);
    if (!a.ok() || !b.ok()) return wrong((a.ok() ? b : a).error().message);
    return compare_tensors(name_text(name), *a, *b, options);
  }
  if (got.items.size() != want.items.size())
    return wrong("got " + std::to_string(got.items.size()) + " elements, expected " + std::to_string(want.items.size()));
  auto add = [&](const Difference& d) {
    all.max_abs = std::max(all.max_abs, d.max_abs);
    all.max_rel = std::max(all.max_rel, d.max_rel);
    if (all.ok) all.reason = d.reason;
    all.ok = all.ok && d.ok;
  };
  for (size_t i = 0; i < got.items.size(); ++i) add(compare_values(name + "[" + std::to_string(i) + "]", got.items[i], want.items[i], options));
  for (size_t i = 0; i < std::min(got.keys.size(), want.keys.size()); ++i)
    add(compare_values(name + ".keys", HostValue(got.keys[i]), HostValue(want.keys[i]), options));
  return all;
}

const char* status_name(CaseStatus s) {
  static constexpr const char* kNames[] = {"passed", "failed", "unsupported", "skipped", "cancelled", "misused"};
  return kNames[static_cast<int>(s)];
}

CaseResult run_case(const VerifyCase& c, const VerifyOptions& options) {
  auto begin = std::chrono::steady_clock::now();
  CaseResult r = CaseRunner(c, options).run();
  r.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return r;
}

}  // namespace weft::cli
