// What happens to a Module before it is lowered: ops that are plain combinations of others become these.
#pragma once

#include "codegen/lower/lowering.h"

namespace weft {

// group_normalization, batch_normalization in training, softmax_cross_entropy_loss; in nested graphs too.
Status expand_ops(Graph& g);

}  // namespace weft
