// smooth() and scale_for_weights(): channels of layers' inputs against columns of their weights.
#include <algorithm>
#include <cmath>

#include "frontend/quantize/methods.h"

namespace weft::quantize {

namespace {

// Layers that read one tensor, and how its channels lie in their columns.
struct Group {
  std::string tensor;
  std::vector<size_t> layers;
  int64_t channels = 0;
  bool convolution = false;
  int rank = 2;
};

int64_t taps(const Layer& l) { return l.conv() ? l.columns / l.dims[1] : 1; }

std::vector<Group> groups_of(const std::vector<Layer>& layers, const std::vector<Moments>& moments) {
  std::vector<Group> out;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < layers.size(); ++i) {
    const Layer& l = layers[i];
    if (l.groups != 1 || moments[i].count == 0) continue;
    const int64_t channels = l.columns / taps(l);
    auto [it, fresh] = known.emplace(l.input, out.size());
    if (fresh) out.push_back({l.input, {}, channels, l.conv(), static_cast<int>(l.dims.size())});
    Group& g = out[it->second];
    // A tensor has its channels in one place.
    if (g.channels == channels && g.convolution == l.conv()) g.layers.push_back(i);
  }
  return out;
}

// Of each channel, over all layers of the group and all taps.
template <class F>
std::vector<double> largest_of(const Group& g, const std::vector<Layer>& layers, F&& of) {
  std::vector<double> out(g.channels, 0.0);
  for (size_t i : g.layers)
    for (int64_t k = 0; k < layers[i].columns; ++k) out[k / taps(layers[i])] = std::max(out[k / taps(layers[i])], of(i, k));
  return out;
}

Status scale_constant(EditableModel& model, int node, size_t input, const std::vector<double>& factors) {
  const std::string old = model.nodes()[node].inputs[input];
  TRY_ASSIGN(std::vector<float> values, read_floats(model, old));
  for (size_t c = 0; c < values.size(); ++c) values[c] = static_cast<float>(values[c] * factors[c]);
  const std::string name = model.fresh_name(old + "_scaled");
  model.set_constant(name, float_tensor(values, model.constant_dims(old)));
  model.set_input(node, input, name);
  return {};
}

// The normalisation that makes the tensor for these layers alone; -1: there is none.
int normalisation_of(const EditableModel& model, const Group& g) {
  const int node = model.producer(g.tensor);
  if (node < 0 || model.is_output(g.tensor) || model.readers(g.tensor).size() != g.layers.size()) return -1;
  const OnnxNode& n = model.nodes()[node];
  if (n.op != "LayerNormalization" && n.op != "RMSNormalization" && n.op != "SimplifiedLayerNormalization") return -1;
  for (size_t i = 1; i < n.inputs.size(); ++i) {
    const std::string& name = n.inputs[i];
    if (name.empty()) continue;
    if (!model.is_constant(name) || model.constant_dtype(name) != DType::f32 || model.constant_dims(name) != std::vector<int64_t>{g.channels}) return -1;
  }
  return node;
}

// Divides the tensor's channels, and multiplies the weights' columns.
Status apply(EditableModel& model, const Group& g, const std::vector<Layer>& layers, const std::vector<double>& factors) {
  std::vector<double> inverse(factors.size());
  for (size_t c = 0; c < factors.size(); ++c) inverse[c] = 1 / factors[c];
  if (const int node = normalisation_of(model, g); node >= 0) {
    for (size_t i = 1; i < model.nodes()[node].inputs.size(); ++i)
      if (!model.nodes()[node].inputs[i].empty()) TRY(scale_constant(model, node, i, inverse));
  } else {
    std::vector<int64_t> dims{g.channels};
    if (g.convolution) {
      dims.assign(g.rank - 1, 1);
      dims[0] = g.channels;
    }
    const std::string constant = model.fresh_name(g.tensor + "_factors"), scaled = model.fresh_name(g.tensor + "_scaled");
    model.set_constant(constant, float_tensor(std::vector<float>(inverse.begin(), inverse.end()), dims));
    model.insert_before(layers[g.layers[0]].node, {.op = "Mul", .domain = "", .inputs = {g.tensor, constant}, .outputs = {scaled}});
    for (size_t i : g.layers) model.set_input(layers[i].node, 0, scaled);
  }
  for (size_t i : g.layers) {
    const Layer& l = layers[i];
    TRY_ASSIGN(Matrix w, read_weight(model, l));
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t k = 0; k < w.columns; ++k) w.row(r)[k] *= static_cast<float>(factors[k / taps(l)]);
    const std::string name = model.fresh_name(l.weight + "_scaled");
    model.set_constant(name, float_tensor(to_layout(l, w.values), l.dims));
    model.set_input(l.node, 1, name);
  }
  return {};
}

