// quantize(): the stages, one after the other.
#include "weft/quantize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "frontend/api/device_tables.h"
#include "frontend/api/target_choice.h"
#include "frontend/quantize/cost.h"
#include "frontend/quantize/measure.h"
#include "frontend/quantize/methods.h"
#include "frontend/quantize/observer.h"
#include "frontend/quantize/search.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"
#include "ir/base/text.h"

namespace weft::quantize {

namespace {

constexpr int kOpset = 21;
const std::set<std::string> kMethods = {"equalize", "smooth", "awq", "gptq", "bias"};

class Quantizer {
 public:
  Quantizer(const api::CalibrationData& data, const api::QuantizeOptions& options)
      : data_(data), options_(options), reporter_(options.compile), compile_(options.compile) {
    // What compilations say goes through the one reporter, so that callbacks are called one at a time.
    if (compile_.progress) compile_.progress = [this](const api::Progress& p) { reporter_.progress(p.stage, p.detail, p.done, p.total); };
    if (compile_.log) compile_.log = [this](api::LogLevel level, const std::string& text) { reporter_.log(level, text); };
  }

  Result<api::QuantizeReport> run(const std::string& path, const std::string& output) {
    TRY(check());
    if (!std::filesystem::exists(path)) return usage("there is no file " + path);
    TRY_ASSIGN(EditableModel model, EditableModel::open(path, compile_.external_data_root));
    // What breaks ONNX's rules is found here, by the importer.
    TRY_ASSIGN(const std::unique_ptr<Module> checked, model.module({.external_data_root = compile_.external_data_root}));
    TRY(model.raise_opset(kOpset));
    TRY(prepare(model));
    if (layers_.empty()) return unsupported("the model has no layer that can be quantised: " + join(report_.notes, "; "));
    TRY_ASSIGN(const std::string key, key_of(path, model));
    TRY_ASSIGN(journal_, Journal::open(options_.state, key));
    TRY(observe(model));
    TRY(make_candidates(model));
    TRY(price(model));
    TRY(choose(model));
    TRY(write(model, output));
    journal_.remove();
    return std::move(report_);
  }

 private:
  Status check() {
    if (data_.count < 1 || !data_.sample) return usage("there is no calibration data");
    if (options_.formats.empty()) return usage("no format is named").with_hint(format_names());
    TRY_ASSIGN(calibrator_, parse_calibrator(options_.calibrator));
    TRY_ASSIGN(budget_, parse_budget(options_.budget));
    if (!(options_.held_out >= 0 && options_.held_out < 1)) return usage("the part of the samples that is held out is at least 0 and less than 1");
    if (options_.objective != "bytes" && options_.objective != "time") return usage("unknown objective " + quote(options_.objective)).with_hint("bytes, time");
    TRY_ASSIGN(target_, api::choose_target(compile_.target, compile_.device, nullptr));
    const std::string& a = options_.activations;
    if (a != "auto" && a != "i8" && a != "u8") return usage("unknown activations " + quote(a)).with_hint("i8, u8, auto");
    const bool is_u8 = a == "u8" || (a == "auto" && target_.backend != Backend::cuda);
    for (const std::string& name : options_.formats) {
      TRY_ASSIGN(Format f, parse_format(name));
      if (f.activation == DType::i8 && is_u8) f.activation = DType::u8;
      formats_.push_back(std::move(f));
    }
    for (const std::string& m : options_.methods)
      if (!kMethods.count(m)) return usage("unknown method " + quote(m)).with_hint(join({kMethods.begin(), kMethods.end()}, ", "));
    if (uses("smooth") && uses("awq")) return usage("smooth and awq both scale the inputs of layers: choose one");
    samples_ = split_samples(data_.count, options_.held_out);
    if (samples_.search.empty()) return usage("no sample is left to search on").with_hint("hold fewer out");
    return {};
  }

  bool uses(const std::string& method) const { return std::find(options_.methods.begin(), options_.methods.end(), method) != options_.methods.end(); }

