// weft quantize: a float model to a smaller one, by what calibration data shows of it.
#include "frontend/api/compilation.h"
#include "frontend/api/reference.h"
#include "tools/weft/calibration.h"

namespace weft::cli {

namespace {

struct QuantizeArgs {
  std::string model, data, output;
  int64_t batch = 16;
  std::vector<std::string> formats;
  api::QuantizeOptions options;
};

Result<std::vector<api::PortInfo>> inputs_of(const api::CompileOptions& options, const std::string& model) {
  Compilation c(options);
  c.leave_out_weights();
  TRY(c.load_file(model));
  TRY(c.apply_shapes());
  if (!c.from_onnx()) return usage(model + " is no ONNX model");
  return describe_inputs(c.module());
}

Status quantize_model(Cli& cli, QuantizeArgs& a) {
  if (a.output.empty()) return usage("where to? give -o FILE");
  if (a.data.empty()) return usage("which data? give --data FOLDER");
  a.options.compile = compile_options(cli);
  if (!a.formats.empty()) a.options.formats = a.formats;
  TRY_ASSIGN(const std::vector<api::PortInfo> inputs, inputs_of(a.options.compile, a.model));
  TRY_ASSIGN(const api::CalibrationData data, open_calibration(a.data, inputs, a.batch));
  TRY_ASSIGN(const api::QuantizeReport report, api::quantize(a.model, a.output, data, a.options));
  cli.log.end_progress();
  for (const std::string& note : report.notes) cli.log.info(note);
  if (cli.json()) {
    Json j;
    j["model"] = a.model;
    j["output"] = a.output;
    j["float_bytes"] = report.float_bytes;
    j["bytes"] = report.bytes;
    j["layers"] = Json::array();
    for (const api::QuantizedLayer& l : report.layers) {
      Json row;
      row["node"] = l.node;
      row["op"] = l.op;
      row["format"] = l.format;
      row["float_bytes"] = l.float_bytes;
      row["bytes"] = l.bytes;
      j["layers"].push_back(row);
    }
    return cli.emit(j);
  }
  print("weights: " + si_text(static_cast<double>(report.float_bytes)) + "B as floats, " +
        si_text(static_cast<double>(report.bytes)) + "B in " + a.output + "\n");
  return {};
}

}  // namespace

void add_quantize(Cli& cli) {
  auto a = std::make_shared<QuantizeArgs>();
  Verb& v = add_verb(cli, "quantize", "Make a float model smaller, by what calibration data shows of it", [&cli, a] { return quantize_model(cli, *a); });
  v.positional("model", a->model, "an .onnx file");
  v.text("--data", a->data, "folder of samples: .npz files (arrays by input name), .npy files, or test_data_set_N/input_0.pb, …");
  v.text("-o,--output", a->output, "the quantised .onnx file");
  v.number("--batch", a->batch, "rows of a file that are run at once, where the model's batch is open");
  v.list("--format", a->formats, "what layers may become: int8, int8w, fp8, int4w, int4; default: int8");
  v.text("--calibrator", a->options.calibrator, "how an activation's range follows from what was seen: minmax, percentile, percentile:99.9, entropy, mse");
  add_target_options(v, cli);
  add_model_options(v, cli);
  v.epilog(
      "\nExamples:\n"
      "  weft quantize model.onnx --data calibration/ -o model-q.onnx\n"
      "  weft quantize model.onnx --data calibration/ --format int4w -o model-q.onnx");
}

}  // namespace weft::cli
