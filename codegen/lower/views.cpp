// Views: ops whose results are the operand's bytes under other dims and strides. No command is made unless the result must
// lie elsewhere (an output's memory, a part of a concat): then it is one strided copy. A concat copies the parts that were
// not computed in their place.
#include <cmath>

#include "codegen/lower/data_dims.h"
#include "codegen/lower/lowering.h"
#include "codegen/lower/rules.h"
#include "ir/ops/common.h"
#include "ir/ops/move.h"

namespace weft {

// Strides of `to` over a tensor of dims/strides `from`, when no copy is needed: dims are matched in groups of equal
// products, each of which must be walked evenly.
static bool reshape_strides(const Shape& from, const std::vector<Dim>& strides, const Shape& to, std::vector<Dim>* out) {
  out->assign(to.size(), Dim(1));
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    if (i < from.size() && from[i].is(1)) {
      ++i;
      continue;
    }
    if (j < to.size() && to[j].is(1)) {
      ++j;
      continue;
    }
    if (i >= from.size() || j >= to.size()) return false;
    size_t i0 = i, j0 = j;
    Dim a = from[i++], b = to[j++];
    while (a != b) {
      bool grow_to = a.is_const() && b.is_const() ? b.value() < a.value() : j < to.size();
      if (grow_to && j < to.size()) b *= to[j++];
      else if (i < from.size()) a *= from[i++];
      else return false;
    }
    for (size_t k = i - 1, inner = k; k-- > i0;) {
      if (from[k].is(1)) continue;
      if (strides[k] != strides[inner] * from[inner]) return false;
      inner = k;
    }
    Dim s = strides[i - 1];
    for (size_t k = j; k-- > j0;) {
      (*out)[k] = s;
      s *= to[k];
    }
  }
  return true;
}

namespace {
struct View {
  int source = -1;
  Shape dims;
  std::vector<Dim> strides;
  Dim offset;  // elements
};
}  // namespace

static Result<View> reshape_view(Lowering& l, int source, const Shape& to) {
  View v{source, to, {}, 0};
  Placement p = l.placement(source);
  if (l.dense(source)) {
    v.strides = dense_strides(to);
  } else if (!reshape_strides(p.dims, p.strides, to, &v.strides)) {
    v.source = l.temp(l.plan().tensors[source].name, p.dtype, p.dims);
    l.allocate(v.source);
    l.copy(source, v.source);
    v.strides = dense_strides(to);
  }
  return v;
}

static Result<View> transpose_view(Lowering& l, Op& op, int source) {
  TRY_ASSIGN(std::vector<int> perm, transpose_perm(op));
  Placement p = l.placement(source);
  View v{source, op.result()->type.shape, {}, 0};
  for (int k : perm) v.strides.push_back(p.strides[k]);
  return v;
}

static Result<View> slice_view(Lowering& l, Op& op, int source) {
  TRY_ASSIGN(std::vector<SliceBounds> ranges, bounds_of_slice(l, op));
  Placement p = l.placement(source);
  View v{source, op.result()->type.shape, {}, 0};
  for (size_t k = 0; k < ranges.size(); ++k) {
    // Where nothing is left, the start means nothing and may lie outside.
    Dim start = ranges[k].length.is_const() ? (ranges[k].length.is(0) ? Dim(0) : ranges[k].start) : ranges[k].start * min(ranges[k].length, 1);
    v.offset += start * p.strides[k];
    v.strides.push_back(p.strides[k] * ranges[k].step);
  }
  return v;
}

static Result<View> expand_view(Lowering& l, Op& op, int source) {
  Placement p = l.placement(source);
  View v{source, op.result()->type.shape, {}, 0};
  size_t lead = v.dims.size() - p.dims.size();
  for (size_t k = 0; k < v.dims.size(); ++k) {
    if (k < lead || (p.dims[k - lead].is(1) && !v.dims[k].is(1))) v.strides.push_back(0);
    else if (p.dims[k - lead] == v.dims[k] || p.dims[k - lead].is_const()) v.strides.push_back(p.strides[k - lead]);
    else v.strides.push_back(p.strides[k - lead] * min(p.dims[k - lead] - Dim(1), 1));  // 0 where it turns out to be 1
  }
  return v;
}

static Result<std::vector<View>> split_views(Lowering& l, Op& op, int source) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<SplitAttrs>().axis, op.operands[0]->type.rank()));
  Placement p = l.placement(source);
  std::vector<View> out;
  Dim at(0);
  for (auto& r : op.results) {
    out.push_back({source, r->type.shape, p.strides, at * p.strides[axis]});
    at += r->type.shape[axis];
  }
  return out;
}

// --- concat ---------------------------------------------------------------------------------------------------------

// The place of each part inside the result.
static Result<std::vector<int>> part_places(Lowering& l, const Op& op, int result) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<ConcatAttrs>().axis, op.result()->type.rank()));
  Placement p = l.placement(result);
  Dim at(0), bytes(byte_size(p.dtype));
  std::vector<int> out;
  for (const Value* part : op.operands) {
    out.push_back(l.alias(nullptr, result, part->type.shape, p.strides, at * p.strides[axis] * bytes));
    at += part->type.shape[axis];
  }
  return out;
}

