#include "frontend/quantize/score.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "frontend/api/reference.h"
#include "ir/base/text.h"

namespace weft::quantize {

Result<std::vector<float>> to_floats(const api::Tensor& t) {
  if (!is_float(t.dtype()) || bit_width(t.dtype()) > 32) return unsupported("values of type " + std::string(dtype_name(t.dtype())) + " are not looked at");
  TRY_ASSIGN(const Tensor host, to_host_tensor(t));
  const std::vector<double> wide = load_all<double>(host);
  return std::vector<float>(wide.begin(), wide.end());
}

Result<std::vector<Rows>> float_outputs(const api::NamedTensors& outputs, const std::vector<std::string>& names) {
  std::vector<Rows> out;
  for (const std::string& name : names) {
    const api::Tensor& t = outputs[name];
    if (t.empty() || !is_float(t.dtype()) || bit_width(t.dtype()) > 32 || t.numel() == 0) continue;
    TRY_ASSIGN(std::vector<float> values, to_floats(t));
    out.push_back({t.rank() ? t.dims().back() : 1, std::move(values)});
  }
  if (out.empty()) return unsupported("the model has no output of floats to compare");
  return out;
}

namespace {

bool is_distribution(const float* row, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!(row[i] >= 0)) return false;
    sum += row[i];
  }
  return std::fabs(sum - 1) < 1e-3;
}

// Logarithms of the softmax of a row, or of the row itself.
std::vector<double> log_distribution(const float* row, int64_t n, bool is_one) {
  std::vector<double> out(n);
  if (is_one) {
    for (int64_t i = 0; i < n; ++i) out[i] = std::log(std::max<double>(row[i], 1e-12));
    return out;
  }
  const float top = *std::max_element(row, row + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(row[i]) - top);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<double>(row[i]) - top - std::log(sum);
  return out;
}

double divergence(const float* got, const float* want, int64_t n) {
  const bool is_one = is_distribution(want, n);
  const std::vector<double> p = log_distribution(want, n, is_one), q = log_distribution(got, n, is_one);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return std::max(sum, 0.0);
}

int64_t place_of_largest(const float* row, int64_t n) { return std::max_element(row, row + n) - row; }

}  // namespace

void Score::add(const std::vector<Rows>& got, const std::vector<Rows>& want, const std::vector<int64_t>* labels) {
  for (size_t k = 0; k < want.size(); ++k) {
    for (size_t i = 0; i < want[k].values.size(); ++i) {
      const double d = static_cast<double>(got[k].values[i]) - want[k].values[i];
      squares_ += d * d;
    }
    elements_ += static_cast<int64_t>(want[k].values.size());
  }
  const Rows &g = got[0], &w = want[0];
  for (int64_t r = 0; r < w.count(); ++r) {
    const float *x = g.values.data() + r * g.length, *y = w.values.data() + r * w.length;
    divergence_ += divergence(x, y, w.length);
    const int64_t place = place_of_largest(x, g.length), float_place = place_of_largest(y, w.length);
    same_ += place == float_place;
    ++rows_;
    if (!labels || r >= static_cast<int64_t>(labels->size())) continue;
    ++labels_;
    right_ += place == (*labels)[r];
    float_right_ += float_place == (*labels)[r];
  }
}

api::QuantizeScore Score::result() const {
  auto part = [](double a, int64_t b) { return b ? a / static_cast<double>(b) : 0; };
  api::QuantizeScore s;
  s.mse = part(squares_, elements_);
  s.kl = part(divergence_, rows_);
  s.agreement = part(static_cast<double>(same_), rows_);
  s.labels = labels_;
  s.right = part(static_cast<double>(right_), labels_);
  s.float_right = part(static_cast<double>(float_right_), labels_);
  s.rows = rows_;
  return s;
}

double Budget::loss(const api::QuantizeScore& s) const {
  if (kind == Kind::mse) return s.mse;
  if (kind == Kind::kl) return s.kl;
  return s.labels ? s.float_right - s.right : 1 - s.agreement;
}

Result<std::optional<Budget>> parse_budget(const std::string& text) {
  if (text.empty()) return std::optional<Budget>();
  auto wrong = [&] { return usage("budget " + quote(text) + " is none").with_hint("top1>=-0.5%, mse<=1e-3, kl<=0.01"); };
  Budget b;
  std::string_view rest = text;
  for (const auto& [start, kind] : {std::pair("top1>=", Budget::Kind::top1), std::pair("mse<=", Budget::Kind::mse), std::pair("kl<=", Budget::Kind::kl)})
    if (rest.starts_with(start)) {
      b.kind = kind;
      rest.remove_prefix(std::string_view(start).size());
      break;
    }
  if (rest.size() == text.size()) return wrong();
  const bool percent = rest.ends_with('%');
  if (percent) rest.remove_suffix(1);
  const auto [at, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), b.limit);
  if (ec != std::errc() || at != rest.data() + rest.size() || (percent && b.kind != Budget::Kind::top1)) return wrong();
  if (percent) b.limit /= 100;
  if (b.kind == Budget::Kind::top1) b.limit = -b.limit;
  if (!(b.limit >= 0)) return wrong();
  return std::optional<Budget>(b);
}

}  // namespace weft::quantize
