// The state of one contraction kernel, and how its factors reach the micro-kernel: as words of S and vectors of V, packed by
// the kernel (contraction_pack.cpp) or prepared, or S in place. A word and a vector's lane are one step of K, or `dot` of them.
#pragma once

#include "codegen/cpu/contraction_shape.h"
#include "codegen/cpu/llvm/emit.h"

namespace weft {

struct ContractionFactors {
  Emitter& e;
  const KernelSpec& s;
  const ContractionShape h;
  const ContractionScratch areas;
  DType acc, panel_type;     // panel_type: of V's packed elements
  llvm::Type *type, *vtype;  // of a sum, and of a word of S
  int lanes, nv;
  int64_t bytes;
  Val c_block, panel, s_block, ldc;
  Val m0, m1, o0, o1, line;  // block bounds: rows of M, steps of the outer V axis, length of the q line
  Val k0, k1, k_count;       // block of K: steps of its outer axis, of all axes
  SymbolEnv env;             // batch axes

  ContractionFactors(Emitter& em, ContractionShape shape);

  const std::string& name(int axis) const { return s.axes[axis].name; }
  Val extent(int axis) { return e.dim(s.axes[axis].extent, {}); }
  Val add(Val a, Val b) { return e.b.CreateNSWAdd(a, b); }
  Val add(Val a, int64_t b) { return b ? e.b.CreateNSWAdd(a, e.i64(b)) : a; }
  Val mul(Val a, Val b) { return e.b.CreateNSWMul(a, b); }
  Val mul(Val a, int64_t b) { return b == 1 ? a : e.b.CreateNSWMul(a, e.i64(b)); }
  Val at(Val base, Val index) { return e.b.CreateGEP(type, base, index); }
  Val minimum(Val a, Val b) { return e.b.CreateSelect(e.b.CreateICmpSLT(a, b), a, b); }
  llvm::Align align() const { return llvm::Align(static_cast<uint64_t>(bytes)); }

  // The number of the tile of a prepared operand that holds element `i` of its line; the tile itself, at the block's first k.
  Val tile_number(int operand, int64_t tile, Val i);
  Val prepared_tile(int operand, int64_t tile, Val i);
  // Quantised weights that the micro-kernel reads as they are. Steps of K that come at once: 1, or a word's of them.
  bool in_words() const { return h.weights && !h.unpacks(s); }
  int64_t steps_at_once() const { return in_words() ? h.weights->per_word() : 1; }
  // A panel of them in the sum's type; `words`: the prepared one.
  void unpack_panel(Val words, Val q0);
  // What lies beside them for vector j of the panel at q0 and k, as f32; a zero point that is the same for all: null.
  Val beside(int operand, Val q0, Val k, int j);
  Val zero_point(Val q0, Val k, int j) { return h.weights->zero < 0 ? nullptr : beside(h.weights->zero, q0, k, j); }
  Val scale(Val q0, Val k, int j);
  // Step t of a word's, as f32, less its zero point.
  Val weight(Val words, int64_t t, Val zero);
  // panel[k][0..nr) = V at q0 .. q0 + nr, zero beyond the line.
  void pack_panel(Val q0);
  // s_block[tile][k][mr] = S, zero-filled rows are never read back.
  void pack_s();
  // Vector j of the panel at k: in the sum's type, or `dot` elements a lane.
  Val panel_vector(Val k, int j);
  int64_t vector_bytes() const;
  // sum + word * vector; `word` in all lanes.
  Val multiply_add(Val word, Val vector, Val sum);
  // What the sums of vector j of the panel at hand start from: zero, or what makes up for S's flipped bits.
  void sum_panel();
  Val start(int j);
  // Sets the M axes at row m.
  void place_m(SymbolEnv& in, Val m);

 private:
  // f gets a point and k within the block; with `dot`, the point has the first K axis in units of it, and `tail` says that these
  // steps are not all within the axis.
  using StepFn = std::function<void(SymbolEnv&, Val, bool tail)>;
  void k_loops(const SymbolEnv& where, const StepFn& f);
  void inner_k_loops(size_t i, SymbolEnv where, Val flat, bool tail, const StepFn& f);
  void place_q(SymbolEnv& in, Val q);
  // What is multiplied on one side, at a point. `line`: an extra guard on V's own elements.
  Val factor(bool v_side, const SymbolEnv& where, const std::string& vs, int n, const SpecGuard* line = nullptr);
  void compute(int inst, std::vector<Val>& values, int n, const std::function<Val(int)>& read);
  bool halves() const { return h.dot > 1 && is_float(acc); }  // steps of bf16
  // An operand's own elements, those of `halves` as bits; 0 where a further guard fails.
  Val elements(int operand, const SymbolEnv& where, const std::string& vs, int n, std::vector<SpecGuard> guards);
  Val dot_vector(SymbolEnv& in, bool tail, const SpecGuard* line);
  Val dot_word(SymbolEnv& in, bool tail);
  Val interleave(const std::vector<Val>& steps);
  SpecGuard within_k() { return {Dim::symbol(name(h.k_axes[0])), Dim(0), s.axes[h.k_axes[0]].extent}; }

  std::vector<Val> corrections_;
};

}  // namespace weft