// What computes `v` may be told where to write it.
static bool is_made_here(const Lowering& l, const Graph& g, const Value* v) {
  return v->def && v->graph == &g && !constant_of(v) && !known_of(v) && !l.tensors.count(v) && op_def(*v->def).family != Family::control &&
         !runs_on_host(*v->def) && v->def->kind != OpKind::prepared;
}

static void place_parts(Lowering& l, Graph& g, Op& op) {
  Value* r = op.result();
  if (op.num_operands() < 2 || known_of(r) || !r->type.is_ranked()) return;
  bool sized = !l.late(numel(r->type.shape)) && r->type.dtype != DType::str;
  for (const Value* part : op.operands) sized = sized && part->type.is_ranked() && !l.late(numel(part->type.shape));
  if (!sized) return;
  int result = l.tensors.count(r) ? l.tensors[r] : l.new_tensor(r);
  auto places = part_places(l, op, result);
  if (!places.ok()) return;
  for (int i = 0; i < op.num_operands(); ++i)
    if (const Value* part = op.operands[i]; is_made_here(l, g, part)) l.tensors[part] = l.placed[part] = (*places)[i];
}

// The operand of a view whose result has its place already (an output, a part of a concat): it goes there, too.
static void place_operand(Lowering& l, Graph& g, Op& op) {
  const Value *x = op.operands[0], *r = op.result();
  auto there = l.tensors.find(r);
  if (there == l.tensors.end() || !x || !x->type.is_ranked() || x->type.dtype != r->type.dtype || is_subbyte(x->type.dtype)) return;
  if (x->uses.size() != 1 || x->is_output() || !is_made_here(l, g, x) || l.late(numel(x->type.shape))) return;
  Placement p = l.placement(there->second);
  std::vector<Dim> strides(x->type.shape.size());
  if (op.kind == OpKind::transpose) {
    auto perm = transpose_perm(op);
    if (!perm.ok()) return;
    for (size_t i = 0; i < perm->size(); ++i) strides[(*perm)[i]] = p.strides[i];
  } else if (l.dense(there->second)) {
    strides = dense_strides(x->type.shape);
  } else if (!reshape_strides(p.dims, p.strides, x->type.shape, &strides)) {
    return;
  }
  l.placed[x] = l.alias(x, there->second, x->type.shape, std::move(strides), Dim(0));
}

// --- padding --------------------------------------------------------------------------------------------------------

namespace {
struct Border {
  std::vector<PadWidth> widths;
  double value = 0;
};
}  // namespace

// A constant padding that only adds, by one number; nullopt for another one.
static std::optional<Border> added_border(const Op& op) {
  if (op.kind != OpKind::pad || op.attr<PadAttrs>().mode != "constant") return std::nullopt;
  auto widths = pad_widths(op);
  auto number = op.operand(2) ? const_floats(op.operand(2), 1) : std::optional<std::vector<double>>(std::vector<double>{0.0});
  if (!widths.ok() || !number || number->size() != 1 || !(is_float(op.result()->type.dtype) || std::abs((*number)[0]) < 0x1p53)) return std::nullopt;
  for (const PadWidth& w : *widths)
    if (!w.before.is_const() || !w.after.is_const() || w.before.value() < 0 || w.after.value() < 0) return std::nullopt;
  return Border{std::move(*widths), (*number)[0]};
}

// The operand of a padding goes where it lies in the result, so that only the border is left to fill.
static void place_padded(Lowering& l, Graph& g, Op& op) {
  const Value *x = op.operands[0], *r = op.result();
  auto border = added_border(op);
  if (!border || !x->type.is_ranked() || is_subbyte(x->type.dtype) || x->uses.size() != 1 || x->is_output() || !is_made_here(l, g, x)) return;
  if (l.late(numel(r->type.shape)) || known_of(r)) return;
  int result = l.tensors.count(r) ? l.tensors[r] : l.new_tensor(r);
  Placement p = l.placement(result);
  Dim at(0);
  for (size_t k = 0; k < p.strides.size(); ++k) at += border->widths[k].before * p.strides[k];
  l.placed[x] = l.alias(x, result, x->type.shape, p.strides, at * Dim(byte_size(p.dtype)));
}

