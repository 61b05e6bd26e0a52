#include "tools/weft/tensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "ir/base/result.h"
#include "ir/base/text.h"

namespace weft::cli {

namespace {

// A copy without gaps, one element a byte for sub-byte types; empty when there is no memory.
std::vector<std::byte> dense_bytes(const api::Tensor& given) {
  auto copy = given.copy();
  if (!copy.ok() || copy->dtype() == DType::str) return {};
  const api::Tensor& t = *copy;
  std::vector<std::byte> out(static_cast<size_t>(t.numel() * byte_size(t.dtype())));
  if (is_subbyte(t.dtype())) unpack_subbyte(t.dtype(), t.data(), out.data(), t.numel());
  else std::copy_n(static_cast<const std::byte*>(t.data()), out.size(), out.data());
  return out;
}

std::string double_text(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.6g", v);
  return buffer;
}

std::string element_of(DType t, const std::byte* p) {
  switch (dtype_class(t)) {
    case 'f': {
      double v;
      load_row_f64(t, p, &v, 1);
      return double_text(v);
    }
    case 'c': {
      double v[2];
      load_row_f64(t, p, v, 1);
      return double_text(v[0]) + (v[1] < 0 ? "" : "+") + double_text(v[1]) + "i";
    }
    case 'u': {
      uint64_t v;
      load_row_u64(t, p, &v, 1);
      return std::to_string(v);
    }
    case 'b': return std::to_integer<int>(*p) ? "true" : "false";
    default: {
      int64_t v;
      load_row_i64(t, p, &v, 1);
      return std::to_string(v);
    }
  }
}

}  // namespace

std::vector<double> to_doubles(const api::Tensor& t) {
  std::vector<std::byte> bytes = dense_bytes(t);
  auto n = static_cast<size_t>(bytes.empty() ? 0 : t.numel());
  std::vector<double> out(n);
  DType d = t.dtype();
  switch (dtype_class(d)) {
    case 'f': load_row_f64(d, bytes.data(), out.data(), t.numel() * !bytes.empty()); break;
    case 'c': {
      std::vector<double> parts(2 * n);
      load_row_f64(d, bytes.data(), parts.data(), static_cast<int64_t>(n));
      for (size_t i = 0; i < n; ++i) out[i] = std::hypot(parts[2 * i], parts[2 * i + 1]);
      break;
    }
    case 'u': {
      std::vector<uint64_t> v(n);
      load_row_u64(d, bytes.data(), v.data(), static_cast<int64_t>(n));
      std::copy(v.begin(), v.end(), out.begin());
      break;
    }
    case 'i':
    case 'b': {
      std::vector<int64_t> v(n);
      load_row_i64(d, bytes.data(), v.data(), static_cast<int64_t>(n));
      std::copy(v.begin(), v.end(), out.begin());
      break;
    }
    default: break;
  }
  return out;
}

Summary summarise(const api::Tensor& t) {
  Summary s;
  double sum = 0, squares = 0;
  for (double v : to_doubles(t)) {
    if (std::isnan(v)) {
      ++s.nan;
    } else if (std::isinf(v)) {
      ++s.inf;
    } else {
      s.min = s.finite ? std::min(s.min, v) : v;
      s.max = s.finite ? std::max(s.max, v) : v;
      ++s.finite;
      sum += v;
      squares += v * v;
    }
  }
  if (s.finite) {
    s.mean = sum / static_cast<double>(s.finite);
    s.std = std::sqrt(std::max(0.0, squares / static_cast<double>(s.finite) - s.mean * s.mean));
  }
  return s;
}

std::string element_text(const api::Tensor& t, int64_t i) {
  auto copy = t.copy();
  if (!copy.ok()) return "?";
  if (t.dtype() == DType::str) return quote(copy->data_as<const std::string>()[i]);
  std::vector<std::byte> bytes = dense_bytes(*copy);
  return element_of(t.dtype(), bytes.data() + i * byte_size(t.dtype()));
}

std::string values_text(const api::Tensor& t, int64_t limit) {
  auto copy = t.copy();
  if (!copy.ok() || t.numel() == 0) return "[]";
  std::vector<std::byte> bytes = dense_bytes(*copy);
  const int rank = t.rank();
  std::string out;
  for (int64_t i = 0; i < t.numel(); ++i) {
    int64_t below = 1, opened = 0, closed = 0;
    for (int k = rank - 1; k >= 0; --k) {
      below *= t.dims()[k];
      opened += i % below == 0;
      closed += (i + 1) % below == 0;
    }
    if (i && i < limit) out += ", ";
    if (i == limit) return out + ", …" + std::string(static_cast<size_t>(rank - opened), ']');
    out += std::string(static_cast<size_t>(opened), '[');
    out += t.dtype() == DType::str ? quote(copy->data_as<const std::string>()[i]) : element_of(t.dtype(), bytes.data() + i * byte_size(t.dtype()));
    out += std::string(static_cast<size_t>(closed), ']');
  }
  return out;
}

Json values_json(const api::Tensor& t) {
  Json out = Json::array();
  auto copy = t.copy();
  if (!copy.ok()) return out;
  if (t.dtype() == DType::str) {
    for (int64_t i = 0; i < t.numel(); ++i) out.push_back(copy->data_as<const std::string>()[i]);
    return out;
  }
  std::vector<std::byte> bytes = dense_bytes(*copy);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const std::byte* p = bytes.data() + i * byte_size(t.dtype());
    if (is_float(t.dtype())) {
      double v;
      load_row_f64(t.dtype(), p, &v, 1);
      out.push_back(v);
    } else if (is_signed_int(t.dtype())) {
      int64_t v;
      load_row_i64(t.dtype(), p, &v, 1);
      out.push_back(v);
    } else if (is_unsigned_int(t.dtype())) {
      uint64_t v;
      load_row_u64(t.dtype(), p, &v, 1);
      out.push_back(v);
    } else if (t.dtype() == DType::b1) {
      out.push_back(std::to_integer<int>(*p) != 0);
    } else {
      out.push_back(element_of(t.dtype(), p));
    }
  }
  return out;
}

