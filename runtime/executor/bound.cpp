#include "runtime/executor/bound.h"

#include <algorithm>
#include <set>

#include "ir/base/text.h"
#include "runtime/executor/strided.h"

namespace weft {

namespace {

std::string quoted_name(const std::string& name, int number) { return name.empty() ? std::to_string(number) : name_text(name); }

class Binder {
 public:
  Binder(const Plan& plan, const PlanCode& code, const Program& program, std::vector<int64_t> slots)
      : plan_(plan), code_(code), program_(program), out_(std::make_unique<Bound>()) {
    out_->slots = std::move(slots);
    out_->buffer_bytes.assign(plan.buffers.size(), 0);
    out_->arena_offsets.assign(plan.buffers.size(), -1);
    out_->patched.assign(plan.buffers.size(), nullptr);
    out_->values.assign(code.value_count, 0);
  }

  Result<std::unique_ptr<Bound>> bind() {
    for (const Step& s : program_.checks) TRY(check_condition(code_, s, out_->slots.data()));
    std::set<int> tensors(program_.tensors.begin(), program_.tensors.end());
    if (&program_ == &code_.main)
      for (const std::vector<PlanPort>* ports : {&plan_.inputs, &plan_.outputs, &plan_.states})
        for (const PlanPort& q : *ports)
          for (int t : {q.tensor, q.paired})
            if (t >= 0) tensors.insert(t);
    std::set<int> buffers(program_.arena.begin(), program_.arena.end());
    for (int t : tensors) {
      buffers.insert(code_.tensors[t].buffer);
      if (!code_.tensors[t].late_shape) TRY(evaluate_tensor(plan_, code_, t, out_->slots.data(), out_->tensor(code_.tensors[t])));
    }
    for (int b : buffers) TRY(size_buffer(b));
    for (int t : tensors)
      if (!code_.tensors[t].late) TRY(check_tensor_fits(plan_, t, out_->tensor(code_.tensors[t]), out_->buffer_bytes[code_.tensors[t].buffer]));
    TRY(arena());
    TRY(launches());
    return std::move(out_);
  }

 private:
  // The most a late size can be, given the early values and the symbols' ranges.
  Result<int64_t> upper_bound(const Dim& d, const std::string& what) {
    if (ranges_.empty())
      for (int s = 0; s < code_.program.slots(); ++s) {
        SymbolInfo r = code_.program.range(s);
        if (out_->slots[s] != kNoValue) r.lo = r.hi = out_->slots[s];
        for (const StateCode& q : code_.states)
          if (q.length == s && q.capacity >= 0 && out_->slots[q.capacity] != kNoValue) r.hi = std::min(r.hi, out_->slots[q.capacity]);
        ranges_[code_.program.name(s)] = r;
      }
    int64_t hi = range_of(d, ranges_).hi;
    if (hi == INT64_MAX || hi < 0) {
      Error e = invalid(what + " is " + d.to_string() + ", which only the run determines and which has no upper bound");
      return e.with_hint("give the symbols a range, or let the plan allocate the buffer (dynamic)"), e;
    }
    return hi;
  }
  Result<int64_t> size(const CompiledDim& c, const Dim& d, const std::string& what) {
    if (c.late) return upper_bound(d, what);
    int64_t v = 0;
    if (!code_.program.eval(c, out_->slots.data(), &v)) return invalid(what + " cannot be computed: " + d.to_string());
    if (v < 0) return invalid(what + " is negative: " + d.to_string() + " = " + std::to_string(v));
    return v;
  }

  Status size_buffer(int i) {
    const PlanBuffer& b = plan_.buffers[i];
    const BufferCode& c = code_.buffers[i];
    if (c.late_memory && b.storage != Storage::arena && b.storage != Storage::state) return {};
    TRY_ASSIGN(int64_t bytes, size(c.bytes, b.bytes, "the size of buffer " + quoted_name(b.name, i)));
    // Callers' memory reaches as far as the tensor that they bind, whatever the buffer says.
    if (b.storage == Storage::input || b.storage == Storage::output) {
      int t = (b.storage == Storage::input ? plan_.inputs : plan_.outputs)[b.source].tensor;
      if (!code_.tensors[t].late_shape) bytes = std::min(bytes, out_->tensor(code_.tensors[t]).hi());
    }
    out_->buffer_bytes[i] = bytes;
    return {};
  }

