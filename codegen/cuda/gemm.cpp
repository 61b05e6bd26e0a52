// The `gemm` template: a sum of products as tiles of products of matrices, over kernels/gemm. Blocks stride over the tiles; the
// sums of a tile come to lie in shared memory, and the stages behind the sum run on them, in lanes along the last N axis.
//
// Where sizes do not fit 32 bits, the same spec runs element by element.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/gemm_shape.h"
#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

namespace {

struct CudaGemm {
  CudaEmitter e;
  const KernelSpec& s;
  GemmShape g;
  CudaEmitter::WidePart a, b, out;
  bool lanes, warpgroups;
  std::vector<GemmTile> tiles;

  CudaGemm(const KernelSpec& spec, const Target& target, const std::string& symbol) : e(spec, target, symbol), s(spec), g(*gemm_shape(spec, target)) {
    e.far = true;
    tiles = gemm_tiles(s, g);
    warpgroups = std::any_of(tiles.begin(), tiles.end(), [](const GemmTile& t) { return t.warpgroups; });
    if (g.weights) e.extra_headers.push_back("gemm/weights");
    e.extra_headers.push_back(warpgroups ? "gemm/wgmma" : g.mma ? "gemm/mma" : "gemm/simt");
    const bool wide_sums = s.config.mc * s.config.nc > 64 * 64;
    e.blocks_at_once = warpgroups || tiles.back().weights ? static_cast<int>(tiles.back().at_once) : !g.mma && wide_sums ? 2 : 1;
    if (g.mma) {
      a = wide_factor(g.a);
      if (!g.weights) b = wide_factor(g.b);
    }
    out = e.wide_stages(1);
    lanes = out.possible;
  }

  CudaEmitter::WidePart wide_factor(const GemmFactor& f) {
    return e.wide_operand(s.operands[static_cast<size_t>(f.product.operand)], (f.along_k ? g.k : f.axes).back());
  }

  // --- the function -----------------------------------------------------------------------------------------------------------

  std::string value_type() const { return CudaEmitter::value_type(s.stages[0].body.type(s.stages[0].body.outputs[0])); }

  void shapes() {
    auto n = [](int64_t v) { return std::to_string(v); };
    auto flag = [](bool v) { return std::string(v ? "true" : "false"); };
    for (size_t k = 0; k < tiles.size(); ++k) {
      const GemmTile& t = tiles[k];
      std::string shape = n(t.bm) + ", " + n(t.bn);
      if (!t.warpgroups) shape += ", " + n(t.bk) + ", " + n(t.m) + ", " + n(t.n) + ", " + n(t.slices);
      if (g.mma) shape += ", " + n(t.stages);
      shape += ", " + n(t.ranks);
      if (g.mma) shape += ", " + flag(g.a.along_k) + ", " + flag(g.b.along_k);
      const std::string name = tile_name(k), shared = name + "::kSharedBytes <= " + n(s.config.shared_bytes);
      if (t.weights) {
        const std::string element = CudaEmitter::memory_type(s.operands[static_cast<size_t>(g.weights->elements)].dtype);
        e.line("typedef WeightShape<" + CudaEmitter::memory_type(g.a.dtype) + ", " + element + ", " + n(t.bm) + ", " + n(t.bn) + ", " + n(t.slices) + "> " +
               name + ";");
        e.line("static_assert(" + name + "::kThreads == kThreads && " + shared + ", \"not of the launch\");");
        continue;
      }
      const std::string types = CudaEmitter::memory_type(g.a.dtype) + ", " + CudaEmitter::memory_type(g.b.dtype);
      shape = (g.mma ? types : value_type()) + ", " + shape;
      const std::string kind = t.warpgroups ? "WarpgroupShape<" : g.mma ? "MmaShape<" : "SimtShape<";
      e.line("typedef " + kind + shape + "> " + name + ";");
      e.line("static_assert(" + name + "::kThreads == kThreads && " + shared + ", \"not of the launch\");");
    }
  }
  std::string tile_name(size_t k) const { return tiles.size() == 1 ? "Tile" : "Tile" + std::to_string(k); }

  void lambda(const std::string& head, const SymbolText& env, const std::function<void(SymbolText*)>& body, const std::string& end) {
    e.depth += 2;
    e.open("[&]" + head);
    SymbolText at = env;
    body(&at);
    e.close("}" + end);
    e.depth -= 2;
  }
  // Whether a tile's steps lie within one value of the other K axes, so that these follow from its first step.
  bool steps_stay() const {
    int64_t most = 0;
    for (const GemmTile& t : tiles) most = std::max(most, t.bk);
    return mod(s.axes[static_cast<size_t>(g.k.back())].extent, Dim(most)).is(0);
  }

