// Values of the reference evaluator: dense row-major Tensors (one element per byte for sub-byte types), sequences,
// optionals, maps. Tensor data is immutable once shared.
#pragma once

#include <complex>
#include <memory>
#include <string>
#include <vector>

#include "ir/base/check.h"
#include "ir/base/tensor_view.h"
#include "ir/core/op_def.h"

namespace weft {

struct Tensor {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::shared_ptr<std::byte> data;                          // numel * byte_size bytes
  std::shared_ptr<std::vector<std::string>> strings;        // dtype str

  // Zero-filled. Error kResources above `kMaxTensorBytes` or on overflow.
  static Result<Tensor> make(DType t, std::vector<int64_t> dims);
  int rank() const { return static_cast<int>(dims.size()); }
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    return n;
  }
  int64_t bytes() const { return numel() * byte_size(dtype); }
};
constexpr int64_t kMaxTensorBytes = int64_t{1} << 36;

struct HostValue {
  enum class Kind : uint8_t { tensor, sequence, none, map };  // none: an empty optional or absent operand
  Kind kind = Kind::none;
  Tensor tensor;
  std::vector<HostValue> items;  // sequence; a filled optional is the value itself
  std::vector<Tensor> keys;      // map: one i64 or str scalar per item

  HostValue() = default;
  HostValue(Tensor t) : kind(Kind::tensor), tensor(std::move(t)) {}
  static HostValue sequence(std::vector<HostValue> v) {
    HostValue h;
    h.kind = Kind::sequence;
    h.items = std::move(v);
    return h;
  }
};

// The other ranks, as one of them sees them. A collective op is run by all ranks of its group, each with its own operand.
struct RankExchange {
  virtual ~RankExchange() = default;
  virtual Result<Tensor> run(const Op& collective, const Tensor& mine) = 0;
  // To and from the rank of another stage that differs from this one by that alone.
  virtual Status send(const Op& op, const Tensor& mine) = 0;
  virtual Result<Tensor> recv(const Op& op) = 0;
};

// What an op's eval sees. Concrete inputs; absent optional operands have kind none.
struct EvalCall {
  const Op& op;
  std::vector<const HostValue*> in;
  // Runs a nested graph of the op (control flow).
  Result<std::vector<HostValue>> (*run_graph)(const Graph& g, std::vector<HostValue> inputs, void* state);
  void* state;
  const SymbolValues* symbols = nullptr;  // what is known of the graph's symbols
  RankExchange* ranks = nullptr;          // null: there is one rank

  bool has(int i) const { return i < static_cast<int>(in.size()) && in[i]->kind != HostValue::Kind::none; }
  const Tensor& tensor(int i) const {
    CHECK(has(i) && in[i]->kind == HostValue::Kind::tensor);
    return in[i]->tensor;
  }
  template <class T>
  const T& attr() const { return op.attr<T>(); }
};

// The carrier of a dtype: f(double{}), f(int64_t{}), f(uint64_t{}) or f(std::complex<double>{}). Strings CHECK.
template <class F>
auto with_carrier(DType t, F&& f) {
  switch (dtype_class(t)) {
    case 'f': return f(double{});
    case 'i': case 'b': return f(int64_t{});
    case 'u': return f(uint64_t{});
    case 'c': return f(std::complex<double>{});
    default: UNREACHABLE();
  }
}
// Rows between a tensor's bytes and a carrier; offset and n in elements.
void load_row(const Tensor& t, int64_t offset, double* dst, int64_t n);
void load_row(const Tensor& t, int64_t offset, int64_t* dst, int64_t n);
void load_row(const Tensor& t, int64_t offset, uint64_t* dst, int64_t n);
void load_row(const Tensor& t, int64_t offset, std::complex<double>* dst, int64_t n);
void store_row(Tensor& t, int64_t offset, const double* src, int64_t n, bool saturate = true);
void store_row(Tensor& t, int64_t offset, const int64_t* src, int64_t n);
void store_row(Tensor& t, int64_t offset, const uint64_t* src, int64_t n);
void store_row(Tensor& t, int64_t offset, const std::complex<double>* src, int64_t n);

// Whole tensors as a carrier vector. load_all<double> also reads integer and bool tensors; load_all<int64_t> any integer.
template <class T>
std::vector<T> load_all(const Tensor& t);
template <> std::vector<double> load_all<double>(const Tensor& t);
template <> std::vector<int64_t> load_all<int64_t>(const Tensor& t);
template <> std::vector<uint64_t> load_all<uint64_t>(const Tensor& t);
template <> std::vector<std::complex<double>> load_all<std::complex<double>>(const Tensor& t);
template <class T>
Result<Tensor> store_all(DType t, std::vector<int64_t> dims, const std::vector<T>& v) {
  TRY_ASSIGN(Tensor out, Tensor::make(t, std::move(dims)));
  CHECK(static_cast<int64_t>(v.size()) == out.numel());
  store_row(out, 0, v.data(), out.numel());
  return out;
}

// A dense view for host functions; strings: data is the first std::string.
TensorView view_of(const Tensor& t);
Result<Tensor> tensor_of(const Constant& c);
Result<std::vector<HostValue>> one(Result<Tensor> t);  // a single result

}  // namespace weft
