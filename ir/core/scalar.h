// ScalarProgram: straight-line code over scalar.def, the body of elementwise ops and the hooks of KernelSpecs.
// Text, one instruction a line:  t2:f32 = max(in0, 0.0)   …   out t2
#pragma once

#include <string>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/result.h"

namespace weft {

class Lexer;

enum class Prim : uint8_t {
  input,     // index: which input
  constant,  // f or i
#define P(name, arity, result) name,
#include "ir/core/scalar.def"
#undef P
};
const char* prim_name(Prim p);
int prim_arity(Prim p);

struct ScalarInst {
  Prim prim = Prim::input;
  DType type = DType::f32;  // of the result
  int args[3] = {-1, -1, -1};
  int index = 0;            // input
  double f = 0;             // constant of a float type
  int64_t i = 0;            // constant of another type; cast: 1 = saturating to a narrow float
  bool operator==(const ScalarInst&) const = default;
};

struct ScalarProgram {
  std::vector<ScalarInst> insts;
  std::vector<int> outputs;  // instruction numbers
  bool operator==(const ScalarProgram&) const = default;

  int input(int index, DType t);  // reuses an equal input
  int constant(DType t, double v);
  int constant_int(DType t, int64_t v);
  int add(Prim p, int a, int b = -1, int c = -1);  // result type by scalar.def
  int cast(int a, DType t, bool saturate = true);  // a itself when it has type t
  int bitcast(int a, DType t);
  DType type(int v) const { return insts[v].type; }
  int num_inputs() const;

  // Error unless every primitive takes the types it is given (both operands alike, transcendental functions floats only).
  Status verify() const;

  // Copies `body` with its inputs replaced by instructions of this program; returns the images of its outputs.
  std::vector<int> splice(const ScalarProgram& body, const std::vector<int>& inputs);
  // What these instructions are made of, with them as outputs.
  ScalarProgram only(const std::vector<int>& results) const;
  std::string to_string(const std::string& indent = "  ") const;
  static Result<ScalarProgram> parse(Lexer& lx);  // up to and including the `out` line
};

// Expression sugar for op bodies: S x = b.in(0); return max(x, x * 0.1);
struct S {
  ScalarProgram* p;
  int id;
  DType type() const { return p->type(id); }
  S lit(double v) const { return {p, is_float(type()) ? p->constant(type(), v) : p->constant_int(type(), static_cast<int64_t>(v))}; }
  S un(Prim q) const { return {p, p->add(q, id)}; }
  S bin(Prim q, S o) const { return {p, p->add(q, id, o.id)}; }
  S cast(DType t) const { return {p, p->cast(id, t)}; }
};
inline S operator+(S a, S b) { return a.bin(Prim::add, b); }
inline S operator-(S a, S b) { return a.bin(Prim::sub, b); }
inline S operator*(S a, S b) { return a.bin(Prim::mul, b); }
inline S operator/(S a, S b) { return a.bin(Prim::div, b); }
inline S operator+(S a, double b) { return a + a.lit(b); }
inline S operator-(S a, double b) { return a - a.lit(b); }
inline S operator*(S a, double b) { return a * a.lit(b); }
inline S operator/(S a, double b) { return a / a.lit(b); }
inline S operator-(double a, S b) { return b.lit(a) - b; }
inline S operator/(double a, S b) { return b.lit(a) / b; }
inline S operator-(S a) { return a.un(Prim::neg); }
inline S max(S a, S b) { return a.bin(Prim::max, b); }
inline S min(S a, S b) { return a.bin(Prim::min, b); }
inline S lt(S a, S b) { return a.bin(Prim::lt, b); }
inline S le(S a, S b) { return a.bin(Prim::le, b); }
inline S eq(S a, S b) { return a.bin(Prim::eq, b); }
inline S ne(S a, S b) { return a.bin(Prim::ne, b); }
inline S select(S c, S a, S b) { return {c.p, c.p->add(Prim::select, c.id, a.id, b.id)}; }

}  // namespace weft
