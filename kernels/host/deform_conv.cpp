// deform_conv: the moved windows gathered into columns, then a plain product.
#include "kernels/host/dense.h"
#include "kernels/host/sample.h"

namespace weft {

// Bilinear; zero outside.
static double between(const double* plane, int64_t h, int64_t w, double y, double x) {
  if (!(y > -1 && y < static_cast<double>(h) && x > -1 && x < static_cast<double>(w))) return 0;
  double fy = std::floor(y), fx = std::floor(x), ty = y - fy, tx = x - fx, sum = 0;
  int64_t iy = static_cast<int64_t>(fy), ix = static_cast<int64_t>(fx);
  for (int64_t a = 0; a < 2; ++a)
    for (int64_t b = 0; b < 2; ++b) {
      if (iy + a < 0 || iy + a >= h || ix + b < 0 || ix + b >= w) continue;
      sum += (a ? ty : 1 - ty) * (b ? tx : 1 - tx) * plane[(iy + a) * w + ix + b];
    }
  return sum;
}

void host_deform_conv(const TensorView& x, const TensorView& w, const TensorView& offset, const TensorView* bias, const TensorView* mask,
                      const DeformConvOptions& o, const TensorView& y) {
  int64_t channels = x.dims[1], height = x.dims[2], width = x.dims[3], out_channels = y.dims[1], oh = y.dims[2], ow = y.dims[3];
  int64_t kh = w.dims[2], kw = w.dims[3], taps = kh * kw, positions = oh * ow, per_group = w.dims[1];
  std::vector<double> vx = dense_doubles(x), vw = dense_doubles(w), vo = dense_doubles(offset), vm, vb;
  if (mask) vm = dense_doubles(*mask);
  if (bias) vb = dense_doubles(*bias);
  std::vector<double> out(static_cast<size_t>(y.numel()), 0.0), column(static_cast<size_t>(positions));
  for (int64_t n = 0; n < x.dims[0]; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t k = 0; k < taps; ++k) {
        const double* plane = vx.data() + (n * channels + c) * height * width;
        int64_t tap = (n * o.offset_group + c / (channels / o.offset_group)) * taps + k;
        for (int64_t p = 0; p < positions; ++p) {
          double top = static_cast<double>(p / ow * o.stride[0] - o.pad[0] + k / kw * o.dilation[0]) + vo[2 * tap * positions + p];
          double left = static_cast<double>(p % ow * o.stride[1] - o.pad[1] + k % kw * o.dilation[1]) + vo[(2 * tap + 1) * positions + p];
          column[p] = between(plane, height, width, top, left) * (mask ? vm[tap * positions + p] : 1);
        }
        int64_t g = c / per_group, per_out = out_channels / o.group;
        for (int64_t m = g * per_out; m < (g + 1) * per_out; ++m) {
          double weight = vw[(m * per_group + c % per_group) * taps + k];
          double* to = out.data() + (n * out_channels + m) * positions;
          for (int64_t p = 0; p < positions; ++p) to[p] += weight * column[p];
        }
      }
  for (size_t e = 0; e < out.size() && bias; ++e) out[e] += vb[static_cast<int64_t>(e) / positions % out_channels];
  store_doubles(out, y);
}

}  // namespace weft
