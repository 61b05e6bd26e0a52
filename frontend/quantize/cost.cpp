#include "frontend/quantize/cost.h"

#include <algorithm>

namespace weft::quantize {

namespace {

// 0: not known.
double elements(const Type& t) {
  if (!t.is_ranked()) return 0;
  const Dim n = numel(t.shape);
  return n.is_const() ? static_cast<double>(n.value()) : 0;
}

}  // namespace

Result<std::vector<Traffic>> traffic_of(const EditableModel& model, const std::vector<Layer>& layers, const std::map<std::string, std::string>& shapes) {
  ImportOptions options;
  options.shapes = shapes;
  TRY_ASSIGN(std::unique_ptr<Module> module, model.module(options));
  std::map<std::string, const Op*> ops;
  for (const auto& op : module->main()->ops)
    if (op->kind == OpKind::contract || op->kind == OpKind::conv || op->kind == OpKind::conv_transpose)
      for (const std::string& node : op->provenance) ops.emplace(node, op.get());
  std::vector<Traffic> out;
  for (const Layer& l : layers) {
    Traffic& t = out.emplace_back();
    auto it = ops.find(l.label);
    if (it == ops.end()) continue;
    t.inputs = elements(it->second->operands[0]->type);
    t.outputs = elements(it->second->result(0)->type);
    // A transposed convolution has a product for each input.
    const double vectors = l.op == "ConvTranspose" ? t.inputs / static_cast<double>(l.dims[0]) : t.outputs / static_cast<double>(l.rows);
    t.positions = std::max(vectors, 1.0);
  }
  return out;
}

int64_t weight_bytes(const Layer& l, const Format* f, int64_t block) {
  if (!f) return l.rows * l.columns * static_cast<int64_t>(sizeof(float));
  return packed_bytes(f->weight, l.rows * l.columns) + l.rows * ((l.columns + block - 1) / block) * static_cast<int64_t>(sizeof(float));
}

double layer_seconds(const Layer& l, const Traffic& t, const Format* f, int64_t bytes, const DeviceTable& table) {
  const bool narrow = f && f->activations;
  const double flops = 2 * static_cast<double>(l.rows * l.columns) * t.positions;
  const double rate = table.flops_of(narrow ? f->activation : DType::f32) * table.contraction;
  const double input_bytes = t.inputs * (narrow ? 1 : 4), traffic = static_cast<double>(bytes) + input_bytes + t.outputs * 4;
  return std::max(flops / rate, traffic / (table.memory_rate * table.memory)) + table.launch_s;
}

}  // namespace weft::quantize
