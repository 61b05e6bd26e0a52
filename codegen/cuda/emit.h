// Prints a KernelSpec as CUDA C++: one source for one kernel, readable, over the headers of kernels/core.
//
// Kernel ABI: `extern "C" __global__ void NAME(T* p0, …, const i64* dims)`: a pointer for each spec pointer, then the address
// of this launch's dims, in the order of spec.params, in device memory.
//
// What a size or an alignment allows is asked when the kernel starts, once, and chooses between instances of one function:
// accesses of several elements at once with 32-bit indices, single elements with 32-bit indices, and 64-bit indices.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "codegen/backend.h"

namespace weft {

// Whether all that a kernel stores as floats has 16 bits or less: half a unit in its last place is a thousand float ones, and
// functions may be as good as a few of these (kernels/core/fast.cuh).
bool stores_narrow_floats(const KernelSpec& s);

// C++ text for symbols (params, axes, `$k`).
using SymbolText = std::map<std::string, std::string, std::less<>>;

struct CudaEmitter {
  CudaEmitter(const KernelSpec& spec, const Target& target, const std::string& symbol);

  const KernelSpec& spec;
  const Target& target;
  std::string symbol;
  std::string text;
  int depth = 0;
  SymbolTable ranges;           // of the axes
  std::vector<bool> read_only;  // per pointer: nothing writes it while the kernel runs
  std::set<std::string> params;
  std::vector<int> parallel, row;  // axis numbers
  bool fast = false;            // functions of kernels/core/fast.cuh
  std::string vec;              // the axis along which a thread's lanes run; empty: one lane
  int width = 1;                // lanes of the wide instance
  bool far = false;             // addresses are computed in 64 bits whatever Index is
  int blocks_at_once = 1;       // of a multiprocessor, which registers must allow

  // --- text
  void line(const std::string& s);
  void open(const std::string& s);   // s {
  void close(const std::string& s = "}");

  // --- names and small texts (scalar_text.cpp)
  static std::string name_of(const std::string& symbol);      // of a param or an axis
  static std::string memory_type(DType t);
  static std::string factor(const std::string& s);            // in parentheses unless it is one word
  static std::string value_type(DType t);
  static std::string constant(DType t, double f, int64_t i);  // a value
  std::string pointer_type(int ptr) const;

  // --- Dims (emit.cpp). `wide`: in 64 bits whatever Index is.
  std::string dim(const Dim& d, const SymbolText& env, bool wide) const;
  std::string extent(int axis) const { return dim(spec.axes[axis].extent, {}, false); }
  // An upper bound of |d|, over params.
  Dim magnitude(const Dim& d) const;

  // --- accesses (access.cpp)
  enum class Walk : uint8_t { invariant, packed, lanes };  // along `vec`: the same element, neighbours, others
  // How an operand is walked; `varying(k)` says whether `$k` differs between lanes. Packed: *conditions receives what must
  // hold for an access of `width` elements to be aligned, beyond its pointer's alignment.
  Walk walk(const SpecOperand& o, const std::function<bool(int)>& varying, std::vector<std::string>* conditions = nullptr) const;
  std::string address(const SpecOperand& o, const SymbolText& env) const;  // p0 + …
  std::string guard(const SpecOperand& o, const SymbolText& env) const;    // empty: none
  std::string load(const SpecOperand& o, const SymbolText& env, bool packed) const;  // an element, or a Pack
  std::string fill(const SpecOperand& o) const;                            // an element
  // Whether any operand is packed, so that a wide instance is worth having.
  bool any_packed() const;
  // Conditions of the wide and of the 32-bit instances, in the kernel's entry; nullopt: they can never hold.
  using Conditions = std::optional<std::vector<std::string>>;
  Conditions wide_conditions(bool tail) const;
  Conditions small_conditions() const;
  Conditions small_conditions(std::vector<Dim> counts) const;  // of these and what indices are made of

  // What must hold for the wide accesses of a part of a kernel: alignment of pointers, and of sizes.
  struct WidePart {
    bool possible = false;
    std::vector<std::string> aligned, sizes;
    bool is_wide(bool all) const { return possible && (all || sizes.empty()); }  // all: conditions on sizes hold, too
  };
  // Adds an operand that is walked along `vec` in accesses of `width` elements; false when it cannot be.
  bool add_operand(const SpecOperand& o, WidePart* part) const;
  // Whether the extent of `vec` is a multiple of `width`, perhaps under a condition.
  bool add_extent(WidePart* part) const;
  // Accesses of 16 bytes to an operand along an axis; becomes `vec`.
  WidePart wide_operand(const SpecOperand& o, int axis);
  // The stages from this one on, in lanes along the config's vec_axis, which becomes `vec`; their results at least.
  WidePart wide_stages(size_t first);
  static std::vector<std::string> conditions_of(const std::vector<const WidePart*>& parts, bool all);

