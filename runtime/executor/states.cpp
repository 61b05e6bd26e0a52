// States: memory that a context keeps from run to run, with capacity strides where they grow.
#include <algorithm>
#include <cstring>
#include <span>

#include "ir/base/text.h"
#include "runtime/executor/context_impl.h"
#include "runtime/executor/device_copy.h"

namespace weft {

void ContextImpl::step_slots() {
  slots_ = early_;
  for (const StateCode& s : exe_->code.states)
    if (s.length >= 0) slots_[s.length] = lengths_[s.length];
}

// Chooses capacities for what this run will hold, so that the early values are complete.
Status ContextImpl::bind_capacities() {
  const PlanCode& code = exe_->code;
  for (const StateCode& s : code.states)
    if (s.capacity >= 0) early_[s.capacity] = capacities_[s.capacity];
  step_slots();
  for (size_t i = 0; i < code.states.size(); ++i) {
    const StateCode& s = code.states[i];
    int64_t needed = 0;
    // After the run; an extent that only the run determines is checked when it is used.
    if (s.axis < 0 || !code.program.eval(code.dims_of(s.paired)[s.axis], slots_.data(), &needed)) continue;
    needed = std::max(needed, lengths_[s.length]);
    const SymbolInfo& r = code.program.range(s.capacity >= 0 ? s.capacity : s.length);
    if (needed > r.hi) {
      Error e = resources("state " + name_text(exe_->plan.states[i].name) + " would hold " + std::to_string(needed) +
                          " entries of at most " + std::to_string(r.hi));
      e.at_tensor(exe_->plan.states[i].name);
      return e.with_hint("reset the state, or compile for more with --shapes"), e;
    }
    if (s.capacity < 0 || (needed <= early_[s.capacity] && early_[s.capacity] > 0)) continue;
    constexpr int64_t kFirst = 64;
    int64_t twice = early_[s.capacity] <= INT64_MAX / 2 ? early_[s.capacity] * 2 : INT64_MAX;
    early_[s.capacity] = std::clamp(std::max({needed, twice, r.opt, kFirst}), r.lo, r.hi);
  }
  return {};
}

Status ContextImpl::bind_states() {
  step_slots();
  for (size_t i = 0; i < states_.size(); ++i) TRY(place_state(static_cast<int>(i)));
  for (const StateCode& s : exe_->code.states)
    if (s.capacity >= 0) capacities_[s.capacity] = early_[s.capacity];
  return {};
}

// Makes the state's memory fit this run's shapes; keeps what it holds.
Status ContextImpl::place_state(int i) {
  const StateCode& s = exe_->code.states[i];
  const TensorCode& t = exe_->code.tensors[s.tensor];
  State& state = states_[i];
  values_.resize(tensor_value_count(t.rank));
  TensorValues now{values_.data()};
  TRY(evaluate_tensor(exe_->plan, exe_->code, s.tensor, slots_.data(), now));
  if (s.axis >= 0) now.dims()[s.axis] = 0;
  bool same = std::equal(state.shape.begin(), state.shape.end(), now.dims(), now.dims() + 2 * t.rank);
  const int buffers[] = {t.buffer, exe_->code.tensors[s.paired].buffer};
  for (int b : buffers) same = same && state_blocks_[b].data() && state_blocks_[b].capacity() >= current_->buffer_bytes[b];
  if (!same) TRY(move_state(i, now));
  for (int b : buffers) machine_.set_memory(b, state_blocks_[b].data(), current_->buffer_bytes[b]);
  return {};
}

Status ContextImpl::move_state(int i, TensorValues now) {
  const StateCode& s = exe_->code.states[i];
  const TensorCode& t = exe_->code.tensors[s.tensor];
  State& state = states_[i];
  bool holds = state.written && (s.axis < 0 || lengths_[s.length] > 0);
  if (holds && !std::equal(state.shape.begin(), state.shape.begin() + t.rank, now.dims())) {
    std::string have, want;
    for (int k = 0; k < t.rank; ++k) {
      have += (k ? "," : "") + std::to_string(state.shape[k]);
      want += (k ? "," : "") + std::to_string(now.dims()[k]);
    }
    Error e = usage("state " + name_text(exe_->plan.states[i].name) + " holds values of shape [" + have +
                    "] from earlier runs, this one has [" + want + "]");
    e.at_tensor(exe_->plan.states[i].name);
    return e.with_hint("reset the state, or use another context"), e;
  }
  const int buffers[] = {t.buffer, exe_->code.tensors[s.paired].buffer};
  for (int b : std::span(buffers, buffers[0] == buffers[1] ? 1 : 2)) {
    Block fresh(exe_->device.get(), MemoryUse::states);
    TRY(fresh.reserve(current_->buffer_bytes[b], exe_->plan.buffers[b].alignment));
    if (queue_) TRY(queue_->clear(fresh.data(), current_->buffer_bytes[b]));
    else std::memset(fresh.data(), 0, static_cast<size_t>(current_->buffer_bytes[b]));
    if (holds && b == t.buffer) {
      std::vector<int64_t> dims(now.dims(), now.dims() + t.rank);
      if (s.axis >= 0) dims[s.axis] = lengths_[s.length];
      int64_t lo = 0, hi = 0;
      strided_extent(t.dtype, t.rank, dims.data(), now.strides(t.rank), &lo, &hi);
      if (lo < 0 || hi < lo || hi > current_->buffer_bytes[b])
        return invalid("state " + name_text(exe_->plan.states[i].name) + " does not fit its buffer");
      const StridedRef to{fresh.data(), t.dtype, t.rank, dims.data(), now.strides(t.rank)};
      const StridedRef from{state_blocks_[b].data(), t.dtype, t.rank, dims.data(), state.shape.data() + t.rank};
      if (queue_) TRY(device_copy(*queue_, to, from));
      else strided_copy(to, from, exe_->pool.get());
    }
    state_blocks_[b] = std::move(fresh);
  }
  state.shape.assign(now.dims(), now.dims() + 2 * t.rank);
  return {};
}

Status ContextImpl::finish_states() {
  for (auto [a, b] : machine_.swapped_states()) std::swap(state_blocks_[a], state_blocks_[b]);
  for (const StateCode& s : exe_->code.states)
    if (s.axis >= 0) slots_[s.length] = kNoValue;
  for (size_t i = 0; i < states_.size(); ++i) {
    const StateCode& s = exe_->code.states[i];
    states_[i].written = true;
    if (s.axis < 0) continue;
    int64_t after = 0;
    bool valid = exe_->code.program.eval(exe_->code.dims_of(s.paired)[s.axis], machine_.slots().data(), &after) && after >= 0 &&
                 after <= exe_->code.program.range(s.length).hi;
    if (!valid || (slots_[s.length] != kNoValue && slots_[s.length] != after))
      return invalid("state " + name_text(exe_->plan.states[i].name) + " has no valid length after the run");
    slots_[s.length] = after;
  }
  for (const StateCode& s : exe_->code.states)
    if (s.axis >= 0) lengths_[s.length] = slots_[s.length];
  return {};
}

// What a failed first run may have left behind.
void ContextImpl::clear_unwritten_states() {
  for (size_t i = 0; i < states_.size(); ++i)
    if (!states_[i].written) (void)clear_state(static_cast<int>(i)).ok();  // the run's own Error is the one to report
}

Status ContextImpl::clear_state(int i) {
  const StateCode& s = exe_->code.states[i];
  for (int t : {s.tensor, s.paired}) {
    Block& b = state_blocks_[exe_->code.tensors[t].buffer];
    if (!b.data()) continue;
    if (queue_) TRY(queue_->clear(b.data(), b.capacity()));
    else std::memset(b.data(), 0, static_cast<size_t>(b.capacity()));
  }
  return {};
}

static Error no_state(int state, size_t count) {
  return usage("there is no state " + std::to_string(state) + ", the model has " + std::to_string(count));
}

Status ContextImpl::reset_state(int i) {
  if (i < 0 || static_cast<size_t>(i) >= states_.size()) return no_state(i, states_.size());
  const StateCode& s = exe_->code.states[i];
  if (s.length >= 0) lengths_[s.length] = 0;
  states_[i].written = false;
  return clear_state(i);
}

Result<TensorView> ContextImpl::state(int i) {
  if (i < 0 || static_cast<size_t>(i) >= states_.size()) return no_state(i, states_.size());
  const StateCode& s = exe_->code.states[i];
  const TensorCode& t = exe_->code.tensors[s.tensor];
  State& state = states_[i];
  const Block& memory = state_blocks_[t.buffer];
  if (!memory.data()) return usage("state " + name_text(exe_->plan.states[i].name) + " has no memory before the first run");
  TensorView v;
  v.dtype = t.dtype;
  v.dims.assign(state.shape.begin(), state.shape.begin() + t.rank);
  v.strides.assign(state.shape.begin() + t.rank, state.shape.end());
  if (s.axis >= 0) v.dims[s.axis] = lengths_[s.length];
  v.data = memory.data();
  if (queue_) {
    TRY(state.shown.reserve(memory.capacity()));
    TRY(queue_->download(state.shown.data(), memory.data(), memory.capacity()));
    v.data = state.shown.data();
  }
  return v;
}

// The value lies compact until the next run gives it its place.
Status ContextImpl::set_state(int i, const TensorView& value) {
  if (i < 0 || static_cast<size_t>(i) >= states_.size()) return no_state(i, states_.size());
  const StateCode& s = exe_->code.states[i];
  const PlanTensor& declared = exe_->plan.tensors[exe_->plan.states[i].tensor];
  const TensorCode& t = exe_->code.tensors[s.tensor];
  bool fits = value.device == TensorView::kHost && value.dtype == t.dtype && value.rank() == t.rank;
  for (int d = 0; fits && d < t.rank; ++d) fits = value.dims[d] >= 0 && (!declared.dims[d].is_const() || declared.dims[d].is(value.dims[d]));
  if (fits && s.axis >= 0) fits = value.dims[s.axis] <= exe_->code.program.range(s.length).hi;
  if (!fits) return usage("a value of another kind than state " + name_text(exe_->plan.states[i].name)).at_tensor(exe_->plan.states[i].name);
  TRY(open_queue());
  const std::vector<int64_t> strides = dense_strides(value.dims);
  const int64_t bytes = value.numel() * byte_size(value.dtype);
  Block dense, fresh(exe_->device.get(), MemoryUse::states);
  TRY(fresh.reserve(bytes, exe_->plan.buffers[t.buffer].alignment));
  if (queue_) TRY(dense.reserve(bytes));
  strided_copy({queue_ ? dense.data() : fresh.data(), t.dtype, t.rank, value.dims.data(), strides.data()}, ref_of(value), exe_->pool.get());
  if (queue_) TRY(queue_->upload(fresh.data(), dense.data(), bytes));
  if (queue_) TRY(queue_->finish());
  state_blocks_[t.buffer] = std::move(fresh);
  State& state = states_[i];
  state.shape = value.dims;
  if (s.axis >= 0) state.shape[s.axis] = 0;
  state.shape.insert(state.shape.end(), strides.begin(), strides.end());
  state.written = true;
  if (s.axis >= 0) lengths_[s.length] = value.dims[s.axis];
  return {};
}

Result<std::unique_ptr<ContextImpl>> ContextImpl::fork() const {
  auto copy = std::make_unique<ContextImpl>(exe_);
  copy->lengths_ = lengths_;
  copy->capacities_ = capacities_;
  copy->states_ = states_;
  if (queue_) {
    TRY(copy->open_queue());
    TRY(queue_->finish());
  }
  for (size_t b = 0; b < state_blocks_.size(); ++b) {
    if (!state_blocks_[b].data()) continue;
    TRY(copy->state_blocks_[b].reserve(state_blocks_[b].capacity(), exe_->plan.buffers[b].alignment));
    if (queue_) TRY(copy->queue_->copy(copy->state_blocks_[b].data(), state_blocks_[b].data(), state_blocks_[b].capacity()));
    else std::memcpy(copy->state_blocks_[b].data(), state_blocks_[b].data(), static_cast<size_t>(state_blocks_[b].capacity()));
  }
  return copy;
}

}  // namespace weft
