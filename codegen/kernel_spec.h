// KernelSpec: what one kernel computes, independent of backend. An iteration domain of axes, operands with index maps
// over those axes, and stages of scalar programs. Every spec means the same thing under every template; a template only
// says how a backend runs it (`loops` can run all of them, `gemm`/`conv` need a multiply-add reduction of their shape).
//
// Domain: parallel axes, row axes, and inner axes. Stages run in order for each point of the parallel axes:
//   reduce   over all row axes: accumulators start at `init` and take `combine(acc..., body outputs...)` per point
//   inner    the same over all inner axes, for each point of the parallel and row axes
//   attend   over all row axes: the body's outputs are a score and a value; the result is the sum of the values, weighed
//            by the softmax of the scores along the row, and 0 where every score is minus infinity
//   map      per point of parallel and row axes: stores the body's outputs
//   map_row  once per point of the parallel axes: stores the body's outputs
// Index maps are Dims over axis names, params and `$k` (the integer value of instruction k of the same body: one level
// of indirection). A guard is a condition lo <= expr < hi; a load whose guards fail yields `fill`, a store is left out (on GPUs).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/base/dim.h"
#include "ir/base/hash.h"
#include "ir/base/target.h"
#include "ir/core/scalar.h"

namespace weft {

struct SpecAxis {
  std::string name;
  Dim extent;      // over params
  bool row = false;
  bool inner = false;
  bool operator==(const SpecAxis&) const = default;
};

struct SpecGuard {
  Dim expr, lo, hi;
  bool operator==(const SpecGuard&) const = default;
};

struct SpecOperand {
  std::string name;
  int ptr = 0;                  // which pointer argument
  DType dtype = DType::f32;
  bool write = false;
  std::vector<Dim> index;       // per operand dim
  std::vector<Dim> strides;     // elements, over params
  Dim offset;                   // elements, added once; over axes, params and `$k`
  std::vector<SpecGuard> guards;
  double fill = 0;
  // A prepared factor of the contraction template: 0, or the tile length T of the memory behind ptr, which then is
  // [batch axes…][ceil(line / T)][K][T] with zeros behind the line's end (config.dot: [K / dot][T][dot], the first K axis rounded
  // up; config.bits: words of K); index and strides say which elements it holds.
  int64_t tile = 0;
  bool constant = false;        // the same bytes in every run: may be prepared
  bool packed = false;          // elements of 8 bits or fewer lie as kernels/gemm/weights.cuh has them; else those below 8 bits have a byte each
  bool operator==(const SpecOperand&) const = default;
  Dim linear() const;           // offset + sum of index * stride
};

struct StageInput {
  enum class Kind : uint8_t { load, acc, index };
  Kind kind = Kind::load;
  int operand = -1;             // load
  int stage = -1, output = 0;   // acc: result of an earlier reduce stage
  Dim dim;                      // index: an i64 expression over axes and params
  bool operator==(const StageInput&) const = default;
};

struct SpecStage {
  enum class Kind : uint8_t { reduce, map, map_row, inner, attend };
  Kind kind = Kind::map;
  std::vector<StageInput> inputs;  // body input k
  ScalarProgram body;
  // reduce, inner: inputs are the accumulators, then the body's outputs; outputs the new accumulators.
  ScalarProgram combine;
  std::vector<double> init;        // per accumulator
  std::vector<int> stores;         // map: operand per body output
  size_t results() const { return kind == Kind::attend ? 1 : init.size(); }  // that later stages read
  DType result_type(size_t k) const;
  bool operator==(const SpecStage&) const = default;
};

// Which implementation, with its tile sizes. `name` is a template of the backend; zeros mean "not used".
struct SpecConfig {
  std::string name = "loops";
  // contraction: register tile; block of a task (nc: steps of its outer V axis); steps of the outer K axis at once (0: all)
  int64_t mr = 0, nr = 0, mc = 0, nc = 0, kc = 0;
  bool swap = false;                               // contraction: the second factor is broadcast, the first one a vector
  bool lines = false;                              // contraction: each step of the outer V axis is a line of its own
  int64_t dot = 0;                                 // contraction of 8-bit integers or bf16: steps of K in one instruction
  int64_t bits = 0;                                // contraction: of quantised weights' elements, 32 / bits of which are one word
  int64_t unroll = 1;
  std::string vec_axis;                            // loops: the axis that vectors run along; empty: scalar code
  // The task index enumerates the first `task_axes` parallel axes and blocks of `task_block` (0: none) of the next one.
  int64_t task_axes = 0, task_block = 0;
  // CUDA: threads of a block; elements that a thread's access moves along vec_axis; threads that share a point; accesses of a
  // row that stay in registers (0: rows are read again); the most blocks of a launch; dynamic shared memory.
  int64_t threads = 0, width = 0, group = 0, steps = 0, blocks = 0, shared_bytes = 0;
  int64_t tiles = 0;                               // gemm, attention: 1: the one above; 2: of a set, by the sizes at run time
  int64_t cluster = 0;                             // CUDA: blocks that share a point; 0: one
  bool warpgroups = false;                         // gemm: by wgmma
  bool weights = false;                            // gemm: few rows, quantised weights
  bool operator==(const SpecConfig&) const = default;
};

// What was chosen between, and what: for those who measure. Not part of the key.
struct SpecChoice {
  std::string key, name;  // of the spec before (with tuning alone); of the configuration
  size_t candidates = 0;
};

struct KernelSpec {
  std::string title;               // for people; not part of the key
  std::vector<std::string> params; // symbols, in the order of the kernel's dims array
  SymbolValues typical;            // of params whose usual size is known: what configurations are priced with
  std::vector<SpecAxis> axes;      // outermost first
  std::vector<SpecOperand> operands;
  std::vector<SpecStage> stages;
  int num_ptrs = 0;
  bool ordered = false;            // sums are formed element by element, in the order of the row axes, under every configuration (CPU)
  SpecConfig config;
  Dim tasks = 1;                   // extent of the task index, over params; set with config. CUDA: blocks that have work
  SpecChoice choice;
  std::vector<std::string> runners_up;  // other configurations and their predicted cost, for the dump

