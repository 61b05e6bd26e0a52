// The public Context: names to positions, Tensors to the runtime's views.
#include <algorithm>

#include "frontend/api/runtime/executable_state.h"
#include "frontend/api/runtime/pipeline.h"
#include "frontend/api/runtime/rank_team.h"
#include "frontend/api/runtime/shared_state.h"
#include "frontend/api/runtime/snapshot.h"
#include "frontend/api/runtime/tensor_access.h"
#include "ir/base/result.h"
#include "ir/base/text.h"

namespace weft::api {

struct Context::Impl {
  std::shared_ptr<const Executable::State> state;
  std::vector<TensorView> inputs, outputs;       // of the run under way; their vectors keep their memory
  std::vector<weft::ProfileEvent> events;
  // A rank that runs here. Ranks read the same inputs; what several have computed, the first one gives.
  struct Rank {
    std::vector<weft::Context> contexts;         // one for each part of the batch
    const Ports::OfStage* ports = nullptr;
    std::vector<char> gives;                     // by output of its plan
    std::vector<std::vector<TensorView>> outputs;  // by part and output
  };
  std::vector<Rank> ranks;
  std::vector<char> missing;                     // outputs that only other processes compute
  std::unique_ptr<Pipeline> pipeline;            // null: there is one stage
  std::unique_ptr<RankTeam> team;
  Snapshots snapshots;

