// The `attention` template, over kernels/attention: blocks stride over tiles of rows; a tile's results come to lie in shared
// memory, and the stages behind the softmax run on them, in lanes along the columns.
#include "codegen/cuda/attention_shape.h"
#include "codegen/cuda/emit.h"
#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

namespace {

struct CudaAttention {
  CudaEmitter e;
  const KernelSpec& s;
  const AttentionAxes a;          // rows of all row axes
  const AttentionTiling tiling;
  CudaEmitter::WidePart q, k, v, out;
  bool lanes;

  CudaAttention(const KernelSpec& spec, const Target& target, const std::string& symbol)
      : e(spec, target, symbol), s(spec), a(*attention_axes(spec)), tiling(attention_tiling(spec, a, target)) {
    e.far = true;
    e.extra_headers = {tiling.mma ? "attention/mma" : "attention/simt"};
    if (target.gpu.has(Gpu::cp_async)) {
      q = wide_lines(a.q, a.inner);
      k = wide_lines(a.k, a.inner);
      v = wide_lines(a.v, a.column);
    }
    out = e.wide_stages(2);
    lanes = out.possible;
  }
  const SpecAxis& axis(int n) const { return s.axes[static_cast<size_t>(n)]; }
  CudaEmitter::WidePart wide_lines(int operand, int along) {
    const SpecOperand& o = s.operands[static_cast<size_t>(operand)];
    const bool as_it_is = tiling.mma || o.dtype == DType::f32;
    return as_it_is && o.guards.empty() ? e.wide_operand(o, along) : CudaEmitter::WidePart{};
  }

  // --- the function -------------------------------------------------------------------------------------------------------------

  static std::string tile_name(size_t n) { return "Tile" + std::to_string(n); }
  void shapes() {
    for (size_t n = 0; n < tiling.tiles.size(); ++n) {
      const AttentionTile& t = tiling.tiles[n];
      std::string numbers;
      for (int64_t x : {a.inner_size, a.column_size, t.keys, t.each, t.groups, t.slices, t.stages, t.ranks})
        numbers += (numbers.empty() ? "" : ", ") + std::to_string(x);
      const std::string name = tile_name(n);
      const std::string shape = tiling.mma ? "MmaAttention<" + CudaEmitter::memory_type(s.operands[static_cast<size_t>(a.q)].dtype) + ", " : "SimtAttention<";
      e.line("typedef " + shape + numbers + "> " + name + ";");
      const std::string shared = std::to_string(s.config.shared_bytes);
      e.line("static_assert(" + name + "::kThreads == kThreads && " + name + "::kBytesStages <= " + shared + " && TileResult<" + name +
             ">::kBytes <= " + shared + ", \"not of the launch\");");
    }
  }

  void lambda(const std::string& head, const SymbolText& env, const std::function<void(SymbolText&)>& f, const std::string& end) {
    e.depth += 2;
    e.open("[&]" + head);
    SymbolText at = env;
    f(at);
    e.close("}" + end);
    e.depth -= 2;
  }
  // A value of a stage's body as the result of a function.
  void return_value(const SpecStage& stage, int value, const SymbolText& at) {
    CudaEmitter::Place place;
    place.env = at;
    place.acc = [](int, int) { return std::string("dot"); };
    e.body(value_of(stage, value), place, false, [&](const std::vector<std::string>& t) { e.line("return " + t[0] + ";"); });
  }
  void lines(const char* name, const std::string& count, int operand, const SpecStage& stage, int value, const std::vector<int>& along, int across,
             const SymbolText& env) {
    const SpecOperand& o = s.operands[static_cast<size_t>(operand)];
    const int64_t width = across == a.column ? a.column_size : a.inner_size;
    const std::string flag = std::string("kWide") + static_cast<char>(name[0] - 'a' + 'A');
    e.line("const auto " + std::string(name) + " = lines<" + flag + ">(" + count + ", " + std::to_string(width) + ",");
    auto place = [&](SymbolText& at) {
      e.decompose(along, "line", false, &at);
      at[axis(across).name] = "c";
    };
    lambda("(Index line, int c) -> const " + CudaEmitter::memory_type(o.dtype) + "*", env, [&](SymbolText& at) {
      place(at);
      e.line("return " + e.address(o, at) + ";");
    }, ",");
    lambda("(Index line, int c) -> f32", env, [&](SymbolText& at) {
      place(at);
      return_value(stage, value, at);
    }, ");");
  }

