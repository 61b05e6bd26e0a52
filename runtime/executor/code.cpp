// Compiles the tables of a plan: symbols and who gives them values, buffers, tensors, inputs, states. The commands are
// flattened in flatten.cpp.
#include "runtime/executor/code.h"

#include <algorithm>
#include <set>

#include "ir/base/facts.h"
#include "ir/base/text.h"
#include "runtime/executor/flatten.h"

namespace weft {

namespace {

template <class F>
void for_each_symbol(const Dim& d, F&& f) {
  if (!d.expr()) return;
  for (const DimTerm& t : d.expr()->terms)
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol) f(a.name);
      for (const Dim& x : a.args) for_each_symbol(x, f);
    }
}

class Compiler {
 public:
  Compiler(const Plan& plan, const ExecutableParts& parts) : plan_(plan), parts_(parts) {}

  Result<PlanCode> compile() {
    code_.program = DimProgram(plan_.symbols);
    TRY(fixed_symbols());
    late_symbols(plan_.main);
    late_symbols(plan_.prepare);
    TRY(states());
    TRY(solve_inputs());
    TRY(buffers());
    TRY(tensors());
    TRY(input_tensors());
    TRY_ASSIGN(code_.prepare, flatten(plan_, parts_, code_, plan_.prepare));
    TRY_ASSIGN(code_.main, flatten(plan_, parts_, code_, plan_.main));
    TRY(all_given());
    return std::move(code_);
  }

 private:
  DimProgram& program() { return code_.program; }
  int slot(std::string_view name) { return program().slot(name); }

  // Symbols with one possible value, and those that the host program knows.
  Status fixed_symbols() {
    code_.fixed.assign(program().slots(), kNoValue);
    code_.from_inputs.assign(program().slots(), 0);
    given_.assign(program().slots(), 0);
    for (int s = 0; s < program().slots(); ++s) {
      const SymbolInfo& r = program().range(s);
      if (r.lo == r.hi) code_.fixed[s] = r.lo;
    }
    for (auto& [name, value] : parts_.symbols) {
      int s = slot(name);
      if (s < 0) continue;
      const SymbolInfo& r = program().range(s);
      if (value < r.lo || value > r.hi)
        return usage("the symbol " + name + " = " + std::to_string(value) + " is outside of " + std::to_string(r.lo) + " .. " +
                     std::to_string(r.hi));
      code_.fixed[s] = value;
    }
    for (int s = 0; s < program().slots(); ++s) given_[s] = code_.fixed[s] != kNoValue;
    return {};
  }

  void late_symbols(const Region& r) {
    auto late = [&](const std::string& name) {
      int s = slot(name);
      if (s < 0) return;
      program().set_late(s);
      given_[s] = 1;
      code_.fixed[s] = kNoValue;
    };
    for (const Command& c : r.commands) {
      if (c.kind == CommandKind::set || c.kind == CommandKind::read || (c.kind == CommandKind::loop && !c.name.empty())) late(c.name);
      for (const std::string& s : c.sets) late(s);
      if (c.kind == CommandKind::swap)
        for (int t : c.tensors) swapped_.insert(plan_.tensors[t].buffer);
      for (const auto& sub : c.regions) late_symbols(*sub);
    }
  }

  Status states() {
    for (const PlanPort& q : plan_.states) {
      StateCode s;
      s.tensor = q.tensor;
      s.paired = q.paired;
      s.axis = q.axis;
      if (q.axis >= 0) {
        s.length = slot(q.length);
        if (program().late(s.length) && !lengths_.count(s.length))
          return invalid("state " + name_text(q.name) + ": the length symbol " + q.length + " is also set by a command");
        program().set_late(s.length, true);
        lengths_.insert(s.length);
        given_[s.length] = 1;
        code_.fixed[s.length] = kNoValue;
      }
      if (!q.capacity.empty()) {
        s.capacity = slot(q.capacity);
        if (program().late(s.capacity))
          return invalid("state " + name_text(q.name) + ": the capacity symbol " + q.capacity + " is also set by a command");
        given_[s.capacity] = 1;
        code_.fixed[s.capacity] = kNoValue;
      }
      code_.states.push_back(s);
    }
    return {};
  }

  // Finds, round by round, dims that are affine in one symbol not known yet.
  Status solve_inputs() {
    for (bool found = true; found;) {
      found = false;
      for (size_t i = 0; i < plan_.inputs.size(); ++i) {
        const Shape& dims = plan_.tensors[plan_.inputs[i].tensor].dims;
        for (size_t k = 0; k < dims.size(); ++k) {
          Result<bool> solved = solve(static_cast<int>(i), static_cast<int>(k), dims[k]);
          TRY(solved);
          found = found || *solved;
        }
      }
    }
    return {};
  }
  Result<bool> solve(int input, int dim, const Dim& d) {
    std::set<std::string> unknown;
    for_each_symbol(d, [&](const std::string& s) {
      if (!given_[slot(s)]) unknown.insert(s);
    });
    if (unknown.size() != 1) return false;
    Dim rest;
    std::optional<Dim> coefficient = d.coefficient(*unknown.begin(), &rest);
    if (!coefficient || coefficient->is(0)) return false;
    Solve s;
    s.port = input;
    s.dim = dim;
    s.slot = slot(*unknown.begin());
    TRY_ASSIGN(s.coefficient, program().compile(*coefficient));
    TRY_ASSIGN(s.rest, program().compile(rest));
    if (s.coefficient.late || s.rest.late) return false;
    given_[s.slot] = 1;
    code_.from_inputs[s.slot] = 1;
    code_.inputs.push_back(s);
    return true;
  }

