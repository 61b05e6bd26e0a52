// fuse: forms `fused` regions, each of which becomes one kernel.
//
// A region is a chain or tree of elementwise ops around at most one anchor: a contraction, convolution, pool or reduction
// with elementwise ops on its result; softmax or a normalisation with ones on both sides; a reduction or a padding with
// ones on its operand. Only the region's last op is read from outside, so nothing is computed twice and no cycle arises.
// Elementwise regions of the same operands become one of several results.
// An op is never moved where its elements would be computed more often than before, but for cheap ones before a
// convolution, which run as it packs its operand (once per block of channels), when no kernel before takes them.
#include <algorithm>

#include "ir/base/check.h"
#include "ir/core/builder.h"
#include "ir/ops/conv.h"
#include "ir/ops/norm.h"
#include "ir/ops/structure.h"
#include "passes/pass_manager.h"

namespace weft {

namespace {

// What a region may do with an op.
enum class Role : uint8_t {
  none,         // stays alone
  pointwise,    // anywhere
  source,       // anchor: ops on its result only (contractions, convolutions, pools, gathers)
  row,          // anchor: ops on both sides
  sink,         // anchor: ops on its operand only
};

Role role_of(const Op& op) {
  const OpDef& def = op_def(op);
  for (const Value* v : op.operands)
    if (v && !v->type.is_ranked()) return Role::none;
  for (const auto& r : op.results)
    if (!r->type.is_ranked() || r->known || r->type.dtype == DType::str) return Role::none;
  if (has_trait(op, kNondeterministic) || has_trait(op, kHostOnly)) return Role::none;
  if (op.num_results() != 1) return Role::none;
  if (def.scalar) return Role::pointwise;
  switch (op.kind) {
    case OpKind::batch_normalization: return op.attr<BatchNormAttrs>().training_mode ? Role::none : Role::pointwise;
    case OpKind::contract: case OpKind::conv: case OpKind::attention: case OpKind::gather: return Role::source;
    case OpKind::max_pool: case OpKind::average_pool: return Role::source;
    case OpKind::softmax: case OpKind::log_softmax: case OpKind::layer_normalization: case OpKind::rms_normalization: return Role::row;
    case OpKind::reduce_sum: case OpKind::reduce_mean: case OpKind::reduce_max: case OpKind::reduce_min: case OpKind::reduce_l2: return Role::row;
    case OpKind::pad: return Role::sink;
    default: return Role::none;
  }
}

// A few operations per element, no function.
bool is_cheap(const Op& op) {
  switch (op.kind) {
    case OpKind::add: case OpKind::sub: case OpKind::mul: case OpKind::relu: case OpKind::max: case OpKind::min: case OpKind::clip:
    case OpKind::neg: case OpKind::cast: case OpKind::leaky_relu: case OpKind::batch_normalization: return true;
    default: return false;
  }
}
// A convolution that reads each element of its operand for many results, and none beside it.
bool packs_operand(const Op& op) {
  if (op.kind != OpKind::conv) return false;
  const auto& a = op.attr<ConvAttrs>();
  bool padded = a.auto_pad != "NOTSET" || std::any_of(a.pads.begin(), a.pads.end(), [](int64_t p) { return p != 0; });
  return a.group == 1 && !padded;
}
// Whether the chain of elementwise ops that ends with this one begins behind an anchor, whose kernel takes it.
bool follows_anchor(const Op& op) {
  for (const Value* v : op.operands) {
    if (!v || !v->def || v->uses.size() != 1 || v->is_output()) continue;
    Role role = role_of(*v->def);
    if (role == Role::source || role == Role::row || (role == Role::pointwise && follows_anchor(*v->def))) return true;
  }
  return false;
}

struct Region {
  std::vector<Op*> ops;    // in reverse order; the first one is the last
  std::vector<Op*> lasts;  // the ops that are read from outside
  Op* anchor = nullptr;
  std::set<const Op*> feeders;  // elementwise ops before the anchor
  Shape before, after;     // dims of the elementwise ops before and after the anchor
};
constexpr size_t kMostOps = 48;  // a kernel beyond that is slow to compile and runs out of registers

class Fuser {
 public:
  explicit Fuser(Graph& g) : graph_(g) {}