// Of the outputs, squared, when columns are multiplied by factors, rounded and divided again. Inputs have their means and variances, and are
// not correlated otherwise.
double expected_error(const Layer& l, const Matrix& w, const std::vector<double>& factors, const Moments& m, const Format& format) {
  Matrix scaled = w;
  for (int64_t r = 0; r < l.rows; ++r)
    for (int64_t k = 0; k < l.columns; ++k) scaled.row(r)[k] *= static_cast<float>(factors[k / taps(l)]);
  const Codes codes = round_to_nearest(scaled, format.weight, block_of(format, l));
  double error = 0;
  for (int64_t r = 0; r < l.rows; ++r) {
    double shift = 0;
    for (int64_t k = 0; k < l.columns; ++k) {
      const double d = (static_cast<double>(codes.codes[r * l.columns + k]) * codes.scale(r, k) - scaled.row(r)[k]) / factors[k / taps(l)];
      const double mean = m.mean(k);
      shift += d * mean;
      error += d * d * std::max(m.mean_square(k) - mean * mean, 0.0);
    }
    error += shift * shift;
  }
  return error;
}

// Channels that say nothing keep their size.
double factor(double wanted) { return std::isfinite(wanted) && wanted > 0 ? std::clamp(wanted, 1e-4, 1e4) : 1; }

}  // namespace

Status smooth(EditableModel& model, const std::vector<Layer>& layers, const std::vector<Moments>& moments) {
  for (const Group& g : groups_of(layers, moments)) {
    std::vector<Matrix> weights(layers.size());
    for (size_t i : g.layers) {
      TRY_ASSIGN(weights[i], read_weight(model, layers[i]));
    }
    const std::vector<double> x = largest_of(g, layers, [&](size_t i, int64_t k) { return moments[i].largest[k]; });
    const std::vector<double> w = largest_of(g, layers, [&](size_t i, int64_t k) {
      double most = 0;
      for (int64_t r = 0; r < layers[i].rows; ++r) most = std::max(most, std::fabs(static_cast<double>(weights[i].row(r)[k])));
      return most;
    });
    std::vector<double> factors(g.channels);
    for (int64_t c = 0; c < g.channels; ++c) factors[c] = factor(std::sqrt(x[c] / w[c]));
    TRY(apply(model, g, layers, factors));
  }
  return {};
}

Status scale_for_weights(EditableModel& model, const std::vector<Layer>& layers, const std::vector<Moments>& moments, const Format& format) {
  constexpr int kSteps = 20;
  for (const Group& g : groups_of(layers, moments)) {
    std::vector<Matrix> weights;
    for (size_t i : g.layers) {
      TRY_ASSIGN(Matrix w, read_weight(model, layers[i]));
      weights.push_back(std::move(w));
    }
    const std::vector<double> x = largest_of(g, layers, [&](size_t i, int64_t k) { return moments[i].mean_abs(k); });
    std::vector<double> best(g.channels, 1.0);
    double least = std::numeric_limits<double>::infinity();
    for (int step = 0; step <= kSteps; ++step) {
      std::vector<double> factors(g.channels);
      for (int64_t c = 0; c < g.channels; ++c) factors[c] = factor(std::pow(x[c], static_cast<double>(step) / kSteps));
      const auto [low, high] = std::minmax_element(factors.begin(), factors.end());
      const double middle = std::sqrt(*low * *high);
      for (double& f : factors) f /= middle;
      double error = 0;
      for (size_t n = 0; n < g.layers.size(); ++n) error += expected_error(layers[g.layers[n]], weights[n], factors, moments[g.layers[n]], format);
      if (error < least) least = error, best = factors;
    }
    TRY(apply(model, g, layers, best));
  }
  return {};
}

}  // namespace weft::quantize
