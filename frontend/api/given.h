// What users ask of how a model is shared out: --shard 'PATTERN=DIM:AXIS,…', and files of the same,
//
//   {"schema": "weft.shardings/1", "shardings": {"layers.*.q_proj.weight": "1:tp", "x": "0:dp,_:tp"}}
//
// A pattern stands for all ONNX tensor names that it matches; `*` in it matches any text. DIM may count from the back (-1 is
// the last one); `_` says that the axis does not cut the tensor.
#pragma once

#include "ir/core/module.h"

namespace weft::api {

// Notes in the module what they ask of its tensors. Error kUsage for what cannot be read, a pattern that matches nothing, and a
// dim that a tensor lacks.
Status give_shardings(Module& m, const std::vector<std::string>& shards, const std::string& file);

}  // namespace weft::api
