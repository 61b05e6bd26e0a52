#include "codegen/lower/lower.h"

#include <algorithm>

#include "codegen/lower/lowering.h"
#include "ir/base/check.h"
#include "ir/expand/expand.h"

namespace weft {

bool is_shape_operand(const Op& op, int i) {
  switch (op.kind) {
    case OpKind::reshape: case OpKind::expand: case OpKind::tile: case OpKind::squeeze: case OpKind::unsqueeze: case OpKind::split:
    case OpKind::cum_sum: case OpKind::cum_prod: case OpKind::top_k: case OpKind::trilu: case OpKind::one_hot:
      return i == 1;
    case OpKind::slice: return i >= 1;
    case OpKind::pad: return i == 1 || i == 3;
    case OpKind::resize: return i >= 1;
    case OpKind::constant_of_shape: case OpKind::shape: case OpKind::size: case OpKind::eye_like: return i == 0;
    case OpKind::range: return true;
    case OpKind::reduce_sum: case OpKind::reduce_mean: case OpKind::reduce_max: case OpKind::reduce_min: case OpKind::reduce_prod: case OpKind::reduce_l1:
    case OpKind::reduce_l2: case OpKind::reduce_log_sum: case OpKind::reduce_log_sum_exp: case OpKind::reduce_sum_square:
      return i == 1;
    default: return false;
  }
}

// --- tensors ------------------------------------------------------------------------------------------------------

static Dim byte_count(DType t, const Shape& dims) {
  return numel(dims) * Dim(byte_size(t));
}

int Lowering::temp(const std::string& name, DType t, const Shape& dims) {
  PlanBuffer b;
  b.name = name;
  b.bytes = byte_count(t, dims);
  PlanTensor x;
  x.name = name;
  x.buffer = plan().add_buffer(std::move(b));
  x.dtype = t;
  x.dims = dims;
  x.strides = dense_strides(dims);
  return plan().add_tensor(std::move(x));
}
int Lowering::new_tensor(const Value* v, Storage storage) {
  int id = temp(v->name, v->type.dtype, v->type.shape);
  plan().buffers[plan().tensors[id].buffer].storage = storage;
  tensors[v] = id;
  return id;
}
int Lowering::alias(const Value* v, int source, Shape dims, std::vector<Dim> strides, Dim byte_offset) {
  PlanTensor x;
  x.name = v->name;
  x.buffer = plan().tensors[source].buffer;
  x.offset = plan().tensors[source].offset + byte_offset;
  x.dtype = v->type.dtype;
  x.dims = std::move(dims);
  x.strides = std::move(strides);
  int id = plan().add_tensor(std::move(x));
  tensors[v] = id;
  return id;
}
Placement Lowering::placement(int id) const {
  const PlanTensor& t = out.plan.tensors[id];
  return {t.dtype, t.dims, t.strides};
}
bool Lowering::dense(int id) const {
  const PlanTensor& t = out.plan.tensors[id];
  Dim expect(1);
  for (size_t k = t.dims.size(); k-- > 0;) {
    if (!t.dims[k].is(1) && t.strides[k] != expect) return false;
    expect *= t.dims[k];
  }
  return true;
}

Result<int> Lowering::tensor(const Value* v) {
  if (auto it = tensors.find(v); it != tensors.end()) return it->second;
  if (const Constant* c = constant_of(v)) {
    if (c->dtype == DType::str || is_subbyte(c->dtype) || is_complex(c->dtype)) {
      Error e = unsupported(std::string("constants of type ") + dtype_name(c->dtype) + " on " + target.to_string());
      e.at_tensor(v->name);
      return e;
    }
    int id = v->def->attr<ConstantAttrs>().value.id;
    auto [it, fresh] = constant_slots.emplace(id, static_cast<int>(plan().constants.size()));
    if (fresh) {
      PlanConstant pc;
      pc.name = c->name;
      pc.dtype = c->dtype;
      pc.dims = c->dims;
      pc.hash = c->hash;
      plan().constants.push_back(std::move(pc));
      out.constants.push_back(id);
    }
    int t = new_tensor(v, Storage::constant);
    plan().buffers[plan().tensors[t].buffer].source = it->second;
    return t;
  }
  if (const std::vector<Dim>* known = known_of(v)) {
    // Shape arithmetic: the elements are Dims, stored by a kernel that takes them as its params.
    int t = new_tensor(v);
    KernelSpec s;
    s.title = "store dims";
    s.num_ptrs = 1;
    SpecOperand o;
    o.name = v->name;
    o.dtype = v->type.dtype;
    o.write = true;
    o.index = {Dim(0)};
    o.strides = {Dim(1)};
    std::vector<std::string> symbols;
    SpecStage st;
    for (size_t k = 0; k < known->size(); ++k) {
      std::string p = "v" + std::to_string(k);
      s.params.push_back(p);
      SpecOperand at = o;
      at.index = {Dim(static_cast<int64_t>(k))};
      s.operands.push_back(std::move(at));
      StageInput in;
      in.kind = StageInput::Kind::index;
      in.dim = Dim::symbol(p);
      st.inputs.push_back(std::move(in));
      int x = st.body.cast(st.body.input(static_cast<int>(k), DType::i64), v->type.dtype);
      st.body.outputs.push_back(x);
      st.stores.push_back(static_cast<int>(k));
    }
    s.stages.push_back(std::move(st));
    std::vector<Dim> dims = *known;
    TRY(launch(std::move(s), {t}, {}));
    for (const Dim& d : dims) {
      Param p;
      p.kind = Param::Kind::dim;
      p.dim = d;
      commands->back().params.push_back(std::move(p));
    }
    return t;
  }
  Error e = unsupported("a value is needed that nothing computes");
  e.at_tensor(v->name);
  return e;
}

// --- kernels ------------------------------------------------------------------------------------------------------

Command& Lowering::command(CommandKind k) {
  Command c;
  c.kind = k;
  c.nodes = nodes;
  commands->push_back(std::move(c));
  return commands->back();
}

Status Lowering::launch(KernelSpec spec, std::vector<int> ids, const std::vector<std::string>& symbols) {
  split_axes(spec);
  collapse_axes(spec);
  mark_constant(spec, ids);
  choose_cpu(spec, target);
  TRY(prepare_factors(spec, ids));
  Dim scratch = scratch_cpu(spec);
  auto back = [&](const Dim& d) {
    return d.substitute([&](const std::string& s) -> std::optional<Dim> {
      for (size_t k = 0; k < symbols.size(); ++k)
        if (spec.params[k] == s) return Dim::symbol(symbols[k]);
      return std::nullopt;
    });
  };
  Dim tasks = back(spec.tasks);
  scratch = back(scratch);
  Hash h = spec_hash(spec, target);
  auto [it, fresh] = kernels.emplace(h, static_cast<int>(plan().kernels.size()));
  if (fresh) {
    PlanKernel k;
    k.name = "k_" + h.hex();
    k.hash = h;
    k.flops = back(spec_flops(spec));
    for (int id : std::set<int>(ids.begin(), ids.end())) {
      const PlanTensor& t = plan().tensors[id];
      k.bytes = k.bytes + numel(t.dims) * Dim(byte_size(t.dtype));
    }
    plan().kernels.push_back(std::move(k));
    out.specs.push_back(std::move(spec));
  }
  PlanKernel& k = plan().kernels[it->second];
  merge_provenance(k.nodes, nodes);
  Command& c = command(CommandKind::launch);
  c.kernel = it->second;
  c.tasks = tasks;
  c.scratch_bytes = scratch;
  for (int id : ids) {
    Param p;
    p.tensor = id;
    c.params.push_back(std::move(p));
  }
  for (const std::string& s : symbols) {
    Param p;
    p.kind = Param::Kind::dim;
    p.dim = Dim::symbol(s);
    c.params.push_back(std::move(p));
  }
  return {};
}

Status Lowering::kernel(const std::string& title, const std::vector<const Value*>& inputs, const std::vector<const Value*>& outputs) {
  for (const Value* v : inputs)
    if (!tensors.count(v)) TRY(tensor(v));
  for (const Value* v : outputs)
    if (!tensors.count(v)) new_tensor(v);
  SpecBuilder r(title, [&](const Value* v) { return placement(tensors.at(v)); });
  for (const Value* v : inputs) r.add_input(v);
  for (const Value* v : outputs) TRY(r.add_output(v));
  TRY_ASSIGN(KernelSpec spec, r.finish());
  std::vector<int> ids;
  for (const Value* v : r.pointers()) ids.push_back(tensors.at(v));
  return launch(std::move(spec), ids, r.symbols());
}

// --- ops ------------------------------------------------------------------------------------------------------------

static Status check_types(const Op& op, const Target& target) {
  auto see = [&](const Value* v, const char* what) -> Status {
    if (!v) return {};
    Error e = unsupported("");
    e.at_node(op.describe());
    e.at_tensor(v->name);
    if (!v->type.is_tensor()) e.message = std::string(what) + " of type " + v->type.to_string();
    else if (!v->type.ranked) e.message = std::string(what) + " of unknown rank";
    else if (v->type.dtype == DType::str || is_complex(v->type.dtype) || is_subbyte(v->type.dtype)) e.message = std::string(what) + " of type " + v->type.to_string();
    else return {};
    e.message = std::string(op_name(op.kind)) + " with " + e.message + " on " + target.to_string();
    return e;
  };
  for (int i = 0; i < op.num_operands(); ++i)
    if (op.operands[i] && !(is_shape_operand(op, i) && known_of(op.operands[i]))) TRY(see(op.operands[i], "an operand"));
  for (auto& r : op.results) TRY(see(r.get(), "a result"));
  return {};
}

Status Lowering::op(Op& op) {
  if (op.kind == OpKind::constant || op.kind == OpKind::prepared) return {};
  TRY(check_types(op, target));
  nodes = op.provenance;
  TRY_ASSIGN(bool done, view(op));
  if (done) return {};
  TRY_ASSIGN(done, control(op));
  if (done) return {};
  TRY_ASSIGN(done, host(op));
  if (done) return {};
  std::vector<const Value*> inputs, outputs;
  if (op.kind == OpKind::fused) {
    Graph& body = *op.graphs[0];
    for (size_t k = 0; k < body.inputs.size(); ++k) {
      TRY_ASSIGN(int t, tensor(op.operands[k]));
      tensors[body.inputs[k].get()] = t;
      inputs.push_back(body.inputs[k].get());
    }
    for (size_t k = 0; k < body.outputs.size(); ++k) {
      if (!needed.count(op.result(static_cast<int>(k)))) continue;
      if (!tensors.count(op.result(static_cast<int>(k)))) new_tensor(op.result(static_cast<int>(k)));
      tensors[body.outputs[k]] = tensors[op.result(static_cast<int>(k))];
      outputs.push_back(body.outputs[k]);
    }
    Status s = kernel("fused", inputs, outputs);
    // What is no single kernel after all runs op by op.
    return s.ok() || s.error().code != Code::kUnsupported ? s : graph(body);
  }
  if (!has_rule(op)) {
    Error e = unsupported(std::string(op_name(op.kind)) + " on " + target.to_string());
    e.at_node(op.describe());
    return e;
  }
  for (int i = 0; i < op.num_operands(); ++i) {
    Value* v = op.operands[i];
    if (v && needed.count(v)) inputs.push_back(v);
  }
  for (auto& r : op.results) {
    if (!needed.count(r.get())) continue;
    TRY(kernel(op_name(op.kind), inputs, {r.get()}));
  }
  return {};
}

// Elements needed at run time: what outputs depend on, less operands that only say shapes and values known as Dims.
static void find_needed(Graph& g, std::set<const Value*>& needed) {
  for (Value* o : g.outputs)
    if (o) needed.insert(o);
  for (auto it = g.ops.rbegin(); it != g.ops.rend(); ++it) {
    Op& op = **it;
    bool any = false;
    for (auto& r : op.results) any = any || (needed.count(r.get()) && !known_of(r.get()));
    if (!any) continue;
    for (int i = 0; i < op.num_operands(); ++i) {
      Value* v = op.operands[i];
      if (v && !(is_shape_operand(op, i) && (known_of(v) || op.kind == OpKind::shape || op.kind == OpKind::size || op.kind == OpKind::eye_like))) needed.insert(v);
    }
    for (auto& sub : op.graphs) find_needed(*sub, needed);
  }
}

Status Lowering::graph(Graph& g) {
  for (auto& o : g.ops) {
    bool any = false;
    for (auto& r : o->results) any = any || (needed.count(r.get()) && !known_of(r.get()));
    if (!any) continue;
    Status s = op(*o);
    if (!s.ok()) {
      s.error().at_node(o->describe());
      if (s.error().code != Code::kUnsupported) return s;
      problems.push_back(std::move(s.error()));
      // Later ops are still looked at, so that one run names every problem.
      for (auto& r : o->results)
        if (!tensors.count(r.get()) && r->type.is_ranked()) new_tensor(r.get());
    }
  }
  return {};
}

// The arena lifetime of each buffer: from the first to the last command that mentions it. What a loop mentions lives for
// the whole loop, since a later iteration may read what an earlier one wrote.
struct Lifetimes {
  Plan& p;
  int number = 0;

