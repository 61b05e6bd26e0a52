// verify_plan: the tables. A plan file may be hostile, so nothing is taken for granted: what cannot be decided here
// because a size is symbolic, the runtime checks when it binds dims.
#include "ir/plan/verify.h"

#include <set>
#include <unordered_set>

#include "ir/base/text.h"
#include "ir/plan/words.h"

namespace weft {

namespace {

constexpr size_t kMaxRank = 64;
constexpr int64_t kMaxAlignment = 1 << 21;

bool in_range(int i, size_t n) { return i >= 0 && i < static_cast<int64_t>(n); }

Status check_symbols(const Plan& p, const Dim& d, const std::string& what) {
  if (!d.expr()) return {};
  for (const DimTerm& t : d.expr()->terms)
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol && !p.symbols.count(a.name)) return invalid("the symbol " + name_text(a.name) + " of " + what + " is not declared");
      for (const Dim& x : a.args) TRY(check_symbols(p, x, what));
    }
  return {};
}

Status check_not_negative(const Plan& p, const Dim& d, const std::string& what) {
  TRY(verify_dim(p, d, what));
  if (range_of(d, p.symbols).hi < 0) return invalid(what + " is negative: " + d.to_string());
  return {};
}

Status check_symbol_table(const Plan& p) {
  for (auto& [name, s] : p.symbols) {
    if (!is_identifier(name)) return invalid("the symbol " + quote(name) + " is not an identifier");
    // INT64_MIN stands for "no value" at run time.
    if (s.lo == INT64_MIN || s.lo > s.hi) return invalid("the range of the symbol " + name + " is empty or out of bounds");
  }
  return {};
}

Status check_groups(const Plan& p) {
  TRY(p.mesh.check());
  for (const PlanGroup& g : p.groups)
    for (size_t i = 0; i < g.axes.size(); ++i) {
      bool known = p.mesh.axes.empty() || p.mesh.axis_size(g.axes[i]) > 0;
      if (!known) return invalid("group " + name_text(g.name) + " names an axis that the mesh lacks: " + g.axes[i]);
      if (std::find(g.axes.begin(), g.axes.begin() + static_cast<int64_t>(i), g.axes[i]) != g.axes.begin() + static_cast<int64_t>(i))
        return invalid("group " + name_text(g.name) + " names axis " + g.axes[i] + " twice");
    }
  return {};
}

Status check_kernels(const Plan& p) {
  std::unordered_set<std::string_view> names;
  for (const PlanKernel& k : p.kernels) {
    if (k.name.empty() || !names.insert(k.name).second) return invalid("the kernel name " + quote(k.name) + " is empty or there twice");
    TRY(verify_dim(p, k.flops, "the flops of kernel " + name_text(k.name)));
    TRY(verify_dim(p, k.bytes, "the bytes of kernel " + name_text(k.name)));
  }
  return {};
}

Status check_constants(const Plan& p) {
  for (const PlanConstant& c : p.constants) {
    if (static_cast<size_t>(c.dtype) > static_cast<size_t>(DType::str))
      return invalid("constant " + name_text(c.name) + " has an unknown element type");
    if (c.dims.size() > kMaxRank) return invalid("constant " + name_text(c.name) + " has too many dims");
    for (int64_t d : c.dims)
      if (d < 0) return invalid("constant " + name_text(c.name) + " has a negative dim");
  }
  return {};
}

Status check_buffer(const Plan& p, int i) {
  const PlanBuffer& b = p.buffers[i];
  std::string what = "buffer " + buffer_name(p, i);
  TRY(check_not_negative(p, b.bytes, "the size of " + what));
  if (b.alignment < 1 || b.alignment > kMaxAlignment || (b.alignment & (b.alignment - 1)))
    return invalid(what + " has alignment " + std::to_string(b.alignment) + ", which is no power of two up to 2 MiB");
  if (b.offset < -1 || (b.offset >= 0 && (b.storage != Storage::arena || b.offset % b.alignment))) return invalid(what + " has a bad offset");
  if (b.prepare && b.storage != Storage::arena) return invalid(what + " is marked for the prepare region but is not in the arena");
  if (b.storage == Storage::report && (!b.bytes.is(8) || b.space != Space::pinned)) return invalid(what + " is a report, which has 8 bytes of pinned memory");
  size_t sources = b.storage == Storage::constant ? p.constants.size()
                   : b.storage == Storage::input  ? p.inputs.size()
                   : b.storage == Storage::output ? p.outputs.size()
                                                  : p.states.size();
  if (plan_words::has_source(b.storage) && !in_range(b.source, sources)) return invalid(what + " has no valid source");
  return {};
}