  explicit Impl(std::shared_ptr<const Executable::State> s) : state(std::move(s)) {
    inputs.resize(state->ports.inputs.size());
    outputs.resize(state->ports.outputs.size());
    missing.assign(outputs.size(), 1);
    if (state->ports.stages.size() > 1) pipeline = std::make_unique<Pipeline>(*state);
    add(state->exe);
    for (auto& peer : state->peers) add(peer);
    if (ranks.size() > 1) team = std::make_unique<RankTeam>(static_cast<int>(ranks.size()));
  }
  void add(const std::shared_ptr<const ExecutableImpl>& exe) {
    Rank r;
    r.contexts.emplace_back(exe);
    r.ports = &state->ports.stages[static_cast<size_t>(std::max(plan_of(*exe).stage, 0))];
    for (int number : r.ports->outputs) r.gives.push_back(std::exchange(missing[static_cast<size_t>(number)], 0));
    r.outputs.assign(1, std::vector<TensorView>(r.ports->outputs.size()));
    ranks.push_back(std::move(r));
  }
  // A context of every rank for each part of a batch.
  void make_parts(size_t parts) {
    for (size_t r = 0; r < ranks.size(); ++r)
      while (ranks[r].contexts.size() < parts) {
        ranks[r].contexts.emplace_back(r == 0 ? state->exe : state->peers[r - 1]);
        ranks[r].outputs.emplace_back(ranks[r].ports->outputs.size());
      }
  }
  std::vector<SnapshotRank> snapshot_ranks() {
    std::vector<SnapshotRank> out;
    for (size_t r = 0; r < ranks.size(); ++r)
      out.push_back({state->group ? state->group->rank : static_cast<int>(r), &plan_of(r == 0 ? *state->exe : *state->peers[r - 1]), ranks[r].contexts});
    return out;
  }
  // f(rank, its number) for every rank of this process at once.
  template <class F>
  Status on_ranks(F&& f) {
    if (!team) {
      Status s = f(ranks[0], 0);
      // Others may wait for this rank; what was wrong before it began they find by themselves.
      if (!s.ok() && state->group && s.error().code != Code::kUsage && s.error().code != Code::kResources) Group(state->group).abort(s.error());
      return s;
    }
    return team->run([&](int r) { return f(ranks[static_cast<size_t>(r)], r); },
                     [&](const Error& why) {
                       // At once: what one of them frees may wait for the work of another one.
                       std::vector<std::thread> threads;
                       for (auto& peer : state->peers) threads.emplace_back([&] { abort_collectives(*peer, why); });
                       abort_collectives(*state->exe, why);
                       for (std::thread& t : threads) t.join();
                     });
  }
  template <class F>
  Status on_contexts(F&& f) {
    return on_ranks([&](Rank& rank, int) -> Status {
      for (weft::Context& c : rank.contexts) TRY(f(c, rank));
      return {};
    });
  }
  // One part of the batch on one rank; `out` is of all outputs of the model.
  Status run_part(Rank& rank, size_t part, std::span<const TensorView> in, std::span<TensorView> out, const weft::RunOptions& o) {
    std::vector<TensorView>& mine = rank.outputs[part];
    for (size_t i = 0; i < mine.size(); ++i)
      if (rank.gives[i]) mine[i] = out[static_cast<size_t>(rank.ports->outputs[i])];
    TRY(rank.contexts[part].run(in, mine, o));
    for (size_t i = 0; i < mine.size(); ++i)
      if (rank.gives[i]) out[static_cast<size_t>(rank.ports->outputs[i])] = mine[i];
    return {};
  }
  Status run(const RunOptions& options) {
    weft::RunOptions o;
    o.cancel = options.cancel;
    o.device_outputs = options.device_outputs;
    o.check_numerics = options.check_numerics;
    o.faulty_nodes = options.faulty_nodes;
    o.wait = options.wait;
    o.stream = options.stream;
    events.clear();
    if (options.profile) o.profile = &events;
    size_t parts = 1;
    if (options.microbatches != 1 || pipeline) {
      TRY(check_parts(options));
      parts = static_cast<size_t>(options.microbatches);
      make_parts(parts);
      if (parts > 1) TRY(pipeline->cut(inputs, outputs, parts));
      o.wait = o.wait || parts > 1 || state->group;
    }
    Status s = on_ranks([&](Rank& rank, int number) -> Status {
      weft::RunOptions mine = o;
      std::vector<weft::ProfileEvent> own;
      if (number > 0) {
        // All ranks run in one way: NCCL does not meet ranks of which some record graphs and others do not.
        if (o.profile) mine.profile = &own;
        mine.faulty_nodes = nullptr;
        mine.stream = nullptr;
      }
      if (parts == 1) return run_part(rank, 0, inputs, outputs, mine);
      for (size_t k = 0; k < parts; ++k) TRY(run_part(rank, k, pipeline->inputs(k), pipeline->outputs(k), mine));
      return {};
    });
    for (const weft::ProfileEvent& e : events) options.profile->push_back({e.command, e.start_ns, e.end_ns});
    TRY(s);
    if (parts > 1) TRY(pipeline->join(outputs, missing));
    return pipeline && state->group ? pipeline->share(outputs, *state->group) : Status{};
  }
  Status check_parts(const RunOptions& options) const {
    if (options.microbatches < 1 || options.microbatches > kMaxStages)
      return usage(std::to_string(options.microbatches) + " microbatches").with_hint("1 to " + std::to_string(kMaxStages));
    if (options.microbatches > 1 && !pipeline) return usage("microbatches are for models that are cut into stages").with_hint("compile with --pp N");
    if (options.device_outputs && (options.microbatches > 1 || state->group))
      return unsupported("outputs that stay on a GPU, of stages that are processes or with microbatches");
    return {};
  }
  // Whether outputs that the caller does not give stay on a device.
  bool stays(const RunOptions& options) const { return options.device_outputs && device_of(*state->exe); }
  // Of several ranks.
  Result<Tensor> whole_state(int number) {
    const StateInfo& info = state->ports.states[static_cast<size_t>(number)];
    Tensor whole;
    std::optional<StatePart> part;
    Status s;
    for (size_t r = 0; r < ranks.size() && s.ok(); ++r) {
      const std::vector<int>& numbers = ranks[r].ports->states;
      const auto at = std::find(numbers.begin(), numbers.end(), number);
      if (at == numbers.end()) continue;  // another stage's
      auto mine = part_of_state(plan_of(r == 0 ? *state->exe : *state->peers[r - 1]), static_cast<int>(at - numbers.begin()),
                                state->group ? state->group->rank : static_cast<int64_t>(r), ranks[r].contexts[0]);
      if (!mine.ok()) s = std::move(mine.error());
      else if (state->group) part = std::move(*mine);
      else s = put_part(*mine, whole);
    }
    if (!state->group) return s.ok() ? Result<Tensor>(std::move(whole)) : std::move(s.error());
    Result<std::optional<StatePart>> mine = std::move(part);
    if (!s.ok()) mine = std::move(s.error());
    return gather_state(info.name, info.dtype, mine, state->group);
  }
  Result<int> state_number(std::string_view name) const {
    for (size_t i = 0; i < state->ports.states.size(); ++i)
      if (state->ports.states[i].name == name) return static_cast<int>(i);
    return usage("the model has no state " + name_text(name));
  }
};

namespace {

std::string names_of(const std::vector<PortInfo>& ports) {
  std::vector<std::string> names;
  for (const PortInfo& p : ports) names.push_back(name_text(p.name));
  return ports.empty() ? "none" : join(names, ", ");
}

Error tensor_error(const char* kind, const std::string& name, const std::string& what) {
  Error e = usage(std::string(kind) + " " + name_text(name) + " " + what);
  return e.at_tensor(name), e;
}

Result<int> position(const char* kind, const std::vector<PortInfo>& ports, const std::string& name) {
  for (size_t i = 0; i < ports.size(); ++i)
    if (ports[i].name == name) return static_cast<int>(i);
  Error e = tensor_error(kind, name, "is not one of the model");
  e.with_hint(std::string("it has: ") + names_of(ports));
  return e;
}

Status set_input(const PortInfo& port, const Tensor& t, TensorView& view) {
  if (t.empty()) return tensor_error("input", port.name, "is missing");
  TensorAccess::to_view(t, view);
  return {};
}

Status set_output(const PortInfo& port, const Tensor& t, TensorView& view) {
  if (t.read_only()) return tensor_error("output", port.name, "is given a read-only tensor");
  TensorAccess::to_view(t, view);
  return {};
}

bool all_fixed(const PortInfo& p) {
  return std::all_of(p.dims.begin(), p.dims.end(), [](const Extent& e) { return e.fixed(); });
}

}  // namespace

Context Executable::context() const { return Context(std::make_unique<Context::Impl>(state_)); }

std::vector<ProfileRow> Executable::profile_rows(const std::vector<ProfileEvent>& events, const Context& context) const {
  std::vector<weft::ProfileEvent> inner;
  inner.reserve(events.size());
  for (const ProfileEvent& e : events) inner.push_back({e.command, e.start_ns, e.end_ns});
  std::vector<ProfileRow> rows;
  for (weft::ProfileRow& r : aggregate_profile(plan_of(*state_->exe), inner, ProfileBy::kernel, context.impl_->ranks[0].contexts[0].symbols()))
    rows.push_back({std::move(r.name), std::move(r.nodes), r.calls, r.total_ns, r.min_ns, r.max_ns, r.flops, r.bytes});
  return rows;
}

Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

Result<NamedTensors> Context::run(const NamedTensors& inputs, const NamedTensors& into, const RunOptions& options) {
  const Ports& s = impl_->state->ports;
  std::vector<Tensor> results(s.outputs.size());
  std::vector<char> given(s.inputs.size(), 0);
  for (const NamedTensor& t : inputs) {
    TRY_ASSIGN(int i, position("input", s.inputs, t.name));
    if (given[i]++) return tensor_error("input", t.name, "is given twice");
    TRY(set_input(s.inputs[i], t.tensor, impl_->inputs[i]));
  }
  for (size_t i = 0; i < given.size(); ++i)
    if (!given[i]) return tensor_error("input", s.inputs[i].name, "is missing");
  for (const NamedTensor& t : into) {
    TRY_ASSIGN(int i, position("output", s.outputs, t.name));
    if (!results[i].empty()) return tensor_error("output", t.name, "is given twice");
    results[i] = t.tensor;
  }
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].empty() && all_fixed(s.outputs[i]) && !impl_->stays(options)) {
      Tensor::Dims dims;
      for (const Extent& e : s.outputs[i].dims) dims.push_back(e.min);
      TRY_ASSIGN(results[i], Tensor::make(s.outputs[i].dtype, std::move(dims)));
    }
    TRY(set_output(s.outputs[i], results[i], impl_->outputs[i]));
  }
  TRY(impl_->run(options));
  NamedTensors out;
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].empty()) {
      TensorAccess::from_view(impl_->outputs[i], results[i]);
      // The host's memory of the context changes with the next run; what we return does not.
      if (!impl_->stays(options)) {
        TRY_ASSIGN(results[i], results[i].copy());
      }
    }
    out.add(s.outputs[i].name, std::move(results[i]));
  }
  return out;
}