  void touch(int tensor, int first, int last) {
    if (tensor < 0) return;
    PlanBuffer& b = p.buffers[p.tensors[tensor].buffer];
    if (b.first < 0 || first < b.first) b.first = first;
    b.last = std::max(b.last, last);
  }
  void mentions(const Command& c, int first, int last) {
    for (int t : c.tensors) touch(t, first, last);
    for (const Param& q : c.params) touch(q.tensor, first, last);
    for (auto& r : c.regions)
      for (const Command& in : r->commands) mentions(in, first, last);
  }
  void region(Region& r) {
    for (Command& c : r.commands) {
      int at = number++;
      for (int t : c.tensors) touch(t, at, at);
      for (const Param& q : c.params) touch(q.tensor, at, at);
      for (auto& sub : c.regions) region(*sub);
      // The condition of a loop and what its body uses stay to its end.
      if (!c.regions.empty()) {
        for (int t : c.tensors) touch(t, at, number - 1);
        if (c.kind == CommandKind::loop) mentions(c, at, number - 1);
      }
    }
  }
};

static void place_arena(Plan& p) {
  Lifetimes{p}.region(p.main);
  std::vector<ArenaRequest> requests;
  std::vector<PlanBuffer*> buffers;
  for (PlanBuffer& b : p.buffers) {
    if (b.storage != Storage::arena || b.first < 0) continue;
    if (!b.bytes.is_const()) return;  // the context plans when it binds dims
    requests.push_back({b.bytes.value(), b.alignment, b.first, b.last});
    buffers.push_back(&b);
  }
  ArenaLayout layout = plan_arena(requests);
  for (size_t k = 0; k < buffers.size(); ++k) buffers[k]->offset = layout.offsets[k];
  p.arena_bytes = layout.bytes;
}

// Interface tensors. An output that is a view or an input is copied into the caller's buffer at the end.
static Status bind_inputs(Lowering& l, Graph& g) {
  for (auto& in : g.inputs) {
    if (!in->type.is_tensor() || !in->type.ranked || in->type.dtype == DType::str || is_complex(in->type.dtype) || is_subbyte(in->type.dtype)) {
      Error e = unsupported("an input of type " + in->type.to_string() + " on " + l.target.to_string());
      e.at_tensor(in->name);
      return e;
    }
    int t = l.new_tensor(in.get(), Storage::input);
    l.plan().buffers[l.plan().tensors[t].buffer].source = in->index;
    l.plan().inputs.push_back({in->name, t, -1});
  }
  return {};
}
static void declare_outputs(Lowering& l, Graph& g) {
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    Value* v = g.outputs[k];
    if (!v->type.is_ranked() || v->is_input() || constant_of(v) || l.tensors.count(v)) continue;
    int t = l.new_tensor(v, Storage::output);
    l.plan().buffers[l.plan().tensors[t].buffer].source = static_cast<int>(k);
  }
}
static Status bind_outputs(Lowering& l, Graph& g) {
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    Value* v = g.outputs[k];
    TRY_ASSIGN(int t, l.tensor(v));
    const PlanBuffer& b = l.plan().buffers[l.plan().tensors[t].buffer];
    if (b.storage != Storage::output || b.source != static_cast<int>(k) || !l.dense(t)) {
      int to = l.temp(v->name, v->type.dtype, v->type.shape);
      PlanBuffer& ob = l.plan().buffers[l.plan().tensors[to].buffer];
      ob.storage = Storage::output;
      ob.source = static_cast<int>(k);
      Command& c = l.command(CommandKind::copy);
      c.tensors = {t, to};
      t = to;
    }
    l.plan().outputs.push_back({k < g.output_names.size() ? g.output_names[k] : v->name, t, -1});
  }
  return {};
}