  Result<std::vector<Moments>> moments(const EditableModel& model, bool second) {
    return collect_moments(model, layers_, second, data_, samples_.search, compile_, reporter_);
  }

  // Another float model with the same meaning.
  Status prepare(EditableModel& model) {
    TRY(fold_normalisations(model));
    if (uses("equalize")) TRY(equalize(model));
    auto find = [&]() -> Status {
      report_.notes.clear();
      TRY_ASSIGN(layers_, find_layers(model, &report_.notes));
      return {};
    };
    TRY(find());
    if (uses("bias")) {
      add_biases(model, layers_);
      TRY(find());
    }
    if (layers_.empty() || (!uses("smooth") && !uses("awq"))) return {};
    TRY_ASSIGN(const std::vector<Moments> seen, moments(model, false));
    // That of the fewest bits needs it most.
    const Format& narrowest =
        *std::min_element(formats_.begin(), formats_.end(), [](const Format& a, const Format& b) { return bit_width(a.weight) < bit_width(b.weight); });
    TRY(uses("smooth") ? smooth(model, layers_, seen) : scale_for_weights(model, layers_, seen, narrowest));
    return find();
  }

  // What a state file belongs to: model, options, number of samples, and what two of them hold.
  Result<std::string> key_of(const std::string& path, const EditableModel& model) const {
    TRY_ASSIGN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
    const std::vector<std::string> parts = {hash_bytes(file->data(), file->size()).hex(), join(options_.formats, ","), join(options_.methods, ","),
                                            join(compile_.shapes, ","), options_.activations, options_.calibrator, target_.to_string(),
                                            std::to_string(options_.held_out), std::to_string(data_.count)};
    std::string text = join(parts, "|");
    auto add = [&](const void* bytes, size_t size) { text += hash_bytes(bytes, size).hex(); };
    for (const Layer& l : layers_) {  // weights may lie in files of their own
      TRY_ASSIGN(const Tensor w, model.constant(l.weight));
      add(w.data.get(), static_cast<size_t>(w.bytes()));
    }
    for (int64_t i : {int64_t{0}, data_.count - 1}) {
      TRY_ASSIGN(const api::NamedTensors inputs, data_.sample(i));
      for (const api::NamedTensor& t : inputs) {
        TRY_ASSIGN(const api::Tensor dense, t.tensor.copy());
        text += t.name + dense.describe();
        if (dense.dtype() != DType::str) add(dense.data(), static_cast<size_t>(dense.bytes()));
      }
      if (!data_.labels) continue;
      TRY_ASSIGN(const std::vector<int64_t> labels, data_.labels(i));
      add(labels.data(), labels.size() * sizeof(int64_t));
    }
    return hash_text(text).hex();
  }

  // Runs the float model on all samples: keeps its outputs, and looks at the inputs of all layers in those that are searched on.
  Status observe(const EditableModel& model) {
    outputs_ = model.outputs();
    EditableModel watched = model;
    for (const Layer& l : layers_) {
      watched.add_output(l.input);
      seen_.emplace(l.input, Histogram());
    }
    TRY_ASSIGN(Runner runner, Runner::create(watched, compile_));
    measure_.emplace(data_, journal_, reporter_);
    size_t next = 0;  // of those that are searched on
    for (int64_t i = 0; i < data_.count; ++i) {
      reporter_.progress("calibrate", "sample " + std::to_string(i + 1) + " of " + std::to_string(data_.count), i, data_.count);
      TRY_ASSIGN(const api::NamedTensors inputs, data_.sample(i));
      TRY_ASSIGN(const api::NamedTensors outputs, runner.run(inputs));
      TRY(measure_->keep_outputs(i, outputs, outputs_));
      if (next == samples_.search.size() || samples_.search[next] != i) continue;
      ++next;
      for (auto& [name, histogram] : seen_) {
        const api::Tensor& t = outputs[name].empty() ? inputs[name] : outputs[name];
        TRY_ASSIGN(const std::vector<float> values, to_floats(t));
        histogram.add(values);
      }
      if (i == 0)
        for (const api::NamedTensor& t : inputs) {
          std::vector<std::string> dims;
          for (int64_t d : t.tensor.dims()) dims.push_back(std::to_string(d));
          shapes_[t.name] = join(dims, "x");
        }
    }
    for (const auto& [name, h] : seen_)
      if (h.not_finite()) report_.notes.push_back("tensor " + name_text(name) + " has " + std::to_string(h.not_finite()) + " values that are not finite");
    return {};
  }

