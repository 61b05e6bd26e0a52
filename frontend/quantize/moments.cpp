#include "frontend/quantize/moments.h"

#include <algorithm>
#include <cmath>

#include "frontend/quantize/runner.h"
#include "frontend/quantize/score.h"

namespace weft::quantize {

namespace {

constexpr int64_t kMostColumns = 8192;               // of layers that have second moments
constexpr int64_t kMostVectors = 2048;               // of a layer, over all samples
constexpr int64_t kMostBytes = int64_t{1} << 30;     // of second moments at once

// A convolution's window along one axis.
struct Window {
  int64_t in = 0, out = 0, kernel = 1, stride = 1, dilation = 1, pad = 0;
};

std::vector<Window> windows_of(const EditableModel& model, const Layer& l, const std::vector<int64_t>& dims) {
  const std::vector<int64_t> strides = model.ints_attribute(l.node, "strides"), pads = model.ints_attribute(l.node, "pads");
  const std::vector<int64_t> dilations = model.ints_attribute(l.node, "dilations");
  const std::string pad = model.text_attribute(l.node, "auto_pad");
  const size_t n = l.dims.size() - 2;
  std::vector<Window> out(n);
  for (size_t d = 0; d < n; ++d) {
    Window& w = out[d];
    w.in = dims[d + 2];
    w.kernel = l.dims[d + 2];
    if (d < strides.size()) w.stride = strides[d];
    if (d < dilations.size()) w.dilation = dilations[d];
    const int64_t reach = (w.kernel - 1) * w.dilation + 1;
    int64_t padding = 0;
    if (pad.starts_with("SAME")) {
      padding = std::max<int64_t>((w.in - 1) / w.stride * w.stride + reach - w.in, 0);
      w.pad = pad == "SAME_LOWER" ? (padding + 1) / 2 : padding / 2;
    } else if (pads.size() == 2 * n) {
      w.pad = pads[d];
      padding = pads[d] + pads[d + n];
    }
    w.out = std::max<int64_t>((w.in + padding - reach) / w.stride + 1, 0);
  }
  return out;
}

// Patches of one group, in the order of the weight's axes: channel, then the window's.
class Patches {
 public:
  Patches(const Layer& l, std::vector<Window> windows, const std::vector<int64_t>& dims, const std::vector<float>& values)
      : windows_(std::move(windows)), channels_(l.dims[1]), values_(values.data()), patch_(l.columns) {
    plane_ = 1;
    for (const Window& w : windows_) plane_ *= w.in, outs_ *= w.out, taps_ *= w.kernel;
    all_channels_ = dims[1];
  }
  int64_t per_image() const { return outs_; }

  const float* at(int64_t image, int64_t group, int64_t position) {
    for (int64_t tap = 0; tap < taps_; ++tap) {
      const int64_t offset = offset_of(position, tap);
      const float* from = values_ + (image * all_channels_ + group * channels_) * plane_ + offset;
      for (int64_t c = 0; c < channels_; ++c) patch_[c * taps_ + tap] = offset < 0 ? 0 : from[c * plane_];
    }
    return patch_.data();
  }

 private:
  // Of the element under a tap, within its plane; -1: in the padding.
  int64_t offset_of(int64_t position, int64_t tap) const {
    int64_t offset = 0, stride = 1;
    for (size_t d = windows_.size(); d-- > 0;) {
      const Window& w = windows_[d];
      const int64_t x = position % w.out * w.stride - w.pad + tap % w.kernel * w.dilation;
      if (x < 0 || x >= w.in) return -1;
      offset += x * stride;
      stride *= w.in;
      position /= w.out;
      tap /= w.kernel;
    }
    return offset;
  }