  // The elements of a factor for tensor cores: what an address needs of a row, and functions of that and of a step.
  void mma_factor(const char* name, const GemmFactor& f, const SymbolText& env) {
    const SpecOperand& o = s.operands[static_cast<size_t>(f.product.operand)];
    const std::string row = std::string("Row") + static_cast<char>(name[0] - 'a' + 'A');
    std::string fields, values;
    for (int a : f.axes) {
      const std::string axis = e.name_of(s.axes[static_cast<size_t>(a)].name);
      fields += " Index " + axis + ";";
      values += (values.empty() ? "" : ", ") + axis;
    }
    e.line("struct " + row + " {" + fields + " };");
    Dim rest;
    const auto stride = o.guards.empty() ? step_along(s, o.linear(), g.k, &rest) : std::nullopt;
    const std::string wide = name[0] == 'a' ? ", kWideA" : ", kWideB";
    const std::string flags = (f.along_k ? "true" : "false") + wide + (stride ? ", true" : ", false");
    const std::string step = stride ? e.dim(*stride, env, true) : "0";
    e.line("const auto " + std::string(name) + " = mma_factor<" + flags + ">(rows_" + name + ", depth, " + step + ",");
    lambda("(Index row) -> " + row, env, [&](SymbolText* at) {
      e.decompose(f.axes, "row", false, at);
      e.line("return {" + values + "};");
    }, ",");
    auto element = [&](const std::string& type, const std::function<std::string(const SymbolText&)>& text, const std::string& end) {
      lambda("(const " + row + "& at, Index k0, int k) -> " + type, env, [&](SymbolText* at) {
        for (int a : f.axes) {
          const std::string& axis = s.axes[static_cast<size_t>(a)].name;
          (*at)[axis] = "at." + e.name_of(axis);
        }
        const std::string& last = s.axes[static_cast<size_t>(g.k.back())].name;
        const bool stay = g.k.size() == 1 || steps_stay();
        e.decompose(g.k, stay ? "k0" : "(k0 + k)", false, at);
        if (stay) (*at)[last] = "(" + (*at)[last] + " + k)";
        e.line("return " + text(*at) + ";");
      }, end);
    };
    element("const " + CudaEmitter::memory_type(o.dtype) + "*", [&](const SymbolText& at) { return e.address(o, at); }, ",");
    if (o.guards.empty()) e.line("    [](const " + row + "&, Index, int) { return true; });");
    else element("bool", [&](const SymbolText& at) { return e.guard(o, at); }, ");");
  }

  // Quantised weights, and the scales and zero points of their rows' blocks.
  void weights_factor(const SymbolText& env) {
    const WeightFactor& w = *g.weights;
    const SpecOperand& o = s.operands[static_cast<size_t>(w.elements)];
    const std::string type = CudaEmitter::memory_type(w.factor);
    auto of_blocks = [&](int operand, const std::string& number, const std::string& end) {
      lambda("(Index row)", env, [&](SymbolText* at) {
        if (operand < 0) return e.line("return one_value(" + number + ");");
        e.decompose(g.b.axes, "row", false, at);
        for (int k : g.k) (*at)[s.axes[static_cast<size_t>(k)].name] = "0";
        const SpecOperand& x = s.operands[static_cast<size_t>(operand)];
        const auto step = x.linear().coefficient(s.axes[static_cast<size_t>(g.k[0])].name);
        e.line("return block_values(" + e.address(x, *at) + ", " + e.dim(g.k.size() > 1 ? *step : Dim(0), {}, true) + ");");
      }, end);
    };
    const std::string block = e.dim(s.axes[static_cast<size_t>(g.k.back())].extent, {}, false);
    e.line("const auto b = weight_rows<" + type + ", " + CudaEmitter::memory_type(o.dtype) + ", " + block + ">(rows_b, depth, p" + std::to_string(o.ptr) + ",");
    of_blocks(w.scale, "narrow<" + type + ">(" + CudaEmitter::constant(DType::f32, w.fixed_scale, 0) + ")", ",");
    of_blocks(w.zero, std::to_string(static_cast<int64_t>(w.fixed_zero)), ");");
  }