  Status make_candidates(const EditableModel& model) {
    std::vector<Moments> seen(layers_.size());
    if (uses("gptq") || uses("bias")) {
      TRY_ASSIGN(seen, moments(model, uses("gptq")));
    }
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Layer& l = layers_[i];
      reporter_.progress("round weights", l.label, static_cast<int64_t>(i), static_cast<int64_t>(layers_.size()));
      if (reporter_.cancelled()) return error(Code::kCancelled, "quantisation was cancelled");
      TRY_ASSIGN(const Matrix w, read_weight(model, l));
      const bool second = !seen[i].second.empty();
      if (uses("gptq") && !second) report_.notes.push_back(name_text(l.label) + " (" + l.op + ") is rounded to nearest: gptq is for layers without groups");
      std::vector<QuantizedLayer>& mine = candidates_.emplace_back();
      for (const Format& f : formats_) {
        const int64_t block = block_of(f, l);
        QuantizedLayer q{f, second ? round_by_second_moments(w, f.weight, block, seen[i]) : round_to_nearest(w, f.weight, block), {}, {}};
        if (uses("bias") && l.bias_node >= 0 && seen[i].count) {
          TRY_ASSIGN(const std::vector<float> bias, read_floats(model, model.nodes()[l.bias_node].inputs[l.bias_input]));
          q.bias = corrected_bias(l, bias, w, q.codes, seen[i]);
        }
        if (f.activations) {
          const bool symmetric = f.activation != DType::u8;
          q.activation = scale_of(find_range(seen_.at(l.input), calibrator_, f.activation, symmetric), f.activation, symmetric);
        }
        mine.push_back(std::move(q));
      }
    }
    return {};
  }

  Status price(const EditableModel& model) {
    DeviceTable table = api::devices_here(target_, compile_.device);
    if (!compile_.device_table.empty()) {
      TRY_ASSIGN(table, api::find_device_table(compile_.device_table));
    }
    TRY_ASSIGN(const std::vector<Traffic> traffic, traffic_of(model, layers_, shapes_));
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Layer& l = layers_[i];
      api::QuantizedLayer& row = report_.layers.emplace_back();
      row.node = l.label;
      row.op = l.op;
      const int64_t floats = weight_bytes(l, nullptr, 0);
      row.options.push_back({"float", floats, layer_seconds(l, traffic[i], nullptr, floats, table), {}});
      for (const Format& f : formats_) {
        const int64_t bytes = weight_bytes(l, &f, block_of(f, l));
        row.options.push_back({f.name, bytes, layer_seconds(l, traffic[i], &f, bytes, table), {}});
      }
    }
    return {};
  }

  std::vector<const QuantizedLayer*> layers_of(const Assignment& a) const {
    std::vector<const QuantizedLayer*> out;
    for (size_t i = 0; i < a.size(); ++i) out.push_back(a[i] ? &candidates_[i][a[i] - 1] : nullptr);
    return out;
  }

  Status choose(const EditableModel& model) {
    const bool f8 = std::any_of(formats_.begin(), formats_.end(), [](const Format& f) { return f.activations && is_float(f.activation); });
    TRY_ASSIGN(Simulator simulator, Simulator::create(model, layers_, f8, compile_));
    measure_->use(std::move(simulator), outputs_);
    Assignment chosen(layers_.size(), 1);
    if (budget_) {
      TRY_ASSIGN(chosen, search());
    }
    TRY_ASSIGN(report_.score, measure_->score("chosen " + text_of(chosen), layers_of(chosen), samples_.search));
    if (!samples_.held_out.empty()) {
      TRY_ASSIGN(report_.held_out, measure_->score("chosen held out " + text_of(chosen), layers_of(chosen), samples_.held_out));
    }
    for (size_t i = 0; i < layers_.size(); ++i) {
      api::QuantizedLayer& row = report_.layers[i];
      row.chosen = chosen[i];
      report_.float_bytes += row.options[0].bytes;
      report_.float_seconds += row.options[0].seconds;
      report_.bytes += row.options[row.chosen].bytes;
      report_.seconds += row.options[row.chosen].seconds;
    }
    return {};
  }