  std::vector<Window> windows_;
  int64_t channels_, all_channels_ = 0, plane_ = 1, outs_ = 1, taps_ = 1;
  const float* values_;
  std::vector<float> patch_;
};

void add_vector(Moments& m, int64_t from, const float* x, int64_t n) {
  for (int64_t k = 0; k < n; ++k) {
    const double v = x[k];
    m.sum[from + k] += v;
    m.sum_abs[from + k] += std::fabs(v);
    m.sum_squares[from + k] += v * v;
    m.largest[from + k] = std::max(m.largest[from + k], std::fabs(v));
  }
}

// Vectors of one layer whose products are still to be added: many at a time, so that the sums are read once for all of them.
class Products {
 public:
  void add(Moments& m, const float* x, int64_t n) {
    if (m.second.empty()) return;
    vectors_.insert(vectors_.end(), x, x + n);
    if (static_cast<int64_t>(vectors_.size()) == kVectors * n) flush(m, n);
  }
  void flush(Moments& m, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      for (const float* x = vectors_.data(); x != vectors_.data() + vectors_.size(); x += n) {
        const double v = x[i];
        double* row = m.second.data() + i * n;
        if (v != 0)
          for (int64_t k = i; k < n; ++k) row[k] += v * x[k];
      }
    vectors_.clear();
  }

 private:
  static constexpr int64_t kVectors = 32;
  std::vector<float> vectors_;
};

bool has_moments(const Layer& l) { return l.op != "ConvTranspose"; }

}  // namespace

void for_each_vector(const EditableModel& model, const Layer& l, const std::vector<int64_t>& dims, const std::vector<float>& values, int64_t most,
                     const std::function<void(int64_t, const float*)>& f) {
  if (values.empty()) return;
  if (!l.conv()) {
    const int64_t rows = static_cast<int64_t>(values.size()) / l.columns, n = std::min(rows, most);
    for (int64_t i = 0; i < n; ++i) f(0, values.data() + i * rows / n * l.columns);
    return;
  }
  Patches patches(l, windows_of(model, l, dims), dims, values);
  const int64_t positions = dims[0] * patches.per_image(), n = std::min(positions, most);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = i * positions / n;
    for (int64_t g = 0; g < l.groups; ++g) f(g, patches.at(at / patches.per_image(), g, at % patches.per_image()));
  }
}

Result<std::vector<Moments>> collect_moments(const EditableModel& model, const std::vector<Layer>& layers, bool second, const api::CalibrationData& data,
                                             const std::vector<int64_t>& samples, const api::CompileOptions& options, Reporter& reporter) {
  EditableModel watched = model;
  for (const Layer& l : layers) watched.add_output(l.input);
  TRY_ASSIGN(Runner runner, Runner::create(watched, options));
  std::vector<Moments> all(layers.size());
  const int64_t most = std::max<int64_t>(kMostVectors / static_cast<int64_t>(samples.size()), 1);
  for (size_t from = 0, to = 0; from < layers.size(); from = to) {
    for (int64_t bytes = 0; to < layers.size() && (bytes <= kMostBytes || to == from); ++to) {
      const Layer& l = layers[to];
      if (!has_moments(l)) continue;
      Moments& m = all[to];
      for (auto* v : {&m.sum, &m.sum_abs, &m.sum_squares, &m.largest}) v->assign(l.groups * l.columns, 0.0);
      if (!second || l.groups != 1 || l.columns > kMostColumns) continue;
      m.second.assign(l.columns * l.columns, 0.0);
      bytes += l.columns * l.columns * static_cast<int64_t>(sizeof(double));
    }
    for (size_t i = 0; i < samples.size(); ++i) {
      reporter.progress("look at inputs of layers", "sample " + std::to_string(i + 1), static_cast<int64_t>(i), static_cast<int64_t>(samples.size()));
      TRY_ASSIGN(const api::NamedTensors inputs, data.sample(samples[i]));
      TRY_ASSIGN(const api::NamedTensors outputs, runner.run(inputs));
      for (size_t k = from; k < to; ++k) {
        const Layer& l = layers[k];
        if (!has_moments(l)) continue;
        const api::Tensor& t = outputs[l.input].empty() ? inputs[l.input] : outputs[l.input];
        TRY_ASSIGN(const std::vector<float> values, to_floats(t));
        Products products;
        for_each_vector(model, l, t.dims(), values, most, [&](int64_t group, const float* x) {
          add_vector(all[k], group * l.columns, x, l.columns);
          products.add(all[k], x, l.columns);
          all[k].count += group == 0;
        });
        products.flush(all[k], l.columns);
      }
    }
  }
  return all;
}

}  // namespace weft::quantize
