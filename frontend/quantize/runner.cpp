#include "frontend/quantize/runner.h"

#include "frontend/api/reference.h"
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

Result<std::vector<float>> to_floats(const api::Tensor& t) {
  if (!is_float(t.dtype()) || bit_width(t.dtype()) > 32) return unsupported("values of type " + std::string(dtype_name(t.dtype())) + " are not looked at");
  TRY_ASSIGN(const Tensor host, to_host_tensor(t));
  const std::vector<double> wide = load_all<double>(host);
  return std::vector<float>(wide.begin(), wide.end());
}

}  // namespace weft::quantize