Status Context::run(std::span<const Tensor> inputs, std::span<Tensor> outputs, const RunOptions& options) {
  const Ports& s = impl_->state->ports;
  if (inputs.size() != s.inputs.size())
    return usage("the model has " + std::to_string(s.inputs.size()) + " inputs, " + std::to_string(inputs.size()) + " are given");
  if (outputs.size() != s.outputs.size())
    return usage("the model has " + std::to_string(s.outputs.size()) + " outputs, places for " + std::to_string(outputs.size()) + " are given");
  for (size_t i = 0; i < inputs.size(); ++i) TRY(set_input(s.inputs[i], inputs[i], impl_->inputs[i]));
  for (size_t i = 0; i < outputs.size(); ++i) TRY(set_output(s.outputs[i], outputs[i], impl_->outputs[i]));
  TRY(impl_->run(options));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorView& v = impl_->outputs[i];
    // The caller's own memory is as it was: it keeps its owner.
    if (!outputs[i].empty() && v.data == outputs[i].data() && v.dims == outputs[i].dims()) continue;
    TensorAccess::from_view(v, outputs[i]);
  }
  return {};
}

Status Context::finish() {
  return impl_->on_contexts([](weft::Context& c, auto&) { return c.finish(); });
}

Status Context::reset_state(std::string_view name) {
  TRY_ASSIGN(int i, impl_->state_number(name));
  impl_->snapshots.forget();
  return impl_->on_contexts([&](weft::Context& c, const Impl::Rank& rank) -> Status {
    for (size_t k = 0; k < rank.ports->states.size(); ++k)
      if (rank.ports->states[k] == i) TRY(c.reset_state(static_cast<int>(k)));
    return {};
  });
}

