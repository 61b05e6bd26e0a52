// The `loops` template: runs any KernelSpec with a thread for each point of the parallel axes, or for each V points along one
// of them. The grid is of any size: blocks stride over the points. Row axes are loops of the thread; with config.group > 1
// that many threads of the block share a point's rows and join what they have in shared memory, with config.cluster those of that
// many blocks.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "ir/base/check.h"

namespace weft {

namespace {

struct CudaLoops {
  CudaEmitter e;
  const KernelSpec& s;
  bool lanes, tail;
  int64_t group, ranks, unroll;

  CudaLoops(const KernelSpec& spec, const Target& target, const std::string& symbol) : e(spec, target, symbol), s(spec) {
    lanes = !e.vec.empty() && e.any_packed();
    if (!lanes) {
      e.vec.clear();
      e.width = 1;
    }
    CHECK(e.vec.empty() || (!e.parallel.empty() && s.axes[static_cast<size_t>(e.parallel.back())].name == e.vec));
    // One line of points: its end runs element by element.
    const Dim left = lanes ? mod(s.axes[static_cast<size_t>(e.parallel.back())].extent, Dim(e.width)) : Dim(0);
    tail = lanes && e.parallel.size() == 1 && !left.is(0);
    group = e.row.empty() ? 1 : std::max<int64_t>(1, s.config.group);
    ranks = group > 1 ? std::max<int64_t>(1, s.config.cluster) : 1;
    if (ranks > 1) e.extra_headers = {"core/cluster"};
    unroll = batch() || group > 1 ? std::max<int64_t>(1, s.config.unroll) : 1;
  }

  // Several points of a thread are in flight when there is nothing but one map.
  bool batch() const { return s.stages.size() == 1 && e.row.empty() && s.stages[0].kind != SpecStage::Kind::reduce && e.batches(s.stages[0]); }

  bool array() const { return lanes || group > 1; }  // of accumulators
  std::string acc_name(int stage) const { return "acc" + std::to_string(stage) + (lanes ? "[l]" : array() ? "[0]" : ""); }
  CudaEmitter::Place place(const SymbolText& env) const {
    CudaEmitter::Place at;
    at.env = env;
    at.lanes = at.acc_lanes = lanes;
    at.acc = [this](int stage, int output) { return acc_name(stage) + ".a" + std::to_string(output); };
    if (group > 1) at.live = "live";
    return at;
  }

  // Windows of pools and convolutions: short, and known.
  bool short_rows() const {
    constexpr int64_t kMost = 32;
    const Dim n = s.extent_of(e.row);
    return n.is_const() && n.value() <= kMost;
  }

  // A step of the reduction at every point of the row axes that this thread has; those of a group take kUnroll at once while
  // there are as many, all of whose loads come first.
  void reduce_rows(int stage, const SymbolText& env) {
    const SpecStage& st = s.stages[static_cast<size_t>(stage)];
    if (group == 1 || unroll == 1 || !e.batches(st))
      return rows(env, [&](const SymbolText& at) { e.reduce_step(stage, place(at), acc_name(stage)); });
    const std::string count = e.count_of(e.row, false);
    SymbolText at = env;
    e.line("Index row = part;");
    e.open("for (; row < " + count + " - (kUnroll - 1) * kStep; row += kUnroll * kStep)");
    e.declare_loads(st, "kUnroll");
    for (bool load : {true, false}) {
      e.line("#pragma unroll");
      e.open("for (int u = 0; u < kUnroll; ++u)");
      e.decompose(e.row, "(row + u * kStep)", false, &at);
      CudaEmitter::Place p = place(at);
      p.slot = "[u]";
      if (load) e.hoisted_loads(st, p, false);
      else e.reduce_step(stage, p, acc_name(stage), true);
      e.close();
    }
    e.close();
    e.line("#pragma unroll 1");
    e.open("for (; row < " + count + "; row += kStep)");
    e.decompose(e.row, "row", false, &at);
    e.reduce_step(stage, place(at), acc_name(stage));
    e.close();
  }

