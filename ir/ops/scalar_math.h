// Functions of scalar.def as C++ functions over S, for op bodies.
#pragma once

#include "ir/ops/common.h"

namespace weft {

inline S abs(S x) { return x.un(Prim::abs); }
inline S sqrt(S x) { return x.un(Prim::sqrt); }
inline S exp(S x) { return x.un(Prim::exp); }
inline S expm1(S x) { return x.un(Prim::expm1); }
inline S log(S x) { return x.un(Prim::log); }
inline S log1p(S x) { return x.un(Prim::log1p); }
inline S atan(S x) { return x.un(Prim::atan); }
inline S tanh(S x) { return x.un(Prim::tanh); }
inline S erf(S x) { return x.un(Prim::erf); }
inline S sigmoid(S x) { return x.un(Prim::sigmoid); }
inline S softplus(S x) { return max(x, x.lit(0)) + log1p(exp(-abs(x))); }

// Bodies of ops that are one primitive.
template <Prim prim>
void unary_body(const Op& op, ScalarProgram& p) {
  out(p, in(op, p, 0).un(prim));
}
template <Prim prim>
void binary_body(const Op& op, ScalarProgram& p) {
  out(p, in(op, p, 0).bin(prim, in(op, p, 1)));
}

}  // namespace weft