Result<Lowered> lower_module(Module& m, const Target& target) {
  Lowering l(m, target);
  Plan& p = l.plan();
  p.name = m.name;
  p.target = target.to_string();
  p.symbols = m.symbols;
  Graph& g = *m.main();
  TRY(expand_composites(g));  // what the passes left, or when none ran
  if (m.prepare) {
    find_needed(*m.prepare, l.needed);
    l.commands = &p.prepare.commands;
    TRY(l.graph(*m.prepare));
    for (Value* v : m.prepare->outputs) {
      TRY_ASSIGN(int t, l.tensor(v));
      PlanBuffer& b = p.buffers[p.tensors[t].buffer];
      if (b.storage == Storage::arena) b.storage = Storage::prepared;
    }
  }
  find_needed(g, l.needed);
  l.commands = &p.main.commands;
  TRY(bind_inputs(l, g));
  declare_outputs(l, g);
  TRY(l.graph(g));
  if (l.problems.empty()) {
    Status s = bind_outputs(l, g);
    if (!s.ok()) l.problems.push_back(std::move(s.error()));
  }
  if (!l.problems.empty()) {
    Error e = std::move(l.problems.front());
    for (size_t k = 1; k < l.problems.size() && k < 20; ++k) e.message += "\n  also: " + l.problems[k].message + (l.problems[k].node.empty() ? "" : " (" + l.problems[k].node + ")");
    return e;
  }
  place_arena(p);
  return std::move(l.out);
}

}  // namespace weft
