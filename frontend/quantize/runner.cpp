#include "frontend/quantize/runner.h"

#include "ir/core/shapes.h"

namespace weft::quantize {

Result<Runner> Runner::create(const EditableModel& model, const api::CompileOptions& options) {
  ImportOptions import;
  import.external_data_root = options.external_data_root;
  for (const std::string& text : options.shapes) {
    TRY_ASSIGN(ShapeSpec spec, parse_shape_spec(text));
    import.shapes[spec.input] = text.substr(spec.input.size() + 1);
  }
  TRY_ASSIGN(std::unique_ptr<Module> module, model.module(import));
  TRY_ASSIGN(api::Executable executable, api::compile(std::move(module), options));
  return Runner(std::move(executable), options);
}

Result<api::NamedTensors> Runner::run(const api::NamedTensors& inputs) {
  api::RunOptions options;
  options.cancel = cancel_;
  return context_.run(inputs, {}, options);
}

}  // namespace weft::quantize