// The bytes from the buffer's start that a tensor touches: [lo, hi) as Dims, exact when all strides have known signs.
struct Extent {
  Dim lo, hi;
  bool empty = false, known = true;
};
Extent extent_of(const Plan& p, const PlanTensor& t) {
  Extent e;
  Dim lo(0), hi(0);
  for (size_t i = 0; i < t.dims.size(); ++i) {
    if (t.dims[i].is(0)) e.empty = true;
    Dim reach = (t.dims[i] - Dim(1)) * t.strides[i];
    Interval s = range_of(t.strides[i], p.symbols);
    if (s.lo >= 0) hi += reach;
    else if (s.hi <= 0) lo += reach;
    else e.known = false;
    if (range_of(t.dims[i], p.symbols).lo < 1) e.known = false;  // may be empty, and then touches nothing
  }
  int bits = bit_width(t.dtype);
  e.lo = t.offset + floordiv(lo * Dim(bits), 8);
  e.hi = t.offset + ceildiv((hi + Dim(1)) * Dim(bits), 8);
  return e;
}

Status check_tensor(const Plan& p, int i) {
  const PlanTensor& t = p.tensors[i];
  std::string what = "tensor " + tensor_name(p, i);
  if (static_cast<size_t>(t.dtype) > static_cast<size_t>(DType::str)) return invalid(what + " has an unknown element type");
  if (!in_range(t.buffer, p.buffers.size())) return invalid(what + " has no valid buffer");
  if (t.dims.size() > kMaxRank || t.strides.size() != t.dims.size())
    return invalid(what + " has " + std::to_string(t.dims.size()) + " dims and " + std::to_string(t.strides.size()) + " strides");
  for (const Dim& d : t.dims) TRY(check_not_negative(p, d, "a dim of " + what));
  for (const Dim& d : t.strides) TRY(verify_dim(p, d, "a stride of " + what));
  TRY(check_not_negative(p, t.offset, "the offset of " + what));
  Extent e = extent_of(p, t);
  if (e.empty || !e.known) return {};
  bool below = range_of(e.lo, p.symbols).hi < 0, above = range_of(p.buffers[t.buffer].bytes - e.hi, p.symbols).hi < 0;
  if (below || above || e.lo.is_overflow() || e.hi.is_overflow())
    return invalid(what + " lies outside of buffer " + buffer_name(p, t.buffer) + ": bytes " + e.lo.to_string() + " .. " +
                   e.hi.to_string() + " of " + p.buffers[t.buffer].bytes.to_string());
  return {};
}

Status check_state(const Plan& p, int number) {
  const PlanPort& q = p.states[number];
  std::string what = "state " + name_text(q.name);
  if (!in_range(q.paired, p.tensors.size())) return invalid(what + " has no tensor for its next value");
  for (int t : {q.tensor, q.paired}) {
    const PlanBuffer& b = p.buffers[p.tensors[t].buffer];
    if (b.storage != Storage::state || b.source != number || !p.tensors[t].offset.is(0))
      return invalid(what + ": tensor " + tensor_name(p, t) + " does not lie at the start of a buffer of its own");
  }
  if (Status s = q.share.check(p.mesh, static_cast<int>(p.tensors[q.tensor].dims.size())); !s.ok()) return invalid(what + ": " + s.error().message);
  for (const Dim& d : q.share.whole)
    for (const std::string& x : d.symbols())
      if (!p.symbols.count(x)) return invalid(what + ": the symbol " + x + " is not declared");
  if (q.axis == -1) return q.length.empty() && q.capacity.empty() ? Status{} : invalid(what + " has a length but no axis to append along");
  for (int t : {q.tensor, q.paired})
    if (!in_range(q.axis, p.tensors[t].dims.size()))
      return invalid(what + " appends along axis " + std::to_string(q.axis) + ", which tensor " + tensor_name(p, t) + " has not");
  if (p.tensors[q.tensor].buffer != p.tensors[q.paired].buffer) return invalid(what + " appends, but its two tensors lie in different buffers");
  if (!p.symbols.count(q.length)) return invalid(what + ": its length symbol is not declared");
  if (!(p.tensors[q.tensor].dims[q.axis] == Dim::symbol(q.length)))
    return invalid(what + ": dim " + std::to_string(q.axis) + " of tensor " + tensor_name(p, q.tensor) + " is not " + q.length);
  if (!q.capacity.empty() && !p.symbols.count(q.capacity)) return invalid(what + ": its capacity symbol is not declared");
  return {};
}