  bool run() {
    for (auto it = graph_.ops.rbegin(); it != graph_.ops.rend(); ++it) place(**it);
    merge_alike();
    bool changed = false;
    for (Region& r : regions_)
      if (r.ops.size() > 1) {
        build(r);
        changed = true;
      }
    return changed;
  }

 private:
  void place(Op& op) {
    Role role = role_of(op);
    if (role == Role::none) return;
    int into = consumer_region(op);
    if (into >= 0 && joins(op, role, regions_[into])) {
      regions_[into].ops.push_back(&op);
      region_of_[&op] = into;
      return;
    }
    Region r;
    r.ops = r.lasts = {&op};
    r.after = op.result()->type.shape;
    r.before = r.after;
    if (role != Role::pointwise) set_anchor(r, op, role);
    region_of_[&op] = static_cast<int>(regions_.size());
    regions_.push_back(std::move(r));
  }

  // The one region that holds every reader of the op's result; -1: there is none.
  int consumer_region(const Op& op) const {
    const Value* v = op.result();
    if (v->uses.empty() || v->is_output()) return -1;
    int found = -1;
    for (const Use& u : v->uses) {
      auto it = region_of_.find(u.op);
      if (it == region_of_.end() || (found >= 0 && it->second != found)) return -1;
      found = it->second;
    }
    return found;
  }

  void set_anchor(Region& r, Op& op, Role role) {
    r.anchor = &op;
    bool takes_operand = role == Role::row || role == Role::sink || packs_operand(op);
    r.before = takes_operand ? op.operands[0]->type.shape : Shape{};
  }

  bool joins(Op& op, Role role, Region& r) {
    const Value* v = op.result();
    if (r.ops.size() >= kMostOps) return false;
    size_t before = 0;
    for (const Use& u : v->uses) {
      // Operands of an anchor besides the first are read once per row or per window.
      if (!op_def(*u.op).scalar && u.index != 0) return false;
      before += u.op == r.anchor || r.feeders.count(u.op);
    }
    if (before > 0) {
      Role anchor = role_of(*r.anchor);
      bool takes = anchor == Role::row;
      // What the kernel before can take lets it write into the padded tensor itself.
      if (anchor == Role::sink) takes = !follows_anchor(op);
      if (anchor == Role::source) takes = packs_operand(*r.anchor) && is_cheap(op) && !follows_anchor(op);
      if (!takes || before != v->uses.size() || role != Role::pointwise || v->type.shape != r.before) return false;
      r.feeders.insert(&op);
      return true;
    }
    if (v->type.shape != r.after) return false;
    if (role == Role::pointwise) return true;
    if (r.anchor || role == Role::sink) return false;
    set_anchor(r, op, role);
    return true;
  }

  // What a region of elementwise ops reads, in order of address.
  std::set<const Value*> operands_of(const Region& r) const {
    std::set<const Value*> all;
    const std::set<const Op*> inside(r.ops.begin(), r.ops.end());
    for (const Op* op : r.ops)
      for (const Value* v : op->operands)
        if (v && !literal(v) && !(v->def && inside.count(v->def))) all.insert(v);
    return all;
  }

