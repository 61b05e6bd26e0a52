#include "runtime/executor/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "ir/base/check.h"
#include "ir/base/text.h"
#include "runtime/executor/device_copy.h"
#include "runtime/executor/numerics.h"

namespace weft {

static int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Whether a step makes elements of tensors.
static bool computes(Step::Kind k) {
  return k == Step::Kind::launch || k == Step::Kind::copy || k == Step::Kind::fill || k == Step::Kind::host_call || k == Step::Kind::collective;
}

Machine::Machine(const Plan& plan, const PlanCode& code, const Program& program, ThreadPool* pool, Device* device)
    : plan_(plan), code_(code), program_(program), pool_(pool), arena_(device, MemoryUse::activations),
      device_dims_(device, MemoryUse::activations), dynamic_(device) {
  base_.assign(plan.buffers.size(), nullptr);
  size_.assign(plan.buffers.size(), 0);
  block_.assign(plan.buffers.size(), -1);
  loops_.resize(program.loops);
  beside_now_.assign(static_cast<size_t>(program.events), 0);
  recorded_.assign(static_cast<size_t>(program.records), nullptr);
  for (const CollectiveCode& c : program.collectives) collectives_.push_back(c.call);
  for (size_t b = 0; b < program.patches.size(); ++b)
    if (!program.patches[b].empty()) patched_buffers_.push_back(static_cast<int>(b));
}

Status Machine::activate(Bound* bound) {
  if (bound_ == bound && bound->arena_base == arena_.data()) return {};  // a new bound has no base yet
  TRY(arena_.reserve(bound->arena_bytes, bound->arena_alignment));
  scratch_stride_ = 0;
  TRY(reserve_scratch(bound->scratch_bytes));
  bound_ = bound;
  if (queue_) {
    auto bytes = static_cast<int64_t>(bound->dims.size() * sizeof(int64_t));
    TRY(device_dims_.reserve(bytes));
    if (bytes) TRY(queue_->upload(device_dims_.data(), bound->dims.data(), bytes));
  }
  for (int b : program_.arena) set_memory(b, arena_.data() + bound->arena_offsets[b], bound->buffer_bytes[b]);
  return {};
}

// Room for `bytes` a thread.
Status Machine::reserve_scratch(int64_t bytes) {
  int64_t stride = 0, all = 0;
  bool overflow = __builtin_add_overflow(bytes, 127, &stride);
  stride = stride / 64 * 64;
  if (overflow || __builtin_mul_overflow(stride, pool_ ? pool_->threads() : 1, &all)) return resources("the kernels' scratch memory overflows");
  if (stride <= scratch_stride_) return {};
  TRY(scratch_.reserve(all));
  scratch_stride_ = stride;
  return {};
}

void Machine::begin() {
  slots_ = bound_->slots;
  swapped_states_.clear();
  dynamic_.give_back_all();
  for (size_t b = 0; b < base_.size(); ++b)
    if (code_.buffers[b].late_memory) {
      Storage s = plan_.buffers[b].storage;
      block_[b] = -1;
      if (s == Storage::dynamic || s == Storage::output) set_memory(static_cast<int>(b), nullptr, 0);
      if (s == Storage::arena && bound_->arena_offsets[b] >= 0)
        set_memory(static_cast<int>(b), arena_.data() + bound_->arena_offsets[b], bound_->buffer_bytes[b]);
    }
}

// Early pointers: all of them when the arena moved or the bound is new, else those into memory that runs bind.
Status Machine::patch() {
  Bound& b = *bound_;
  int missing = -1;
  auto point = [&](uint32_t i) {
    const TensorCode& t = code_.tensors[program_.ptr_tensors[i]];
    TensorValues v = b.tensor(t);
    if (t.late_shape) {
      int64_t offset = 0;  // which is early
      (void)code_.program.eval(t.offset, b.slots.data(), &offset);
      b.ptrs[i] = base_[t.buffer] + offset;
      return;
    }
    bool any = v.hi() > v.lo();
    if (any && !base_[t.buffer]) missing = program_.ptr_tensors[i];
    b.ptrs[i] = any ? base_[t.buffer] + v.offset() : base_[t.buffer];
  };
  bool all = b.arena_base != arena_.data();
  b.version += all;
  if (all) {
    for (uint32_t i = 0; i < program_.ptr_tensors.size(); ++i)
      if (!code_.tensors[program_.ptr_tensors[i]].late_pointer) point(i);
    b.arena_base = arena_.data();
  }
  for (int buffer : patched_buffers_) {
    if (!all && b.patched[buffer] == base_[buffer]) continue;
    for (uint32_t i : program_.patches[buffer]) point(i);
    ++b.version;
    b.patched[buffer] = base_[buffer];
  }
  return missing < 0 ? Status{} : no_memory(missing);
}

Error Machine::no_memory(int tensor) const {
  const PlanTensor& t = plan_.tensors[tensor];
  Error e = invalid("tensor " + (t.name.empty() ? std::to_string(tensor) : name_text(t.name)) + " is used but has no memory");
  return e.at_tensor(t.name), e;
}

Status Machine::run(const RunOptions& options, OutputMemory* outputs) {
  TRY(patch());
  if (!program_.starting_dims.empty()) TRY(start_dims());
  outputs_ = outputs;
  at_ = 0;
  replayed_ = nullptr;
  in_turn_ = options.profile || options.check_numerics;
  std::fill(beside_now_.begin(), beside_now_.end(), 0);
  std::fill(recorded_.begin(), recorded_.end(), nullptr);
  TRY(part_streams());
  if (options.check_numerics) return run_checked(options);
  while (at_ < program_.steps.size()) {
    if (options.cancel && options.cancel->load(std::memory_order_relaxed)) return error(Code::kCancelled, "cancelled");
    const Step& s = program_.steps[at_];
    if (queue_ && !options.profile && s.stretch >= 0) {
      TRY(run_stretch(static_cast<size_t>(s.stretch)));
      continue;
    }
    bool timed = options.profile && computes(s.kind);
    int64_t start = timed ? now_ns() : 0;
    TRY(run_step());
    if (timed && queue_) TRY(queue_->finish());
    if (timed) options.profile->push_back({s.command, start, now_ns()});
  }
  return {};
}

// A tensor as it is now, where the host can read it: in `host` when it lies on a device.
Result<StridedRef> Machine::fetched(int tensor, Block* host) {
  TRY_ASSIGN(StridedRef r, locate(tensor));
  int64_t lo = 0, hi = 0;
  if (!queue_ || !strided_extent(r.dtype, r.rank, r.dims, r.strides, &lo, &hi)) return r;
  TRY(host->reserve(hi - lo));
  TRY(queue_->download(host->data(), r.data + lo, hi - lo));
  r.data = host->data() - lo;
  return r;
}

// Step by step, all results looked at.
Status Machine::run_checked(const RunOptions& options) {
  Block host;
  NumericsChecker checker(plan_, program_, [&](int t) { return fetched(t, &host); });
  TRY(checker.begin());
  while (at_ < program_.steps.size()) {
    if (options.cancel && options.cancel->load(std::memory_order_relaxed)) return error(Code::kCancelled, "cancelled");
    const Step& s = program_.steps[at_];
    TRY(run_step());
    Status fine = computes(s.kind) ? checker.after(*s.source) : Status();
    if (!fine.ok() && options.faulty_nodes) *options.faulty_nodes = s.source->nodes;
    TRY(fine);
  }
  return checker.end();
}

Status Machine::run_step() {
  const Step& s = program_.steps[at_++];
  Status status = step(s);
  if (!status.ok() && !s.source->nodes.empty()) status.error().at_node(s.source->nodes[0]);
  return status;
}

// Step by step the first time, since many shapes come but once; then as a graph.
Status Machine::run_stretch(size_t number) {
  const Stretch& r = program_.stretches[number];
  bound_->recorded.resize(program_.stretches.size());
  Bound::Recorded& g = bound_->recorded[number];
  const bool record = std::exchange(g.seen, true);
  if (record && g.version != bound_->version) {
    TRY(join_streams());
    TRY(queue_->begin_graph());
    recording_ = true;
    Status s = part_streams();
    while (s.ok() && static_cast<int>(at_) < r.end) s = run_step();
    recording_ = false;
    if (Status joined = join_streams(); s.ok()) s = std::move(joined);  // a graph ends with all of its work
    auto graph = queue_->end_graph();
    TRY(s);
    TRY_ASSIGN(g.graph, std::move(graph));
    g.version = bound_->version;
  }
  if (record) {
    at_ = static_cast<size_t>(r.end);
    replayed_ = &r;
    TRY(join_streams());
    TRY(queue_->replay(*g.graph));
    return part_streams();
  }
  while (static_cast<int>(at_) < r.end) TRY(run_step());
  return {};
}

Status Machine::step(const Step& s) {
  switch (s.kind) {
    case Step::Kind::launch: return launch(s);
    case Step::Kind::copy: return copy(s);
    case Step::Kind::fill: return fill(s);
    case Step::Kind::host_call: return host_call(s);
    case Step::Kind::collective: return collective(s);
    case Step::Kind::wait_collective: return wait_collective(s.slot, queue_of(s));
    case Step::Kind::record: return record(s);
    case Step::Kind::wait: return wait(s);
    case Step::Kind::set: {
      TRY_ASSIGN(int64_t v, value(s.dim, s.source->dim, "a symbol"));
      return assign(s.slot, v);
    }
    case Step::Kind::read: return read(s);
    case Step::Kind::check: return check_condition(code_, s, slots_.data());
    case Step::Kind::select: return select(s);
    case Step::Kind::branch: {
      TRY_ASSIGN(bool yes, condition(s.source->tensors[0]));
      if (!yes) at_ = static_cast<size_t>(s.target);
      return {};
    }
    case Step::Kind::jump: at_ = static_cast<size_t>(s.target); return {};
    case Step::Kind::loop_enter:
    case Step::Kind::loop_next: return loop(s);
    case Step::Kind::alloc: return allocate(code_.tensors[s.source->tensors[0]].buffer, s.source->tensors[0]);
    case Step::Kind::free: return release(code_.tensors[s.source->tensors[0]].buffer), Status{};
    case Step::Kind::swap: return swap(s), Status{};
  }
  UNREACHABLE();
}

Result<int64_t> Machine::value(const CompiledDim& d, const Dim& source, const char* what) {
  int64_t v = 0;
  if (!code_.program.eval(d, slots_.data(), &v)) return invalid(std::string(what) + " cannot be computed: " + source.to_string());
  return v;
}

// Arena sizes rely on the symbols' ranges.
Status Machine::assign(int slot, int64_t value) {
  const SymbolInfo& r = code_.program.range(slot);
  if (value < r.lo || value > r.hi)
    return invalid("the symbol " + code_.program.name(slot) + " got " + std::to_string(value) + ", outside of its range " +
                   std::to_string(r.lo) + " .. " + std::to_string(r.hi));
  slots_[slot] = value;
  return {};
}

Result<StridedRef> Machine::locate(int tensor) {
  const TensorCode& t = code_.tensors[tensor];
  TensorValues v = bound_->tensor(t);
  if (t.late_shape) TRY(evaluate_tensor(plan_, code_, tensor, slots_.data(), v));
  if (t.late) TRY(check_tensor_fits(plan_, tensor, v, size_[t.buffer]));
  if (v.hi() > v.lo() && !base_[t.buffer]) return no_memory(tensor);
  std::byte* p = v.hi() > v.lo() ? base_[t.buffer] + v.offset() : base_[t.buffer];
  return StridedRef{p, t.dtype, t.rank, v.dims(), v.strides(t.rank)};
}

Status Machine::late_launch(const LaunchCode& l, int64_t* tasks, const Step& s) {
  for (uint32_t i = l.ptrs; i < l.ptrs + l.ptr_count; ++i) {
    int t = program_.ptr_tensors[i];
    if (!code_.tensors[t].late_pointer) continue;
    TRY_ASSIGN(StridedRef r, locate(t));
    bound_->ptrs[i] = r.data;
  }
  for (uint32_t i = l.dims; i < l.dims + l.dim_count; ++i)
    if (program_.dims[i].late && !code_.program.eval(program_.dims[i], slots_.data(), &bound_->dims[i]))
      return invalid("a parameter of a kernel cannot be computed");
  if (queue_ && l.dim_count) {
    const int64_t at = l.dims * static_cast<int64_t>(sizeof(int64_t));
    TRY(queue_of(s).upload(device_dims_.data() + at, bound_->dims.data() + l.dims, l.dim_count * static_cast<int64_t>(sizeof(int64_t))));
  }
  if (l.scratch.late) {
    TRY_ASSIGN(int64_t scratch, value(l.scratch, s.source->scratch_bytes, "the scratch memory of a kernel"));
    if (scratch < 0) return invalid("the scratch memory of a kernel is negative: " + s.source->scratch_bytes.to_string());
    TRY(reserve_scratch(scratch));
  }
  if (!l.tasks.late) return {};
  TRY_ASSIGN(*tasks, value(l.tasks, s.source->tasks, "the number of tasks"));
  return *tasks >= 0 ? Status{} : Status(invalid("the number of tasks is negative: " + s.source->tasks.to_string() + " = " + std::to_string(*tasks)));
}

Status Machine::launch(const Step& s) {
  const LaunchCode& l = program_.launches[s.item];
  int64_t tasks = bound_->tasks[s.item];
  if (l.late) TRY(late_launch(l, &tasks, s));
  if (tasks == 0) return {};
  if (queue_) return launch_on_device(l, s);
  void* const* ptrs = bound_->ptrs.data() + l.ptrs;
  const int64_t* dims = bound_->dims.data() + l.dims;
  std::byte* scratch = scratch_.data();
  if (tasks == 1 || !pool_) {
    l.fn(ptrs, dims, 0, tasks, scratch);
    return {};
  }
  pool_->parallel_for(tasks, [&](int64_t begin, int64_t end, int thread) { l.fn(ptrs, dims, begin, end, scratch + thread * scratch_stride_); });
  return {};
}

Status Machine::launch_on_device(const LaunchCode& l, const Step& s) {
  if (!recording_) TRY(queue_->mark(static_cast<uint32_t>(s.command) + 1));
  DeviceLaunch d;
  d.function = l.function;
  std::copy(l.grid, l.grid + 3, d.grid);
  std::copy(l.cluster, l.cluster + 3, d.cluster);
  d.threads = l.threads;
  d.shared_bytes = l.shared_bytes;
  d.dependent = l.dependent;
  d.ptrs = std::span<void* const>(bound_->ptrs.data() + l.ptrs, l.ptr_count);
  d.dims = device_dims_.data() + l.dims * sizeof(int64_t);
  return queue_of(s).launch(d);
}

// State lengths, where launches in graphs read them.
Status Machine::start_dims() {
  const std::vector<uint32_t>& which = program_.starting_dims;
  bool changed = false;
  for (uint32_t i : which) {
    int64_t v = 0;
    if (!code_.program.eval(program_.dims[i], slots_.data(), &v)) return invalid("a parameter of a kernel cannot be computed");
    if (std::exchange(bound_->dims[i], v) != v) changed = true;
  }
  if (!changed) return {};
  const uint32_t first = which.front(), end = which.back() + 1;
  constexpr auto kSize = static_cast<int64_t>(sizeof(int64_t));
  return queue_->upload(device_dims_.data() + first * kSize, bound_->dims.data() + first, (end - first) * kSize);
}

void Machine::explain_fault(Error& e) const {
  auto node_of = [](const Step& s) { return s.source->nodes.empty() ? std::string() : s.source->nodes[0]; };
  if (replayed_) {
    const Step &first = program_.steps[static_cast<size_t>(replayed_->first)], &last = program_.steps[static_cast<size_t>(replayed_->end) - 1];
    e.message += ", in one of the " + std::to_string(replayed_->end - replayed_->first) + " commands from node " + name_text(node_of(first)) + " to " +
                 name_text(node_of(last)) + ", which ran as a graph";
    e.hint += "; with a profile the commands run one by one, and the error names one";
    return;
  }
  const auto marked = static_cast<int>(queue_ ? queue_->marked() : 0) - 1;
  for (const Step& s : program_.steps) {
    if (s.command != marked || s.kind != Step::Kind::launch) continue;
    e.message += ", in kernel " + plan_.kernels[static_cast<size_t>(s.source->kernel)].name;
    if (!s.source->nodes.empty()) e.message += " of " + join(s.source->nodes, ", ");
    if (!s.source->nodes.empty()) e.at_node(s.source->nodes[0]);
  }
}

Status Machine::fetch(void* to, const std::byte* from, int64_t bytes) {
  if (queue_) return queue_->download(to, from, bytes);
  std::memcpy(to, from, static_cast<size_t>(bytes));
  return {};
}

Status Machine::copy(const Step& s) {
  TRY_ASSIGN(StridedRef from, locate(s.source->tensors[0]));
  TRY_ASSIGN(StridedRef to, locate(s.source->tensors[1]));
  for (int i = 0; i < from.rank; ++i)
    if (from.dims[i] != to.dims[i])
      return invalid("a copy from a dim of " + std::to_string(from.dims[i]) + " to one of " + std::to_string(to.dims[i]));
  int64_t flo, fhi, tlo, thi;
  bool any = strided_extent(from.dtype, from.rank, from.dims, from.strides, &flo, &fhi) &&
             strided_extent(to.dtype, to.rank, to.dims, to.strides, &tlo, &thi);
  if (any && from.data + flo < to.data + thi && to.data + tlo < from.data + fhi) {
    if (from.data == to.data && same_strides(from.rank, from.dims, from.strides, to.strides)) return {};
    return invalid("a copy between tensors that overlap");
  }
  if (queue_) return device_copy(*queue_, to, from);
  strided_copy(to, from, pool_);
  return {};
}

Status Machine::fill(const Step& s) {
  TRY_ASSIGN(StridedRef to, locate(s.source->tensors[0]));
  if (queue_) return unsupported("a fill on a device");
  strided_fill(to, s.source->scalar, pool_);
  return {};
}

Status Machine::read(const Step& s) {
  TRY_ASSIGN(StridedRef t, locate(s.source->tensors[0]));
  int64_t index = s.source->index, offset = 0;
  for (int i = t.rank - 1; i >= 0; --i) {
    if (t.dims[i] == 0) return invalid("an element is read from an empty tensor");
    offset += index % t.dims[i] * t.strides[i];
    index /= t.dims[i];
  }
  if (index) return invalid("element " + std::to_string(s.source->index) + " is read, which the tensor has not");
  std::byte p[16];
  TRY(fetch(p, t.data + offset * byte_size(t.dtype), byte_size(t.dtype)));
  int64_t v = 0;
  if (is_unsigned_int(t.dtype)) {
    uint64_t u = 0;
    load_row_u64(t.dtype, p, &u, 1);
    v = static_cast<int64_t>(std::min<uint64_t>(u, INT64_MAX));
  } else {
    load_row_i64(t.dtype, p, &v, 1);
  }
  return assign(s.slot, v);
}

Status Machine::select(const Step& s) {
  const SelectCode& c = program_.selects[s.item];
  for (size_t i = 0; i < c.targets.size(); ++i) {
    bool holds = true;
    for (size_t k = 0; holds && k + 1 < c.ranges[i].size(); k += 2) {
      int64_t x = slots_[c.slots[k / 2]], lo = 0, hi = 0;
      holds = x != kNoValue && code_.program.eval(c.ranges[i][k], slots_.data(), &lo) &&
              code_.program.eval(c.ranges[i][k + 1], slots_.data(), &hi) && x >= lo && x <= hi;
    }
    if (!holds) continue;
    at_ = static_cast<size_t>(c.targets[i]);
    return {};
  }
  std::string values;
  for (int slot : c.slots) values += (values.empty() ? "" : ", ") + code_.program.name(slot) + " = " + std::to_string(slots_[slot]);
  Error e = usage("no variant was compiled for " + values);
  return e.with_hint("compile with wider ranges (--shapes)"), e;
}

Result<bool> Machine::condition(int tensor) {
  TRY_ASSIGN(StridedRef t, locate(tensor));
  for (int i = 0; i < t.rank; ++i)
    if (t.dims[i] == 0) return invalid("a condition has no element");
  std::byte yes{};
  TRY(fetch(&yes, t.data, 1));
  return yes != std::byte{0};
}

Status Machine::loop(const Step& s) {
  Loop& l = loops_[s.item];
  if (s.kind == Step::Kind::loop_enter) {
    l.count = 0;
    l.trips = INT64_MAX;
    if (!s.unbounded) {
      TRY_ASSIGN(l.trips, value(s.dim, s.source->tasks, "a trip count"));
    }
  } else {
    ++l.count;
  }
  if (s.slot >= 0) TRY(assign(s.slot, l.count));
  bool more = l.count < l.trips;
  if (more && !s.source->tensors.empty()) {
    TRY_ASSIGN(more, condition(s.source->tensors[0]));
  }
  if (more == (s.kind == Step::Kind::loop_next)) at_ = static_cast<size_t>(s.target);
  return {};
}

Status Machine::allocate(int buffer, int tensor) {
  const PlanBuffer& b = plan_.buffers[buffer];
  TRY_ASSIGN(int64_t bytes, value(code_.buffers[buffer].bytes, b.bytes, "the size of a buffer"));
  if (bytes < 0) return invalid("the size of buffer " + name_text(b.name) + " is negative");
  if (b.storage == Storage::output) {
    if (!code_.buffers[buffer].late_memory) return {};  // has its memory from the start
    int t = plan_.outputs[b.source].tensor;
    TensorValues v = bound_->tensor(code_.tensors[t]);
    TRY(evaluate_tensor(plan_, code_, t, slots_.data(), v));
    if (v.lo() < 0) return check_tensor_fits(plan_, t, v, bytes);
    CHECK(outputs_);
    TRY_ASSIGN(std::byte* p, outputs_->allocate_output(b.source, v, v.hi()));
    set_memory(buffer, p, v.hi());
    return {};
  }
  release(buffer);
  TRY_ASSIGN(block_[buffer], dynamic_.take(bytes));
  set_memory(buffer, dynamic_.data(block_[buffer]), bytes);
  return {};
}

void Machine::release(int buffer) {
  if (block_[buffer] >= 0) dynamic_.give_back(block_[buffer]);
  block_[buffer] = -1;
  set_memory(buffer, nullptr, 0);
}

void Machine::swap(const Step& s) {
  int a = code_.tensors[s.source->tensors[0]].buffer, b = code_.tensors[s.source->tensors[1]].buffer;
  std::swap(base_[a], base_[b]);
  std::swap(size_[a], size_[b]);
  std::swap(block_[a], block_[b]);
  if (plan_.buffers[a].storage == Storage::state) swapped_states_.emplace_back(a, b);
}

}  // namespace weft
