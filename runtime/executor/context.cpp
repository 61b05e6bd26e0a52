// Context::run: symbols from the inputs' dims, the bound program for them, then the machine.
#include "runtime/executor/context_impl.h"

#include <algorithm>
#include <cstring>

#include "ir/base/text.h"

namespace weft {

ContextImpl::ContextImpl(std::shared_ptr<const ExecutableImpl> exe)
    : exe_(std::move(exe)), machine_(exe_->plan, exe_->code, exe_->code.main, exe_->pool.get(), exe_->device.get()) {
  const Plan& p = exe_->plan;
  inputs_.resize(p.inputs.size());
  outputs_.resize(p.outputs.size());
  states_.resize(p.states.size());
  for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i].device = Block(exe_->device.get());
  for (Output& out : outputs_) {
    out.device = Block(exe_->device.get());
    out.device_spare = Block(exe_->device.get());
  }
  for (size_t i = 0; !p.states.empty() && i < p.buffers.size(); ++i) state_blocks_.emplace_back(exe_->device.get(), MemoryUse::states);
  lengths_.assign(static_cast<size_t>(exe_->code.program.slots()), 0);
  capacities_.assign(lengths_.size(), 0);
  for (size_t i = 0; i < exe_->loaded.fixed.size(); ++i)
    if (exe_->loaded.fixed[i].data) machine_.set_memory(static_cast<int>(i), exe_->loaded.fixed[i].data, exe_->loaded.fixed[i].bytes);
}

Status ContextImpl::run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options) {
  Status s = try_run(inputs, outputs, options);
  if (s.ok()) s = check_reports();
  if (!s.ok()) clear_unwritten_states();
  return explained(std::move(s));
}

Status ContextImpl::finish() {
  if (queue_) TRY(explained(queue_->finish()));
  return check_reports();
}

Status ContextImpl::bind_reports() {
  const auto bytes = static_cast<int64_t>(exe_->code.main.expects.size() * sizeof(int64_t));
  if (!bytes || reports_.data()) return {};
  reports_ = Block(exe_->device.get(), MemoryUse::pinned);
  TRY(reports_.reserve(bytes));
  std::memset(reports_.data(), 0, static_cast<size_t>(bytes));
  for (int64_t at = 0; const ExpectCode& e : exe_->code.main.expects) {
    machine_.set_memory(e.buffer, reports_.data() + at, sizeof(int64_t));
    at += sizeof(int64_t);
  }
  return {};
}

// What kernels found, in this run or in one before that was not waited for.
Status ContextImpl::check_reports() {
  if (!reports_.data()) return {};
  auto* report = reinterpret_cast<volatile int64_t*>(reports_.data());
  Status found;
  for (const ExpectCode& e : exe_->code.main.expects) {
    const int64_t code = *report;
    *report++ = 0;
    if (!code || !found.ok()) continue;
    int64_t n = 0;
    const bool known = exe_->code.program.eval(e.dim, machine_.slots().data(), &n);
    Error error = invalid("index " + std::to_string(reported_index(code)) + " is outside a dim of " + (known ? std::to_string(n) : e.source->dim.to_string()) +
                          ", " + e.source->text);
    if (!e.source->nodes.empty()) error.at_node(e.source->nodes[0]);
    found = std::move(error);
  }
  return found;
}

Status ContextImpl::explained(Status s) const {
  if (!s.ok() && queue_ && s.error().code == Code::kDevice && s.error().node.empty()) machine_.explain_fault(s.error());
  return s;
}

Status ContextImpl::open_queue() {
  if (!exe_->device || queue_) return {};
  TRY_ASSIGN(queue_, exe_->device->queue(1));
  if (exe_->code.main.events > 0) {
    TRY_ASSIGN(beside_, exe_->device->queue(2));
  }
  if (exe_->code.main.records > 0) {
    TRY_ASSIGN(second_, exe_->device->queue());
  }
  machine_.set_queues(queue_.get(), beside_.get(), second_.get());
  const auto& groups = exe_->device_groups;
  if (std::none_of(groups.begin(), groups.end(), [](auto& g) { return g != nullptr; })) return {};
  queue_->give_up_after(exe_->comm_timeout, [this] {
    Error e = error(Code::kDevice, "rank " + std::to_string(exe_->world->rank()) + " has waited " + std::to_string(exe_->comm_timeout.count() / 1000) +
                                       " s for its GPU: another rank has not come to a collective, or hangs");
    abort_collectives(*exe_, e);
    return e;
  });
  return {};
}

