#include "ir/core/builder.h"

#include <cstring>

#include "ir/base/check.h"

namespace weft {

Result<Op*> Builder::create(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs, int num_results,
    std::vector<std::unique_ptr<Graph>> graphs) {
  auto op = std::make_unique<Op>();
  op->kind = kind;
  op->attrs = attrs ? std::move(attrs) : op_def(kind).attrs();
  op->provenance = provenance;
  op->graphs = std::move(graphs);
  for (int i = 0; i < num_results; ++i) {
    op->results.push_back(std::make_unique<Value>());
    op->results.back()->def = op.get();
    op->results.back()->index = i;
  }
  Op* p = graph_->insert(std::move(op), before_);
  for (Value* v : operands) p->add_operand(v);
  Status s = infer_op(*p, module());
  if (!s.ok()) {
    graph_->erase(p);
    return std::move(s.error());
  }
  return p;
}

Value* Builder::op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs) {
  auto r = create(kind, std::move(operands), std::move(attrs));
  if (!r.ok()) check_failed(__FILE__, __LINE__, r.error().to_string().c_str());
  return r.value()->result();
}

Value* Builder::constant(int id) {
  ConstantAttrs a;
  a.value.id = id;
  Value* v = op(OpKind::constant, {}, a);
  v->name = module().constants[id].name;
  return v;
}
Value* Builder::ints(const std::vector<int64_t>& values) {
  return constant(module().constants.add_i64("", {static_cast<int64_t>(values.size())}, values));
}
Value* Builder::scalar(DType t, double v) { return splat(t, {}, v); }
Value* Builder::splat(DType t, std::vector<int64_t> dims, double v) {
  std::byte e[8] = {};
  if (is_float(t)) {
    store_row_f64(t, &v, e, 1);
  } else if (is_unsigned_int(t)) {
    uint64_t u = static_cast<uint64_t>(v);
    store_row_u64(t, &u, e, 1);
  } else {
    int64_t i = static_cast<int64_t>(v);
    store_row_i64(t, &i, e, 1);
  }
  return constant(module().constants.add_splat("", t, std::move(dims), e));
}

Status infer_op(Op& op, Module& m) {
  const OpDef& def = op_def(op);
  auto located = [&](Error e) {
    e.at_node(op.describe());
    return e;
  };
  if (op.num_operands() < def.min_operands || (def.max_operands >= 0 && op.num_operands() > def.max_operands))
    return located(invalid(std::string(op_name(op.kind)) + " has " + std::to_string(op.num_operands()) + " operands, takes " +
                           std::to_string(def.min_operands) + (def.max_operands < 0 ? " or more" : " to " + std::to_string(def.max_operands))));
  for (int i = 0; i < def.min_operands; ++i)
    if (!op.operands[i]) return located(invalid(std::string(op_name(op.kind)) + " lacks operand " + std::to_string(i)));
  for (auto& r : op.results) r->known = nullptr;
  InferContext cx(m);
  if (!def.infer) return located(unsupported(std::string("no definition of op ") + op_name(op.kind)));
  Status s = def.infer(op, cx);
  if (!s.ok()) return located(std::move(s.error()));
  op.assumed = std::move(cx.open);
  for (auto& r : op.results) {
    if (r->type.kind == Type::Kind::none)
      return located(invalid(std::string(op_name(op.kind)) + " does not define result " + std::to_string(r->index)));
    if (r->type.is_ranked() && numel(r->type.shape).is_overflow())
      return located(resources("the element count of a result overflows 64 bits: " + r->type.to_string()));
  }
  return {};
}

Status infer_graph(Graph& g) {
  for (auto& op : g.ops) {
    for (auto& sub : op->graphs) TRY(infer_graph(*sub));
    TRY(infer_op(*op, *g.module));
  }
  return {};
}

int remove_dead(Graph& g) {
  int n = 0;
  for (auto it = g.ops.end(); it != g.ops.begin();) {
    --it;
    Op* op = it->get();
    for (auto& sub : op->graphs) n += remove_dead(*sub);
    bool dead = !op->results.empty() && op->kind != OpKind::recv;  // what acts elsewhere: the sender waits
    for (auto& r : op->results) dead = dead && r->unused();
    if (!dead) continue;
    ++it;
    g.erase(op);
    ++n;
  }
  return n;
}

const Constant* constant_of(const Value* v) {
  if (!v || !v->def || v->def->kind != OpKind::constant) return nullptr;
  return &v->graph->module->constants[v->def->attr<ConstantAttrs>().value.id];
}
const std::vector<Dim>* known_of(const Value* v) { return v ? v->known.get() : nullptr; }
std::optional<std::vector<int64_t>> const_ints(const Value* v) {
  if (const std::vector<Dim>* k = known_of(v)) {
    std::vector<int64_t> out;
    for (const Dim& d : *k) {
      if (!d.is_const()) return std::nullopt;
      out.push_back(d.value());
    }
    return out;
  }
  const Constant* c = constant_of(v);
  if (!c) return std::nullopt;
  bool ok;
  auto out = constant_ints(*c, 1 << 20, &ok);
  if (!ok) return std::nullopt;
  return out;
}
std::optional<std::vector<double>> const_floats(const Value* v, int64_t limit) {
  const Constant* c = constant_of(v);
  if (!c) return std::nullopt;
  bool ok;
  auto out = constant_floats(*c, limit, &ok);
  if (!ok) return std::nullopt;
  return out;
}

Cost op_cost(const Op& op) {
  if (auto* f = op_def(op).cost) return f(op);
  Cost c;
  auto bytes = [](const Value* v) { return v && v->type.is_ranked() ? numel(v->type.shape) * Dim(byte_size(v->type.dtype)) : Dim(0); };
  for (Value* v : op.operands) c.bytes += bytes(v);
  for (auto& r : op.results) {
    c.bytes += bytes(r.get());
    if (op_def(op).family != Family::move && op_def(op).family != Family::meta && r->type.is_ranked()) c.flops += numel(r->type.shape);
  }
  return c;
}

}  // namespace weft
