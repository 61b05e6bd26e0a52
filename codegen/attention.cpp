#include "codegen/attention.h"

#include <algorithm>
#include <limits>

#include "codegen/product.h"

namespace weft {

static Dim extents(const KernelSpec& s, const std::vector<int>& axes) {
  Dim n = 1;
  for (int a : axes) n *= s.axes[static_cast<size_t>(a)].extent;
  return n;
}
Dim AttentionAxes::rows_extent(const KernelSpec& s) const { return extents(s, rows); }
Dim AttentionAxes::batch_extent(const KernelSpec& s) const { return extents(s, batch); }

AttentionAxes AttentionAxes::single() const {
  AttentionAxes out = *this;
  while (out.rows.size() > 1) {
    out.batch.push_back(out.rows.front());
    out.rows.erase(out.rows.begin());
  }
  return out;
}

// The operand whose elements are value `id` of the body, perhaps cast; -1: it is something else.
static int plain_load(const SpecStage& st, int id) {
  while (st.body.insts[static_cast<size_t>(id)].prim == Prim::cast) id = st.body.insts[static_cast<size_t>(id)].args[0];
  const ScalarInst& x = st.body.insts[static_cast<size_t>(id)];
  if (x.prim != Prim::input || st.inputs[static_cast<size_t>(x.index)].kind != StageInput::Kind::load) return -1;
  return st.inputs[static_cast<size_t>(x.index)].operand;
}

std::optional<AttentionAxes> attention_axes(const KernelSpec& s) {
  if (s.stages.size() < 3 || s.stages[0].kind != SpecStage::Kind::inner || s.stages[1].kind != SpecStage::Kind::attend) return std::nullopt;
  for (size_t k = 2; k < s.stages.size(); ++k)
    if (s.stages[k].kind != SpecStage::Kind::map_row) return std::nullopt;
  const SpecStage &dot = s.stages[0], &attend = s.stages[1];
  const ScalarInst& product = dot.body.insts[static_cast<size_t>(dot.body.outputs[0])];
  if (dot.body.outputs.size() != 1 || product.prim != Prim::mul) return std::nullopt;
  AttentionAxes a;
  a.q = plain_load(dot, product.args[0]);
  a.k = plain_load(dot, product.args[1]);
  a.v = plain_load(attend, attend.body.outputs[1]);
  if (a.q < 0 || a.k < 0 || a.v < 0) return std::nullopt;
  std::set<std::string> q = axes_of_operand(s, a.q), k = axes_of_operand(s, a.k), v = axes_of_operand(s, a.v);
  for (size_t n = 0; n < s.axes.size(); ++n) {
    const SpecAxis& x = s.axes[n];
    const int i = static_cast<int>(n);
    if (x.row || x.inner) {
      int& role = x.row ? a.keys : a.inner;
      if (role >= 0) return std::nullopt;
      role = i;
    } else if (v.count(x.name) && !q.count(x.name) && !k.count(x.name)) {
      if (a.column >= 0) return std::nullopt;
      a.column = i;
    } else {
      (k.count(x.name) || v.count(x.name) ? a.batch : a.rows).push_back(i);
    }
  }
  if (a.keys < 0 || a.inner < 0 || a.column < 0) return std::nullopt;
  const Dim &inner = s.axes[static_cast<size_t>(a.inner)].extent, &column = s.axes[static_cast<size_t>(a.column)].extent;
  if (!inner.is_const() || !column.is_const()) return std::nullopt;
  a.inner_size = inner.value();
  a.column_size = column.value();
  // Indirect accesses count instructions of the whole body.
  if (std::any_of(s.operands.begin(), s.operands.end(), [](const SpecOperand& o) { return is_indirect(o); })) return std::nullopt;
  // A score that depends on the column of the result would be another one for each of them.
  for (const StageInput& in : attend.inputs) {
    if (in.kind == StageInput::Kind::index && in.dim.contains(s.axes[static_cast<size_t>(a.column)].name)) return std::nullopt;
    bool loads = in.kind == StageInput::Kind::load && in.operand != a.v;
    if (loads && axes_of_operand(s, in.operand).count(s.axes[static_cast<size_t>(a.column)].name)) return std::nullopt;
  }
  return a;
}

SpecStage value_of(const SpecStage& stage, int value) {
  SpecStage out = stage;
  out.body = stage.body.only({value});
  return out;
}
SpecStage score_of(const SpecStage& attend) { return value_of(attend, attend.body.outputs[0]); }

namespace {

struct LimitFinder {
  const KernelSpec& s;
  const AttentionAxes& a;
  const SpecStage& st;
  const ScalarInst& inst(int id) const { return st.body.insts[static_cast<size_t>(id)]; }
  const std::string& name(int axis) const { return s.axes[static_cast<size_t>(axis)].name; }