  // --- scalar programs (scalar_text.cpp)
  // Declares t<k> for the instructions that `want` selects; input(k) gives the text of body input k.
  using InputText = std::function<std::string(int inst)>;
  void instructions(const ScalarProgram& p, const std::vector<bool>& want, const InputText& input);
  // Instruction `id` as an element of a dtype: what was rounded to it already is not rounded twice.
  std::string narrowed(const ScalarProgram& p, int id, DType to) const;
  // Which instructions the outputs need; in a stage's body also through `$k`.
  std::vector<bool> needed(const ScalarProgram& p, const SpecStage* st = nullptr) const;

  // --- stages at a point (stage_text.cpp)
  struct Place {
    SymbolText env;         // axes, at lane 0
    bool lanes = false;     // runs along `vec` in V lanes
    std::string slot;       // "[u]": which of several points in flight
    std::map<int, std::string> kept;  // operand -> Pack that is loaded already
    std::map<int, std::string> given; // operand -> its element, wherever it lies
    std::function<std::string(int stage, int output)> acc;
    bool acc_lanes = false; // each lane has accumulators of its own
    std::string live;       // a condition for stores; empty: none
  };
  // Loads that do not depend on the lane or that are packed: x<input>; with `declare` as variables of their own.
  void hoisted_loads(const SpecStage& st, const Place& at, bool declare);
  void declare_loads(const SpecStage& st, const std::string& count);  // arrays for slots
  bool batches(const SpecStage& st) const;                 // whether its loads may all come first
  // The body; `finish` gets the texts of its outputs, inside the loop over lanes. `loaded`: hoisted_loads went before.
  void body(const SpecStage& st, const Place& at, bool loaded, const std::function<void(const std::vector<std::string>&)>& finish);
  void map_stage(const SpecStage& st, const Place& at, bool loaded = false);
  // acc<stage> = join(acc<stage>, body).
  void reduce_step(int stage, const Place& at, const std::string& acc, bool loaded = false);
  void accumulators();                                     // struct Acc<k> and join<k> for every reduce stage
  std::string init_of(const SpecStage& st) const;          // {…}
  static std::string joiner(int stage);                    // join<stage> as a function object
  DType acc_type(const SpecStage& st, size_t k) const { return st.body.type(st.body.outputs[k]); }
  // Axis values out of a linear index over these axes (the last one in steps of V when it is `vec`).
  void decompose(const std::vector<int>& axes, const std::string& linear, bool lanes, SymbolText* env);
  std::string count_of(const std::vector<int>& axes, bool lanes) const;

  // --- the whole source (emit.cpp)
  std::vector<std::string> extra_headers;  // "gemm/mma"
  void prologue();
  std::string parameters() const;   // of the instances: p0, …, n0, …
  std::string arguments() const;
  // The entry with its choice between instances: call(wide, small) prints a call. `elements`: whether beside the wide one there
  // is one for single elements with 32-bit indices, or only the 64-bit one, which serves all.
  void entry(const Conditions& wide, const Conditions& small, bool elements, const std::function<void(bool wide, bool small)>& call);
};

// The templates: each returns a whole source.
std::string cuda_loops(const KernelSpec& spec, const Target& target, const std::string& symbol);
std::string cuda_rows(const KernelSpec& spec, const Target& target, const std::string& symbol);
std::string cuda_gemm(const KernelSpec& spec, const Target& target, const std::string& symbol);
std::string cuda_attention(const KernelSpec& spec, const Target& target, const std::string& symbol);
std::string cuda_transpose(const KernelSpec& spec, const Target& target, const std::string& symbol);
// Of loops, one function `plain<Index>(pointers, params)` that runs the spec element by element; it uses the accumulators.
std::string cuda_plain(const KernelSpec& spec, const Target& target);
// By spec.config.name.
std::string cuda_source(const KernelSpec& spec, const Target& target, const std::string& symbol);

}  // namespace weft
