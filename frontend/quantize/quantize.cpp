// quantize(): the stages, one after the other.
#include "weft/quantize.h"

#include <algorithm>
#include <filesystem>

#include "frontend/api/reporter.h"
#include "frontend/quantize/observer.h"
#include "frontend/quantize/runner.h"
#include "frontend/quantize/write.h"
#include "ir/base/text.h"

namespace weft::quantize {

namespace {

constexpr int kOpset = 21;

class Quantizer {
 public:
  Quantizer(const api::CalibrationData& data, const api::QuantizeOptions& options) : data_(data), options_(options), reporter_(options.compile) {}

  Result<api::QuantizeReport> run(const std::string& path, const std::string& output) {
    TRY(check());
    if (!std::filesystem::exists(path)) return usage("there is no file " + path);
    TRY_ASSIGN(EditableModel model, EditableModel::open(path, options_.compile.external_data_root));
    TRY(model.raise_opset(kOpset));
    TRY_ASSIGN(layers_, find_layers(model, &report_.notes));
    if (layers_.empty()) return unsupported("the model has no layer that can be quantised: " + join(report_.notes, "; "));
    TRY(observe(model));
    Writer writer(model);
    for (const Layer& l : layers_) {
      TRY_ASSIGN(const Matrix w, read_weight(model, l));
      QuantizedLayer q{formats_[0], round_to_nearest(w, formats_[0].weight, block_of(formats_[0], l)), {}};
      if (q.format.activations) {
        const bool symmetric = q.format.activation != DType::u8;
        q.activation = scale_of(find_range(seen_.at(l.input), calibrator_, q.format.activation, symmetric), q.format.activation, symmetric);
      }
      report_.layers.push_back({l.label, l.op, q.format.name, static_cast<int64_t>(w.values.size() * sizeof(float)), stored_bytes(q.codes)});
      writer.write(l, q);
    }
    for (const api::QuantizedLayer& l : report_.layers) report_.float_bytes += l.float_bytes, report_.bytes += l.bytes;
    TRY(model.save(output));
    return std::move(report_);
  }

 private:
  Status check() {
    if (data_.count < 1 || !data_.sample) return usage("there is no calibration data");
    if (options_.formats.empty()) return usage("no format is named").with_hint(join(format_names(), ", "));
    for (const std::string& name : options_.formats) {
      std::optional<Format> f = find_format(name);
      if (!f) return usage("unknown format " + quote(name)).with_hint(join(format_names(), ", "));
      formats_.push_back(*f);
    }
    TRY_ASSIGN(calibrator_, parse_calibrator(options_.calibrator));
    return {};
  }

  // Runs the float model, and looks at the inputs of all layers.
  Status observe(const EditableModel& model) {
    EditableModel watched = model;
    for (const Layer& l : layers_) {
      watched.add_output(l.input);
      seen_.emplace(l.input, Histogram());
    }
    TRY_ASSIGN(Runner runner, Runner::create(watched, options_.compile));
    for (int64_t i = 0; i < data_.count; ++i) {
      reporter_.progress("calibrate", "sample " + std::to_string(i + 1) + " of " + std::to_string(data_.count), i, data_.count);
      TRY_ASSIGN(const api::NamedTensors inputs, data_.sample(i));
      TRY_ASSIGN(const api::NamedTensors outputs, runner.run(inputs));
      for (auto& [name, histogram] : seen_) {
        const api::Tensor& t = outputs[name].empty() ? inputs[name] : outputs[name];
        TRY_ASSIGN(const std::vector<float> values, to_floats(t));
        histogram.add(values);
      }
    }
    return {};
  }

  const api::CalibrationData& data_;
  const api::QuantizeOptions& options_;
  Reporter reporter_;
  std::vector<Format> formats_;
  CalibratorOptions calibrator_;
  std::vector<Layer> layers_;
  std::map<std::string, Histogram> seen_;  // by tensor
  api::QuantizeReport report_;
};

}  // namespace

}  // namespace weft::quantize

namespace weft::api {

Result<QuantizeReport> quantize(const std::string& model, const std::string& output, const CalibrationData& data, const QuantizeOptions& options) {
  return weft::quantize::Quantizer(data, options).run(model, output);
}

}  // namespace weft::api