  // Bounds of the keys that rows from row0 on see: of any of them, and of all.
  void ranges(const KeyLimits& found, const std::vector<int>& rows, const SymbolText& env) {
    e.line("Index begin = 0, end = keys, all_begin = 0, all_end = keys;");
    if (found.limits.empty()) return;
    e.line("Index first = row0, last = min<Index>(row0 + Tile::kBM, rows) - 1;");
    if (rows.size() > 1) {
      const std::string n = e.extent(rows.back());
      e.open("if (quotient<Index>(first, " + n + ") == quotient<Index>(last, " + n + "))");
      e.line("first = remainder<Index>(first, " + n + "), last = remainder<Index>(last, " + n + ");");
      e.close("} else {");
      ++e.depth;
      e.line("first = 0, last = " + n + " - 1;");
      e.close();
    }
    for (size_t n = 0; n < found.limits.size(); ++n) {
      const KeyLimit& l = found.limits[n];
      const std::string name = "limit" + std::to_string(n);
      e.line("const auto " + name + " =");
      lambda("(Index at) -> i64", env, [&](SymbolText& at) {
        if (!rows.empty()) at[axis(rows.back()).name] = "at";
        return_value(s.stages[1], l.value, at);
      }, ";");
      auto bound = [&](const char* row) { return "(" + name + "(" + row + ") + " + std::to_string(l.shift) + "ll)"; };
      auto tighten = [&](const char* what, const char* row) {
        e.line(std::string(what) + " = (Index)" + (l.upper ? "min" : "max") + "<i64>(" + what + ", " + bound(row) + ");");
      };
      tighten(l.upper ? "end" : "begin", l.upper ? "last" : "first");
      tighten(l.upper ? "all_end" : "all_begin", l.upper ? "first" : "last");
    }
  }
  void score(const SpecStage& stage, int value, const std::vector<int>& rows, const SymbolText& env, const std::string& end) {
    lambda("(Index row, Index key, f32 dot) -> f32", env, [&](SymbolText& at) {
      e.decompose(rows, "row", false, &at);
      at[axis(a.keys).name] = "key";
      return_value(stage, value, at);
    }, end);
  }

  void epilogue(const std::vector<int>& rows, const SymbolText& env) {
    const std::string v_text = lanes ? "V" : "1", columns = std::to_string(a.column_size) + " / " + v_text;
    e.line("const int rank = Tile::kRanks > 1 ? cluster_rank() : 0;");
    e.open("for (int i = rank * kThreads + threadIdx.x; i < Tile::kBM * (" + columns + "); i += kThreads * Tile::kRanks)");
    e.line("const int line = i / (" + columns + "), column = i % (" + columns + ") * " + v_text + ";");
    e.line("const Index row = row0 + line;");
    e.line("if (row >= rows) break;");
    SymbolText at = env;
    e.decompose(rows, "row", false, &at);
    at[axis(a.column).name] = "column";
    e.line("f32 sums[" + v_text + "];");
    e.line("results_of<Tile>(sums, shared, line, column);");
    CudaEmitter::Place place;
    place.env = at;
    place.lanes = place.acc_lanes = lanes;
    place.acc = [&](int, int) { return std::string(lanes ? "sums[l]" : "sums[0]"); };
    for (size_t n = 2; n < s.stages.size(); ++n) {
      e.open("");
      e.map_stage(s.stages[n], place);
      e.close();
    }
    e.close();
    e.line("if constexpr (Tile::kRanks > 1) cluster_sync();  // others have read this block's results");
  }

