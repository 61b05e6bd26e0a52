// The interface of a Plan: inputs, outputs, and the states that a Context keeps from run to run.
//
// A state takes the place of an input and an output. Its value before the run lies in the state's buffer; its next value is
// computed like an output and stored there as the last thing a run does, so that everything has read the old one. A state
// that grows has capacity strides, and only what is new is stored. Where its next value is a concat behind the old one, the
// new rows are computed in their place, behind the old ones, and who reads the next value reads the state's buffer. One that
// is overwritten has a second buffer where the host runs the plan: the next value is computed there, and the two change places.
// (On a GPU other pointers in each run would mean other graphs.)
#include "codegen/lower/ports.h"

#include <algorithm>

#include "ir/ops/move.h"

namespace weft {

namespace {

const State* state_of(const Lowering& l, const Graph& g, const std::string& name, std::string State::*end) {
  for (const State& s : l.m.states)
    if (s.graph == g.name && s.*end == name) return &s;
  return nullptr;
}

std::string output_name(const Graph& g, size_t k) { return k < g.output_names.size() ? g.output_names[k] : g.outputs[k]->name; }

// A tensor as callers see it: packed where its type is narrower than a byte.
int port_tensor(Lowering& l, const Value* v, Storage storage, int number) {
  int id = l.temp(v->name, v->type.dtype, v->type.shape);
  PlanTensor& t = l.plan().tensors[id];
  PlanBuffer& b = l.plan().buffers[t.buffer];
  t.dtype = v->type.dtype;
  t.strides = plan_strides(t.dims, t.dtype);
  b.bytes = plan_bytes(t.dims, t.dtype);
  b.storage = storage;
  b.source = number;
  return id;
}

// The strides of a state's tensors: those of its capacity.
Result<Shape> capacity_dims(Lowering& l, const State& s, const Value& in) {
  Shape dims = in.type.shape;
  if (s.kind != State::Kind::append) return dims;
  if (!s.length.is_symbol() || !(dims[s.axis] == s.length))
    return unsupported("state " + s.name + " grows, but its length is not the dim along its axis").at_tensor(s.input);
  if (!s.capacity.is_symbol())
    return unsupported("state " + s.name + " grows up to " + s.capacity.to_string() + ", which is no symbol").at_tensor(s.input);
  dims[s.axis] = s.capacity;
  return dims;
}

Status bind_state(Lowering& l, const State& s, const Value& in) {
  if (is_subbyte(in.type.dtype)) return unsupported("a state of type " + in.type.describe() + " on " + l.target.to_string()).at_tensor(s.input);
  TRY_ASSIGN(Shape room, capacity_dims(l, s, in));
  int t = port_tensor(l, &in, Storage::state, static_cast<int>(l.plan().states.size()));
  l.plan().tensors[t].strides = plan_strides(room, in.type.dtype);
  l.plan().buffers[l.plan().tensors[t].buffer].bytes = plan_bytes(room, in.type.dtype);
  l.tensors[&in] = t;
  const bool grows = s.kind == State::Kind::append;
  l.plan().states.push_back({s.name, t, -1, grows ? s.axis : -1, grows ? s.length.symbol_name() : "", grows ? s.capacity.symbol_name() : "", s.share});
  return {};
}

// The part of a tensor along `axis` from `begin` on.
int part(Lowering& l, int tensor, int axis, const Dim& begin) {
  const PlanTensor t = l.plan().tensors[tensor];
  Shape dims = t.dims;
  dims[axis] = dims[axis] - begin;
  return l.alias(nullptr, tensor, dims, t.strides, begin * t.strides[axis] * Dim(byte_size(t.dtype)));
}

}  // namespace

Status bind_inputs(Lowering& l, Graph& g) {
  for (auto& in : g.inputs) {
    if (!in->type.is_ranked() || in->type.dtype == DType::str)
      return unsupported("an input of type " + in->type.describe() + " on " + l.target.to_string()).at_tensor(in->name);
    for (const Dim& d : in->type.shape)
      for (const std::string& s : d.symbols()) l.early.insert(s);
    const State* state = state_of(l, g, in->name, &State::input);
    if (state && state->capacity.is_symbol()) l.early.insert(state->capacity.symbol_name());
  }
  for (auto& [name, range] : l.m.symbols)
    if (range.lo == range.hi) l.early.insert(name);
  l.bound = l.early;
  for (auto& in : g.inputs) {
    if (const State* state = state_of(l, g, in->name, &State::input)) {
      TRY(bind_state(l, *state, *in));
      continue;
    }
    int t = port_tensor(l, in.get(), Storage::input, static_cast<int>(l.plan().inputs.size()));
    l.tensors[in.get()] = t;
    l.plan().inputs.push_back({in->name, t, -1, -1, {}, {}});
    if (!is_subbyte(in->type.dtype)) continue;
    int bytes = l.temp(in->name, in->type.dtype, in->type.shape);
    l.tensors[in.get()] = bytes;
    TRY(l.call("unpack", {t}, {bytes}));
  }
  return {};
}

// The next value of a state that grows, where it is the state with something behind it.
static bool grows_in_place(const Graph& g, const State& s, const Value& next) {
  if (s.kind != State::Kind::append || !next.def || next.def->kind != OpKind::concat || next.def->graph != &g) return false;
  const Value* old = next.def->operands[0];
  auto axis = normalize_axis(next.def->attr<ConcatAttrs>().axis, next.type.rank());
  return axis.ok() && *axis == s.axis && old->is_input() && old->name == s.input;
}

static std::vector<PlanPort>::iterator state_port(Lowering& l, const State& s) {
  auto& states = l.plan().states;
  return std::find_if(states.begin(), states.end(), [&](const PlanPort& p) { return p.name == s.name; });
}

// Whether the next value of a state is computed in a buffer of its own that then takes the place of the state's.
static bool changes_places(Lowering& l, const State& s, const Value& next) {
  if (s.kind != State::Kind::overwrite || l.target.backend != Backend::cpu || !next.def || constant_of(&next) || known_of(&next)) return false;
  const PlanTensor& old = l.plan().tensors[state_port(l, s)->tensor];
  return next.type.is_ranked() && next.type.dtype == old.dtype && next.type.shape == old.dims;
}

void declare_outputs(Lowering& l, Graph& g) {
  int number = 0;
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    Value* v = g.outputs[k];
    if (const State* s = state_of(l, g, output_name(g, k), &State::output)) {
      if (l.tensors.count(v)) continue;
      if (grows_in_place(g, *s, *v)) {
        const int old = l.tensors.at(v->def->operands[0]);
        l.alias(v, old, v->type.shape, l.plan().tensors[old].strides, Dim(0));
      } else if (changes_places(l, *s, *v)) {
        l.tensors[v] = port_tensor(l, v, Storage::state, static_cast<int>(state_port(l, *s) - l.plan().states.begin()));
      }
      continue;
    }
    int source = number++;
    const bool made = v->is_input() || constant_of(v) || v->def->kind == OpKind::prepared;
    if (!v->type.is_ranked() || made || known_of(v) || is_subbyte(v->type.dtype) || l.tensors.count(v)) continue;
    l.tensors[v] = port_tensor(l, v, Storage::output, source);
  }
}

