// --shapes: what the user says about input dims, and its application to a Module (the importer's, when there are only
// inputs yet, or a finished one).
//
//   x=32x3x224x224        fixes every dim (a symbol that stands in several inputs is fixed in all of them)
//   x=1..32x3x224x224@8   a range with the value to optimise for; `1..32@8x3x…` where several dims have ranges
//   x=?x128               leaves the first dim open
//   x=                    a scalar
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/core/module.h"

namespace weft {

struct DimSpec {
  bool open = false;
  int64_t lo = 0, hi = 0, opt = 0;  // opt 0: none
  bool fixed() const { return !open && lo == hi; }
};
struct ShapeSpec {
  std::string input;
  std::vector<DimSpec> dims;
};

// Error kUsage saying what was expected where.
Result<ShapeSpec> parse_shape_spec(const std::string& text);

// Gives symbols values or ranges and infers all types again. An expression of one symbol (past+1) decides that symbol.
// Error kUsage for an unknown input, a wrong rank, or dims that contradict the model or each other.
Status apply_shapes(Module& m, const std::vector<ShapeSpec>& specs);

// Replaces symbols by numbers everywhere and infers all types again.
Status bind_symbols(Module& m, const SymbolValues& values);

// "batch, sequence": input dims without an upper bound and without a value to optimise for; for a note to the user.
std::vector<std::string> open_dims(const Module& m);

}  // namespace weft