Status ContextImpl::try_run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options) {
  views_ = outputs;
  machine_.next_turn();
  TRY(open_queue());
  if (queue_ && options.stream) TRY(queue_->begin_after(options.stream));
  TRY(bind_symbols(inputs));
  TRY(bind_capacities());
  TRY(activate());
  TRY(bind_states());
  TRY(bind_reports());
  TRY(bind_inputs(inputs));
  machine_.begin();
  for (const StateCode& s : exe_->code.states)
    if (s.length >= 0) machine_.set_slot(s.length, lengths_[s.length]);
  TRY(bind_outputs(outputs));
  TRY(machine_.run(options, this));
  TRY(finish_outputs(outputs, options.device_outputs));
  TRY(finish_states());
  if (queue_ && options.stream) TRY(queue_->end_before(options.stream));
  return options.wait && queue_ ? queue_->finish() : Status{};
}

Status ContextImpl::bind_symbols(std::span<const TensorView> inputs) {
  const Plan& p = exe_->plan;
  const PlanCode& code = exe_->code;
  if (inputs.size() != p.inputs.size())
    return usage("the model has " + std::to_string(p.inputs.size()) + " inputs, " + std::to_string(inputs.size()) + " are given");
  for (size_t i = 0; i < inputs.size(); ++i) TRY(check_input(static_cast<int>(i), inputs[i]));
  early_ = code.fixed;
  for (const Solve& s : code.inputs) {
    int64_t coefficient = 0, rest = 0, difference = 0, got = inputs[s.port].dims[s.dim];
    bool known = code.program.eval(s.coefficient, early_.data(), &coefficient) && code.program.eval(s.rest, early_.data(), &rest) &&
                 !__builtin_sub_overflow(got, rest, &difference);
    // A coefficient of 0 says nothing about the symbol; then it is the least it may be.
    if (!known || (coefficient != 0 && (difference % coefficient || (coefficient == -1 && difference == INT64_MIN))))
      return dim_error(s.port, s.dim, inputs[s.port], "which is no value of that expression");
    const SymbolInfo& r = code.program.range(s.slot);
    int64_t value = coefficient == 0 ? r.lo : difference / coefficient;
    if (value < r.lo || value > r.hi)
      return dim_error(s.port, s.dim, inputs[s.port],
                       "but " + code.program.name(s.slot) + " was compiled for " + std::to_string(r.lo) + " .. " +
                           (r.hi == INT64_MAX ? "" : std::to_string(r.hi)));
    early_[s.slot] = value;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    int t = p.inputs[i].tensor;
    for (int k = 0; k < code.tensors[t].rank; ++k) {
      int64_t expected = 0;
      bool known = code.program.eval(code.dims_of(t)[k], early_.data(), &expected);
      if (known && expected == inputs[i].dims[k]) continue;
      return dim_error(static_cast<int>(i), k, inputs[i], known ? "expected " + std::to_string(expected) : "which cannot be computed");
    }
  }
  return {};
}

Status ContextImpl::check_input(int input, const TensorView& view) const {
  const PlanPort& q = exe_->plan.inputs[input];
  const PlanTensor& t = exe_->plan.tensors[q.tensor];
  std::string what;
  if (view.dtype != t.dtype) what = std::string("has elements of type ") + dtype_name(view.dtype) + ", expected " + dtype_name(t.dtype);
  else if (view.dims.size() != t.dims.size())
    what =
        "has rank " + std::to_string(view.dims.size()) + ", expected " + std::to_string(t.dims.size()) + ": [" + shape_text(t.dims) + "]";
  else if (view.strides.size() != view.dims.size())
    what = "has " + std::to_string(view.strides.size()) + " strides for " + std::to_string(view.dims.size()) + " dims";
  else if (std::any_of(view.dims.begin(), view.dims.end(), [](int64_t d) { return d < 0; })) what = "has a negative dim";
  else if (!view.data && std::none_of(view.dims.begin(), view.dims.end(), [](int64_t d) { return d == 0; })) what = "has no data";
  if (what.empty()) return check_place("input", q, view);
  Error e = usage("input " + name_text(q.name) + " " + what);
  return e.at_tensor(q.name), e;
}

