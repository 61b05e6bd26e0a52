// A model that is compiled once and run on sample after sample.
#pragma once

#include "frontend/onnx/editable.h"
#include "weft/quantize.h"

namespace weft::quantize {

class Runner {
 public:
  // Errors as of compile().
  static Result<Runner> create(const EditableModel& model, const api::CompileOptions& options);
  // Errors as of Context::run. The outputs are valid until the next run.
  Result<api::NamedTensors> run(const api::NamedTensors& inputs);

 private:
  Runner(api::Executable e, const api::CompileOptions& options) : executable_(std::move(e)), context_(executable_.context()), cancel_(options.cancel) {}
  api::Executable executable_;
  api::Context context_;
  const std::atomic<bool>* cancel_;
};

}  // namespace weft::quantize
