// Stages at one point: loads that are the same or neighbours for all lanes first, then a loop over the lanes.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "ir/base/check.h"

namespace weft {

namespace {

const StageInput& input_of(const SpecStage& st, const ScalarInst& x) { return st.inputs[static_cast<size_t>(x.index)]; }

std::string x_of(const ScalarInst& x, const std::string& slot) { return "x" + std::to_string(x.index) + slot; }

// How each load of a stage is walked, and which instructions differ between lanes.
struct Lanes {
  std::vector<CudaEmitter::Walk> walk;
  std::vector<bool> varying;
};
Lanes lanes_of(const CudaEmitter& e, const SpecStage& st, bool lanes, bool acc_lanes) {
  const ScalarProgram& p = st.body;
  Lanes r;
  r.walk.assign(p.insts.size(), CudaEmitter::Walk::invariant);
  r.varying.assign(p.insts.size(), false);
  if (!lanes) return r;
  auto differs = [&](int k) -> bool { return r.varying[static_cast<size_t>(k)]; };
  for (size_t k = 0; k < p.insts.size(); ++k) {
    const ScalarInst& x = p.insts[k];
    bool v = false;
    if (x.prim == Prim::input) {
      const StageInput& in = input_of(st, x);
      if (in.kind == StageInput::Kind::acc) v = acc_lanes;
      else if (in.kind == StageInput::Kind::index) v = in.dim.contains(e.vec);
      else v = (r.walk[k] = e.walk(e.spec.operands[in.operand], differs)) != CudaEmitter::Walk::invariant;
    }
    for (int a : x.args) v = v || (a >= 0 && r.varying[static_cast<size_t>(a)]);
    r.varying[k] = v;
  }
  return r;
}

// The loads that a batch takes first.
bool is_hoisted(const CudaEmitter& e, const SpecStage& st, const Lanes& l, size_t k) {
  const ScalarInst& x = st.body.insts[k];
  if (x.prim != Prim::input || input_of(st, x).kind != StageInput::Kind::load) return false;
  return l.walk[k] != CudaEmitter::Walk::lanes && !is_indirect(e.spec.operands[input_of(st, x).operand]);
}

// `$k` of a body.
void add_dollars(const SpecStage& st, SymbolText* env) {
  for (size_t k = 0; k < st.body.insts.size(); ++k) (*env)["$" + std::to_string(k)] = "t" + std::to_string(k);
}

}  // namespace

bool CudaEmitter::batches(const SpecStage& st) const {
  Lanes l = lanes_of(*this, st, !vec.empty(), false);
  std::vector<bool> want = needed(st.body, &st);
  for (size_t k = 0; k < want.size(); ++k)
    if (want[k] && is_hoisted(*this, st, l, k)) return true;
  return false;
}

void CudaEmitter::declare_loads(const SpecStage& st, const std::string& count) {
  Lanes l = lanes_of(*this, st, !vec.empty(), false);
  std::vector<bool> want = needed(st.body, &st);
  for (size_t k = 0; k < want.size(); ++k) {
    if (!want[k] || !is_hoisted(*this, st, l, k)) continue;
    std::string type = memory_type(spec.operands[input_of(st, st.body.insts[k]).operand].dtype);
    line((l.walk[k] == Walk::packed ? "Pack<" + type + ", V> " : type + " ") + x_of(st.body.insts[k], "[" + count + "]") + ";");
  }
}

void CudaEmitter::hoisted_loads(const SpecStage& st, const Place& at, bool declare) {
  Lanes l = lanes_of(*this, st, at.lanes, at.acc_lanes);
  std::vector<bool> want = needed(st.body, &st);
  for (size_t k = 0; k < want.size(); ++k) {
    if (!want[k] || !is_hoisted(*this, st, l, k)) continue;
    const SpecOperand& o = spec.operands[input_of(st, st.body.insts[k]).operand];
    const bool packed = l.walk[k] == Walk::packed;
    std::string type = packed ? "Pack<" + memory_type(o.dtype) + ", V>" : memory_type(o.dtype);
    line((declare ? "const " + type + " " : "") + x_of(st.body.insts[k], at.slot) + " = " + load(o, at.env, packed) + ";");
  }
}

void CudaEmitter::body(const SpecStage& st, const Place& at, bool loaded, const std::function<void(const std::vector<std::string>&)>& finish) {
  const ScalarProgram& p = st.body;
  Lanes l = lanes_of(*this, st, at.lanes, at.acc_lanes);
  std::vector<bool> want = needed(p, &st), before = want, inside = want;
  for (size_t k = 0; k < want.size(); ++k) {
    before[k] = want[k] && !l.varying[k];
    inside[k] = want[k] && l.varying[k];
  }
  SymbolText env = at.env, lane_env = at.env;
  add_dollars(st, &env);
  add_dollars(st, &lane_env);
  if (at.lanes) lane_env[vec] = env[vec] + " + l";
  auto packed_text = [&](const ScalarInst& x) {
    auto kept = at.kept.find(input_of(st, x).operand);
    return kept != at.kept.end() ? kept->second : x_of(x, at.slot);
  };
  auto input = [&](int id, bool in_lane) -> std::string {
    const size_t k = static_cast<size_t>(id);
    const StageInput& in = input_of(st, p.insts[k]);
    if (in.kind == StageInput::Kind::acc) return at.acc(in.stage, in.output);
    if (in.kind == StageInput::Kind::index) return dim(in.dim, in_lane ? lane_env : env, true);
    if (auto given = at.given.find(in.operand); given != at.given.end()) return "value(" + given->second + ")";
    if (l.walk[k] == Walk::packed) return "value(" + packed_text(p.insts[k]) + ".v[l])";
    if (loaded && is_hoisted(*this, st, l, k)) return "value(" + x_of(p.insts[k], at.slot) + ")";
    return "value(" + load(spec.operands[in.operand], in_lane ? lane_env : env, false) + ")";
  };
  // In order, since an address may need what was computed before it.
  for (size_t k = 0; k < want.size(); ++k) {
    const ScalarInst& x = p.insts[k];
    bool mine = loaded && is_hoisted(*this, st, l, k);
    if (want[k] && l.walk[k] == Walk::packed && !mine && !at.kept.count(input_of(st, x).operand)) {
      const SpecOperand& o = spec.operands[input_of(st, x).operand];
      line("const Pack<" + memory_type(o.dtype) + ", V> " + x_of(x, at.slot) + " = " + load(o, env, true) + ";");
    }
    std::vector<bool> one(want.size(), false);
    one[k] = before[k];
    if (before[k]) instructions(p, one, [&](int id) { return input(id, false); });
  }
  std::vector<std::string> out;
  for (int o : p.outputs) out.push_back("t" + std::to_string(o));
  if (!at.lanes) return finish(out);
  line("#pragma unroll");
  open("for (int l = 0; l < V; ++l)");
  instructions(p, inside, [&](int id) { return input(id, true); });
  finish(out);
  close();
}

// "if (a && b) ", of those that are not empty.
static std::string when(std::initializer_list<std::string> conditions) {
  std::string all;
  for (const std::string& c : conditions)
    if (!c.empty()) all += (all.empty() ? "" : " && ") + c;
  return all.empty() ? "" : "if (" + all + ") ";
}

void CudaEmitter::map_stage(const SpecStage& st, const Place& at, bool loaded) {
  Lanes l = lanes_of(*this, st, at.lanes, at.acc_lanes);
  SymbolText lane_env = at.env;
  if (at.lanes) lane_env[vec] = lane_env[vec] + " + l";
  SymbolText dollars = lane_env;
  add_dollars(st, &dollars);
  auto never = [](int) { return false; };
  std::vector<bool> packed;
  for (int operand : st.stores) {
    const SpecOperand& o = spec.operands[operand];
    packed.push_back(at.lanes && walk(o, never) == Walk::packed);
    if (packed.back()) line("Pack<" + memory_type(o.dtype) + ", V> y" + std::to_string(operand) + ";");
  }
  body(st, at, loaded, [&](const std::vector<std::string>& out) {
    for (size_t k = 0; k < out.size(); ++k) {
      const SpecOperand& o = spec.operands[st.stores[k]];
      const ScalarInst& x = st.body.insts[static_cast<size_t>(st.body.outputs[k])];
      std::string v = narrowed(st.body, st.body.outputs[k], o.dtype);
      // What was only moved keeps its bits.
      if (x.prim == Prim::input && x.type == o.dtype && input_of(st, x).kind == StageInput::Kind::load) {
        const SpecOperand& from = spec.operands[static_cast<size_t>(input_of(st, x).operand)];
        auto given = at.given.find(input_of(st, x).operand);
        if (given != at.given.end() && from.dtype == o.dtype) v = given->second;
      }
      if (x.prim == Prim::input && x.type == o.dtype && l.walk[static_cast<size_t>(st.body.outputs[k])] == Walk::packed) {
        auto kept = at.kept.find(input_of(st, x).operand);
        v = (kept != at.kept.end() ? kept->second : x_of(x, at.slot)) + ".v[l]";
      }
      if (packed[k]) line("y" + std::to_string(st.stores[k]) + ".v[l] = " + v + ";");
      else line(when({at.live, guard(o, dollars)}) + "*(" + address(o, lane_env) + ") = " + v + ";");
    }
  });
  for (size_t k = 0; k < packed.size(); ++k)
    if (packed[k]) line(when({at.live}) + "store<V>(" + address(spec.operands[st.stores[k]], at.env) + ", y" + std::to_string(st.stores[k]) + ");");
}

// --- reductions -----------------------------------------------------------------------------------------------------------

std::string CudaEmitter::init_of(const SpecStage& st) const {
  std::string s;
  for (size_t k = 0; k < st.init.size(); ++k) {
    DType t = acc_type(st, k);
    double f = st.init[k];
    // Integer extremes do not fit a double: infinities stand for them.
    int64_t i = is_float(t) ? 0 : f >= 9.2e18 ? int_max(t) : f <= -9.2e18 ? int_min(t) : static_cast<int64_t>(f);
    bool largest = t == DType::u64 && f >= 9.2e18;
    s += (s.empty() ? "" : ", ") + (is_float(t) ? constant(t == DType::f64 ? t : DType::f32, f, 0) : constant(t, 0, largest ? -1 : i));
  }
  return "{" + s + "}";
}

void CudaEmitter::accumulators() {
  for (size_t k = 0; k < spec.stages.size(); ++k) {
    const SpecStage& st = spec.stages[k];
    if (st.kind != SpecStage::Kind::reduce) continue;
    const std::string name = "Acc" + std::to_string(k);
    std::string fields;
    for (size_t a = 0; a < st.init.size(); ++a) fields += " " + value_type(acc_type(st, a)) + " a" + std::to_string(a) + ";";
    line("");
    line("struct " + name + " {" + fields + " };");
    open("WEFT_FN " + name + " join" + std::to_string(k) + "(const " + name + "& a, const " + name + "& b)");
    const int n = static_cast<int>(st.init.size());
    instructions(st.combine, needed(st.combine), [&](int id) {
      int index = st.combine.insts[static_cast<size_t>(id)].index;
      return index < n ? "a.a" + std::to_string(index) : "b.a" + std::to_string(index - n);
    });
    std::string out;
    for (int o : st.combine.outputs) out += (out.empty() ? "t" : ", t") + std::to_string(o);
    line("return {" + out + "};");
    close();
  }
}

std::string CudaEmitter::joiner(int stage) {
  const std::string k = std::to_string(stage);
  return "[](const Acc" + k + "& a, const Acc" + k + "& b) { return join" + k + "(a, b); }";
}

// A float sum of products: one fused operation, as on the CPU.
static bool multiplies_and_adds(const SpecStage& st) {
  if (st.body.outputs.size() != 1 || !is_float(st.body.type(st.body.outputs[0]))) return false;
  const ScalarInst& product = st.body.insts[static_cast<size_t>(st.body.outputs[0])];
  const ScalarInst& add = st.combine.insts[static_cast<size_t>(st.combine.outputs[0])];
  return product.prim == Prim::mul && add.prim == Prim::add && st.combine.insts.size() == 3;
}

void CudaEmitter::reduce_step(int stage, const Place& at, const std::string& acc, bool loaded) {
  const SpecStage& st = spec.stages[static_cast<size_t>(stage)];
  const std::string k = std::to_string(stage);
  if (multiplies_and_adds(st)) {
    SpecStage factors = st;
    const ScalarInst& product = st.body.insts[static_cast<size_t>(st.body.outputs[0])];
    factors.body.outputs = {product.args[0], product.args[1]};
    return body(factors, at, loaded, [&](const std::vector<std::string>& t) { line(acc + ".a0 = fma(" + t[0] + ", " + t[1] + ", " + acc + ".a0);"); });
  }
  body(st, at, loaded, [&](const std::vector<std::string>& t) {
    std::string v;
    for (const std::string& x : t) v += (v.empty() ? "" : ", ") + x;
    line(acc + " = join" + k + "(" + acc + ", Acc" + k + "{" + v + "});");
  });
}

// --- points -----------------------------------------------------------------------------------------------------------------

static std::string steps_of(const CudaEmitter& e, int axis, bool lanes) {
  std::string n = e.extent(axis);
  const bool stepped = lanes && e.spec.axes[static_cast<size_t>(axis)].name == e.vec;
  return !stepped ? n : (n.find(' ') == std::string::npos ? n : "(" + n + ")") + " / V";
}

std::string CudaEmitter::count_of(const std::vector<int>& axes, bool lanes) const {
  std::string s;
  for (int a : axes) {
    std::string n = steps_of(*this, a, lanes);
    s += (s.empty() ? "" : " * ") + (n.find(' ') == std::string::npos || axes.size() == 1 ? n : "(" + n + ")");
  }
  return s.empty() ? "1" : s;
}

void CudaEmitter::decompose(const std::vector<int>& axes, const std::string& linear, bool lanes, SymbolText* env) {
  for (int a : axes) (*env)[spec.axes[static_cast<size_t>(a)].name] = name_of(spec.axes[static_cast<size_t>(a)].name);
  auto name = [&](size_t k) { return name_of(spec.axes[static_cast<size_t>(axes[k])].name); };
  auto scale = [&](size_t k) { return lanes && spec.axes[static_cast<size_t>(axes[k])].name == vec ? " * V" : ""; };
  if (axes.empty()) return;
  if (axes.size() == 1) return line("const Index " + name(0) + " = " + linear + scale(0) + ";");
  const std::string rest = "rest_" + name(0);
  line("Index " + rest + " = " + linear + ";");
  for (size_t k = axes.size(); k-- > 1;) {
    std::string n = steps_of(*this, axes[k], lanes);
    line("const Index " + name(k) + " = remainder<Index>(" + rest + ", " + n + ")" + scale(k) + ";");
    line(rest + " = quotient<Index>(" + rest + ", " + n + ");");
  }
  line("const Index " + name(0) + " = " + rest + scale(0) + ";");
}

}  // namespace weft