  // f at every point of the row axes that this thread has.
  void rows(const SymbolText& env, const std::function<void(const SymbolText&)>& f) {
    if (e.row.empty()) return scope([&] { f(env); });
    SymbolText at = env;
    if (group > 1) {
      e.line("#pragma unroll 4");
      e.open("for (Index row = part; row < " + e.count_of(e.row, false) + "; row += kStep)");
      e.decompose(e.row, "row", false, &at);
      f(at);
      return e.close();
    }
    for (size_t k = 0; k < e.row.size(); ++k) {
      const SpecAxis& a = s.axes[static_cast<size_t>(e.row[k])];
      const std::string name = e.name_of(a.name);
      at[a.name] = name;
      if (short_rows()) e.line("#pragma unroll");
      else if (k + 1 == e.row.size()) e.line("#pragma unroll 4");
      e.open("for (Index " + name + " = 0; " + name + " < " + e.extent(e.row[k]) + "; ++" + name + ")");
    }
    f(at);
    for (size_t k = 0; k < e.row.size(); ++k) e.close();
  }

  void reduce(int stage, const SymbolText& env) {
    const SpecStage& st = s.stages[static_cast<size_t>(stage)];
    const std::string k = std::to_string(stage), acc = "acc" + k, v = lanes ? "V" : "1";
    if (array()) e.line("Acc" + k + " " + acc + "[" + v + "];");
    if (lanes) e.line("#pragma unroll");
    if (lanes) e.line("for (int l = 0; l < V; ++l) " + acc + "[l] = Acc" + k + e.init_of(st) + ";");
    else e.line((array() ? acc + "[0] = Acc" + k : "Acc" + k + " " + acc) + e.init_of(st) + ";");
    if (group == 1) return reduce_rows(stage, env);
    scope([&] { reduce_rows(stage, env); });
    e.line("__shared__ Acc" + k + " shared" + k + "[kThreads * " + v + "];");
    e.line("reduce_columns<kGroup, kColumns>(" + acc + ", shared" + k + ", " + e.joiner(stage) + ");");
    if (ranks > 1) e.line("reduce_cluster<kRanks>(" + acc + ", shared" + k + " + column * " + v + ", part == 0, " + e.joiner(stage) + ");");
  }

  void point(const SymbolText& env) {
    for (size_t k = 0; k < s.stages.size(); ++k) {
      const SpecStage& st = s.stages[k];
      switch (st.kind) {
        case SpecStage::Kind::reduce: reduce(static_cast<int>(k), env); break;
        case SpecStage::Kind::map:
          rows(env, [&](const SymbolText& at) { e.map_stage(st, place(at)); });
          break;
        case SpecStage::Kind::map_row: {
          CudaEmitter::Place at = place(env);
          if (group > 1) at.live = "live && part == 0";
          scope([&] { e.map_stage(st, at); });
          break;
        }
        case SpecStage::Kind::inner:
        case SpecStage::Kind::attend: CHECK(false);  // of the attention template alone
      }
    }
  }
  void scope(const std::function<void()>& f) {
    e.line("{");
    ++e.depth;
    f();
    e.close();
  }

  // --- the walk over points ----------------------------------------------------------------------------------------------------

  SymbolText decompose(const std::string& at) {
    SymbolText env;
    if (!tail) {
      e.decompose(e.parallel, at, lanes, &env);
      return env;
    }
    const std::string& name = s.axes[static_cast<size_t>(e.parallel[0])].name;
    env[name] = e.name_of(name);
    e.line("const Index " + env[name] + " = first + " + at + " * V;");
    return env;
  }

