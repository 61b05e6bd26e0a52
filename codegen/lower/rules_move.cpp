// Index rules of movement ops: which element of which operand a result's element is.
#include <algorithm>

#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/common.h"
#include "ir/ops/move.h"

namespace weft {

Result<int> rule_transpose(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(std::vector<int> perm, transpose_perm(op));
  Index from(idx.size());
  for (size_t k = 0; k < idx.size(); ++k) from[perm[k]] = idx[k];
  return r.emit(op.operands[0], from);
}

Result<int> rule_slice(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(std::vector<SliceRange> ranges, slice_ranges(op, op.graph->module->symbols));
  Index from;
  for (size_t k = 0; k < idx.size(); ++k) from.push_back(ranges[k].start + idx[k] * Dim(ranges[k].step));
  return r.emit(op.operands[0], from);
}

Result<int> rule_split(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<SplitAttrs>().axis, op.operands[0]->type.rank()));
  Index from = idx;
  for (int k = 0; k < result; ++k) from[axis] += op.result(k)->type.shape[axis];
  return r.emit(op.operands[0], from);
}

Result<int> rule_expand(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  return r.emit(v, broadcast_index(v->type.shape, op.result()->type.shape, idx));
}

Result<int> rule_tile(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Shape& dims = op.operands[0]->type.shape;
  Index from;
  for (size_t k = 0; k < idx.size(); ++k)
    from.push_back(dims[k] == op.result()->type.shape[k] ? idx[k]
                   : dims[k].is(1)                       ? Dim(0)
                                                         : r.simplify(mod(idx[k], dims[k])));
  return r.emit(op.operands[0], from);
}

// Each part under a guard; of the parts the last one that the index has passed counts.
Result<int> rule_concat(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<ConcatAttrs>().axis, op.result()->type.rank()));
  DType t = op.result()->type.dtype;
  Dim at(0);
  int value = -1;
  for (const Value* part : op.operands) {
    Index from = idx;
    from[axis] = idx[axis] - at;
    SpecGuard inside{from[axis], Dim(0), part->type.shape[axis]};
    TRY_ASSIGN(int x, r.guarded({inside}, 0, t, [&] { return r.emit(part, from); }));
    value = value < 0 ? x : select(le(r.at(r.index_value(at)), r.at(r.index_value(idx[axis]))), r.at(x), r.at(value)).id;
    at += part->type.shape[axis];
  }
  return value;
}

// --- pad ------------------------------------------------------------------------------------------------------------

// Position i of a dim of n, outside too. Index expressions must not be negative where they divide: whole periods are added.
static Dim reflected(const std::string& mode, const Dim& i, const Dim& n, const Dim& before) {
  if (mode == "edge") return min(max(i, 0), n - Dim(1));
  if (mode == "wrap") return mod(i + n * ceildiv(max(before, 0), n), n);
  Dim period = max(Dim(2) * (n - Dim(1)), 1);
  Dim k = mod(i + period * ceildiv(max(before, 0), period), period);
  return min(k, Dim(2) * (n - Dim(1)) - k);
}

static Result<int> pad_constant(SpecBuilder& r, const Op& op, const std::vector<PadWidth>& widths, const Index& idx) {
  const Value* v = op.operands[0];
  DType t = v->type.dtype;
  Index from;
  std::vector<SpecGuard> guards;
  for (size_t k = 0; k < idx.size(); ++k) {
    from.push_back(idx[k] - widths[k].before);
    if (!widths[k].before.is(0) || !widths[k].after.is(0)) guards.push_back({from[k], Dim(0), v->type.shape[k]});
  }
  auto load = [&] { return r.emit(v, from); };
  const Value* fill = op.operand(2);
  auto number = fill ? const_floats(fill, 1) : std::optional<std::vector<double>>(std::vector<double>{0.0});
  // Numbers that a double holds exactly.
  if (number && number->size() == 1 && (is_float(t) || std::abs((*number)[0]) < 0x1p53)) return r.guarded(guards, (*number)[0], t, load);
  TRY_ASSIGN(int x, r.guarded(guards, 0, t, load));
  TRY_ASSIGN(int f, r.emit(fill, Index(fill->type.shape.size(), Dim(0))));
  S inside{&r.program(), -1};
  for (const SpecGuard& g : guards) {
    S i = r.at(r.index_value(g.expr));
    S c = le(i.lit(0), i).bin(Prim::bit_and, lt(i, r.at(r.index_value(g.hi))));
    inside = inside.id < 0 ? c : inside.bin(Prim::bit_and, c);
  }
  return inside.id < 0 ? x : select(inside, r.at(x), r.at(f)).id;
}

Result<int> rule_pad(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(std::vector<PadWidth> widths, pad_widths(op));
  const std::string& mode = op.attr<PadAttrs>().mode;
  if (mode == "constant") return pad_constant(r, op, widths, idx);
  const Shape& dims = op.operands[0]->type.shape;
  Index from;
  for (size_t k = 0; k < idx.size(); ++k) {
    const PadWidth& w = widths[k];
    if (w.before.is(0) && w.after.is(0)) {
      from.push_back(idx[k]);
      continue;
    }
    // What is cropped does not show in a reflection.
    Dim cropped = Dim(0) - min(w.before, 0), n = dims[k] + min(w.before, 0) + min(w.after, 0);
    from.push_back(cropped + r.simplify(reflected(mode, idx[k] - max(w.before, 0), n, w.before)));
  }
  return r.emit(op.operands[0], from);
}

// --- blocks ---------------------------------------------------------------------------------------------------------

Result<int> rule_depth_to_space(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const DepthToSpaceAttrs& a = op.attr<DepthToSpaceAttrs>();
  Dim b(a.blocksize), c = op.result()->type.shape[1];
  Dim y = r.simplify(mod(idx[2], b)), x = r.simplify(mod(idx[3], b));
  Dim channel = a.mode == "DCR" ? (y * b + x) * c + idx[1] : (idx[1] * b + y) * b + x;
  return r.emit(op.operands[0], {idx[0], channel, r.simplify(floordiv(idx[2], b)), r.simplify(floordiv(idx[3], b))});
}

Result<int> rule_space_to_depth(SpecBuilder& r, const Op& op, int, const Index& idx) {
  Dim b(op.attr<SpaceToDepthAttrs>().blocksize), c = op.operands[0]->type.shape[1];
  Dim block = r.simplify(floordiv(idx[1], c)), y = r.simplify(floordiv(block, b)), x = r.simplify(mod(block, b));
  return r.emit(op.operands[0], {idx[0], r.simplify(mod(idx[1], c)), idx[2] * b + y, idx[3] * b + x});
}

Result<int> rule_trilu(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  const Dim &rows = v->type.dim(-2), &columns = v->type.dim(-1);
  Dim k(0), far = rows + columns;
  if (op.operand(1)) {
    const std::vector<Dim>* known = known_of(op.operands[1]);
    if (!known || known->size() != 1) return r.refuse(op, "trilu with a diagonal that only the data know");
    k = min(max((*known)[0], Dim(0) - far), far);
  }
  Dim i = idx[idx.size() - 2], j = idx.back();
  Dim above = op.attr<TriluAttrs>().upper ? j - i - k : i + k - j;
  SpecGuard kept{above, Dim(0), Dim(3) * far + Dim(1)};
  return r.guarded({kept}, 0, v->type.dtype, [&] { return r.emit(v, idx); });
}

}  // namespace weft
