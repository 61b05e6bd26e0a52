// What the pass `shard` has decided, said as it would be given: the form of each value that has an ONNX name, and that in which
// each ONNX node reads its operands. Given to the pass again it decides the same.
#pragma once

#include "ir/core/module.h"

namespace weft {

// m: behind `shard`. What waits for a reduction counts as whole. Left out: what is computed of constants alone, and what one node
// reads in several forms.
Given chosen_forms(const Module& m);

}  // namespace weft
