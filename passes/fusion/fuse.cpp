// fuse: forms `fused` regions, each of which becomes one kernel.
//
// A region is a chain or tree of elementwise ops around at most one anchor: a contraction, convolution, pool or reduction
// with elementwise ops on its result; softmax or a normalisation with ones on both sides; a reduction or a padding with
// ones on its operand. Only the region's last op is read from outside, so nothing is computed twice and no cycle arises.
// A cast of it to a narrower float type that others beside it read, too, is a second result of the same kernel, and so is an
// elementwise op before a normalisation that others read later (a residual). Elementwise regions of the same operands become
// one of several results.
// Weights are dequantised by the product that reads them.
// An op is never moved where its elements would be computed more often than before, but for cheap ones before a
// convolution, which run as it packs its operand (once per block of channels), when no kernel before takes them. Tensor cores
// are worth more: their convolutions read their operand as it lies in memory.
#include <algorithm>
#include <set>

#include "ir/base/check.h"
#include "ir/core/builder.h"
#include "ir/ops/structure.h"
#include "passes/fusion/roles.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

struct Region {
  std::vector<Op*> ops;    // in reverse order; the first one is the last
  std::vector<Op*> lasts;  // the ops that are read from outside
  Op* anchor = nullptr;
  const Op* claimed = nullptr;  // what the anchor has to be, whose result the region quantises
  std::set<const Op*> feeders;  // elementwise ops before the anchor
  Shape before, after;     // dims of the elementwise ops before and after the anchor
};
constexpr size_t kMostOps = 48;  // a kernel beyond that is slow to compile and runs out of registers

class Fuser {
 public:
  Fuser(Graph& g, const Target& target) : graph_(g), target_(target) {}

  bool run() {
    for (auto& op : graph_.ops) order_[op.get()] = order_.size();
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
    if (int r = role == Role::pointwise ? normalising_region(op) : -1; r >= 0) {
      Region& region = regions_[static_cast<size_t>(r)];
      region.ops.push_back(&op);
      if (into != r) region.lasts.push_back(&op);
      region.feeders.insert(&op);
      region_of_[&op] = r;
      return;
    }
    Region r;
    r.ops = r.lasts = {&op};
    r.after = op.result()->type.shape;
    r.before = r.after;
    if (role != Role::pointwise) set_anchor(r, op, role);
    region_of_[&op] = static_cast<int>(regions_.size());
    if (Op* cast = role == Role::sink ? nullptr : lone_cast(op)) {
      regions_[static_cast<size_t>(region_of_[cast])].ops.clear();
      region_of_[cast] = region_of_[&op];
      r.ops = {cast, &op};
      r.lasts = {&op, cast};
    }
    regions_.push_back(std::move(r));
  }

  // Of the op's readers a cast that no reader's kernel takes; null: there is none.
  Op* lone_cast(const Op& op) const {
    for (const Use& u : op.result()->uses)
      if (auto it = region_of_.find(u.op); it != region_of_.end() && narrows(*u.op) && regions_[static_cast<size_t>(it->second)].ops.size() == 1) return u.op;
    return nullptr;
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

  // The region of the one normalisation that reads the op's result, where all others read it behind that; -1: there is none.
  int normalising_region(const Op& op) const {
    const Value* v = op.result();
    int found = -1;
    for (const Use& u : v->uses) {
      auto it = region_of_.find(u.op);
      if (it == region_of_.end() || u.index != 0) continue;
      const Region& r = regions_[static_cast<size_t>(it->second)];
      if (r.anchor != u.op || op_def(*u.op).family != Family::norm || r.before != v->type.shape || r.after != r.before) continue;
      if (found >= 0 || r.lasts.size() > 1 || r.ops.size() >= kMostOps || anchor_before(op)) return -1;
      found = it->second;
    }
    if (found < 0) return -1;
    const Region& r = regions_[static_cast<size_t>(found)];
    for (const Use& u : v->uses)
      if (u.op != r.anchor && order_.at(u.op) < order_.at(r.lasts[0])) return -1;
    return found;
  }

  void set_anchor(Region& r, Op& op, Role role) {
    r.anchor = &op;
    bool takes_operand = role == Role::row || role == Role::sink || packs_operand(op, target_);
    r.before = takes_operand ? op.operands[0]->type.shape : Shape{};
  }

  bool joins(Op& op, Role role, Region& r) {
    const Value* v = op.result();
    if (r.ops.size() >= kMostOps) return false;
    // A product reads its factors as they are stored.
    if (has_one_use(v) && v->uses[0].op == r.anchor && depends_on_constants(op.operands[0]) && stays_quantised(op)) return true;
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
      if (anchor == Role::sink) takes = !anchor_before(op);
      if (anchor == Role::source) takes = packs_operand(*r.anchor, target_) && is_cheap(op) && !anchor_before(op);
      if (!takes || before != v->uses.size() || role != Role::pointwise || v->type.shape != r.before) return false;
      r.feeders.insert(&op);
      return true;
    }
    if (v->type.shape != r.after) return false;
    if (role == Role::pointwise) return op.kind != OpKind::quantize_linear || claims(op, r);
    if (r.anchor || role == Role::sink || (r.claimed && r.claimed != &op)) return false;
    set_anchor(r, op, role);
    return true;
  }

  // Of two anchors whose results are quantised and then meet, one has a kernel of its own: it writes what is quantised already.
  static bool claims(const Op& quantize, Region& r) {
    const Op* anchor = anchor_before(quantize);
    if (!anchor) return true;
    if (r.anchor || (r.claimed && r.claimed != anchor)) return false;
    r.claimed = anchor;
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
  const Target& target_;
  std::vector<Region> regions_;
  std::map<const Op*, int> region_of_;
  std::map<const Op*, size_t> order_;
};

bool fuse_graph(Graph& g, const Target& target) {
  bool changed = false;
  for (auto& op : g.ops)
    if (op->kind != OpKind::fused)
      for (auto& sub : op->graphs) changed = fuse_graph(*sub, target) || changed;
  return Fuser(g, target).run() || changed;
}

}  // namespace

Result<bool> pass_fuse(Module& m, PassContext& cx) {
  bool changed = false;
  for (auto& g : m.graphs) changed = fuse_graph(*g, cx.target) || changed;
  return changed;
}

}  // namespace weft
