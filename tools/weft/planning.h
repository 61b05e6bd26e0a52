// Choosing a mesh by prediction, for `weft plan` and for the verbs that run what was chosen (--parallel auto).
#pragma once

#include "passes/shard/plan_mesh.h"
#include "tools/weft/cli.h"

namespace weft::cli {

// For the devices that the options name.
Result<MeshPlan> make_plan(Cli& cli, const std::string& model);
// What the mesh that the options name is expected to take.
Result<MeshCandidate> predict_mesh(Cli& cli, const std::string& model);
// Where --parallel auto stands, the chosen mesh becomes the options', and is logged; where no mesh is named, that of the model's
// annotations. Error kResources where none fits.
Status choose_mesh(Cli& cli, const std::string& model);
// For the mesh that the options name, or the model's annotations: how tensors are cut, and with `write_onnx` the model with
// annotations that say so, in that file.
Status plan_shardings(Cli& cli, const std::string& model, const std::string& write_onnx, bool show);

}  // namespace weft::cli