// --- comparison -------------------------------------------------------------------------------------------------------

namespace {

std::string index_text(const api::Tensor& t, int64_t i) {
  std::string s;
  for (int k = t.rank() - 1; k >= 0; --k) {
    s = std::to_string(i % t.dims()[k]) + (s.empty() ? "" : ",") + s;
    i /= t.dims()[k];
  }
  return "[" + s + "]";
}

// Differences of equal-sized rows of floats (real or parts of complex numbers).
void compare_floats(const std::vector<double>& got, const std::vector<double>& want, int parts, double rtol, double atol, Difference& d) {
  for (size_t i = 0; i < got.size(); ++i) {
    double g = got[i], w = want[i];
    bool ok = (std::isnan(g) && std::isnan(w)) || g == w;
    if (!ok && std::isfinite(g) && std::isfinite(w)) {
      double abs = std::fabs(g - w), rel = w != 0 ? abs / std::fabs(w) : 0;
      d.max_abs = std::max(d.max_abs, abs);
      d.max_rel = std::max(d.max_rel, rel);
      ok = abs <= atol + rtol * std::fabs(w);
    } else if (!ok) {
      d.max_abs = d.max_rel = INFINITY;
    }
    if (ok) continue;
    if (d.first < 0) d.first = static_cast<int64_t>(i) / parts;
    ++d.wrong;
  }
}

std::vector<double> parts_of(const api::Tensor& t, const std::vector<std::byte>& bytes) {
  std::vector<double> v(static_cast<size_t>(t.numel()) * (is_complex(t.dtype()) ? 2 : 1));
  if (t.numel()) load_row_f64(t.dtype(), bytes.data(), v.data(), t.numel());
  return v;
}

// Of the largest finite value; 0 for types narrower than f32, whose steps are no small matter.
double rounding_step(DType t, const std::vector<double>& values) {
  const double epsilon = t == DType::f32 || t == DType::c64 ? 0x1p-23 : t == DType::f64 || t == DType::c128 ? 0x1p-52 : 0;
  double largest = 0;
  for (double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  return epsilon * largest;
}

void compare_exact(const api::Tensor& got, const api::Tensor& want, Difference& d) {
  std::vector<std::byte> a = dense_bytes(got), b = dense_bytes(want);
  std::vector<double> x = to_doubles(got), y = to_doubles(want);
  const int size = byte_size(got.dtype());
  for (int64_t i = 0; i < got.numel(); ++i) {
    if (std::equal(a.data() + i * size, a.data() + (i + 1) * size, b.data() + i * size)) continue;
    d.max_abs = std::max(d.max_abs, std::fabs(x[i] - y[i]));
    if (y[i] != 0) d.max_rel = std::max(d.max_rel, std::fabs(x[i] - y[i]) / std::fabs(y[i]));
    if (d.first < 0) d.first = i;
    ++d.wrong;
  }
}

}  // namespace

Difference compare(const std::string& name, const api::Tensor& got, const api::Tensor& want, double rtol, double atol) {
  Difference d;
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) {
    d.ok = false;
    d.reason = name + ": got " + got.describe() + ", expected " + want.describe();
    return d;
  }
  if (got.dtype() == DType::str) {
    auto a = got.copy(), b = want.copy();
    for (int64_t i = 0; a.ok() && b.ok() && i < got.numel(); ++i)
      if (a->data_as<const std::string>()[i] != b->data_as<const std::string>()[i]) d.first < 0 ? (d.first = i, ++d.wrong) : ++d.wrong;
  } else if (is_float(got.dtype()) || is_complex(got.dtype())) {
    const std::vector<double> a = parts_of(got, dense_bytes(got)), b = parts_of(want, dense_bytes(want));
    compare_floats(a, b, is_complex(got.dtype()) ? 2 : 1, rtol, std::max(atol, rounding_step(got.dtype(), b)), d);
  } else {
    compare_exact(got, want, d);
  }
  d.ok = d.wrong == 0;
  if (!d.ok)
    d.reason = name + index_text(got, d.first) + ": got " + element_text(got, d.first) + ", expected " + element_text(want, d.first) + " (" +
               std::to_string(d.wrong) + " of " + std::to_string(got.numel()) + " elements differ)";
  return d;
}

}  // namespace weft::cli
