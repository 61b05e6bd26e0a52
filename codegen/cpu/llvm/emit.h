// The CPU emitter's shared state: one LLVM module for one kernel, and the means to print Dims and scalar programs as IR.
// The only file of the project that includes LLVM's headers.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>

#include <functional>
#include <map>

#include "codegen/backend.h"

namespace weft {

// A scalar, or a vector of the current number of lanes.
using Val = llvm::Value*;

// Values of symbols (params, axes, `$k`) at a point of the kernel: i64 scalars or vectors of i64.
using SymbolEnv = std::map<std::string, Val, std::less<>>;

struct Emitter {
  Emitter(const KernelSpec& spec, const Target& target, const std::string& symbol);

  const KernelSpec& spec;
  const Target& target;
  llvm::LLVMContext cx;
  std::unique_ptr<llvm::Module> module;
  llvm::IRBuilder<> b;
  llvm::Function* fn = nullptr;
  Val arg_ptrs, arg_dims, arg_begin, arg_end, arg_scratch;
  std::vector<Val> ptrs;   // loaded pointer arguments
  SymbolEnv params;        // loaded dims
  SymbolTable ranges;      // of the axes
  // A kernel that reduces never runs in place, so what it reads stays as it is and may be read early and once.
  std::vector<bool> read_only;  // per pointer
  // Guards that name this axis are known to hold.
  std::string settled_axis;

  // --- types and small values
  llvm::Type* element_type(DType t);                 // in memory: bool is i8, f16/bf16/fp8 are integers of their width
  llvm::Type* compute_type(DType t);                 // in registers: narrow floats are float, bool is i1
  llvm::Type* vec(llvm::Type* t, int lanes);         // t itself for one lane
  int natural_lanes(DType t) const;                  // lanes of a full vector of t's compute type
  Val i64(int64_t v) { return b.getInt64(static_cast<uint64_t>(v)); }
  bool is_vec(Val v) { return v->getType()->isVectorTy(); }
  Val splat(Val v, int lanes) { return lanes == 1 || is_vec(v) ? v : b.CreateVectorSplat(static_cast<unsigned>(lanes), v); }
  Val constant(DType t, const ScalarInst& c);        // in compute_type
  Val lane_ids(int lanes);                           // <0, 1, 2, ...> as i64
  Val alloca_at_entry(llvm::Type* t, const char* name);

  // --- structure
  // for (i = lo; i < hi; i += step) body(i), with nothing done when lo >= hi.
  void loop(Val lo, Val hi, Val step, const char* name, const std::function<void(Val)>& body);
  // cond ? then() : otherwise(), joined without a value.
  void branch(Val cond, const std::function<void()>& then);

  // --- Dims
  Val dim(const Dim& d, const SymbolEnv& env);       // scalar when every symbol in it is

  // --- memory
  // Loads operand o of the spec at the point given by env, in compute_type. `vec_symbol` runs over lanes (empty: one).
  Val load(const SpecOperand& o, const SymbolEnv& env, const std::string& vec_symbol, int lanes);
  void store(const SpecOperand& o, Val v, const SymbolEnv& env, const std::string& vec_symbol, int lanes);
  Val load_convert(DType t, Val memory);             // element_type -> compute_type
  Val store_convert(DType t, Val value, bool saturate = true);

  // --- scalar programs
  // input(k, values so far) gives body input k; returns the program's outputs in compute_type.
  using InputFn = std::function<Val(int, const std::vector<Val>&)>;
  std::vector<Val> program(const ScalarProgram& p, int lanes, const InputFn& input);
  // A stage's body at env; `acc(stage, output)` gives the accumulators it reads.
  std::vector<Val> stage_body(const SpecStage& st, const SymbolEnv& env, const std::string& vec_symbol, int lanes,
      const std::function<Val(int, int)>& acc);
  Val prim(const ScalarProgram& p, const ScalarInst& x, const std::vector<Val>& v, int lanes);
  // clamped: a float is within the range of the integer it becomes, or NaN.
  Val cast(Val v, DType from, DType to, bool saturate, bool clamped = false);
  // exp, expm1, log, log1p, sin, cos, atan, tanh, erf, sigmoid of float or double, scalar or vector (vector_math.cpp).
  Val math(Prim p, Val x);
  Val pow(Val x, Val y);
  Val fmod(Val x, Val y);                            // of floats or doubles; exact (remainder.cpp)
  Val int_pow(Val x, Val y, bool is_unsigned);       // wraps
  // float <-> narrow float bits, for a scalar or a vector of them (vector_math.cpp).
  Val narrow_to_float(DType t, Val bits);
  Val float_to_narrow(DType t, Val x, bool saturate);
};

// Lanes of a vector; 1 of a scalar.
int lanes_of(Val v);
// Whether value v of a program, a float, was limited to numbers that an integer type holds; NaN may remain.
bool is_clamped(const ScalarProgram& p, int v, DType to);

// The templates. Each fills e.fn's body.
void emit_loops(Emitter& e);
Status emit_contraction(Emitter& e);
Status emit_attention(Emitter& e);

}  // namespace weft