// Says what the dim had to be, and which --shapes would allow what was given.
Error ContextImpl::dim_error(int input, int dim, const TensorView& view, const std::string& what) const {
  const PlanPort& q = exe_->plan.inputs[input];
  const PlanTensor& t = exe_->plan.tensors[q.tensor];
  Error e = usage("input " + name_text(q.name) + ", dim " + std::to_string(dim) + " (" + t.dims[dim].to_string() + "): got " +
                  std::to_string(view.dims[dim]) + ", " + what);
  std::string shapes;
  for (size_t k = 0; k < view.dims.size(); ++k) {
    Interval r = range_of(t.dims[k], exe_->plan.symbols);
    int64_t lo = std::min(std::max<int64_t>(r.lo, 0), view.dims[k]), hi = r.hi == INT64_MAX ? view.dims[k] : std::max(r.hi, view.dims[k]);
    shapes += (k ? "x" : "") + std::to_string(lo) + (lo == hi ? "" : ".." + std::to_string(hi));
  }
  e.at_tensor(q.name);
  e.with_hint("compile with --shapes " + name_text(q.name) + "=" + shapes);
  return e;
}

// The bound program of these early values; the ones before are kept for when their shapes come back.
Status ContextImpl::activate() {
  auto it = std::find_if(bounds_.begin(), bounds_.end(), [&](const auto& b) { return b->slots == early_; });
  if (it == bounds_.end()) {
    TRY_ASSIGN(std::unique_ptr<Bound> fresh, bind_program(exe_->plan, exe_->code, exe_->code.main, early_));
    if (bounds_.size() == kMaxBounds) bounds_.pop_back();
    bounds_.push_back(std::move(fresh));
    it = std::prev(bounds_.end());
  }
  std::rotate(bounds_.begin(), it, it + 1);
  current_ = bounds_.front().get();
  Status s = machine_.activate(current_);
  if (!s.ok() && exe_->device && s.error().code == Code::kResources) s.error().hint = fitting_dims() + s.error().hint;
  return s;
}

// For each symbol that the inputs give: the most it may be, the others as they are, for the activations to fit the device.
std::string ContextImpl::fitting_dims() const {
  const PlanCode& code = exe_->code;
  const int64_t room = exe_->device->available() + machine_.arena_capacity();
  std::vector<std::string> found;
  for (const Solve& in : code.inputs) {
    std::vector<int64_t> slots = early_;
    auto fits = [&](int64_t value) {
      slots[in.slot] = value;
      auto bound = bind_program(exe_->plan, code, code.main, slots);
      return bound.ok() && (*bound)->arena_bytes <= room;
    };
    int64_t fine = std::max<int64_t>(code.program.range(in.slot).lo, 1), over = early_[in.slot];
    if (fine >= over || !fits(fine)) continue;
    while (over - fine > 1) {
      const int64_t middle = fine + (over - fine) / 2;
      (fits(middle) ? fine : over) = middle;
    }
    found.push_back(code.program.name(in.slot) + " = " + std::to_string(fine));
  }
  return found.empty() ? "" : "the activations would fit with " + join(found, ", or ") + "; ";
}

SymbolValues ContextImpl::symbols() const {
  SymbolValues out;
  for (int s = 0; s < static_cast<int>(machine_.slots().size()); ++s)
    if (machine_.slots()[s] != kNoValue) out[exe_->code.program.name(s)] = machine_.slots()[s];
  return out;
}

// --- the public class ---------------------------------------------------------------------------------------------

Context::Context(std::shared_ptr<const ExecutableImpl> exe) : impl_(std::make_unique<ContextImpl>(std::move(exe))) {}
Context::Context(std::unique_ptr<ContextImpl> impl) : impl_(std::move(impl)) {}
Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

Status Context::run(std::span<const TensorView> inputs, std::span<TensorView> outputs, const RunOptions& options) {
  return impl_->run(inputs, outputs, options);
}
Status Context::finish() { return impl_->finish(); }
Status Context::reset_state(int state) { return impl_->reset_state(state); }
Status Context::set_state(int state, const TensorView& value) { return impl_->set_state(state, value); }
Result<TensorView> Context::state(int state) const { return impl_->state(state); }
Result<Context> Context::fork() const {
  TRY_ASSIGN(std::unique_ptr<ContextImpl> copy, impl_->fork());
  return Context(std::move(copy));
}
int64_t Context::arena_bytes() const { return impl_->current() ? impl_->current()->arena_bytes : 0; }
int64_t Context::max_live_bytes() const { return impl_->current() ? impl_->current()->max_live : 0; }
SymbolValues Context::symbols() const { return impl_->symbols(); }

}  // namespace weft