  // The elements of a factor otherwise: functions of row and step.
  void simt_factor(const char* name, const GemmFactor& f, const SymbolText& env) {
    const SpecOperand& o = s.operands[static_cast<size_t>(std::max(0, f.product.operand))];
    const std::string along = f.along_k ? "true" : "false", rows = std::string("rows_") + name;
    auto element = [&](const std::string& type, const std::function<void(const SymbolText&)>& body, const std::string& end) {
      lambda("(Index row, Index k) -> " + type, env, [&](SymbolText* at) {
        e.decompose(f.axes, "row", false, at);
        e.decompose(g.k, "k", false, at);
        body(*at);
      }, end);
    };
    if (f.direct) {
      e.line("const auto " + std::string(name) + " = simt_elements<" + along + ">(" + rows + ", depth,");
      element("const " + CudaEmitter::memory_type(o.dtype) + "*", [&](const SymbolText& x) { e.line("return " + e.address(o, x) + ";"); }, ",");
      if (o.guards.empty()) e.line("    [](Index, Index) { return true; });");
      else element("bool", [&](const SymbolText& x) { e.line("return " + e.guard(o, x) + ";"); }, ");");
      return;
    }
    e.line("const auto " + std::string(name) + " = simt_values<" + along + ">(" + rows + ", depth,");
    element(value_type(), [&](const SymbolText& x) {
      SpecStage part = s.stages[0];
      part.body.outputs = {f.product.arg};
      CudaEmitter::Place place;
      place.env = x;
      e.body(part, place, false, [&](const std::vector<std::string>& t) { e.line("return " + t[0] + ";"); });
    }, ");");
  }
  void factor(const char* name, const GemmFactor& f, const SymbolText& env) {
    if (g.weights && &f == &g.b) weights_factor(env);
    else g.mma ? mma_factor(name, f, env) : simt_factor(name, f, env);
  }

  void epilogue(const SymbolText& env) {
    const std::string v = lanes ? "V" : "1";
    const bool ranks = s.config.cluster > 1;
    if (ranks) e.line("const int rank = cluster_rank();");
    const std::string first = ranks ? "rank * kThreads + threadIdx.x" : "threadIdx.x", step = ranks ? "kThreads * Tile::kRanks" : "kThreads";
    e.open("for (int q = " + first + "; q < Tile::kBM * (Tile::kBN / " + v + "); q += " + step + ")");
    e.line("const int row = q / (Tile::kBN / " + v + "), column = q % (Tile::kBN / " + v + ") * " + v + ";");
    e.line("const Index m = first_m + row, n = first_n + column;");
    e.line("if (m >= rows_a || n >= rows_b) continue;");
    SymbolText at = env;
    e.decompose(g.a.axes, "m", false, &at);
    e.decompose(g.b.axes, lanes ? "(n / V)" : "n", lanes, &at);
    e.line(value_type() + " sums[" + v + "];");
    e.line("sums_of<Tile>(sums, shared, row, column);");
    CudaEmitter::Place place;
    place.env = at;
    place.lanes = place.acc_lanes = lanes;
    place.acc = [&](int, int) { return std::string(lanes ? "sums[l]" : "sums[0]"); };
    for (size_t k = 1; k < s.stages.size(); ++k) {
      e.line("{");
      ++e.depth;
      e.map_stage(s.stages[k], place);
      e.close();
    }
    e.close();
    if (ranks) e.line("cluster_sync();  // others have read this block's sums");
  }

  void function() {
    e.line("template <class Tile, " + std::string(g.mma ? "bool kWideA, bool kWideB, " : "") + (lanes ? "int V, " : "") + "class Index>");
    e.open("WEFT_FN void run(" + e.parameters() + ")");
    e.line("extern __shared__ " + std::string(warpgroups ? "__align__(1024) " : "") + "uint4 shared[];");
    e.line("const Index rows_a = " + e.count_of(g.a.axes, false) + ", rows_b = " + e.count_of(g.b.axes, false) + ";");
    e.line("const Index depth = " + e.count_of(g.k, false) + ";");
    e.line("const Index tiles_m = (rows_a + Tile::kBM - 1) / Tile::kBM, tiles_n = (rows_b + Tile::kBN - 1) / Tile::kBN;");
    e.line("const Index tiles = tiles_m * tiles_n;");
    const std::string all = g.batch.empty() ? "tiles" : "tiles * " + CudaEmitter::factor(e.count_of(g.batch, false));
    const std::string each = s.config.cluster > 1 ? " / Tile::kRanks" : "";
    e.open("for (Index i = blockIdx.x" + each + "; i < " + all + "; i += gridDim.x" + each + ")");
    SymbolText env;
    if (!g.batch.empty()) e.decompose(g.batch, "quotient<Index>(i, tiles)", false, &env);
    e.line("const TilePlace place = place_tile((i32)remainder<Index>(i, tiles), (i32)tiles_m, (i32)tiles_n);");
    e.line("const Index first_m = (Index)place.m * Tile::kBM, first_n = (Index)place.n * Tile::kBN;");
    factor("a", g.a, env);
    factor("b", g.b, env);
    if (g.weights) e.line("if constexpr (Tile::kOfWeights) multiply_tile_of_weights<Tile>(shared, a, b, first_m, first_n);");
    if (g.weights && (warpgroups || !tiles.back().weights)) e.line("else");
    if (warpgroups) e.line("if constexpr (Tile::kWarpgroups) multiply_tile_by_warpgroups<Tile>(shared, a, b, first_m, first_n);");
    if (!tiles.back().weights) e.line(std::string(warpgroups ? "else " : "") + "multiply_tile<Tile>(shared, a, b, first_m, first_n);");
    epilogue(env);
    e.close();
    e.close();
    e.line("");
  }