  // For one row of a block, as for another: independent of keys and of other row axes, and not falling with the last of them.
  bool rises(int id) const {
    const ScalarInst& x = inst(id);
    switch (x.prim) {
      case Prim::constant: return true;
      case Prim::cast: return is_int(x.type) && rises(x.args[0]);
      case Prim::add: return is_int(x.type) && rises(x.args[0]) && rises(x.args[1]);
      case Prim::input: break;
      default: return false;
    }
    const StageInput& in = st.inputs[static_cast<size_t>(x.index)];
    if (in.kind == StageInput::Kind::acc || !is_int(x.type)) return false;
    if (in.kind == StageInput::Kind::load) {
      for (const std::string& n : axes_of_operand(s, in.operand))
        for (size_t k = 0; k < s.axes.size(); ++k)
          if (s.axes[k].name == n && std::find(a.batch.begin(), a.batch.end(), static_cast<int>(k)) == a.batch.end()) return false;
      return s.operands[static_cast<size_t>(in.operand)].guards.empty();
    }
    for (size_t k = 0; k < s.axes.size(); ++k) {
      const int axis = static_cast<int>(k);
      if (!in.dim.contains(name(axis)) || std::find(a.batch.begin(), a.batch.end(), axis) != a.batch.end()) continue;
      auto c = in.dim.coefficient(name(axis));
      if (a.rows.empty() || axis != a.rows.back() || !c || !c->is_const() || c->value() < 0) return false;
    }
    return true;
  }
  // The number that is added to the key; nullopt: the value is something else.
  std::optional<int64_t> key_plus(int id) const {
    const ScalarInst& x = inst(id);
    if (x.prim != Prim::input) return std::nullopt;
    const StageInput& in = st.inputs[static_cast<size_t>(x.index)];
    if (in.kind != StageInput::Kind::index) return std::nullopt;
    Dim rest;
    auto c = in.dim.coefficient(name(a.keys), &rest);
    if (!c || !c->is(1) || !rest.is_const()) return std::nullopt;
    return rest.value();
  }
  bool add(int condition, std::vector<KeyLimit>* out) const {
    const ScalarInst& x = inst(condition);
    if (x.prim == Prim::bit_and) return add(x.args[0], out) & add(x.args[1], out);
    if (x.prim != Prim::lt && x.prim != Prim::le) return false;
    const int64_t strict = x.prim == Prim::lt;
    // key + n < value, or value < key + n
    if (auto n = key_plus(x.args[0]); n && rises(x.args[1])) out->push_back({true, x.args[1], 1 - strict - *n});
    else if (auto m = key_plus(x.args[1]); m && rises(x.args[0])) out->push_back({false, x.args[0], strict - *m});
    else return false;
    return true;
  }
};

}  // namespace

KeyLimits key_limits(const KernelSpec& s, const AttentionAxes& a) {
  LimitFinder f{s, a, s.stages[1]};
  KeyLimits out;
  out.seen = f.st.body.outputs[0];
  const ScalarInst& x = f.inst(out.seen);
  if (x.prim != Prim::select) return out;
  const ScalarInst& hidden = f.inst(x.args[2]);
  if (hidden.prim != Prim::constant || !(hidden.f == -std::numeric_limits<double>::infinity())) return out;
  if (f.add(x.args[0], &out.limits)) out.seen = x.args[1];
  return out;
}

double take_scale(SpecStage* attend, const KeyLimits& limits) {
  ScalarProgram& p = attend->body;
  auto inst = [&](int id) -> ScalarInst& { return p.insts[static_cast<size_t>(id)]; };
  const int score = p.outputs[0];
  const bool masked = score != limits.seen;
  if (masked && (inst(score).prim != Prim::select || inst(score).args[1] != limits.seen || inst(inst(score).args[2]).prim != Prim::constant)) return 1;
  ScalarInst& x = inst(limits.seen);
  if (x.prim != Prim::mul) return 1;
  for (int k : {0, 1}) {
    const ScalarInst &dot = inst(x.args[k]), &factor = inst(x.args[1 - k]);
    if (dot.prim != Prim::input || attend->inputs[static_cast<size_t>(dot.index)].kind != StageInput::Kind::acc) continue;
    if (factor.prim != Prim::constant || !(factor.f > 0)) continue;
    const double scale = factor.f;
    x = dot;
    return scale;
  }
  return 1;
}

Dim attention_flops(const KernelSpec& s, const AttentionAxes& a) {
  Dim scores = a.batch_extent(s) * a.rows_extent(s) * s.axes[static_cast<size_t>(a.keys)].extent;
  return scores * Dim(2 * (a.inner_size + a.column_size));
}

}  // namespace weft