  // None of two regions of the same operands can come before the other. Regions stand in the reverse of the program's order.
  void merge_alike() {
    std::map<std::set<const Value*>, std::vector<size_t>> seen;
    for (size_t i = regions_.size(); i-- > 0;) {
      Region& r = regions_[i];
      if (r.anchor) continue;
      std::vector<size_t>& alike = seen[operands_of(r)];
      // What is far away would have to be kept for long.
      constexpr size_t kNear = 8;
      auto fits = [&](size_t k) { return k - i <= kNear && regions_[k].after == r.after && regions_[k].ops.size() + r.ops.size() <= kMostOps; };
      auto into = std::find_if(alike.begin(), alike.end(), fits);
      if (into == alike.end() || operands_of(r).empty()) {
        alike.push_back(i);
        continue;
      }
      Region& first = regions_[*into];
      first.ops.insert(first.ops.begin(), r.ops.begin(), r.ops.end());  // in reverse order
      first.lasts.insert(first.lasts.end(), r.lasts.begin(), r.lasts.end());
      r.ops.clear();
    }
  }

  // Constants that a kernel writes as literals stay inside.
  static bool literal(const Value* v) {
    const Constant* c = constant_of(v);
    return c && c->dtype != DType::str && (c->numel() == 1 || (c->source == Constant::Source::splat && c->dims.size() < 2));
  }

  static const char* family(const Region& r) {
    if (!r.anchor) return "pointwise";
    switch (op_def(*r.anchor).family) {
      case Family::contraction: return "contraction";
      case Family::attention: return "attention";
      case Family::pool: return "pool";
      case Family::reduce: return "reduce";
      case Family::norm: return "norm";
      default: return "move";
    }
  }

  void build(Region& r) {
    std::reverse(r.ops.begin(), r.ops.end());
    auto body = std::make_unique<Graph>();
    body->name = "body";
    body->module = graph_.module;
    std::map<const Value*, Value*> image;
    std::vector<Value*> operands;
    Builder inside(body.get());
    for (Op* op : r.ops) {
      std::vector<Value*> in;
      for (Value* v : op->operands) in.push_back(v ? inner_value(v, image, operands, inside) : nullptr);
      inside.provenance = op->provenance;
      auto made = inside.create(op->kind, in, op->attrs->clone());
      CHECK(made.ok());
      (*made)->result()->name = op->result()->name;
      image[op->result()] = (*made)->result();
    }
    for (const Op* last : r.lasts) body->outputs.push_back(image.at(last->result()));
    Builder outside(&graph_, r.lasts.front());
    for (Op* op : r.ops) merge_provenance(outside.provenance, op->provenance);
    FusedAttrs attrs;
    attrs.family = family(r);
    std::vector<std::unique_ptr<Graph>> graphs;
    graphs.push_back(std::move(body));
    auto fused = outside.create(OpKind::fused, operands, std::make_unique<FusedAttrs>(attrs), static_cast<int>(r.lasts.size()), std::move(graphs));
    CHECK(fused.ok());
    for (size_t k = 0; k < r.lasts.size(); ++k) {
      Value *from = r.lasts[k]->result(), *to = (*fused)->result(static_cast<int>(k));
      to->name = from->name;
      to->type = from->type;
      graph_.replace_uses(from, to);
    }
    for (size_t k = r.ops.size(); k-- > 0;) graph_.erase(r.ops[k]);
  }

  Value* inner_value(Value* v, std::map<const Value*, Value*>& image, std::vector<Value*>& operands, Builder& inside) {
    Value*& in = image[v];
    if (in) return in;
    if (literal(v)) {
      in = inside.constant(v->def->attr<ConstantAttrs>().value.id);
    } else {
      in = inside.graph()->add_input(v->type, v->name);
      in->known = v->known;
      operands.push_back(v);
    }
    return in;
  }

  Graph& graph_;
  std::vector<Region> regions_;
  std::map<const Op*, int> region_of_;
};

bool fuse_graph(Graph& g) {
  bool changed = false;
  for (auto& op : g.ops)
    if (op->kind != OpKind::fused)
      for (auto& sub : op->graphs) changed = fuse_graph(*sub) || changed;
  return Fuser(g).run() || changed;
}

}  // namespace

Result<bool> pass_fuse(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) changed = fuse_graph(*g) || changed;
  return changed;
}

}  // namespace weft