static Result<bool> fill_border(Lowering& l, Op& op) {
  const Value* x = op.operands[0];
  auto border = added_border(op);
  auto made = l.placed.find(x);
  if (!border || made == l.placed.end()) return false;
  int result = l.result(op.result());
  if (l.plan().tensors[made->second].buffer != l.plan().tensors[result].buffer) return false;
  Placement p = l.placement(result);
  // Along each dim both ends, as far as earlier dims have not filled them.
  Shape dims = p.dims;
  Dim from(0);
  for (size_t k = 0; k < dims.size(); ++k) {
    const PadWidth& w = border->widths[k];
    auto fill = [&](const Dim& start, const Dim& n) {
      if (n.is(0)) return;
      Shape part = dims;
      part[k] = n;
      int t = l.alias(nullptr, result, part, p.strides, (from + start * p.strides[k]) * Dim(byte_size(p.dtype)));
      l.fill(t, border->value);
    };
    fill(Dim(0), w.before);
    fill(w.before + x->type.shape[k], w.after);
    from += w.before * p.strides[k];
    dims[k] = x->type.shape[k];
  }
  return true;
}

void plan_places(Lowering& l, Graph& g) {
  for (auto it = g.ops.rbegin(); it != g.ops.rend(); ++it) {
    Op& op = **it;
    if (!l.live.count(&op) || op.operands.empty() || op.results.empty() || !l.needed.count(op.result())) continue;
    if (op.kind == OpKind::concat) place_parts(l, g, op);
    else if (op.kind == OpKind::pad) place_padded(l, g, op);
    else if (op.kind == OpKind::transpose || has_trait(op, kViewLike)) place_operand(l, g, op);
  }
}

// Whether v was computed where `place` is.
static bool lies_there(const Lowering& l, const Value* v, int from, int place) {
  const PlanTensor &a = l.out.plan.tensors[from], &b = l.out.plan.tensors[place];
  return l.placed.count(v) && a.buffer == b.buffer && a.offset == b.offset;
}

static Status lower_concat(Lowering& l, Op& op) {
  int result = l.result(op.result());
  TRY_ASSIGN(std::vector<int> places, part_places(l, op, result));
  for (int i = 0; i < op.num_operands(); ++i) {
    const Value* part = op.operands[i];
    TRY_ASSIGN(int from, l.tensor(part));
    const PlanTensor &a = l.plan().tensors[from], &b = l.plan().tensors[places[i]];
    bool old_state = a.buffer == b.buffer && a.offset == b.offset && a.strides == b.strides;  // the rows before those that are new
    if (old_state || lies_there(l, part, from, places[i])) continue;
    if (a.buffer == b.buffer) {
      // A part that is there already, at another place.
      int apart = l.temp(a.name, a.dtype, a.dims);
      l.copy(from, apart);
      from = apart;
    }
    l.copy(from, places[i]);
  }
  return {};
}

// Not training: its input, and a mask of ones.
static bool is_idle_dropout(const Op& op) {
  if (op.kind != OpKind::dropout) return false;
  const std::vector<Dim>* training = known_of(op.operand(2));
  return !op.operand(2) || (training && training->size() == 1 && (*training)[0].is(0));
}

// --- all ------------------------------------------------------------------------------------------------------------

Result<bool> Lowering::view(Op& op) {
  if (op.kind == OpKind::pad) return fill_border(*this, op);
  if (op.kind == OpKind::reorder) {
    TRY_ASSIGN(int from, tensor(op.operands[0]));
    copy(from, result(op.result()));
    return true;
  }
  bool same_order = has_trait(op, kViewLike) || op.kind == OpKind::identity || is_idle_dropout(op);
  bool viewed = same_order || op.kind == OpKind::transpose || op.kind == OpKind::slice || op.kind == OpKind::split || op.kind == OpKind::expand;
  if (op.kind == OpKind::concat) {
    TRY(lower_concat(*this, op));
    return true;
  }
  if (!viewed || op.operands.empty() || !op.operands[0] || op.operands[0]->type.dtype != op.result()->type.dtype) return false;
  TRY_ASSIGN(int source, tensor(op.operands[0]));
  if (auto r = tensors.find(op.result());
      op.kind != OpKind::split && r != tensors.end() && lies_there(*this, op.operands[0], source, r->second))
    return true;
  std::vector<View> views;
  if (op.kind == OpKind::split) {
    TRY_ASSIGN(views, split_views(*this, op, source));
  } else {
    TRY_ASSIGN(View v, op.kind == OpKind::transpose ? transpose_view(*this, op, source)
                       : op.kind == OpKind::slice   ? slice_view(*this, op, source)
                       : op.kind == OpKind::expand  ? expand_view(*this, op, source)
                                                    : reshape_view(*this, source, op.result()->type.shape));
    views.push_back(std::move(v));
  }
  for (size_t k = 0; k < views.size(); ++k) {
    Value* r = op.result(static_cast<int>(k));
    View& v = views[k];
    bool placed_elsewhere = tensors.count(r) != 0;
    if (!needed.count(r)) continue;
    Dim bytes = v.offset * Dim(byte_size(plan().tensors[v.source].dtype));
    int id = alias(placed_elsewhere ? nullptr : r, v.source, std::move(v.dims), std::move(v.strides), bytes);
    if (placed_elsewhere) copy(id, result(r));
  }
  if (op.kind == OpKind::dropout && op.num_results() > 1 && needed.count(op.result(1))) {
    fill(result(op.result(1)), 1);
  }
  return true;
}

}  // namespace weft
