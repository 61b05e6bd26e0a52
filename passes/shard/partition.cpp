// partition: makes of a graph whose values have shardings the graph that every rank runs. Each op computes the part that its
// results' shardings say; where an op needs an operand in another form than the one it was computed in, a collective (or
// a slice, which costs nothing) brings it there. Ranks differ by their coordinates alone, which are symbols (rank.tp).
//
// Inputs and outputs are whole on every rank; states are cut as the value is that becomes the next one.
//
// Ops with stages make a graph for each stage of the pipeline. What an earlier stage computes is sent, by each of its ranks to
// the one that differs from it by the stage alone, in the order in which stages first need it: since all send and receive
// in that one order, none waits for another in a circle.
#include <algorithm>

#include "ir/ops/collective.h"
#include "passes/pass_manager.h"
#include "passes/shard/resharding.h"

namespace weft {

namespace {

constexpr const char* kStageNames = "stage";  // stage0, stage1, …

class Partition {
 public:
  // `to`: a graph for each stage; without stages one.
  Partition(Module& m, const Mesh& mesh, const Graph& from, const std::vector<std::unique_ptr<Graph>>& to)
      : m_(m), mesh_(mesh), from_(from), batch_(batch_of(from)) {
    for (auto& g : to) stages_.push_back(std::make_unique<Stage>(*g, mesh, batch_));
  }

  Status run() {
    find_needs();
    for (auto& in : from_.inputs) TRY(input(*in));
    for (auto& op : from_.ops)
      for (size_t k = 0; k < stages_.size(); ++k)
        if (needs_.at(op.get())[k]) TRY(place(*op, k));
    for (size_t i = 0; i < from_.outputs.size(); ++i) {
      const Value* v = from_.outputs[i];
      const State* s = state_of(from_.output_names[i], false);
      Stage& to = *stages_[home(v)];
      to.b.provenance = v->def ? v->def->provenance : std::vector<std::string>();
      TRY_ASSIGN(Value * out, to.forms.as(v, s ? state_form(*s) : whole(mesh_, v->type.rank())));
      to.graph.outputs.push_back(out);
      to.graph.output_names.push_back(from_.output_names[i]);
    }
    for (State& s : m_.states) {
      if (s.graph != from_.name) continue;
      share(s);
      s.graph = stages_[home_of(s)]->graph.name;
    }
    return {};
  }

 private:
  struct Stage {
    Stage(Graph& g, const Mesh& mesh, const Dim& batch) : graph(g), b(&g), forms(mesh, batch, b) {}
    Graph& graph;
    Builder b;
    Forms forms;
  };

  // The stages that compute each op.
  void find_needs() {
    for (auto it = from_.ops.rbegin(); it != from_.ops.rend(); ++it) {
      const Op& op = **it;
      std::vector<char>& needs = needs_[&op];
      needs.assign(stages_.size(), 0);
      if (stages_.size() == 1) {
        needs[0] = 1;
      } else if (op.stage >= 0) {
        needs[static_cast<size_t>(op.stage)] = 1;
      } else {
        for (auto& r : op.results) {
          if (r->is_output()) needs[home(r.get())] = 1;
          for (const Use& u : r->uses)
            for (size_t k = 0; k < needs.size(); ++k) needs[k] |= needs_.at(u.op)[k];
        }
      }
    }
  }
  // The stage that computes a value; of one that any may compute, the one that gives it as an output.
  size_t home(const Value* v) const {
    const int stage = v->def ? v->def->stage : -1;
    return stages_.size() == 1 ? 0 : stage >= 0 ? static_cast<size_t>(stage) : stages_.size() - 1;
  }
  const State* state_of(const std::string& name, bool is_input) const {
    for (const State& s : m_.states)
      if (s.graph == from_.name && (is_input ? s.input : s.output) == name) return &s;
    return nullptr;
  }
  const Value* next_of(const State& s) const {
    for (size_t i = 0; i < from_.outputs.size(); ++i)
      if (from_.output_names[i] == s.output) return from_.outputs[i];
    return nullptr;
  }
  size_t home_of(const State& s) const {
    const Value* next = next_of(s);
    return next ? home(next) : 0;
  }
  // Notes how its ranks share it.
  void share(State& s) const {
    const Value* next = next_of(s);
    const Sharding form = state_form(s);
    if (!next || std::all_of(form.dims.begin(), form.dims.end(), [](auto& axes) { return axes.empty(); })) return;
    for (auto& in : from_.inputs)
      if (in->name == s.input) s.share = {form, in->type.shape};
  }
  // That of its output, once nothing is pending.
  Sharding state_form(const State& s) const {
    const Value* next = next_of(s);
    return next ? settled(*next) : Sharding();
  }
  Sharding settled(const Value& v) const {
    Sharding form = whole(mesh_, v.type.is_ranked() ? v.type.rank() : 0);
    if (!v.sharding.empty()) form.dims = v.sharding.dims;
    return form;
  }