  int axis(const std::string& name) const;  // -1: none
  Dim extent_of(std::span<const int> axes) const;  // the product of their extents
  int64_t estimate(const Dim& d) const;     // a size to plan with: params take their typical size, or a middling one
};

// A Dim over the spec's params with their values in its place.
Dim with_params(const KernelSpec& s, const std::vector<Dim>& values, const Dim& d);

// Whether a stage takes rows together; such a kernel's factors are never its results.
bool has_reduction(const KernelSpec& s);
// Whether an index mentions a value that is read ($k); an operand's: its address or its guards.
bool is_indirect(const Dim& d);
bool is_indirect(const SpecOperand& o);

std::string print_spec(const KernelSpec& s);
Result<KernelSpec> parse_spec(std::string_view text);
// Structural hash: everything but title, operand names and runners-up.
Hash spec_hash(const KernelSpec& s, const Target& target);
// Arithmetic of one launch, over params: every primitive but a cast counts one per point, fma two.
Dim spec_flops(const KernelSpec& s);

// An index simplified with what is known of the axes' ranges.
Dim simplify_index(const Dim& d, const std::vector<SpecAxis>& axes);
// Makes two axes of one whose index is divided by a constant (the channels of a grouped convolution), so that indices are
// affine.
void split_axes(KernelSpec& s);
// Merges neighbouring axes that every operand walks as one; drops axes of extent 1.
void collapse_axes(KernelSpec& s);

// (read pointer, written pointer) pairs that may be the same memory: what is read lies where the result goes, element by
// element, and is not read any more once that is written. Backends must not assume them apart.
std::vector<std::pair<int, int>> in_place_pairs(const KernelSpec& s);

// One compiled kernel.
struct KernelCode {
  std::string object;   // ELF relocatable (CPU) or cubin
  std::string symbol;
  std::string listing;  // LLVM IR or CUDA source, when asked for
};

}  // namespace weft
