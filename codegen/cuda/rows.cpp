// The `rows` template: a group of neighbouring threads for each point of the parallel axes, its lanes along the row axes.
// Partial results are joined by shuffles and, between warps, in shared memory. Where several stages read the same of a row,
// it stays in registers: config.steps accesses of each thread; longer rows are read again.
//
// Rows that are too long for one block's registers are shared by the blocks of a cluster (config.cluster), which join their
// partial results in each other's shared memory.
//
// A row of known length has one instance. Otherwise the length decides at run time between a warp for each row, a block for
// each row, and rows that do not fit.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "ir/base/check.h"

namespace weft {

namespace {

struct CudaRows {
  CudaEmitter e;
  const KernelSpec& s;
  bool lanes;
  bool known;       // the row's length
  int64_t ranks;    // blocks that share a row
  std::vector<int> kept;  // operands that stay in registers

  CudaRows(const KernelSpec& spec, const Target& target, const std::string& symbol) : e(spec, target, symbol), s(spec) {
    lanes = !e.vec.empty() && e.any_packed();
    if (!lanes) {
      e.vec.clear();
      e.width = 1;
    }
    CHECK(!e.row.empty() && (e.vec.empty() || s.axes[static_cast<size_t>(e.row.back())].name == e.vec));
    known = s.extent_of(e.row).is_const();
    ranks = std::max<int64_t>(1, s.config.cluster);
    if (ranks > 1) e.extra_headers = {"core/cluster"};
    if (s.config.steps > 0) find_kept();
  }

  // Packed loads that more than one stage takes.
  void find_kept() {
    std::map<int, int> uses;
    for (const SpecStage& st : s.stages) {
      if (st.kind == SpecStage::Kind::map_row) continue;
      std::set<int> here;
      for (const StageInput& in : st.inputs)
        if (in.kind == StageInput::Kind::load) here.insert(in.operand);
      for (int o : here) ++uses[o];
    }
    for (auto [operand, n] : uses) {
      const SpecOperand& o = s.operands[static_cast<size_t>(operand)];
      if (n > 1 && lanes && !is_indirect(o.linear()) && e.walk(o, [](int) { return false; }) == CudaEmitter::Walk::packed)
        kept.push_back(operand);
    }
  }

  std::string kept_name(int operand) const { return "row" + std::to_string(operand); }

  CudaEmitter::Place place(const SymbolText& env, bool in_row) const {
    CudaEmitter::Place at;
    at.env = env;
    at.lanes = lanes && in_row;
    at.acc = [](int stage, int output) { return "acc" + std::to_string(stage) + ".a" + std::to_string(output); };
    at.live = "live";
    if (in_row)
      for (int o : kept) at.kept[o] = kept_name(o);
    return at;
  }

  std::string stride() const { return ranks > 1 ? "(G * kRanks)" : "G"; }  // between a thread's accesses
  // Blocks that share a row count as one.
  std::string of_ranks(const std::string& blocks) const { return ranks > 1 ? "(" + blocks + " / kRanks)" : blocks; }

  // f for every step of this thread along the row.
  void along(const SymbolText& env, const std::function<void(const SymbolText&)>& f) {
    SymbolText at = env;
    e.line("#pragma unroll (S > 0 ? S : 4)");
    e.open("for (Index step = 0, q = lane; S > 0 ? step < S : q < steps; ++step, q += " + stride() + ")");
    e.open("if (S == 0 || q < steps)");
    e.decompose(e.row, "q", lanes, &at);
    f(at);
    e.close();
    e.close();
  }

  // The kept loads of this step, from registers or, in rows that do not fit, from memory.
  void fetch(const SpecStage& st, const SymbolText& at) {
    for (int o : kept) {
      auto is_it = [&](const StageInput& in) { return in.kind == StageInput::Kind::load && in.operand == o; };
      if (std::none_of(st.inputs.begin(), st.inputs.end(), is_it)) continue;
      const SpecOperand& operand = s.operands[static_cast<size_t>(o)];
      const std::string type = "Pack<" + e.memory_type(operand.dtype) + ", V>";
      e.line("const " + type + " " + kept_name(o) + " = S > 0 ? all_" + kept_name(o) + "[step] : " + paren(e.load(operand, at, true)) + ";");
    }
  }
  static std::string paren(const std::string& x) { return x.find('?') == std::string::npos ? x : "(" + x + ")"; }

  // Loads what stays.

  void keep(const SymbolText& env) {
    if (kept.empty()) return;
    for (int o : kept) e.line("Pack<" + e.memory_type(s.operands[static_cast<size_t>(o)].dtype) + ", V> all_" + kept_name(o) + "[S > 0 ? S : 1];");
    e.open("if (S > 0 && steps > 0)");
    e.line("#pragma unroll");
    e.open("for (int step = 0; step < S; ++step)");
    // Loads behind the end are of the last step, so that none waits for a condition.
    SymbolText at = env;
    e.line("const Index q = min<Index>(lane + step * " + stride() + ", steps - 1);");
    e.decompose(e.row, "q", lanes, &at);
    for (int o : kept) e.line("all_" + kept_name(o) + "[step] = " + e.load(s.operands[static_cast<size_t>(o)], at, true) + ";");
    e.close();
    e.close();
  }