  void strided() {
    e.open("for (Index at = (Index)blockIdx.x * kThreads + threadIdx.x; at < points; at += (Index)gridDim.x * kThreads)");
    SymbolText env = decompose("at");
    point(env);
    e.close();
  }
  void batched() {
    e.line("constexpr int kStep = kThreads * kUnroll;");
    e.open("for (Index from = (Index)blockIdx.x * kStep + threadIdx.x; from < points; from += (Index)gridDim.x * kStep)");
    const SpecStage& st = s.stages[0];
    e.declare_loads(st, "kUnroll");
    for (bool load : {true, false}) {
      e.line("#pragma unroll");
      e.open("for (int u = 0; u < kUnroll; ++u)");
      // Loads behind the end are of the last point, so that none waits for a condition.
      e.line(load ? "const Index at = min<Index>(from + u * kThreads, points - 1);" : "const Index at = from + u * kThreads;");
      if (!load) e.open("if (at < points)");
      CudaEmitter::Place p = place(decompose("at"));
      p.slot = "[u]";
      if (load) e.hoisted_loads(st, p, false);
      else e.map_stage(st, p, true);
      if (!load) e.close();
      e.close();
    }
    e.close();
  }
  void grouped() {
    const std::string rank = ranks > 1 ? " + cluster_rank() * kGroup" : "", each = ranks > 1 ? " / kRanks" : "";
    e.line("const int column = threadIdx.x % kColumns, part = threadIdx.x / kColumns" + rank + ";");
    e.open("for (Index from = (Index)(blockIdx.x" + each + ") * kColumns; from < points; from += (Index)(gridDim.x" + each + ") * kColumns)");
    e.line("const bool live = from + column < points;");
    e.line("const Index at = live ? from + column : points - 1;");
    point(decompose("at"));
    e.close();
  }

  // One function, for another template's source.
  std::string function(const std::string& name) {
    e.line("template <class Index>");
    e.open("WEFT_FN void " + name + "(" + e.parameters() + ")");
    e.line("const Index points = " + e.count_of(e.parallel, false) + ";");
    strided();
    e.close();
    return std::move(e.text);
  }

  std::string run() {
    e.prologue();
    if (unroll > 1) e.line("constexpr int kUnroll = " + std::to_string(unroll) + ";");
    if (group > 1) {
      e.line("constexpr int kGroup = " + std::to_string(group) + ";  // threads that share a point's rows");
      e.line("constexpr int kColumns = kThreads / kGroup;");
      if (ranks > 1) e.line("constexpr int kRanks = " + std::to_string(ranks) + ";  // blocks that share a point's rows");
      e.line("constexpr int kStep = kGroup" + std::string(ranks > 1 ? " * kRanks;" : ";"));
    }
    e.accumulators();
    e.line("");
    e.line("template <" + std::string(lanes ? "int V, class Index>" : "class Index>"));
    std::string parameters = e.parameters();
    if (tail) parameters += ", Index first, Index last";
    e.open("WEFT_FN void run(" + parameters + ")");
    e.line("const Index points = " + (tail ? "(last - first) / V" : e.count_of(e.parallel, lanes)) + ";");
    if (group > 1) grouped();
    else if (unroll > 1) batched();
    else strided();
    e.close();
    e.line("");
    e.entry(e.wide_conditions(tail), e.small_conditions(), true, [&](bool wide, bool small) { call(wide, small); });
    return std::move(e.text);
  }

  void call(bool wide, bool small) {
    const std::string index = small ? "int" : "i64", lanes_text = std::to_string(e.width) + ", ";
    if (!lanes) return e.line("run<" + index + ">(" + e.arguments() + ");");
    const std::string n = tail ? e.dim(s.axes[static_cast<size_t>(e.parallel[0])].extent, {}, true) : "";
    if (!tail) return e.line("run<" + (wide ? lanes_text : "1, ") + index + ">(" + e.arguments() + ");");
    if (!wide) return e.line("run<1, " + index + ">(" + e.arguments() + ", 0, " + n + ");");
    const std::string whole = "quotient<i64>(" + n + ", " + std::to_string(e.width) + ") * " + std::to_string(e.width);
    e.line("run<" + lanes_text + index + ">(" + e.arguments() + ", 0, " + whole + ");");
    e.line("run<1, " + index + ">(" + e.arguments() + ", " + whole + ", " + n + ");");
  }
};

}  // namespace

std::string cuda_plain(const KernelSpec& spec, const Target& target) {
  KernelSpec plain = spec;
  plain.config.width = plain.config.group = plain.config.unroll = 1;
  plain.config.cluster = 0;
  return CudaLoops(plain, target, "").function("plain");
}

std::string cuda_loops(const KernelSpec& spec, const Target& target, const std::string& symbol) { return CudaLoops(spec, target, symbol).run(); }

}  // namespace weft
