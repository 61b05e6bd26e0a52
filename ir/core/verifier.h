// Checks that a Module keeps the rules of the IR. The pass manager runs it after every pass, the parser after reading.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

struct VerifyOptions {
  // Infer every type again, in a copy, and hold it against the type that each value has.
  bool types = true;
  // Receives what is odd but not wrong, one line each: ops without provenance.
  std::vector<std::string>* warnings = nullptr;
};

// Structure: every operand is defined before, in the same graph (bodies are isolated); use lists agree with operands;
// operand counts; names of the interface; constants, states, meshes and shardings refer to what exists; symbols are
// declared; after the layout pass every tensor in memory has a concrete layout, and only `reorder` makes another of a blocked
// or packed one. Then types. Error kInvalidModel naming op and value.
Status verify_module(const Module& m, const VerifyOptions& options = {});

// Infers all types again and compares them with those that stood there, which stay (layouts always do; only values of
// type `none` take what was inferred). Symbols that inference makes anew stand for the symbols that were there. Sets
// `known`. On an Error *where, if given, is the op concerned.
Status infer_and_compare(Module& m, const Op** where = nullptr);

}  // namespace weft