Status Context::reset_states() {
  for (const StateInfo& s : impl_->state->ports.states) TRY(reset_state(s.name));
  return {};
}

Result<Tensor> Context::state(std::string_view name) const {
  TRY_ASSIGN(int i, impl_->state_number(name));
  if (impl_->state->world) return impl_->whole_state(i);
  TRY_ASSIGN(TensorView view, impl_->ranks[0].contexts[0].state(i));
  Tensor t;
  TensorAccess::from_view(view, t);
  return t;
}

Result<Context> Context::fork() const {
  auto impl = std::make_unique<Impl>(impl_->state);
  impl->make_parts(impl_->ranks[0].contexts.size());
  for (size_t r = 0; r < impl->ranks.size(); ++r)
    for (size_t k = 0; k < impl->ranks[r].contexts.size(); ++k) {
      TRY_ASSIGN(impl->ranks[r].contexts[k], impl_->ranks[r].contexts[k].fork());
    }
  return Context(std::move(impl));
}

Status Context::save(const std::string& path) {
  TRY(finish());
  return impl_->snapshots.save(path, impl_->snapshot_ranks(), impl_->state->group);
}
Status Context::restore(const std::string& path) {
  TRY(finish());
  auto ranks_of = [&](size_t parts) {
    impl_->make_parts(parts);
    return impl_->snapshot_ranks();
  };
  return impl_->snapshots.restore(path, ranks_of, impl_->state->group);
}

int64_t Context::arena_bytes() const { return impl_->ranks[0].contexts[0].arena_bytes(); }
int64_t Context::max_live_bytes() const { return impl_->ranks[0].contexts[0].max_live_bytes(); }

const Tensor* NamedTensors::find(std::string_view name) const {
  for (const NamedTensor& t : tensors_)
    if (t.name == name) return &t.tensor;
  return nullptr;
}

const Tensor& NamedTensors::operator[](std::string_view name) const {
  static const Tensor none;
  const Tensor* t = find(name);
  return t ? *t : none;
}

}  // namespace weft::api
