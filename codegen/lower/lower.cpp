#include "codegen/lower/lower.h"

#include <algorithm>

#include "codegen/lower/assign_streams.h"
#include "codegen/lower/control.h"
#include "codegen/lower/expand.h"
#include "codegen/lower/free_dynamic.h"
#include "codegen/lower/lowering.h"
#include "codegen/lower/ports.h"
#include "ir/base/check.h"
#include "ir/expand/expand.h"
#include "ir/ops/collective.h"
#include "ir/ops/structure.h"

namespace weft {

bool is_shape_operand(const Op& op, int i) {
  switch (op.kind) {
    case OpKind::reshape: case OpKind::expand: case OpKind::tile: case OpKind::squeeze: case OpKind::unsqueeze: case OpKind::split:
    case OpKind::cum_sum: case OpKind::cum_prod: case OpKind::top_k: case OpKind::trilu: case OpKind::one_hot: case OpKind::affine_grid:
      return i == 1;
    case OpKind::max_unpool: return i == 2;
    case OpKind::slice: return i >= 1;
    case OpKind::pad: return i == 1 || i == 3;
    case OpKind::resize: return i >= 1;
    case OpKind::constant_of_shape: case OpKind::shape: case OpKind::size: case OpKind::eye_like: case OpKind::random_normal_like:
    case OpKind::random_uniform_like: return i == 0;
    case OpKind::range: return true;
    case OpKind::reduce_sum: case OpKind::reduce_mean: case OpKind::reduce_max: case OpKind::reduce_min:
    case OpKind::reduce_prod: case OpKind::reduce_l1: case OpKind::reduce_l2: case OpKind::reduce_log_sum:
    case OpKind::reduce_log_sum_exp: case OpKind::reduce_sum_square:
      return i == 1;
    default: return false;
  }
}

// Only the operand's dims matter.
static bool reads_dims_alone(OpKind k) {
  return k == OpKind::shape || k == OpKind::size || k == OpKind::eye_like || k == OpKind::random_normal_like || k == OpKind::random_uniform_like;
}

// --- what must run ----------------------------------------------------------------------------------------------------

static void see_symbols(const Value* v, std::set<std::string>& into) {
  auto see = [&](const Dim& d) {
    for (std::string& s : d.symbols()) into.insert(std::move(s));
  };
  for (const Dim& d : v->type.shape) see(d);
  if (v->known)
    for (const Dim& d : *v->known) see(d);
}
// Whether the op gives one of these symbols its value: it stands in a result and in no operand.
static bool makes_symbol(const Op& op, const std::set<std::string>& wanted) {
  std::set<std::string> have;
  for (const Value* v : op.operands)
    if (v) see_symbols(v, have);
  for (auto& r : op.results)
    for (const Dim& d : r->type.shape)
      for (const std::string& s : d.symbols())
        if (wanted.count(s) && !have.count(s)) return true;
  return false;
}

static void find_live_ops(Graph& g, const std::vector<Value*>& outputs, Lowering& l, std::set<std::string>& symbols) {
  for (Value* o : outputs)
    if (o) {
      l.needed.insert(o);
      see_symbols(o, symbols);
    }
  for (auto it = g.ops.rbegin(); it != g.ops.rend(); ++it) {
    Op& op = **it;
    bool any = makes_symbol(op, symbols) || op.kind == OpKind::send || op.kind == OpKind::recv;
    for (auto& r : op.results) any = any || (l.needed.count(r.get()) && !known_of(r.get()));
    if (!any) continue;
    l.live.insert(&op);
    for (auto& r : op.results) see_symbols(r.get(), symbols);
    for (int i = 0; i < op.num_operands(); ++i) {
      Value* v = op.operands[i];
      if (!v) continue;
      see_symbols(v, symbols);
      if (!(is_shape_operand(op, i) && (known_of(v) || reads_dims_alone(op.kind)))) l.needed.insert(v);
    }
    for (auto& sub : op.graphs) find_live_ops(*sub, sub->outputs, l, symbols);
  }
}
void find_live(Graph& g, const std::vector<Value*>& outputs, Lowering& l) {
  std::set<std::string> symbols;
  find_live_ops(g, outputs, l, symbols);
}

// --- commands -----------------------------------------------------------------------------------------------------

Command& Lowering::command(CommandKind k) {
  Command c;
  c.kind = k;
  c.nodes = nodes;
  commands->push_back(std::move(c));
  return commands->back();
}

Status Lowering::call(const std::string& name, const std::vector<int>& inputs, const std::vector<int>& outputs, const std::string& attributes) {
  std::set<std::string> sets;
  for (int t : outputs) {
    bool open = false;
    for (const Dim& d : plan().tensors[t].dims)
      for (const std::string& s : d.symbols())
        if (!bound.count(s)) {
          sets.insert(s);
          open = true;
        }
    // What the call sizes, it allocates.
    if (open) unallocated.erase(plan().tensors[t].buffer);
    else allocate(t);
  }
  Command& c = command(CommandKind::host_call);
  c.name = name;
  c.text = attributes;
  c.tensors = inputs;
  c.tensors.insert(c.tensors.end(), outputs.begin(), outputs.end());
  c.index = static_cast<int64_t>(inputs.size());
  c.sets.assign(sets.begin(), sets.end());
  bound.insert(sets.begin(), sets.end());
  return {};
}

Status Lowering::launch_chosen(KernelSpec spec, std::vector<int> ids, const std::vector<Dim>& dims) {
  const bool cuda = target.backend == Backend::cuda;
  TRY(prepare_factors(spec, ids));
  Dim scratch = cuda ? Dim(0) : scratch_cpu(spec);
  auto back = [&](const Dim& d) { return with_params(spec, dims, d); };
  Dim tasks = back(spec.tasks);
  scratch = back(scratch);
  std::vector<bool> reads(ids.size()), writes(ids.size());
  for (const SpecOperand& o : spec.operands) (o.write ? writes : reads)[o.ptr] = true;
  for (auto [read, written] : in_place_pairs(spec)) in_place.emplace_back(ids[read], ids[written]);
  Hash h = spec_hash(spec, target);
  auto [it, fresh] = kernels.emplace(h, static_cast<int>(plan().kernels.size()));
  if (fresh) {
    PlanKernel k;
    k.name = "k_" + h.hex();
    k.hash = h;
    k.flops = back(spec_flops(spec));
    k.threads = static_cast<int>(spec.config.threads);
    for (int id : std::set<int>(ids.begin(), ids.end())) {
      const PlanTensor& t = plan().tensors[id];
      k.bytes = k.bytes + numel(t.dims) * Dim(byte_size(t.dtype));
    }
    plan().kernels.push_back(std::move(k));
    out.specs.push_back(std::move(spec));
  }
  merge_provenance(plan().kernels[it->second].nodes, nodes);
  Command& c = command(CommandKind::launch);
  c.kernel = it->second;
  c.tasks = tasks;
  c.scratch_bytes = scratch;
  if (cuda) {
    const SpecConfig& config = out.specs[static_cast<size_t>(it->second)].config;
    c.grid[0] = tasks.is_const() ? min(tasks, Dim(config.blocks)) : Dim(config.blocks);
    c.grid[1] = c.grid[2] = c.cluster[1] = c.cluster[2] = Dim(1);
    c.cluster[0] = Dim(std::max<int64_t>(1, config.cluster));
    c.shared_bytes = Dim(config.shared_bytes);
  }
  for (size_t k = 0; k < ids.size(); ++k) {
    Param p;
    p.tensor = ids[k];
    p.access = !writes[k] ? Access::read : reads[k] ? Access::update : Access::write;
    c.params.push_back(std::move(p));
  }
  for (const Dim& d : dims) {
    Param p;
    p.kind = Param::Kind::dim;
    p.dim = d;
    c.params.push_back(std::move(p));
  }
  return {};
}

Status Lowering::kernel(const std::string& title, const std::vector<const Value*>& inputs, const std::vector<const Value*>& outputs) {
  for (const Value* v : inputs) TRY(tensor(v));
  for (const Value* v : outputs) result(v);
  SpecBuilder r(title, [&](const Value* v) {
    Placement p = placement(tensors.at(v));
    p.dtype = v->type.dtype;
    return p;
  });
  r.clamp_indices = target.backend == Backend::cuda;
  for (const Value* v : inputs) r.add_input(v);
  for (const Value* v : outputs) TRY(r.add_output(v));
  TRY_ASSIGN(KernelSpec spec, r.finish());
  std::vector<int> ids;
  for (const Value* v : r.pointers()) ids.push_back(tensors.at(v));
  std::vector<Dim> dims;
  for (const std::string& s : r.symbols()) {
    if (!bound.count(s)) return unsupported("the dim " + s + " is needed before anything decides it");
    dims.push_back(Dim::symbol(s));
  }
  return launch(std::move(spec), ids, dims);
}

// --- ops ------------------------------------------------------------------------------------------------------------

static Status check_types(const Op& op, const Target& target) {
  // Movement copies cells of any size.
  bool moves = op_def(op).family == Family::move || op.kind == OpKind::identity || (op_def(op).traits & kViewLike);
  auto see = [&](const Value* v, const char* what) -> Status {
    if (!v) return {};
    std::string why;
    if (!v->type.is_tensor()) why = std::string(what) + " of type " + v->type.describe();
    else if (!v->type.ranked) why = std::string(what) + " of unknown rank";
    else if (v->type.dtype == DType::str || (is_complex(v->type.dtype) && !moves)) why = std::string(what) + " of type " + v->type.describe();
    else return {};
    return unsupported(std::string(op_name(op.kind)) + " with " + why + " on " + target.to_string()).at_node(op.describe()).at_tensor(v->name);
  };
  for (int i = 0; i < op.num_operands(); ++i)
    if (op.operands[i] && !(is_shape_operand(op, i) && known_of(op.operands[i]))) TRY(see(op.operands[i], "an operand"));
  for (auto& r : op.results)
    if (!r->unused()) TRY(see(r.get(), "a result"));
  return {};
}

// Whether dims or axes of a region are decided by data that it reads.
static bool is_open(const Lowering& l, const Op& op) {
  auto open = [&](const Op& o) {
    for (auto& r : o.results)
      for (const Dim& d : r->type.shape)
        if (!l.is_bound(d)) return true;
    return false;
  };
  if (open(op)) return true;
  for (auto& inner : op.graphs[0]->ops) {
    if (open(*inner)) return true;
    for (int i = 0; i < inner->num_operands(); ++i)
      if (inner->operands[i] && is_shape_operand(*inner, i) && !known_of(inner->operands[i]) && !constant_of(inner->operands[i])) return true;
  }
  return false;
}
// Op by op.
static Status fused_open(Lowering& l, Op& op) {
  Graph& body = *op.graphs[0];
  TRY(l.graph(body));
  for (size_t k = 0; k < body.outputs.size(); ++k) {
    Value* r = op.result(static_cast<int>(k));
    set_result_dims(l, r, body.outputs[k]->type.shape);
    if (!l.needed.count(r)) continue;
    TRY_ASSIGN(int from, l.tensor(body.outputs[k]));
    if (l.tensors.count(r)) l.copy(from, l.result(r));
    else l.tensors[r] = from;
  }
  return {};
}

static Status fused(Lowering& l, Op& op) {
  std::vector<const Value*> inputs, outputs;
  Graph& body = *op.graphs[0];
  for (size_t k = 0; k < body.inputs.size(); ++k) {
    TRY_ASSIGN(int t, l.tensor(op.operands[k]));
    l.tensors[body.inputs[k].get()] = t;
    inputs.push_back(body.inputs[k].get());
  }
  if (is_open(l, op)) return fused_open(l, op);
  for (auto& inner : body.ops) {
    for (const Value* v : inner->operands)
      if (v && constant_of(v) && v->type.dtype != DType::str) TRY(l.tensor(v));
    l.check_assumed(*inner);
    TRY(l.check_indices(*inner));
  }
  for (size_t k = 0; k < body.outputs.size(); ++k) {
    Value* r = op.result(static_cast<int>(k));
    if (!l.needed.count(r)) continue;
    l.tensors[body.outputs[k]] = l.result(r);
    outputs.push_back(body.outputs[k]);
  }
  Status s = l.kernel("fused", inputs, outputs);
  // What is no single kernel after all runs op by op.
  return s.ok() || s.error().code != Code::kUnsupported ? s : l.graph(body);
}

Status Lowering::op(Op& op) {
  if (op.kind == OpKind::constant || op.kind == OpKind::prepared) return {};
  TRY(check_types(op, target));
  nodes = op.provenance;
  check_assumed(op);
  TRY_ASSIGN(bool done, control(op));
  if (done) return {};
  if (op.kind == OpKind::fused) return fused(*this, op);
  TRY(know_shapes(op));
  check_assumed(op);
  TRY_ASSIGN(done, view(op));
  if (done) return {};
  TRY_ASSIGN(done, host(op));
  if (done) return {};
  TRY_ASSIGN(done, collective(op));
  if (done) return {};
  TRY_ASSIGN(done, open_axes(op));
  if (done) return {};
  if (!has_rule(op)) return unsupported(std::string(op_name(op.kind)) + " on " + target.to_string()).at_node(op.describe());
  TRY(check_indices(op));
  std::vector<const Value*> inputs;
  for (int i = 0; i < op.num_operands(); ++i) {
    Value* v = op.operands[i];
    if (v && needed.count(v)) inputs.push_back(v);
  }
  for (auto& r : op.results)
    if (needed.count(r.get())) TRY(kernel(op_name(op.kind), inputs, {r.get()}));
  return {};
}

Status Lowering::graph(Graph& g) {
  plan_places(*this, g);
  for (auto& o : g.ops) {
    if (!live.count(o.get())) continue;
    Status s = op(*o);
    if (s.ok()) continue;
    s.error().at_node(o->describe());
    if (s.error().code != Code::kUnsupported) return s;
    problems.push_back(std::move(s.error()));
    // Later ops are still looked at, so that one run names every problem.
    for (auto& r : o->results) {
      for (const Dim& d : r->type.shape)
        for (const std::string& symbol : d.symbols()) bound.insert(symbol);
      if (!tensors.count(r.get()) && r->type.is_ranked()) new_tensor(r.get());
    }
  }
  return {};
}

// --- the whole module -----------------------------------------------------------------------------------------------

// A result takes the memory of an operand that ends with the launch, where the kernel may write over what it reads.
static void share_memory(Plan& p, const std::vector<std::pair<int, int>>& pairs) {
  auto whole = [&](int t) {
    const PlanTensor& x = p.tensors[t];
    const PlanBuffer& b = p.buffers[x.buffer];
    return b.storage == Storage::arena && !b.prepare && b.first >= 0 && x.offset.is(0) && plan_bytes(x.dims, x.dtype) == b.bytes;
  };
  for (auto [read, written] : pairs) {
    int from = p.tensors[read].buffer, to = p.tensors[written].buffer;
    PlanBuffer &a = p.buffers[from], &b = p.buffers[to];
    if (from == to || !whole(read) || !whole(written) || a.last != b.first || a.bytes != b.bytes) continue;
    for (PlanTensor& t : p.tensors)
      if (t.buffer == to) t.buffer = from;
    a.last = b.last;
    b.first = b.last = -1;
  }
}

static void place_arena(Plan& p, const std::vector<std::pair<int, int>>& in_place) {
  assign_lifetimes(p);
  widen_lifetimes(p);
  share_memory(p, in_place);
  std::vector<ArenaRequest> requests;
  std::vector<PlanBuffer*> buffers;
  for (PlanBuffer& b : p.buffers) {
    if (b.storage != Storage::arena || b.prepare || b.first < 0) continue;
    if (!b.bytes.is_const()) return;  // the context plans when it binds dims
    requests.push_back({b.bytes.value(), b.alignment, b.first, b.last});
    buffers.push_back(&b);
  }
  ArenaLayout layout = plan_arena(requests);
  for (size_t k = 0; k < buffers.size(); ++k) buffers[k]->offset = layout.offsets[k];
  p.arena_bytes = layout.bytes;
}

// Prepared tensors that only other ones are made of (a folded weight that every reader has in another layout) are let go.
static void release_prepared(Plan& p) {
  std::vector<char> read(p.buffers.size(), 0);
  int number = 0;
  for_each_command(p.main, [&](const Command& c, int) { for_each_access(c, [&](int t, Access) { read[p.tensors[t].buffer] = 1; }); }, number);
  for (const PlanPort& q : p.outputs) read[p.tensors[q.tensor].buffer] = 1;
  for (size_t i = 0; i < p.buffers.size(); ++i) {
    PlanBuffer& b = p.buffers[i];
    if (b.storage != Storage::prepared || read[i]) continue;
    b.storage = Storage::arena;
    b.prepare = true;
  }
}

// What g reads of it.
static Status lower_prepare(Lowering& l, Graph& g) {
  std::set<std::string> names;
  walk_nested(g, [&](Op* op) {
    if (op->kind == OpKind::prepared) names.insert(op->attr<PreparedAttrs>().name);
  });
  std::vector<Value*> outputs;
  for (size_t i = 0; i < l.m.prepare->outputs.size(); ++i)
    if (names.count(l.m.prepare->output_names[i])) outputs.push_back(l.m.prepare->outputs[i]);
  find_live(*l.m.prepare, outputs, l);
  l.preparing = true;
  l.commands = &l.plan().prepare.commands;
  TRY(l.graph(*l.m.prepare));
  for (Value* v : outputs) {
    TRY_ASSIGN(int t, l.tensor(v));
    PlanBuffer& b = l.plan().buffers[l.plan().tensors[t].buffer];
    if (b.storage != Storage::arena) continue;
    b.storage = Storage::prepared;
    b.prepare = false;
  }
  l.preparing = false;
  return {};
}

static Result<Lowered> lower_graph(Module& m, size_t number, const Target& target, const Tuning* tuning, bool ordered_sums) {
  Lowering l(m, target);
  l.tuning = tuning;
  l.ordered_sums = ordered_sums;
  Plan& p = l.plan();
  p.name = m.name;
  p.target = target.to_string();
  if (!m.meshes.empty()) p.mesh = m.meshes[0];
  for (auto& axis : p.mesh.axes) l.early.insert(rank_symbol(axis.first));
  l.bound = l.early;
  Graph& g = *m.graphs[number];
  if (m.graphs.size() > 1) p.stage = static_cast<int>(number);
  TRY(expand_composites(g));  // what the passes left, or when none ran
  if (m.prepare) {
    TRY(expand_ops(*m.prepare));
    TRY(lower_prepare(l, g));
  }
  TRY(expand_ops(g));
  find_live(g, g.outputs, l);
  l.commands = &p.main.commands;
  TRY(bind_inputs(l, g));
  declare_outputs(l, g);
  TRY(l.graph(g));
  l.nodes.clear();
  if (l.problems.empty()) {
    Status s = bind_outputs(l, g);
    if (!s.ok()) l.problems.push_back(std::move(s.error()));
  }
  if (!l.problems.empty()) {
    Error e = std::move(l.problems.front());
    for (size_t k = 1; k < l.problems.size() && k < 20; ++k)
      e.message +=
          "\n  also: " + l.problems[k].message + (l.problems[k].node.empty() ? "" : " (" + l.problems[k].node + ")");
    return e;
  }
  p.symbols = m.symbols;
  p.main.commands.insert(p.main.commands.begin(), std::make_move_iterator(l.at_start.begin()), std::make_move_iterator(l.at_start.end()));
  free_dynamic(p);
  if (target.backend == Backend::cuda) assign_streams(p);
  release_prepared(p);
  place_arena(p, l.in_place);
  return std::move(l.out);
}

Result<std::vector<Lowered>> lower_module(Module& m, const Target& target, const Tuning* tuning, bool ordered_sums) {
  if (m.graphs.size() > 1 && !is_pipeline(m)) return invalid("a module of several graphs that are not the stages of its mesh");
  std::vector<Lowered> out;
  for (size_t k = 0; k < m.graphs.size(); ++k) {
    TRY_ASSIGN(Lowered stage, lower_graph(m, k, target, tuning, ordered_sums));
    out.push_back(std::move(stage));
  }
  // In one order everywhere, since the ranks of different stages make them together.
  std::map<std::string, PlanGroup> groups;
  for (const Lowered& l : out)
    for (const PlanGroup& g : l.plan.groups) groups.emplace(g.name, g);
  for (Lowered& l : out) {
    l.plan.groups.clear();
    for (auto& [name, g] : groups) l.plan.groups.push_back(g);
  }
  return out;
}

}  // namespace weft