  Status buffers() {
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      BufferCode c;
      TRY_ASSIGN(c.bytes, program().compile(b.bytes));
      c.swapped = swapped_.count(static_cast<int>(i)) != 0;
      c.late_memory = c.swapped || b.storage == Storage::dynamic || (b.storage == Storage::output && c.bytes.late);
      if (b.space != (b.storage == Storage::report ? Space::pinned : Space::host)) 
        return unsupported("buffer " + name_text(b.name) + " lies in device memory, which the CPU runtime has not");
      code_.buffers.push_back(c);
      for_each_symbol(b.bytes, [&](const std::string& s) { used_.insert(slot(s)); });
    }
    return {};
  }

  Status tensors() {
    for (const PlanTensor& t : plan_.tensors) {
      if (t.dtype == DType::str) {
        Error e = unsupported("tensors of strings in a plan");
        return e.at_tensor(t.name), e;
      }
      TensorCode c;
      c.buffer = t.buffer;
      c.rank = static_cast<int>(t.dims.size());
      c.dtype = t.dtype;
      TRY_ASSIGN(c.offset, program().compile(t.offset));
      c.dims = static_cast<uint32_t>(code_.dims.size());
      c.values = code_.value_count;
      c.late_shape = c.offset.late;
      for (const std::vector<Dim>* list : {&t.dims, &t.strides})
        for (const Dim& d : *list) {
          TRY_ASSIGN(CompiledDim x, program().compile(d));
          c.late_shape = c.late_shape || x.late;
          code_.dims.push_back(x);
        }
      c.late = c.late_shape || code_.buffers[t.buffer].late_memory;
      // A device's launches need no more than the pointer.
      c.late_pointer = parts_.device ? c.offset.late || code_.buffers[t.buffer].late_memory : c.late;
      int64_t& element = code_.buffers[t.buffer].element;
      element = std::max(element, element_alignment(t.dtype));
      code_.value_count += tensor_value_count(c.rank);
      code_.tensors.push_back(c);
    }
    return {};
  }

  // What a caller binds has to be known before the run, and starts at its buffer's first byte.
  Status input_tensors() {
    for (const PlanPort& q : plan_.inputs) {
      const TensorCode& t = code_.tensors[q.tensor];
      if (t.late || !plan_.tensors[q.tensor].offset.is(0))
        return invalid("input " + name_text(q.name) + " has a shape or place that only the run determines");
      for (const Dim& d : plan_.tensors[q.tensor].dims)
        for_each_symbol(d, [&](const std::string& s) { used_.insert(slot(s)); });
    }
    return {};
  }

  // Only symbols that something uses must have a value; unused declarations may stay.
  Status all_given() {
    for (const Program* p : {&code_.prepare, &code_.main}) {
      for (int t : p->tensors) note(t);
      for (const SelectCode& x : p->selects) used_.insert(x.slots.begin(), x.slots.end());
    }
    for (const PlanPort& q : plan_.outputs) note(q.tensor);
    auto commands = [&](auto&& self, const Region& r) -> void {
      for (const Command& c : r.commands) {
        auto see = [&](const Dim& d) { for_each_symbol(d, [&](const std::string& s) { used_.insert(slot(s)); }); };
        for (const Param& p : c.params) see(p.dim);
        for (const Dim* d : {&c.tasks, &c.scratch_bytes, &c.dim}) see(*d);
        for (const auto& list : c.ranges)
          for (const Dim& d : list) see(d);
        for (const auto& sub : c.regions) self(self, *sub);
      }
    };
    commands(commands, plan_.main);
    commands(commands, plan_.prepare);
    for (int s : used_)
      if (!given_[s])
        return invalid("nothing gives the symbol " + program().name(s) + " a value: no input has a dim that is " + program().name(s) +
                       " or a multiple of it plus a constant");
    return {};
  }
  void note(int tensor) {
    const PlanTensor& t = plan_.tensors[tensor];
    auto see = [&](const Dim& d) { for_each_symbol(d, [&](const std::string& s) { used_.insert(slot(s)); }); };
    see(t.offset);
    for (const Dim& d : t.dims) see(d);
    for (const Dim& d : t.strides) see(d);
  }

  const Plan& plan_;
  const ExecutableParts& parts_;
  PlanCode code_;
  std::vector<char> given_;     // per slot: something gives it a value
  std::set<int> swapped_, used_, lengths_;
};

}  // namespace

Status check_condition(const PlanCode& code, const Step& check, const int64_t* slots) {
  const Command& c = *check.source;
  int64_t v = 0;
  bool known = code.program.eval(check.dim, slots, &v);
  if (known && v > 0) return {};
  std::string text = c.text;
  if (!known) text = "a condition cannot be computed: " + c.dim.to_string();
  else if (text.empty()) text = "it does not hold that " + c.dim.to_string() + " > 0";
  SymbolValues values;
  for_each_symbol(c.dim, [&](const std::string& s) {
    if (int i = code.program.slot(s); slots[i] != kNoValue) values[s] = slots[i];
  });
  if (std::string symbols = symbol_text(c.dim, values); !symbols.empty()) text += " (" + symbols + ")";
  Error e = invalid(text);
  if (!c.nodes.empty()) e.at_node(c.nodes[0]);
  return e;
}

Result<PlanCode> compile_plan(const Plan& plan, const ExecutableParts& parts) { return Compiler(plan, parts).compile(); }

}  // namespace weft
