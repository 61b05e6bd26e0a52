// weft quantize: a float model to a smaller one, by what calibration data shows of it.
#include "frontend/api/compilation.h"
#include "frontend/api/reference.h"
#include "ir/base/text.h"
#include "tools/weft/calibration.h"
#include "tools/weft/npy.h"

namespace weft::cli {

namespace {

struct QuantizeArgs {
  std::string model, data, output, plot;
  int64_t batch = 16;
  std::vector<std::string> formats;
  bool explain = false, anew = false;
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

std::string number_text(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", v);
  return buffer;
}

Json score_json(const api::QuantizeScore& s) {
  Json j;
  j["rows"] = s.rows;
  j["mse"] = s.mse;
  j["kl"] = s.kl;
  j["agreement"] = s.agreement;
  if (s.labels) {
    j["float_top1"] = s.float_right;
    j["top1"] = s.right;
  }
  return j;
}

Json report_json(const QuantizeArgs& a, const api::QuantizeReport& report) {
  Json j;
  j["model"] = a.model;
  j["output"] = a.output;
  j["float_bytes"] = report.float_bytes;
  j["bytes"] = report.bytes;
  j["float_predicted_ms"] = report.float_seconds * 1e3;
  j["predicted_ms"] = report.seconds * 1e3;
  j["score"] = score_json(report.score);
  if (report.held_out.rows) j["held_out"] = score_json(report.held_out);
  j["layers"] = Json::array();
  for (const api::QuantizedLayer& l : report.layers) {
    Json row, options = Json::array();
    row["node"] = l.node;
    row["op"] = l.op;
    row["format"] = l.options[l.chosen].format;
    for (const api::QuantizedLayer::Option& o : l.options) {
      Json option;
      option["format"] = o.format;
      option["bytes"] = o.bytes;
      option["predicted_ms"] = o.seconds * 1e3;
      if (o.score.rows) option["score"] = score_json(o.score);
      options.push_back(option);
    }
    row["options"] = options;
    j["layers"].push_back(row);
  }
  j["points"] = Json::array();
  for (const api::QuantizePoint& p : report.points) {
    Json point;
    point["bytes"] = p.bytes;
    point["predicted_ms"] = p.seconds * 1e3;
    point["float_layers"] = p.float_layers;
    if (p.measured) point["score"] = score_json(p.score);
    j["points"].push_back(point);
  }
  j["notes"] = report.notes;
  return j;
}

// A row for each layer and format.
std::string explanation(const api::QuantizeReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const api::QuantizedLayer& l : report.layers)
    for (size_t k = 0; k < l.options.size(); ++k) {
      const api::QuantizedLayer::Option &o = l.options[k], &whole = l.options[0];
      const bool measured = o.score.rows > 0;
      rows.push_back({k ? "" : shorten(l.node, 48), k ? "" : l.op, o.format, measured ? number_text(o.score.mse) : "", measured ? number_text(o.score.kl) : "",
                      si_text(static_cast<double>(o.bytes)), si_text(static_cast<double>(whole.bytes - o.bytes)), ms_text(o.seconds * 1e3),
                      ms_text((whole.seconds - o.seconds) * 1e3), static_cast<int>(k) == l.chosen ? "chosen" : ""});
    }
  return table({"layer", "op", "format", "mse alone", "kl alone", "bytes", "saved", "ms", "saved", ""}, rows, {1, 2, 9});
}

std::string score_text(const api::QuantizeScore& s) {
  std::string text = "mse " + number_text(s.mse) + ", kl " + number_text(s.kl) + ", the largest element at the same place in " +
                     number_text(100 * s.agreement) + " % of " + std::to_string(s.rows) + " rows";
  if (s.labels) text += ", right " + number_text(100 * s.right) + " % (float " + number_text(100 * s.float_right) + " %)";
  return text + "\n";
}

Status quantize_model(Cli& cli, QuantizeArgs& a) {
  if (a.output.empty()) return usage("where to? give -o FILE");
  if (a.data.empty()) return usage("which data? give --data FOLDER");
  if (a.batch < 1) return usage("--batch is at least 1");
  a.options.compile = compile_options(cli);
  a.options.state = a.output + ".state";
  if (a.anew) std::remove(a.options.state.c_str());
  if (!a.formats.empty()) a.options.formats = a.formats;
  TRY_ASSIGN(const std::vector<api::PortInfo> inputs, inputs_of(a.options.compile, a.model));
  TRY_ASSIGN(const api::CalibrationData data, open_calibration(a.data, inputs, a.batch));
  TRY_ASSIGN(const api::QuantizeReport report, api::quantize(a.model, a.output, data, a.options));
  cli.log.end_progress();
  for (const std::string& note : report.notes) cli.log.info(note);
  if (!a.plot.empty()) TRY(write_file(a.plot, api::plot_points(report, a.options.objective)));
  if (cli.json()) return cli.emit(report_json(a, report));
  if (a.explain) print(explanation(report) + "\n");
  int floats = 0;
  for (const api::QuantizedLayer& l : report.layers) floats += l.chosen == 0;
  print("layers: " + std::to_string(report.layers.size()) + ", of which " + std::to_string(floats) + " stay float\n" + "weights: " +
        si_text(static_cast<double>(report.float_bytes)) + "B as floats, " + si_text(static_cast<double>(report.bytes)) + "B in " + a.output + "\n" +
        "layers' time, predicted: " + ms_text(report.float_seconds * 1e3) + " ms as floats, " + ms_text(report.seconds * 1e3) + " ms\n" +
        "against float: " + score_text(report.score));
  if (report.held_out.rows) print("held out: " + score_text(report.held_out));
  return {};
}

}  // namespace

void add_quantize(Cli& cli) {
  auto a = std::make_shared<QuantizeArgs>();
  api::QuantizeOptions& o = a->options;
  Verb& v = add_verb(cli, "quantize", "Make a float model smaller, by what calibration data shows of it", [&cli, a] { return quantize_model(cli, *a); });
  v.positional("model", a->model, "an .onnx file");
  v.text("--data", a->data, "folder of samples: .npz files (arrays by input name), .npy files, or test_data_set_N/input_0.pb, …");
  v.text("-o,--output", a->output, "the quantised .onnx file; beside it, while work is under way, FILE.state, from which a run that was cut off goes on");
  v.flag("--anew", a->anew, "forget what an earlier run that was cut off has measured");
  v.number("--batch", a->batch, "rows of a file that are run at once, where the model's batch is open");
  v.text("--budget", o.budget, "how far outputs may be from the float model's: top1>=-0.5%, mse<=1e-3, kl<=0.01; left out, every layer takes the first format");
  v.list("--format", a->formats, "what layers may become: int8, int8w, fp8, int4w, int4, or int4w:64: a scale for 64 inputs each; default: int8");
  v.choice("--objective", o.objective, {"bytes", "time"}, "what is to be least within the budget: weights, or time as --device-table says");
  v.text("--device-table", cli.common.compile.device_table, "for predicted times: a JSON file, or a table that weft brings along, as h100x8");
  v.number("--held-out", o.held_out, "part of the samples that the search does not see, and that the budget is checked on");
  v.list("--method", o.methods, "what makes it better, may be repeated: equalize, smooth or awq, gptq, bias");
  v.text("--calibrator", o.calibrator, "how an activation's range follows from what was seen: minmax, percentile, percentile:99.9, entropy, mse");
  v.choice("--activations", o.activations, {"auto", "i8", "u8"}, "activations of int8 formats: symmetric, or with a zero point; auto: i8 on a GPU");
  v.flag("--matmul-nbits", o.matmul_nbits, "write int4w products of matrices as MatMulNBits of com.microsoft");
  v.flag("--explain", a->explain, "print each layer in each format: error, bytes, time, what was chosen");
  v.text("--report", a->plot, "write a plot of size or time against error to this .svg file");
  add_target_options(v, cli);
  add_model_options(v, cli);
  v.epilog(
      "\nExamples:\n"
      "  weft quantize model.onnx --data calibration/ -o model-q.onnx\n"
      "  weft quantize model.onnx --data calibration/ --budget 'top1>=-0.5%' --format int8 --format int4w --explain -o model-q.onnx\n");
}

}  // namespace weft::cli