  static std::string text_of(const Assignment& a) {
    std::string text;
    for (int k : a) text += std::to_string(k) + ".";
    return text;
  }

  // Each layer alone in each format, then along the chain of assignments from the cheapest back to the first that keeps the budget.
  Result<Assignment> search() {
    std::vector<std::vector<Option>> options;
    for (size_t i = 0; i < layers_.size(); ++i) {
      std::vector<Option>& mine = options.emplace_back();
      for (size_t k = 0; k < report_.layers[i].options.size(); ++k) {
        api::QuantizedLayer::Option& o = report_.layers[i].options[k];
        if (k) {
          Assignment alone(layers_.size(), 0);
          alone[i] = static_cast<int>(k);
          TRY_ASSIGN(o.score, measure_->score(layers_[i].label + " " + o.format, layers_of(alone), samples_.search));
        }
        const double cost = options_.objective == "time" ? o.seconds : static_cast<double>(o.bytes);
        const double error = budget_->kind == Budget::Kind::mse ? o.score.mse : o.score.kl;
        mine.push_back({cost, std::isfinite(error) ? error : 1e30});
      }
    }
    const std::vector<Assignment> chain = chain_of(options);
    for (const Assignment& a : chain) {
      api::QuantizePoint& p = report_.points.emplace_back();
      for (size_t i = 0; i < a.size(); ++i) {
        p.bytes += report_.layers[i].options[a[i]].bytes;
        p.seconds += report_.layers[i].options[a[i]].seconds;
        p.float_layers += a[i] == 0;
      }
    }
    TRY_ASSIGN(const size_t best, last_that_holds(chain.size(), [&](size_t k) -> Result<bool> {
      api::QuantizePoint& p = report_.points[k];
      TRY_ASSIGN(p.score, measure_->score("chosen " + text_of(chain[k]), layers_of(chain[k]), samples_.search));
      p.measured = true;
      if (!budget_->holds(p.score) || samples_.held_out.empty()) return budget_->holds(p.score);
      TRY_ASSIGN(const api::QuantizeScore held, measure_->score("chosen held out " + text_of(chain[k]), layers_of(chain[k]), samples_.held_out));
      return budget_->holds(held);
    }));
    return chain[best];
  }

  Status write(EditableModel& model, const std::string& output) {
    Writer writer(model, options_.matmul_nbits);
    for (size_t i = 0; i < layers_.size(); ++i)
      if (const int k = report_.layers[i].chosen) writer.write(layers_[i], candidates_[i][k - 1]);
    return model.save(output);
  }

  const api::CalibrationData& data_;
  const api::QuantizeOptions& options_;
  Reporter reporter_;
  api::CompileOptions compile_;  // of all runs
  Target target_;
  std::vector<Format> formats_;
  CalibratorOptions calibrator_;
  std::optional<Budget> budget_;
  Samples samples_;
  Journal journal_;
  std::vector<Layer> layers_;
  std::vector<std::string> outputs_;
  std::map<std::string, Histogram> seen_;       // by tensor
  std::map<std::string, std::string> shapes_;   // of the first sample's inputs
  std::vector<std::vector<QuantizedLayer>> candidates_;  // by layer, then by format
  std::optional<Measure> measure_;
  api::QuantizeReport report_;
};

}  // namespace

}  // namespace weft::quantize

namespace weft::api {

Result<QuantizeReport> quantize(const std::string& model, const std::string& output, const CalibrationData& data, const QuantizeOptions& options) {
  return weft::quantize::Quantizer(data, options).run(model, output);
}

}  // namespace weft::api