  Status arena() {
    std::vector<ArenaRequest> requests;
    bool fixed = true;
    int64_t sum = 0, top = 0;
    for (int i : program_.arena) {
      const PlanBuffer& b = plan_.buffers[i];
      int64_t bytes = out_->buffer_bytes[i];
      if (__builtin_add_overflow(sum, bytes, &sum) || __builtin_add_overflow(sum, b.alignment + 8, &sum))
        return resources("the arena's size overflows");
      int64_t alignment = std::max(b.alignment, code_.buffers[i].element);
      if (b.offset >= 0 && b.offset % alignment) return invalid("the offset of buffer " + quoted_name(b.name, i) + " is not aligned to its elements");
      requests.push_back({bytes, alignment, b.first, b.last});
      fixed = fixed && b.offset >= 0;
      top = std::max(top, b.offset >= 0 ? b.offset + bytes : 0);
      out_->arena_alignment = std::max(out_->arena_alignment, b.alignment);
    }
    ArenaLayout layout;
    if (fixed) {
      layout.bytes = top;
      layout.max_live = max_live_bytes(requests);
    } else {
      layout = plan_arena(requests);
    }
    for (size_t k = 0; k < requests.size(); ++k)
      out_->arena_offsets[program_.arena[k]] = fixed ? plan_.buffers[program_.arena[k]].offset : layout.offsets[k];
    out_->arena_bytes = layout.bytes;
    out_->max_live = layout.max_live;
    return {};
  }

  Status launches() {
    out_->ptrs.assign(program_.ptr_tensors.size(), nullptr);
    for (const CompiledDim& d : program_.dims) {
      int64_t v = 0;
      if (!d.late && !code_.program.eval(d, out_->slots.data(), &v)) return invalid("a parameter of a kernel cannot be computed");
      out_->dims.push_back(v);
    }
    // Scratch sizes are Dims of the plan's commands, which the steps name.
    for (const Step& s : program_.steps) {
      if (s.kind != Step::Kind::launch) continue;
      const LaunchCode& l = program_.launches[s.item];
      int64_t tasks = -1;  // late
      if (!l.tasks.late) {
        TRY_ASSIGN(tasks, size(l.tasks, s.source->tasks, "the number of tasks"));
      }
      out_->tasks.push_back(tasks);
      if (l.scratch.late) continue;  // each launch makes room
      TRY_ASSIGN(int64_t scratch, size(l.scratch, s.source->scratch_bytes, "the scratch memory of a kernel"));
      out_->scratch_bytes = std::max(out_->scratch_bytes, scratch);
    }
    return {};
  }

  const Plan& plan_;
  const PlanCode& code_;
  const Program& program_;
  std::unique_ptr<Bound> out_;
  SymbolTable ranges_;
};

}  // namespace

Status evaluate_tensor(const Plan& plan, const PlanCode& code, int tensor, const int64_t* slots, TensorValues v) {
  const TensorCode& t = code.tensors[tensor];
  const CompiledDim* dims = code.dims.data() + t.dims;
  bool fine = code.program.eval(t.offset, slots, &v.offset());
  for (int i = 0; fine && i < 2 * t.rank; ++i) fine = code.program.eval(dims[i], slots, v.dims() + i) && (i >= t.rank || v.dims()[i] >= 0);
  const char* why = "cannot be computed, or has a negative dim";
  if (fine) {
    int64_t lo = 0, hi = 0;
    bool any = strided_extent(t.dtype, t.rank, v.dims(), v.strides(t.rank), &lo, &hi);
    fine = hi >= lo;
    if (fine && v.offset() % element_alignment(t.dtype))
      return invalid("tensor " + quoted_name(plan.tensors[tensor].name, tensor) + " begins in the middle of an element of its buffer");
    if (fine && any) fine = !__builtin_add_overflow(v.offset(), lo, &lo) && !__builtin_add_overflow(v.offset(), hi, &hi);
    why = "reaches further than 2^63 bytes";
    v.lo() = any ? lo : 0;
    v.hi() = any ? hi : 0;
  }
  if (fine) return {};
  const PlanTensor& p = plan.tensors[tensor];
  Error e = invalid("the place of tensor " + quoted_name(p.name, tensor) + ", " + dtype_name(p.dtype) + "[" + shape_text(p.dims) + "], " + why);
  return e.at_tensor(p.name), e;
}

Status check_tensor_fits(const Plan& plan, int tensor, TensorValues v, int64_t bytes) {
  if (v.lo() >= 0 && v.hi() <= bytes) return {};
  const PlanTensor& p = plan.tensors[tensor];
  std::string buffer = quoted_name(plan.buffers[p.buffer].name, p.buffer);
  Error e = invalid("tensor " + quoted_name(p.name, tensor) + " needs bytes " + std::to_string(v.lo()) + " .. " + std::to_string(v.hi()) +
                    " of buffer " + buffer + (bytes ? ", which has " + std::to_string(bytes) : ", which is not allocated"));
  return e.at_tensor(p.name), e;
}

Result<std::unique_ptr<Bound>> bind_program(const Plan& plan, const PlanCode& code, const Program& program, std::vector<int64_t> slots) {
  return Binder(plan, code, program, std::move(slots)).bind();
}

}  // namespace weft
