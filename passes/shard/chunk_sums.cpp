// chunk-sums: for results whose bits do not depend on the number of ranks (PassContext::deterministic = N). A product whose sum
// N ranks would share out becomes N products, each over an equal part of the sum, and their sum in a fixed order:
//
//   y = contract(x[m,k], w[k,n])   ->   p = contract(x[m,N,k/N], w[N,k/N,n]) "mck,ckn->cmn",  y = p[0] + p[1] + …
//
// Ranks may share out the N products, which is no sum any more; `shard` cuts no other sum. It is done for one rank as well.
// Which products: those that it would take for N ranks of tp, whatever the mesh is.
#include "ir/ops/contract.h"
#include "ir/ops/pointwise.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

// The ops of the main graph, in their order, whose sums N ranks of tp would share out.
static Result<std::vector<Op*>> shared_sums(Module& m, const PassContext& cx) {
  std::unique_ptr<Module> probe = m.clone();
  probe->given = {};
  PassContext ranks;
  ranks.target = cx.target;
  ranks.devices = cx.devices;
  ranks.mesh.name = "mesh";
  ranks.mesh.axes = {{"tp", cx.deterministic}};
  for (const PassInfo& pass : list_passes())
    if (pass.name == "shard") TRY(pass.run(*probe, ranks));
  std::vector<Op*> out;
  auto here = m.main()->ops.begin();
  for (auto& op : probe->main()->ops) {
    if (op->kind == OpKind::contract && !op->result()->sharding.partial.empty()) out.push_back(here->get());
    ++here;
  }
  return out;
}

// The operand with the dim of `summed` cut in two, as its letters are then.
static Value* cut_dim(Builder& b, Value* v, std::string& letters, char summed, char chunk, int64_t chunks) {
  const size_t at = letters.find(summed);
  const int64_t n = v->type.shape[at].value();
  letters.insert(at, 1, chunk);
  return regroup_dims(b, v, static_cast<int>(at), 1, {chunks, n / chunks});
}

static bool chunk(Op& op, int64_t chunks) {
  const ContractAttrs& was = op.attr<ContractAttrs>();
  auto spec = parse_contract(was.spec);
  const DType t = op.result()->type.dtype;
  if (!spec.ok() || !is_float(t) || op.operand(3) || op.operand(4)) return false;
  char summed = 0, letter = 'a';
  for (char l : spec->sum) {
    const size_t i = spec->a.find(l), j = spec->b.find(l);
    if (i == std::string::npos || j == std::string::npos) continue;
    const Dim &x = op.operands[0]->type.shape[i], &y = op.operands[1]->type.shape[j];
    if (x.is_const() && x == y && x.value() > chunks && x.value() % chunks == 0) summed = l;
  }
  while ((spec->a + spec->b).find(letter) != std::string::npos) ++letter;
  if (!summed || letter > 'z') return false;
  Builder b = build_before(op);
  auto cast = [&](Value* v, DType to) {
    CastAttrs a;
    a.to = to;
    return v->type.dtype == to ? v : b.op(OpKind::cast, {v}, a);
  };
  ContractAttrs part = was;
  const DType wide = bit_width(t) < 32 ? DType::f32 : t;  // sums are rounded once
  if (t != wide) part.has_out_type = true, part.out_type = wide;
  Value* x = cut_dim(b, op.operands[0], spec->a, summed, letter, chunks);
  Value* w = cut_dim(b, op.operands[1], spec->b, summed, letter, chunks);
  part.spec = spec->a + "," + spec->b + "->" + letter + spec->out;
  Value* parts = b.op(OpKind::contract, {x, w}, part);
  Value* sum = nullptr;
  for (int64_t c = 0; c < chunks; ++c) {
    Value* next = b.op(OpKind::slice, {parts, b.ints({c}), b.ints({c + 1}), b.ints({0})});
    sum = sum ? b.op(OpKind::add, {sum, next}) : next;
  }
  sum = b.op(OpKind::squeeze, {sum, b.ints({0})});
  if (op.operand(2)) sum = b.op(OpKind::add, {sum, cast(op.operand(2), wide)});
  return replace_op(op, cast(sum, t));
}

Result<bool> pass_chunk_sums(Module& m, PassContext& cx) {
  if (cx.deterministic <= 1 || !m.meshes.empty()) return false;
  TRY_ASSIGN(const std::vector<Op*> ops, shared_sums(m, cx));
  bool changed = false;
  for (Op* op : ops) changed = chunk(*op, cx.deterministic) || changed;
  return changed;
}

}  // namespace weft
