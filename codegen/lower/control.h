// Shared by the lowerings of if_else, loop and scan.
#pragma once

#include "codegen/lower/lowering.h"

namespace weft {

// Operands from first_operand on are a body's inputs from first_input on.
Status bind_captures(Lowering& l, Op& op, int first_operand, Graph& body, int first_input);
// Sets the symbols of a result's dims that have no value yet.
void set_result_dims(Lowering& l, const Value* result, const Shape& dims);

Status lower_loop(Lowering& l, Op& op);
Status lower_scan(Lowering& l, Op& op);

}  // namespace weft
