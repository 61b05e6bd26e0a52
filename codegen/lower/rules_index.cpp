// Rules of ops that read where other values point: gather and its kin, reverse_sequence, one_hot, losses.
#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/common.h"
#include "ir/ops/loss.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"

namespace weft {

// Element `at` of a tensor that says where to read. The lowering has checked those that lie in memory; one that the kernel
// computes itself could point anywhere.
static Result<int> emit_checked(SpecBuilder& r, const Op& op, const Value* indices, const Index& at) {
  if (!r.is_external(indices) && indices->def && !constant_of(indices)) return r.refuse(op, "indices that the same kernel computes");
  return r.emit(indices, at);
}

// As a position in a dim of n: negative ones count from the end.
static Result<Dim> position(SpecBuilder& r, const Op& op, const Value* indices, const Index& at, const Dim& n) {
  if (auto known = const_ints(indices); known && known->size() == 1) {
    int64_t k = (*known)[0];
    return k < 0 ? n + Dim(k) : Dim(k);
  }
  TRY_ASSIGN(int id, emit_checked(r, op, indices, at));
  S i = r.at(id).cast(DType::i64), size = r.at(r.index_value(n));
  if (!is_unsigned_int(indices->type.dtype)) i = select(lt(i, i.lit(0)), i + size, i);
  if (r.clamp_indices) i = max(min(i, size - 1.0), i.lit(0));
  return r.as_index(i.id);
}

Result<int> rule_gather(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value *v = op.operands[0], *indices = op.operands[1];
  TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, v->type.rank()));
  auto first = idx.begin() + axis, last = first + indices->type.rank();
  TRY_ASSIGN(Dim k, position(r, op, indices, Index(first, last), v->type.shape[axis]));
  Index from(idx.begin(), first);
  from.push_back(k);
  from.insert(from.end(), last, idx.end());
  return r.emit(v, from);
}

Result<int> rule_gather_elements(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, v->type.rank()));
  Index from = idx;
  TRY_ASSIGN(from[axis], position(r, op, op.operands[1], idx, v->type.shape[axis]));
  return r.emit(v, from);
}

Result<int> rule_gather_nd(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value *v = op.operands[0], *indices = op.operands[1];
  const Dim& tuple = indices->type.dim(-1);
  if (!tuple.is_const()) return r.refuse(op, "gather_nd with tuples of unknown length");
  int64_t batch = op.attr<GatherNdAttrs>().batch_dims, lead = indices->type.rank() - 1;
  Index from(idx.begin(), idx.begin() + batch), at(idx.begin(), idx.begin() + lead);
  at.emplace_back();
  for (int64_t k = 0; k < tuple.value(); ++k) {
    at.back() = Dim(k);
    TRY_ASSIGN(Dim p, position(r, op, indices, at, v->type.shape[batch + k]));
    from.push_back(p);
  }
  from.insert(from.end(), idx.begin() + lead, idx.end());
  return r.emit(v, from);
}

Result<int> rule_reverse_sequence(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const ReverseSequenceAttrs& a = op.attr<ReverseSequenceAttrs>();
  const Value* v = op.operands[0];
  TRY_ASSIGN(int id, emit_checked(r, op, op.operands[1], {idx[a.batch_axis]}));
  S length = r.at(id).cast(DType::i64), t = r.at(r.index_value(idx[a.time_axis]));
  Index from = idx;
  from[a.time_axis] = r.as_index(select(lt(t, length), length - 1.0 - t, t).id);
  return r.emit(v, from);
}

Result<int> rule_one_hot(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<OneHotAttrs>().axis, op.operands[0]->type.rank() + 1));
  Index at = idx;
  at.erase(at.begin() + axis);
  TRY_ASSIGN(int id, r.emit(op.operands[0], at));
  S i = r.at(id).cast(DType::i64), depth = r.at(r.index_value(op.result()->type.shape[axis]));
  i = select(lt(i, i.lit(0)), i + depth, i);
  TRY_ASSIGN(int off, r.emit(op.operands[2], {Dim(0)}));
  TRY_ASSIGN(int on, r.emit(op.operands[2], {Dim(1)}));
  return select(eq(i, r.at(r.index_value(idx[axis]))), r.at(on), r.at(off)).id;
}

// --- losses ---------------------------------------------------------------------------------------------------------

// -w * log_p[target] and w, at a position of the target; both 0 where the target is to be ignored.
static Result<std::pair<S, S>> loss_at(SpecBuilder& r, const Op& op, const Index& idx, DType t) {
  const LossAttrs& a = op.attr<LossAttrs>();
  TRY_ASSIGN(int id, emit_checked(r, op, op.operands[1], idx));
  S target = r.at(id).cast(DType::i64), kept = eq(target, target), c = target;
  if (a.has_ignore_index) {
    S ignored{&r.program(), r.program().constant_int(DType::i64, a.ignore_index)};
    kept = ne(target, ignored);
    c = select(kept, target, target.lit(0));
  }
  Index at = idx;
  at.insert(at.begin() + 1, r.as_index(c.id));
  TRY_ASSIGN(int x, r.emit(op.operands[0], at));
  S log_p = r.at(x).cast(t), w = log_p.lit(1);
  if (op.operand(2)) {
    TRY_ASSIGN(int weight, r.emit(op.operands[2], {r.as_index(c.id)}));
    w = r.at(weight).cast(t);
  }
  if (a.has_ignore_index) w = select(kept, w, w.lit(0));
  return std::make_pair(select(kept, -(log_p * w), w.lit(0)), w);
}

Result<int> rule_negative_log_likelihood_loss(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const LossAttrs& a = op.attr<LossAttrs>();
  DType t = wide_float(op.operands[0]->type.dtype), out = op.result()->type.dtype;
  if (a.reduction == "none") {
    TRY_ASSIGN(auto each, loss_at(r, op, idx, t));
    return each.first.cast(out).id;
  }
  SpecBuilder::Reduction both;
  ScalarProgram& c = both.combine;
  c.outputs = {c.add(Prim::add, c.input(0, t), c.input(2, t)), c.add(Prim::add, c.input(1, t), c.input(3, t))};
  both.init = {0, 0};
  TRY_ASSIGN(std::vector<int> acc, r.reduce(SpecBuilder::key_of(op, "loss", idx), op.operands[1]->type.shape, both,
                                       [&](const Index& row) -> Result<std::vector<int>> {
                                         TRY_ASSIGN(auto each, loss_at(r, op, row, t));
                                         return std::vector<int>{each.first.id, each.second.id};
                                       }));
  S sum = r.at(acc[0]);
  return (a.reduction == "mean" ? sum / r.at(acc[1]) : sum).cast(out).id;
}

}  // namespace weft