  // Of every stage, since its dims may be needed where its elements are not; a state's memory is one stage's.
  Status input(const Value& in) {
    const State* s = state_of(in.name, true);
    for (size_t k = 0; k < stages_.size(); ++k) {
      Type t = in.type;
      for (const Dim& d : t.shape)
        for (const std::string& name : d.symbols()) stages_[k]->forms.inputs_bind(name);
      if (s && k != home_of(*s)) continue;
      Sharding form = whole(mesh_, t.is_ranked() ? t.rank() : 0);
      if (s) {
        form = state_form(*s);
        t.shape = local_shape(t.shape, form, mesh_, batch_);
      }
      Value* v = stages_[k]->graph.add_input(t, in.name);
      v->place = in.place;
      v->known = in.known;
      stages_[k]->forms.add(&in, form, v);
    }
    return {};
  }

  // What is summed or multiplied must not count a repetition: it becomes 0 or 1.
  static Value* without_repetitions(Forms& forms, const Cuts& c, const ShardingRule::Dims& dims, Value* v) {
    for (size_t f = 0; f < c.parts.size(); ++f) {
      const FactorPart& p = c.parts[f];
      const int d = p.ragged() ? c.rule.dim_of(dims, static_cast<int>(f)) : -1;
      const bool product = p.role == ShardingRule::Role::prod;
      if (d >= 0 && (product || p.role == ShardingRule::Role::sum)) v = forms.cut_behind(v, d, p.own, product ? 1 : 0);
    }
    return v;
  }