Status check_ports(const Plan& p) {
  struct Kind {
    const std::vector<PlanPort>& ports;
    const char* name;
    Storage storage;
  };
  for (const Kind& k :
       {Kind{p.inputs, "input ", Storage::input}, Kind{p.outputs, "output ", Storage::output}, Kind{p.states, "state ", Storage::state}}) {
    std::set<std::string_view> names;
    for (size_t i = 0; i < k.ports.size(); ++i) {
      const PlanPort& q = k.ports[i];
      std::string what = k.name + name_text(q.name);
      if (!names.insert(q.name).second) return invalid("there are two of " + what);
      if (!in_range(q.tensor, p.tensors.size())) return invalid(what + " has no valid tensor");
      const PlanBuffer& b = p.buffers[p.tensors[q.tensor].buffer];
      if (k.storage == Storage::input && (b.storage != Storage::input || b.source != static_cast<int>(i)))
        return invalid(what + " does not lie in its own input buffer");
      if (k.storage == Storage::output && b.prepare) return invalid(what + " lies in memory of the prepare region");
      if (k.storage == Storage::state) TRY(check_state(p, static_cast<int>(i)));
    }
  }
  for (size_t i = 0; i < p.outputs.size(); ++i) {
    int b = p.tensors[p.outputs[i].tensor].buffer;
    if (!is_bound(p, b)) return invalid("buffer " + buffer_name(p, b) + " does not hold its output");
  }
  return {};
}

}  // namespace

std::string tensor_name(const Plan& p, int t) {
  return in_range(t, p.tensors.size()) && !p.tensors[t].name.empty() ? "%" + name_text(p.tensors[t].name) : "%" + std::to_string(t);
}
std::string buffer_name(const Plan& p, int b) {
  return in_range(b, p.buffers.size()) && !p.buffers[b].name.empty() ? "#" + name_text(p.buffers[b].name) : "#" + std::to_string(b);
}

bool is_bound(const Plan& p, int i) {
  const PlanBuffer& b = p.buffers[i];
  auto holds = [&](int t) { return t >= 0 && p.tensors[t].buffer == i; };
  switch (b.storage) {
    case Storage::input: return holds(p.inputs[b.source].tensor);
    case Storage::output: return holds(p.outputs[b.source].tensor);
    case Storage::state: return holds(p.states[b.source].tensor) || holds(p.states[b.source].paired);
    default: return true;
  }
}

Status verify_dim(const Plan& p, const Dim& d, const std::string& what) {
  if (d.is_overflow()) return invalid(what + " overflows");
  return check_symbols(p, d, what);
}

Status verify_tables(const Plan& p) {
  for (size_t n : {p.buffers.size(), p.tensors.size(), p.kernels.size(), p.constants.size()})
    if (n >= INT32_MAX) return resources("a plan with more than 2^31 entries in a table");
  TRY(check_symbol_table(p));
  TRY(check_groups(p));
  TRY(check_kernels(p));
  TRY(check_constants(p));
  for (size_t i = 0; i < p.buffers.size(); ++i) TRY(check_buffer(p, static_cast<int>(i)));
  for (size_t i = 0; i < p.tensors.size(); ++i) TRY(check_tensor(p, static_cast<int>(i)));
  return check_ports(p);
}

Status verify_plan(const Plan& p) {
  TRY(verify_tables(p));
  TRY(verify_commands(p));
  TRY(verify_arena(p));
  return verify_streams(p);
}

}  // namespace weft
