// verify --bisect: what makes outputs wrong. Where recorded outputs are not even those of the evaluator, that is the import, or
// an op's evaluation. Then the passes: the evaluator runs the module as they left it, and the run of
// a pass after which its outputs differ from those of the imported module is the first wrong one. If they never differ,
// lowering or a kernel is to blame: the optimised module is cut behind one op after the other, both compiled and
// evaluated, and the op behind which they first differ is the first wrong one. Both searches go by halves.
#pragma once

#include "tools/weft/verify_case.h"

namespace weft::cli {

// The model as it was imported, with the inputs (in its order) for which the compiled outputs are wrong, and those that are
// recorded, if any; options.compile says how it is compiled. States count as what they are in the model: inputs and outputs.
Result<FirstWrong> find_first_wrong(const Module& imported, const std::vector<HostValue>& inputs, const std::vector<HostValue>* recorded,
                                    const VerifyOptions& options);

}  // namespace weft::cli
