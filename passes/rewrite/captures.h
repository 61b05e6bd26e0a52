// Captures: operands of a control-flow op that its bodies read as they are, in every run of a body.
#pragma once

#include "ir/core/module.h"

namespace weft {

// The body input that is operand i; -1 where the operand is a condition, a count, carried, or sliced.
int captured_input(const Op& op, int operand);
// Removes captures that no body reads; whether there were any.
bool drop_unread_captures(Op& op);

}  // namespace weft
