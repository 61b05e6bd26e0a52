// Runs models that lie in ONNX's backend-test layout and compares with the outputs recorded there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "weft/compile.h"

namespace weft::model_test {

using namespace weft::api;  // not for Tensor: there is one in weft as well

// Compiled for this machine, or under the reference evaluator.
struct Model {
  std::vector<PortInfo> inputs, outputs;
  std::function<Result<NamedTensors>(const NamedTensors&)> run;
};
Result<Model> compiled(const std::string& path, const CompileOptions& options = {});
Result<Model> evaluated(const std::string& path);
// By the evaluator with every float a double: what a model means, but for rounding. Its outputs are rounded to float.
Result<Model> evaluated_in_double(const std::string& path);
Model runnable(Executable exe);

struct DataSet {
  NamedTensors inputs, outputs;
};
// All sets of a case, in order; at least one.
Result<std::vector<DataSet>> read_sets(const std::string& folder, const Model& m);

// The largest |got - want| over an output's range, which is taken over all sets and reaches to zero: a probability
// near 1 is not compared more finely than one near 0. Infinite when dtypes or dims differ, or a number is not one.
double worst_error(const std::vector<DataSet>& want, const std::vector<NamedTensors>& got);
// The largest |got - want| itself; infinite as above.
double worst_difference(const std::vector<DataSet>& want, const std::vector<NamedTensors>& got);

// What the model gives for each set; an Error that fails the test leaves the list short.
std::vector<NamedTensors> outputs_of(const Model& m, const std::vector<DataSet>& sets);
// Runs every set; the worst error of all outputs is to be at most `tolerance`.
void expect_recorded(const Result<Model>& m, const std::string& folder, double tolerance = 1e-5);

// What the command prints, on stderr too; it must succeed.
std::string output_of(const std::string& command);

// What tools/bench/<script> prints on its last line: the folder with its cases, which it writes on first use.
std::string prepared(const std::string& script);

}  // namespace weft::model_test
