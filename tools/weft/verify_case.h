// One case of `weft verify`: a model and what its outputs are held against.
//
//   recorded   a folder in ONNX's backend-test layout: model.onnx, test_data_set_k/{input,output}_i.pb; every data set counts
//   generated  a model file: what was compiled against the reference evaluator, both on generated inputs
//
// Where the model keeps states (--state), several steps are run, and the evaluator gets its own outputs as the next inputs.
//
// `unsupported` comes only from an Error of that code before any kernel is built (or from the evaluator); what produced
// numbers is passed or failed. `skipped` is what nothing can be held against: inputs that cannot be generated, outputs that
// are random. `misused` is no result: options that do not fit the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/eval/host_value.h"
#include "tools/weft/inputs.h"
#include "tools/weft/tensors.h"
#include "weft/compile.h"

namespace weft::cli {

struct VerifyOptions {
  api::CompileOptions compile;
  InputOptions inputs;
  double rtol = 1e-3, atol = 1e-7;
  double range_tolerance = 0;  // when set: atol is this share of the output's range, and rtol 0
  bool bisect = false;         // look for the first wrong pass or op of what failed
  int microbatches = 1;
  bool check_numerics = false; // fail where a kernel makes a NaN or an infinity of numbers
  std::string artefact;        // a .weft that runs in place of what would be compiled
  std::string verify_key;      // of a .weft
  bool require_signature = false;
};

struct VerifyCase {
  std::string name, model;
  std::string folder;  // of the data sets; empty: generated inputs
};

enum class CaseStatus : uint8_t { passed, failed, unsupported, skipped, cancelled, misused };
const char* status_name(CaseStatus s);

// What --bisect finds.
struct FirstWrong {
  std::string kind;                // "import", "pass", "op", or "program" where no op is wrong by itself
  std::string name;                // "fuse:1", "contract `MatMul_3`"
  std::vector<std::string> nodes;  // ONNX nodes that the op computes
  std::string difference;          // "y[0,3]: got 1.5, expected 2 (1 of 10 elements differ)"
};

struct CaseResult {
  CaseStatus status = CaseStatus::passed;
  std::string reason;              // of everything but passed
  double max_abs = 0, max_rel = 0; // over all outputs; infinite where one is finite and the other is not
  double ms = 0;
  std::optional<FirstWrong> first_wrong;
};

// As `options` say; of sequences, element by element.
Difference compare_values(const std::string& name, const HostValue& got, const HostValue& want, const VerifyOptions& options);

CaseResult run_case(const VerifyCase& c, const VerifyOptions& options);

}  // namespace weft::cli
