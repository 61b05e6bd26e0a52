// Attributes of the losses.
#pragma once

#include "ir/core/attrs.h"

namespace weft {

// negative_log_likelihood_loss(log_p[N,C,...], target[N,...], weight[C]?) -> loss
// softmax_cross_entropy_loss(scores[N,C,...], target[N,...], weight[C]?) -> loss, log_p?
// reduction: "none" (loss has target's dims), "sum", "mean" (by the sum of the weights). Targets equal to ignore_index
// count with weight 0.
struct LossAttrs : AttrsOf<LossAttrs> {
  std::string reduction = "mean";
  bool has_ignore_index = false;
  int64_t ignore_index = 0;
  void fields(FieldVisitor& v) {
    v.field("reduction", reduction);
    v.field("has_ignore_index", has_ignore_index);
    v.field("ignore_index", ignore_index);
  }
};

}  // namespace weft