  Status place(const Op& op, size_t stage) {
    Stage& to = *stages_[stage];
    to.b.provenance = op.provenance;
    if (op.kind != OpKind::constant && op.num_results() == 1 && are_dims(*op.result(), to)) {
      // Those of the whole model, whatever they were computed of.
      DimsAttrs a;
      a.values = *op.result()->known;
      put(to, op.result(), whole(mesh_, 1), to.b.op(OpKind::dims, {}, a));
      return {};
    }
    const Cuts c = cuts_of(op, mesh_);
    LocalOp local{op, {}, {}, c.parts, mesh_, to.b};
    for (int i = 0; i < op.num_operands(); ++i) {
      Value* v = nullptr;
      if (op.operands[i]) {
        TRY(receive(op.operands[i], stage));
        TRY_ASSIGN(v, to.forms.as(op.operands[i], form_of(c, c.rule.operands[i], mesh_)));
        v = without_repetitions(to.forms, c, c.rule.operands[i], v);
      }
      local.operands.push_back(v);
    }
    std::vector<Sharding> forms;
    for (int r = 0; r < op.num_results(); ++r) {
      Sharding s = form_of(c, c.rule.results[r], mesh_);
      for (const FactorPart& p : c.parts)
        if (const char* reduction = p.axes.empty() ? nullptr : pending_reduction(p.role)) {
          s.partial.insert(s.partial.end(), p.axes.begin(), p.axes.end());
          s.reduction = reduction;
        }
      const Type& t = op.result(r)->type;
      local.results.push_back(t.is_ranked() ? local_shape(t.shape, s, mesh_, batch_) : Shape());
      forms.push_back(std::move(s));
    }
    bool cut = std::any_of(c.parts.begin(), c.parts.end(), [](const FactorPart& p) { return p.count > 1; });
    const OpDef& def = op_def(op);
    auto made = cut && def.localize ? def.localize(local) : local.build();
    if (!made.ok()) return std::move(made.error());
    for (int r = 0; r < op.num_results(); ++r) {
      Value* v = (*made)[r];
      if (op.result(r)->type.is_ranked()) v = to.forms.with_dims(v, local.results[r]);
      if (!op.result(r)->type.is_ranked()) v->type = op.result(r)->type;
      v->place = op.result(r)->place;
      put(to, op.result(r), forms[r], v);
    }
    return {};
  }
  // Brings v from the stage that computes it, in the form in which it does but for what is pending.
  Status receive(const Value* v, size_t stage) {
    if (stages_[stage]->forms.has(v)) return {};
    if (!v->def || home(v) > stage) {
      Error e = invalid("stage " + std::to_string(stage) + " of the pipeline needs what " + (v->def ? "the later one " : "the state's one ") +
                        std::to_string(home(v)) + " has");
      return e.at_tensor(v->name), e;
    }
    Stage &from = *stages_[home(v)], &to = *stages_[stage];
    const Sharding form = settled(*v);
    from.b.provenance = v->def->provenance;
    TRY_ASSIGN(Value * here, from.forms.as(v, form));
    SendAttrs send;
    send.stage = to.graph.name;
    send.tag = sent_;
    TRY(from.b.create(OpKind::send, {here}, std::make_unique<SendAttrs>(send), 0));
    RecvAttrs recv;
    recv.stage = from.graph.name;
    recv.tag = sent_++;
    recv.type = here->type;
    std::vector<std::string> provenance = std::exchange(to.b.provenance, v->def->provenance);
    Value* there = to.b.op(OpKind::recv, {}, recv);
    to.b.provenance = std::move(provenance);
    put(to, v, form, there);
    return {};
  }
  static bool are_dims(const Value& v, const Stage& to) {
    return v.known && v.type.dtype == DType::i64 && v.type.rank() == 1 && to.forms.are_decided(*v.known);
  }
  static void put(Stage& to, const Value* whole, Sharding form, Value* v) {
    if (v->name.empty()) v->name = whole->name;
    to.forms.add(whole, std::move(form), v);
  }

  Module& m_;
  const Mesh& mesh_;
  const Graph& from_;
  Dim batch_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::map<const Op*, std::vector<char>> needs_;
  int64_t sent_ = 0;
};

bool is_sharded(const Graph& g) {
  for (auto& op : g.ops)
    for (auto& r : op->results)
      if (!r->sharding.empty()) return true;
  return false;
}

}  // namespace

Result<bool> pass_partition(Module& m, PassContext&) {
  if (m.meshes.empty() || m.meshes[0].size() <= 1 || m.graphs.size() != 1 || !is_sharded(*m.main())) return false;
  const Mesh& mesh = m.meshes[0];
  for (auto& [axis, size] : mesh.axes) m.symbols[rank_symbol(axis)] = {0, size - 1, 0};
  const auto stages = static_cast<size_t>(std::max<int64_t>(mesh.axis_size(kStageAxis), 1));
  for (auto& op : m.main()->ops)
    if (op->stage >= 0 && static_cast<size_t>(op->stage) >= stages)
      return invalid("an op of stage " + std::to_string(op->stage) + " where the mesh has " + std::to_string(stages)).at_node(op->describe());
  // Sends and receives name each other's graphs: all belong to the module from the start.
  if (stages > 1) m.interface = m.ports();
  std::unique_ptr<Graph> from = std::move(m.graphs[0]);
  m.graphs.clear();
  for (size_t k = 0; k < stages; ++k) m.add_graph(stages == 1 ? from->name : kStageNames + std::to_string(k));
  TRY(Partition(m, mesh, *from, m.graphs).run());
  return true;
}

}  // namespace weft
