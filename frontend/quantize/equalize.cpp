// Changes to the float model that leave its meaning: normalisations folded in, biases of zero, equalisation between layers.
#include <algorithm>
#include <cmath>

#include "frontend/quantize/methods.h"

namespace weft::quantize {

namespace {

Status replace_weight(EditableModel& model, Layer& l, const Matrix& w) {
  const std::string name = model.fresh_name(l.weight + "_folded");
  model.set_constant(name, float_tensor(to_layout(l, w.values), l.dims));
  model.set_input(l.node, 1, name);
  l.weight = name;
  return {};
}

void replace_bias(EditableModel& model, Layer& l, const std::vector<float>& bias) {
  const std::string name = model.fresh_name(l.weight + "_bias");
  model.set_constant(name, float_tensor(bias, {l.rows}));
  if (l.bias_node < 0) l.bias_node = l.node, l.bias_input = 2;
  model.set_input(l.bias_node, static_cast<size_t>(l.bias_input), name);
}

Result<std::vector<float>> bias_of(const EditableModel& model, const Layer& l) {
  if (l.bias_node < 0) return std::vector<float>(l.rows, 0.0f);
  return read_floats(model, model.nodes()[l.bias_node].inputs[l.bias_input]);
}

// Whether a bias can be changed: there is none or a known one.
bool bias_is_ours(const Layer& l) {
  return l.bias_node >= 0 || l.takes_bias || l.op == "MatMul";
}

Status fold(EditableModel& model, Layer& l) {
  const std::vector<int>& readers = model.readers(l.output);
  if (readers.size() != 1 || model.is_output(l.output) || (l.bias_node < 0 && !l.takes_bias) || (l.bias_node >= 0 && l.bias_node != l.node)) return {};
  const int node = readers[0];
  const OnnxNode n = model.nodes()[node];
  if (n.op != "BatchNormalization" || !n.domain.empty() || n.inputs.size() != 5 || n.inputs[0] != l.output) return {};
  if (model.int_attribute(node, "training_mode", 0)) return {};
  for (size_t i = 1; i < n.outputs.size(); ++i)
    if (!n.outputs[i].empty()) return {};
  std::vector<float> parts[4];  // scale, bias, mean, variance
  for (int i = 0; i < 4; ++i) {
    const std::string& name = n.inputs[i + 1];
    if (!model.is_constant(name) || model.constant_dtype(name) != DType::f32 || model.constant_dims(name) != std::vector<int64_t>{l.rows}) return {};
    TRY_ASSIGN(parts[i], read_floats(model, name));
  }
  TRY_ASSIGN(Matrix w, read_weight(model, l));
  TRY_ASSIGN(std::vector<float> bias, bias_of(model, l));
  const double epsilon = model.float_attribute(node, "epsilon", 1e-5);
  for (int64_t r = 0; r < l.rows; ++r) {
    const double factor = parts[0][r] / std::sqrt(static_cast<double>(parts[3][r]) + epsilon);
    for (int64_t k = 0; k < l.columns; ++k) w.row(r)[k] = static_cast<float>(w.row(r)[k] * factor);
    bias[r] = static_cast<float>((static_cast<double>(bias[r]) - parts[2][r]) * factor + parts[1][r]);
  }
  TRY(replace_weight(model, l, w));
  replace_bias(model, l, bias);
  model.remove(node);
  model.set_output(l.node, 0, n.outputs[0]);
  return {};
}

// The only layer behind this one's output, with nothing in between but what keeps factors of channels; -1: none.
int next_layer(const EditableModel& model, const std::vector<Layer>& layers, const Layer& l) {
  std::string tensor = l.bias_node >= 0 && l.bias_node != l.node ? model.nodes()[l.bias_node].outputs[0] : l.output;
  while (true) {
    const std::vector<int>& readers = model.readers(tensor);
    if (readers.size() != 1 || model.is_output(tensor)) return -1;
    for (size_t i = 0; i < layers.size(); ++i)
      if (layers[i].node == readers[0])  // channels lie along axis 1 before convolutions, else along the last axis
        return layers[i].op != "ConvTranspose" && layers[i].conv() == l.op.starts_with("Conv") ? static_cast<int>(i) : -1;
    const OnnxNode& n = model.nodes()[readers[0]];
    static const std::set<std::string> kept = {"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity"};
    if (!kept.count(n.op) || !n.domain.empty() || n.inputs[0] != tensor) return -1;
    tensor = n.outputs[0];
  }
}

// Columns of the layer that belong to an input's channel: [from, to) of rows, and those of columns.
struct Part {
  int64_t row, rows, column, columns;
};
std::optional<Part> part_of(const Layer& l, int64_t channel, int64_t channels) {
  if (l.groups == 1 && l.columns % channels == 0 && (l.conv() ? l.dims[1] : l.columns) == channels)
    return Part{0, l.rows, channel * (l.columns / channels), l.columns / channels};
  if (l.groups == channels && l.rows == channels) return Part{channel, 1, 0, l.columns};
  return std::nullopt;
}

double largest(const Matrix& w, const Part& p) {
  double most = 0;
  for (int64_t r = p.row; r < p.row + p.rows; ++r)
    for (int64_t k = p.column; k < p.column + p.columns; ++k) most = std::max(most, std::fabs(static_cast<double>(w.row(r)[k])));
  return most;
}

void multiply(Matrix& w, const Part& p, double factor) {
  for (int64_t r = p.row; r < p.row + p.rows; ++r)
    for (int64_t k = p.column; k < p.column + p.columns; ++k) w.row(r)[k] = static_cast<float>(w.row(r)[k] * factor);
}

}  // namespace

Status fold_normalisations(EditableModel& model) {
  std::vector<std::string> ignored;
  TRY_ASSIGN(std::vector<Layer> layers, find_layers(model, &ignored));
  for (Layer& l : layers) TRY(fold(model, l));
  return {};
}

void add_biases(EditableModel& model, const std::vector<Layer>& layers) {
  for (Layer l : layers)
    if (l.takes_bias) replace_bias(model, l, std::vector<float>(l.rows, 0.0f));
}

Status equalize(EditableModel& model) {
  constexpr int kRounds = 20;
  std::vector<std::string> ignored;
  TRY_ASSIGN(std::vector<Layer> layers, find_layers(model, &ignored));
  std::vector<Matrix> weights(layers.size());
  std::vector<std::vector<float>> biases(layers.size());
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t i = 0; i < layers.size(); ++i) {
    const int next = next_layer(model, layers, layers[i]);
    if (next < 0 || !bias_is_ours(layers[i]) || !part_of(layers[next], 0, layers[i].rows)) continue;
    pairs.push_back({i, static_cast<size_t>(next)});
    for (size_t k : {i, static_cast<size_t>(next)}) {
      if (!weights[k].values.empty()) continue;
      TRY_ASSIGN(weights[k], read_weight(model, layers[k]));
      TRY_ASSIGN(biases[k], bias_of(model, layers[k]));
    }
  }
  for (int round = 0; round < kRounds; ++round)
    for (const auto& [a, b] : pairs)
      for (int64_t c = 0; c < layers[a].rows; ++c) {
        const Part first{c, 1, 0, layers[a].columns}, second = *part_of(layers[b], c, layers[a].rows);
        const double x = largest(weights[a], first), y = largest(weights[b], second), factor = std::sqrt(y / x);
        if (!std::isnormal(factor)) continue;
        multiply(weights[a], first, factor);
        multiply(weights[b], second, 1 / factor);
        biases[a][c] = static_cast<float>(biases[a][c] * factor);
      }
  for (size_t i = 0; i < layers.size(); ++i) {
    if (weights[i].values.empty()) continue;
    TRY(replace_weight(model, layers[i], weights[i]));
    if (layers[i].bias_node >= 0) replace_bias(model, layers[i], biases[i]);
  }
  return {};
}

std::vector<float> corrected_bias(const Layer& l, const std::vector<float>& bias, const Matrix& w, const Codes& codes, const Moments& moments) {
  std::vector<float> out = bias;
  const int64_t rows_of_group = l.rows / l.groups;
  for (int64_t r = 0; r < l.rows; ++r) {
    double lack = 0;
    for (int64_t k = 0; k < l.columns; ++k)
      lack += (w.row(r)[k] - static_cast<double>(codes.codes[r * l.columns + k]) * codes.scale(r, k)) * moments.mean(r / rows_of_group * l.columns + k);
    if (std::isfinite(lack)) out[r] = static_cast<float>(out[r] + lack);
  }
  return out;
}

}  // namespace weft::quantize