  void point(const SymbolText& env) {
    keep(env);
    for (size_t k = 0; k < s.stages.size(); ++k) {
      const SpecStage& st = s.stages[k];
      const std::string n = std::to_string(k);
      if (st.kind == SpecStage::Kind::map_row) {
        CudaEmitter::Place at = place(env, false);
        at.live = "";
        e.open("if (live && lane == 0)");
        e.map_stage(st, at);
        e.close();
        continue;
      }
      if (st.kind == SpecStage::Kind::reduce) e.line("Acc" + n + " acc" + n + e.init_of(st) + ";");
      along(env, [&](const SymbolText& at) {
        fetch(st, at);
        if (st.kind == SpecStage::Kind::map) e.map_stage(st, place(at, true));
        else e.reduce_step(static_cast<int>(k), place(at, true), "acc" + n);
      });
      if (st.kind != SpecStage::Kind::reduce) continue;
      e.line("__shared__ Acc" + n + " shared" + n + "[kThreads / 32];");
      e.line("acc" + n + " = reduce_group<G>(acc" + n + ", shared" + n + ", " + e.joiner(static_cast<int>(k)) + ");");
      if (ranks == 1) continue;
      e.line("__shared__ Acc" + n + " mine" + n + ";");
      e.line("acc" + n + " = reduce_ranks<kRanks>(acc" + n + ", &mine" + n + ", " + e.joiner(static_cast<int>(k)) + ");");
    }
  }

  std::string run() {
    e.prologue();
    if (ranks > 1) e.line("constexpr int kRanks = " + std::to_string(ranks) + ";  // blocks that share a row");
    e.accumulators();
    e.line("");
    e.line("// S: accesses of a thread along a row, all of them; 0: as many as it takes. G: threads of a row.");
    e.line("template <int " + std::string(lanes ? "V, int " : "") + "S, int G, class Index>");
    e.open("WEFT_FN void run(" + e.parameters() + ")");
    e.line("const Index points = " + e.count_of(e.parallel, false) + ", steps = " + e.count_of(e.row, lanes) + ";");
    e.line("const Index lane = threadIdx.x % G" + std::string(ranks > 1 ? " + cluster_rank() * G;" : ";"));
    const std::string first = of_ranks("(Index)blockIdx.x"), step = of_ranks("(Index)gridDim.x");
    e.open("for (Index from = " + first + " * (kThreads / G); from < points; from += " + step + " * (kThreads / G))");
    e.line("const bool live = from + (Index)threadIdx.x / G < points;");
    SymbolText env;
    if (e.parallel.empty()) e.line("(void)live;");
    else e.decompose(e.parallel, "(live ? from + (Index)threadIdx.x / G : points - 1)", false, &env);
    point(env);
    e.close();
    e.close();
    e.line("");
    e.entry(e.wide_conditions(false), e.small_conditions(), false, [&](bool wide, bool small) { call(wide, small); });
    return std::move(e.text);
  }

  std::string instance(bool wide, int64_t steps, int64_t group, bool small) const {
    const std::string width = lanes ? std::to_string(wide ? e.width : 1) + ", " : "";
    return "run<" + width + std::to_string(steps) + ", " + std::to_string(group) + ", " + (small ? "int" : "i64") + ">(" + e.arguments() + ");";
  }
  void call(bool wide, bool small) {
    const SpecConfig& c = s.config;
    // Rows that do not fit, single elements, 64-bit indices: one instance serves all of them.
    if ((lanes && !wide) || !small || (known && c.steps == 0)) return e.line(instance(wide, 0, known ? c.group : c.threads, small));
    if (known) return e.line(instance(wide, c.steps, c.group, small));
    std::string length;
    for (int a : e.row) length += (length.empty() ? "" : " * ") + std::string("(") + e.dim(s.axes[static_cast<size_t>(a)].extent, {}, true) + ")";
    e.line("const i64 length = " + length + ";");
    const int64_t step = std::max<int64_t>(1, c.steps) * e.width;
    e.line("if (length <= " + std::to_string(step * 32) + ") " + instance(wide, c.steps, 32, small));
    if (c.steps == 0) return e.line("else " + instance(wide, 0, c.threads, small));
    e.line("else if (length <= " + std::to_string(step * c.threads) + ") " + instance(wide, c.steps, c.threads, small));
    e.line("else " + instance(false, 0, c.threads, false));
  }
};

}  // namespace

std::string cuda_rows(const KernelSpec& spec, const Target& target, const std::string& symbol) { return CudaRows(spec, target, symbol).run(); }

}  // namespace weft