  // --- the choice between instances ---------------------------------------------------------------------------------------------

  // Wide are the parts whose sizes need no asking, or, with `all`, every one that can be.
  std::vector<std::string> conditions(bool all) const { return CudaEmitter::conditions_of({&a, &b, &out}, all); }
  std::string instance(size_t tile, bool all, const std::string& index = "int") const {
    auto flag = [&](const CudaEmitter::WidePart& p) { return std::string(p.is_wide(all) ? "true, " : "false, "); };
    const std::string factors = g.mma ? flag(a) + flag(b) : "", width = lanes ? std::to_string(out.is_wide(all) ? e.width : 1) + ", " : "";
    return "run<" + tile_name(tile) + ", " + factors + width + index + ">(" + e.arguments() + ");";
  }
  // What is counted in Index: rows, depth, and tiles, the smallest of which is 16 x 32.
  std::vector<Dim> counts() const {
    const Dim m = s.extent_of(g.a.axes), n = s.extent_of(g.b.axes);
    return {m, n, s.extent_of(g.k), ceildiv(m, Dim(16)) * ceildiv(n, Dim(32)) * s.extent_of(g.batch)};
  }
  void call(bool all) {
    // What is not all wide has one tile: an instance takes a tenth of a second to compile.
    if (tiles.size() == 1 || !all) return e.line(instance(tiles.size() / 2, all));
    // Few rows; tiles that leave part of the device without work; many tiles.
    const GemmTile& big = tiles.back();
    const Dim count = ceildiv(s.extent_of(g.a.axes), Dim(big.bm)) * ceildiv(s.extent_of(g.b.axes), Dim(big.bn)) * s.extent_of(g.batch);
    std::string prefix;
    for (size_t k = 0; k + 1 < tiles.size(); ++k) {
      const bool few = !s.extent_of(g.a.axes).is_const() && k == 0;
      const std::string rows = e.dim(s.extent_of(g.a.axes), {}, true) + " <= " + std::to_string(tiles[k].bm);
      const std::string work = e.dim(count, {}, true) + " < " + std::to_string(e.target.gpu.multiprocessors);
      e.line(prefix + "if (" + (few ? rows : work) + ") " + instance(k, all));
      prefix = "else ";
    }
    e.line(prefix + instance(tiles.size() - 1, all));
  }

  std::string run() {
    e.prologue();
    shapes();
    e.accumulators();
    e.line("");
    function();
    if (!g.weights) e.text += cuda_plain(s, e.target);
    e.line("");
    // Where all is wide or depends on pointers alone, what does not hold is so rare that it runs element by element.
    const bool any = a.possible || b.possible || out.possible, sized = conditions(true) != conditions(false);
    auto small = e.small_conditions(counts());
    auto part = conditions(false);
    CudaEmitter::Conditions wide;
    if (any) wide = conditions(true);
    // Packed elements have no other form: what is not wide, or large, reads them byte by byte.
    if (g.weights) {
      e.entry(wide, small, false, [&](bool w, bool is_small) { w && is_small ? call(true) : e.line(instance(0, false, "i64")); });
      return std::move(e.text);
    }
    e.entry(wide, small, sized || !any, [&](bool w, bool is_small) {
      if (!is_small) return e.line("plain<i64>(" + e.arguments() + ");");
      if (w || !any) return call(true);
      // The parts that need no sizes stay wide.
      if (part.empty()) return call(false);
      e.open("if (" + join(part, " && ") + ")");
      call(false);
      e.close("} else {");
      ++e.depth;
      e.line("plain<i64>(" + e.arguments() + ");");
      e.close();
    });
    return std::move(e.text);
  }
};

}  // namespace

std::string cuda_gemm(const KernelSpec& spec, const Target& target, const std::string& symbol) { return CudaGemm(spec, target, symbol).run(); }

}  // namespace weft