static Status store_states(Lowering& l, Graph& g);

// Of a stage's output, among those of all that are no states.
static int place_of_output(const Module& m, const std::string& name) {
  if (m.graphs.size() == 1) return -1;
  int place = 0;
  for (const std::string& other : m.ports().outputs) {
    if (other == name) break;
    place += std::none_of(m.states.begin(), m.states.end(), [&](const State& s) { return s.output == other; });
  }
  return place;
}

Status bind_outputs(Lowering& l, Graph& g) {
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    if (state_of(l, g, output_name(g, k), &State::output)) continue;
    Value* v = g.outputs[k];
    const int number = static_cast<int>(l.plan().outputs.size());
    TRY_ASSIGN(int t, l.tensor(v));
    const PlanBuffer& b = l.plan().buffers[l.plan().tensors[t].buffer];
    if (b.storage != Storage::output || b.source != number || !l.dense(t) || !l.plan().tensors[t].offset.is(0)) {
      int to = port_tensor(l, v, Storage::output, number);
      l.allocate(to);
      if (is_subbyte(v->type.dtype)) TRY(l.call("pack", {t}, {to}));
      else l.copy(t, to);
      t = to;
    }
    l.plan().outputs.push_back({output_name(g, k), t, -1, -1, {}, {}, {}, place_of_output(l.m, output_name(g, k))});
  }
  return store_states(l, g);
}

static Status store_states(Lowering& l, Graph& g) {
  struct Store {
    int state, from;
    Shape dims;
    bool swaps;
  };
  std::vector<Store> stores;
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    const State* s = state_of(l, g, output_name(g, k), &State::output);
    if (!s) continue;
    auto port = state_port(l, *s);
    TRY_ASSIGN(int t, l.tensor(g.outputs[k]));
    const PlanBuffer& buffer = l.plan().buffers[l.plan().tensors[t].buffer];
    const int number = static_cast<int>(port - l.plan().states.begin());
    // What lies in a state's buffer is saved before any state changes, unless it is there as that state's next value.
    if (grows_in_place(g, *s, *g.outputs[k]) && l.plan().tensors[t].buffer == l.plan().tensors[port->tensor].buffer) {
      port->paired = t;
      continue;
    }
    const bool swaps = buffer.storage == Storage::state && buffer.source == number && l.plan().tensors[t].buffer != l.plan().tensors[port->tensor].buffer;
    if (buffer.storage == Storage::state && !swaps) {
      int saved = l.temp(s->name, g.outputs[k]->type.dtype, g.outputs[k]->type.shape);
      l.allocate(saved);
      l.copy(t, saved);
      t = saved;
    }
    stores.push_back({number, t, g.outputs[k]->type.shape, swaps});
  }
  for (const Store& s : stores) {
    PlanPort& port = l.plan().states[s.state];
    if (s.swaps) {
      l.command(CommandKind::swap).tensors = {port.tensor, s.from};
      port.paired = s.from;
      continue;
    }
    if (port.axis < 0) {
      l.copy(s.from, port.tensor);
      port.paired = port.tensor;
      continue;
    }
    const Dim length = Dim::symbol(port.length);
    int next = l.alias(nullptr, port.tensor, s.dims, l.plan().tensors[port.tensor].strides, Dim(0));
    l.plan().states[s.state].paired = next;
    l.copy(part(l, s.from, port.axis, length), part(l, next, port.axis, length));
  }
  return {};
}

}  // namespace weft
