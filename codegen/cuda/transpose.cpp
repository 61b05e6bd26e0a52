// The `transpose` template: one map whose results lie together along one axis and some of whose operands lie together along
// another. A block takes a tile of both axes: such operands are read along their own axis into shared memory and taken out
// along the other, so that memory sees neighbours either way.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/transpose_shape.h"
#include "ir/base/check.h"

namespace weft {

namespace {

struct CudaTranspose {
  CudaEmitter e;
  const KernelSpec& s;
  TransposeShape t;
  bool lanes;

  CudaTranspose(const KernelSpec& spec, const Target& target, const std::string& symbol)
      : e(spec, target, symbol), s(spec), t(*transpose_shape(spec)) {
    lanes = e.width > 1;
  }

  std::string axis(int a) const { return s.axes[static_cast<size_t>(a)].name; }

  // The operands' elements at this thread's places along `along`, V neighbours at once, into shared memory.
  void read(const SymbolText& env) {
    e.line("#pragma unroll 4");
    e.open("for (int q = threadIdx.x; q < kTile * kLanes; q += kThreads)");
    e.line("const int across = q / kLanes, along = q % kLanes * V;");
    SymbolText at = env;
    const std::string r = e.name_of(axis(t.read_axis)), w = e.name_of(axis(t.write_axis));
    at[axis(t.read_axis)] = r;
    at[axis(t.write_axis)] = w;
    e.line("const Index " + r + " = first_r + along, " + w + " = first_w + across;");
    e.open("if (" + r + " < " + e.extent(t.read_axis) + " && " + w + " < " + e.extent(t.write_axis) + ")");
    for (int o : t.operands) {
      const SpecOperand& operand = s.operands[static_cast<size_t>(o)];
      const std::string type = CudaEmitter::memory_type(operand.dtype), name = std::to_string(o);
      // Along its own axis an operand is packed or, with a guard that depends on it, element by element.
      const std::string vec = e.vec;
      e.vec = axis(t.read_axis);
      const bool packed = lanes && e.walk(operand, [](int) { return false; }) == CudaEmitter::Walk::packed;
      e.vec = vec;
      if (packed) {
        e.line("store<V>(&tile" + name + "[across][along], " + e.load(operand, at, true) + ");");
        continue;
      }
      SymbolText lane = at;
      if (lanes) lane[axis(t.read_axis)] = r + " + l";
      const std::string inside = lanes ? "if (" + r + " + l < " + e.extent(t.read_axis) + ") " : "";
      if (lanes) e.line("#pragma unroll");
      const std::string place = "tile" + name + "[across][along" + (lanes ? " + l" : "") + "]";
      e.line((lanes ? "for (int l = 0; l < V; ++l) " : "") + inside + place + " = " + e.load(operand, lane, false) + ";");
    }
    e.close();
    e.close();
  }

  void write(const SymbolText& env) {
    e.line("#pragma unroll 4");
    e.open("for (int q = threadIdx.x; q < kTile * kLanes; q += kThreads)");
    e.line("const int across = q / kLanes, along = q % kLanes * V;");
    const std::string r = e.name_of(axis(t.read_axis)), w = e.name_of(axis(t.write_axis));
    CudaEmitter::Place at;
    at.env = env;
    at.env[axis(t.read_axis)] = r;
    at.env[axis(t.write_axis)] = w;
    at.lanes = lanes;
    for (int o : t.operands) at.given[o] = "tile" + std::to_string(o) + "[along" + (lanes ? " + l" : "") + "][across]";
    e.line("const Index " + r + " = first_r + across, " + w + " = first_w + along;");
    e.open("if (" + r + " < " + e.extent(t.read_axis) + " && " + w + " < " + e.extent(t.write_axis) + ")");
    e.map_stage(s.stages[0], at);
    e.close();
    e.close();
  }

  std::string run() {
    e.prologue();
    e.line("");
    e.line("template <int V, class Index>");
    e.open("WEFT_FN void run(" + e.parameters() + ")");
    e.line("constexpr int kLanes = 32, kTile = kLanes * V;");
    for (int o : t.operands) {
      const std::string type = CudaEmitter::memory_type(s.operands[static_cast<size_t>(o)].dtype), name = std::to_string(o);
      // A line is longer by one bank.
      const int bytes = byte_size(s.operands[static_cast<size_t>(o)].dtype);
      const std::string alignment = std::to_string(std::max(4, bytes)), pad = std::to_string(std::max(1, 4 / bytes));
      e.line("__shared__ alignas(" + alignment + ") " + type + " tile" + name + "[kTile][kTile + " + pad + "];");
    }
    auto tiles = [&](int a) { return "(" + e.extent(a) + " + kTile - 1) / kTile"; };
    e.line("const Index tiles_r = " + tiles(t.read_axis) + ", tiles_w = " + tiles(t.write_axis) + ";");
    std::string all = "tiles_r * tiles_w";
    if (!t.others.empty()) all += " * " + CudaEmitter::factor(e.count_of(t.others, false));
    e.open("for (Index i = blockIdx.x; i < " + all + "; i += gridDim.x)");
    SymbolText env;
    e.line("const Index first_w = remainder<Index>(i, tiles_w) * kTile, rest = quotient<Index>(i, tiles_w);");
    e.line("const Index first_r = remainder<Index>(rest, tiles_r) * kTile;");
    if (!t.others.empty()) e.decompose(t.others, "quotient<Index>(rest, tiles_r)", false, &env);
    e.line("__syncthreads();  // what was in the tiles before has been read");
    read(env);
    e.line("__syncthreads();");
    write(env);
    e.close();
    e.close();
    e.line("");
    e.entry(lanes ? wide() : std::nullopt, e.small_conditions(), true, [&](bool w, bool small) {
      e.line("run<" + std::to_string(w ? e.width : 1) + ", " + (small ? "int" : "i64") + ">(" + e.arguments() + ");");
    });
    return std::move(e.text);
  }

  // As for other wide instances, and the operands that are read along their own axis.
  CudaEmitter::Conditions wide() {
    auto conditions = e.wide_conditions(false);
    if (!conditions) return conditions;
    const std::string vec = e.vec;
    e.vec = axis(t.read_axis);
    auto more = e.wide_conditions(false);
    e.vec = vec;
    if (!more) return std::nullopt;
    for (const std::string& c : *more)
      if (std::find(conditions->begin(), conditions->end(), c) == conditions->end()) conditions->push_back(c);
    return conditions;
  }
};

}  // namespace

std::string cuda_transpose(const KernelSpec& spec, const Target& target, const std::string& symbol) {
  return CudaTranspose(spec, target, symbol).run();
}

}  // namespace weft