  void function(size_t n) {
    const AttentionAxes mine = tiling.tiles[n].axes(a);
    e.line("template <bool kWideQ, bool kWideK, bool kWideV, " + std::string(lanes ? "int V, " : "") + "class Index>");
    e.open("WEFT_FN void run" + std::to_string(n) + "(" + e.parameters() + ")");
    e.line("extern __shared__ uint4 shared[];");
    e.line("typedef " + tile_name(n) + " Tile;");
    e.line("const Index rows = " + e.count_of(mine.rows, false) + ", keys = " + e.extent(a.keys) + ", batches = " + e.count_of(mine.batch, false) + ";");
    e.line("const Index tiles = (rows + Tile::kBM - 1) / Tile::kBM, items = tiles * batches;");
    e.line("const Index width = gridDim.x / Tile::kRanks, mine = blockIdx.x / Tile::kRanks;");
    e.line("// Where later rows see more keys, their tiles take the longest: they come first, and every other round runs backwards.");
    e.open("for (Index from = 0, back = 0; from < items; from += width, back ^= 1)");
    e.line("const Index item = from + (back ? width - 1 - mine : mine);");
    e.line("if (item >= items) continue;");
    SymbolText env;
    if (!mine.batch.empty()) e.decompose(mine.batch, "remainder<Index>(item, batches)", false, &env);
    e.line("const Index row0 = (tiles - 1 - quotient<Index>(item, batches)) * Tile::kBM;");
    const SpecStage &dot = s.stages[0], &attend = s.stages[1];
    const ScalarInst& product = dot.body.insts[static_cast<size_t>(dot.body.outputs[0])];
    lines("q", "rows", a.q, dot, product.args[0], mine.rows, a.inner, env);
    lines("k", "keys", a.k, dot, product.args[1], {a.keys}, a.inner, env);
    lines("v", "keys", a.v, attend, attend.body.outputs[1], {a.keys}, a.column, env);
    const KeyLimits limits = key_limits(s, mine);
    ranges(limits, mine.rows, env);
    SpecStage plain = attend;
    const double scale = take_scale(&plain, limits);
    e.line("attend_tile<Tile>(shared, q, k, v, scores(rows, begin, end, all_begin, all_end, " + CudaEmitter::constant(DType::f32, scale, 0) + ",");
    score(plain, attend.body.outputs[0], mine.rows, env, ",");
    score(plain, limits.seen, mine.rows, env, "), row0);");
    epilogue(mine.rows, env);
    e.close();
    e.close();
    e.line("");
  }

  std::string run() {
    e.prologue();
    shapes();
    e.line("");
    for (size_t n = 0; n < tiling.tiles.size(); ++n) function(n);
    auto small = e.small_conditions({a.rows_extent(s) + Dim(128), axis(a.keys).extent + Dim(128), a.batch_extent(s) * (a.rows_extent(s) + Dim(1))});
    const std::vector<const CudaEmitter::WidePart*> parts{&q, &k, &v, &out};
    CudaEmitter::Conditions wide;
    if (q.possible || k.possible || v.possible || lanes) wide = CudaEmitter::conditions_of(parts, true);
    e.entry(wide, small, false, [&](bool w, bool is_small) {
      auto call = [&](size_t n) {
        std::string flags;
        for (const CudaEmitter::WidePart* p : {&q, &k, &v}) flags += w && p->possible ? "true, " : "false, ";
        if (lanes) flags += w ? std::to_string(e.width) + ", " : "1, ";
        return "run" + std::to_string(n) + "<" + flags + (is_small ? "int" : "i64") + ">(" + e.arguments() + ");";
      };
      // What is rarely so has one tile: an instance takes long to compile.
      if (tiling.tiles.size() == 1 || !w) return e.line(call(0));
      e.line("if (" + e.dim(a.rows_extent(s), {}, true) + " <= Tile0::kBM) " + call(0));
      e.line("else " + call(1));
    });
    return std::move(e.text);
  }
};

}  // namespace

std::string cuda_attention(const KernelSpec& spec, const Target& target, const std::string& symbol) { return CudaAttention(spec, target, symbol).run(); }

}  // namespace weft
