// plot_points: the way from float to smallest, as SVG.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "weft/quantize.h"

namespace weft::api {

std::string plot_points(const QuantizeReport& report, const std::string& objective) {
  constexpr double kWidth = 640, kHeight = 400, kMargin = 60;
  const bool time = objective == "time";
  struct Mark {
    double x, y;
    int float_layers;
    bool chosen;
  };
  std::vector<Mark> marks;
  auto cost = [&](int64_t bytes, double seconds) { return time ? seconds * 1e3 : static_cast<double>(bytes) / 1e6; };
  for (const QuantizePoint& p : report.points)
    if (p.measured && std::isfinite(p.score.mse))
      marks.push_back({cost(p.bytes, p.seconds), p.score.mse, p.float_layers, p.bytes == report.bytes && p.seconds == report.seconds});
  const int layers = static_cast<int>(report.layers.size());
  marks.push_back({cost(report.float_bytes, report.float_seconds), 0, layers, false});
  if (report.points.empty()) marks.push_back({cost(report.bytes, report.seconds), report.score.mse, 0, true});
  double most_x = 1e-12, most_y = 1e-12;
  for (const Mark& m : marks) most_x = std::max(most_x, m.x), most_y = std::max(most_y, m.y);
  std::string out;
  auto add = [&](const char* format, auto... values) {
    char line[512];
    std::snprintf(line, sizeof line, format, values...);
    out += line;
  };
  add("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" font-family=\"sans-serif\" font-size=\"12\">\n", kWidth, kHeight);
  add("<rect width=\"%g\" height=\"%g\" fill=\"white\"/>\n", kWidth, kHeight);
  const double right = kWidth - kMargin, bottom = kHeight - kMargin, wide = right - kMargin, high = bottom - kMargin;
  add("<path d=\"M%g %gV%gH%g\" fill=\"none\" stroke=\"black\"/>\n", kMargin, kMargin, bottom, right);
  for (int i = 0; i <= 4; ++i) {
    add("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%.3g</text>\n", kMargin + wide * i / 4, bottom + 18, most_x * i / 4);
    add("<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%.2g</text>\n", kMargin - 6, bottom - high * i / 4 + 4, most_y * i / 4);
  }
  add("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%s</text>\n", kWidth / 2, kHeight - 16, time ? "ms of a run, predicted" : "MB of weights");
  add("<text x=\"%g\" y=\"%g\">mean squared error of the outputs</text>\n", kMargin, kMargin - 20);
  for (const Mark& m : marks) {
    add("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\">", kMargin + wide * m.x / most_x, bottom - high * m.y / most_y, m.chosen ? 7 : 4,
        m.chosen ? "crimson" : "steelblue");
    add("<title>%.6g %s, mse %.4g, %d of %d layers float</title></circle>\n", m.x, time ? "ms" : "MB", m.y, m.float_layers, layers);
  }
  return out + "</svg>\n";
}

}  // namespace weft::api
