#include "tests/support/same_module.h"

#include <cmath>
#include <random>
#include <set>

namespace weft::test {

static SymbolValues fill_symbols(const Module& m, SymbolValues values) {
  int64_t next = 2;
  for (auto& [name, info] : m.symbols)
    if (values.emplace(name, std::clamp(next, std::max<int64_t>(info.lo, 1), std::max<int64_t>(info.hi, 1))).second) ++next;
  return values;
}

static Result<Tensor> random_tensor(DType t, std::vector<int64_t> dims, std::mt19937_64& rng, int64_t ints) {
  if (t == DType::str) return Tensor::make(t, std::move(dims));
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  std::vector<double> v(n);
  std::normal_distribution<double> normal;
  for (double& x : v) x = is_float(t) ? normal(rng) : static_cast<double>(rng() % (t == DType::b1 ? 2 : ints));
  if (is_float(t)) return store_all(t, std::move(dims), v);
  std::vector<int64_t> whole(v.begin(), v.end());
  if (is_unsigned_int(t)) return store_all(t, std::move(dims), std::vector<uint64_t>(whole.begin(), whole.end()));
  return store_all(t, std::move(dims), whole);
}

Result<std::vector<HostValue>> random_inputs(const Module& m, uint64_t seed, SymbolValues symbols, int64_t ints) {
  symbols = fill_symbols(m, std::move(symbols));
  std::mt19937_64 rng(seed);
  std::vector<HostValue> out;
  for (auto& in : m.main()->inputs) {
    if (!in->type.is_ranked()) return unsupported("an input of type " + in->type.to_string());
    std::vector<int64_t> dims;
    for (const Dim& d : in->type.shape) {
      auto v = d.eval(symbols);
      if (!v) return unsupported("a dim without value: " + d.to_string());
      dims.push_back(*v);
    }
    TRY_ASSIGN(Tensor t, random_tensor(in->type.dtype, std::move(dims), rng, ints));
    out.push_back(std::move(t));
  }
  return out;
}


static std::string difference(const Tensor& got, const Tensor& want, double relative) {
  if (got.dtype != want.dtype) return std::string("dtype ") + dtype_name(got.dtype) + " for " + dtype_name(want.dtype);
  if (got.dims != want.dims) return "dims [" + shape_text(to_shape(got.dims)) + "] for [" + shape_text(to_shape(want.dims)) + "]";
  if (got.dtype == DType::str) return *got.strings == *want.strings ? "" : "strings";
  if (is_complex(got.dtype)) return load_all<std::complex<double>>(got) == load_all<std::complex<double>>(want) ? "" : "complex numbers";
  std::vector<double> a = load_all<double>(got), b = load_all<double>(want);
  double top = 1e-3;
  for (double x : b)
    if (std::isfinite(x)) top = std::max(top, std::fabs(x));
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    if (is_float(got.dtype) && std::fabs(a[i] - b[i]) <= relative * top) continue;
    return "element " + std::to_string(i) + ": " + std::to_string(a[i]) + " for " + std::to_string(b[i]);
  }
  return "";
}

std::string difference(const std::vector<HostValue>& got, const std::vector<HostValue>& want, double relative) {
  if (got.size() != want.size()) return std::to_string(got.size()) + " outputs for " + std::to_string(want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i].kind != want[i].kind) return "output " + std::to_string(i) + " is of another kind";
    std::string d = got[i].kind == HostValue::Kind::tensor   ? difference(got[i].tensor, want[i].tensor, relative)
                    : got[i].kind == HostValue::Kind::sequence ? difference(got[i].items, want[i].items, relative)
                                                               : "";
    if (!d.empty()) return "output " + std::to_string(i) + ": " + d;
  }
  return "";
}

Result<std::vector<HostValue>> run_main(const Module& m, const std::vector<HostValue>& inputs) {
  if (m.meshes.empty()) return evaluate(*m.main(), inputs);
  if (m.interface != Interface()) return evaluate_shared_out(m, inputs);
  TRY_ASSIGN(auto ranks, evaluate_ranks(m, std::vector(static_cast<size_t>(m.meshes[0].size()), inputs)));
  for (auto& r : ranks)
    if (std::string d = difference(r, ranks[0], 0); !d.empty()) return invalid("the ranks' results differ: " + d);
  return ranks[0];
}

}  // namespace weft::test
