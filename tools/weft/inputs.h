// Inputs of a model from the command line: NAME=SPEC, and random values for what is not given.
//
//   @file.npy   @file.npz   @file.npz:array   @file.pb      files (of a .npz the array with the input's name)
//   1,2,3       [[1,2],[3,4]]       "text"                  literals; without brackets they fill the model's dims
//   random      random:-1..1        zeros    ones    fill:3 generated, with the model's dims
//
// Dims that the model leaves open are what other given inputs say, else the value to optimise for, else 1 or the least
// allowed. Random numbers depend on the seed, the input's name and dims, and on nothing else: not on the machine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/core/module.h"
#include "ir/base/result.h"
#include "tools/weft/args.h"
#include "weft/executable.h"

namespace weft::cli {

struct InputOptions {
  std::vector<std::string> inputs;  // NAME=SPEC
  std::vector<std::string> ranges;  // NAME=LO..HI, or LO..HI for all inputs
  int64_t seed = 0;
};
void add_input_options(Verb& v, InputOptions& o);

struct ValueRange {
  double lo = 0, hi = 1;
  bool set = false;
};
// What the model says about integer inputs: rows of the tables that they index.
using InputHints = std::map<std::string, ValueRange>;
InputHints input_hints(const Module& m);

struct Inputs {
  api::NamedTensors tensors;
  std::vector<std::string> notes;   // "x: random f32[1,3,224,224]; batch = 1"
};
// Error kUsage for a spec that cannot be read or names no input, kUnsupported for an input that cannot be generated.
Result<Inputs> make_inputs(const std::vector<api::PortInfo>& ports, const InputOptions& options, const InputHints& hints);

// A literal as a tensor; dims: the model's, -1 where open.
Result<api::Tensor> parse_literal(const std::string& text, DType dtype, const std::vector<int64_t>& dims);
// Uniform in [lo, hi) for floats, [lo, hi] for integers; strings are "s<k>".
Result<api::Tensor> random_tensor(const std::string& name, DType dtype, std::vector<int64_t> dims, ValueRange range, int64_t seed);

}  // namespace weft::cli
