// The public Tensor: views, owned memory, copies.
#include <cstdlib>
#include <cstring>
#include <new>

#include "frontend/api/runtime/tensor_access.h"
#include "ir/base/result.h"
#include "runtime/executor/strided.h"

namespace weft::api {

namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kMaxBytes = int64_t{1} << 56;  // more than any machine has, and far from overflow in bits

// The number of elements; false when a dim is negative or the bytes do not fit.
bool count(DType t, const Tensor::Dims& dims, int64_t* elements) {
  int64_t n = 1, size = dtype_class(t) == 's' ? static_cast<int64_t>(sizeof(std::string)) : byte_size(t), bytes = 0;
  for (int64_t d : dims)
    if (d < 0) return false;
  for (int64_t d : dims)
    if (d == 0) return *elements = 0, true;
  for (int64_t d : dims)
    if (__builtin_mul_overflow(n, d, &n)) return false;
  *elements = n;
  return !__builtin_mul_overflow(n, size, &bytes) && bytes <= kMaxBytes;
}

std::string dims_text(const Tensor::Dims& dims) {
  std::string s;
  for (int64_t d : dims) s += (s.empty() ? "" : ",") + std::to_string(d);
  return "[" + s + "]";
}

template <class T>
void copy_elements(const Tensor& from, T* to) {
  const auto* data = static_cast<const T*>(from.data());
  std::vector<int64_t> at(from.dims().size(), 0);
  int64_t n = from.numel(), offset = 0;
  for (int64_t i = 0; i < n; ++i) {
    to[i] = data[offset];
    for (int k = from.rank() - 1; k >= 0; --k) {
      offset += from.strides()[k];
      if (++at[k] < from.dims()[k]) break;
      offset -= from.strides()[k] * from.dims()[k];
      at[k] = 0;
    }
  }
}

}  // namespace

Tensor Tensor::view(void* data, DType dtype, Dims dims, Dims strides) {
  Tensor t;
  t.defined_ = true;
  t.dtype_ = dtype;
  t.data_ = data;
  t.strides_ = strides.empty() ? dense_strides(dims) : std::move(strides);
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::view(const void* data, DType dtype, Dims dims, Dims strides) {
  Tensor t = view(const_cast<void*>(data), dtype, std::move(dims), std::move(strides));
  t.read_only_ = true;
  return t;
}

Tensor Tensor::view_on_gpu(int device, void* data, DType dtype, Dims dims, Dims strides) {
  Tensor t = view(data, dtype, std::move(dims), std::move(strides));
  t.device_ = device;
  return t;
}

Result<Tensor> Tensor::make(DType dtype, Dims dims) {
  int64_t n = 0;
  if (!count(dtype, dims, &n)) {
    for (int64_t d : dims)
      if (d < 0) return usage("a tensor cannot have the dims " + dims_text(dims));
    return resources("a tensor of dims " + dims_text(dims) + " is larger than any memory");
  }
  Tensor t;
  if (dtype == DType::str) {
    std::shared_ptr<std::string> strings(new (std::nothrow) std::string[static_cast<size_t>(n)], std::default_delete<std::string[]>());
    if (!strings) return resources("no memory for a tensor of " + std::to_string(n) + " strings");
    t = view(static_cast<void*>(strings.get()), dtype, std::move(dims));
    t.owner_ = std::move(strings);
    return t;
  }
  auto bytes = static_cast<size_t>(packed_bytes(dtype, n));
  size_t rounded = (bytes + kAlignment) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (!memory) return resources("no memory for a tensor of " + std::to_string(bytes) + " bytes");
  std::memset(memory, 0, rounded);
  t = view(memory, dtype, std::move(dims));
  t.owner_ = std::shared_ptr<const void>(memory, [](const void* p) { std::free(const_cast<void*>(p)); });
  return t;
}

Error Tensor::wrong_count(int64_t want, int64_t got) {
  return usage(std::to_string(got) + " values are given for a tensor of " + std::to_string(want) + " elements");
}

int64_t Tensor::numel() const {
  int64_t n = defined_ ? 1 : 0;
  for (int64_t d : dims_) n *= d;
  return n;
}

int64_t Tensor::bytes() const { return packed_bytes(dtype_, numel()); }

bool Tensor::contiguous() const {
  int64_t expect = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (dims_[i] != 1 && strides_[i] != expect) return false;
    expect *= dims_[i];
  }
  return true;
}

Result<Tensor> Tensor::copy() const {
  if (!defined_) return Tensor();
  if (device_ != kHost) {
    Error e = usage("a tensor on GPU " + std::to_string(device_) + " cannot be copied by the host");
    return e.with_hint("Executable::download brings it to the host"), e;
  }
  if (strides_.size() != dims_.size())
    return usage("a tensor with " + std::to_string(strides_.size()) + " strides for " + std::to_string(dims_.size()) + " dims");
  TRY_ASSIGN(Tensor out, make(dtype_, dims_));
  if (out.numel() == 0) return out;
  if (dtype_ == DType::str) return copy_elements(*this, static_cast<std::string*>(out.data_)), out;
  StridedRef to{static_cast<std::byte*>(out.data_), dtype_, rank(), out.dims_.data(), out.strides_.data()};
  StridedRef from{static_cast<std::byte*>(data_), dtype_, rank(), dims_.data(), strides_.data()};
  strided_copy(to, from, nullptr);
  return out;
}

std::string Tensor::describe() const { return defined_ ? dtype_name(dtype_) + dims_text(dims_) : "no tensor"; }

}  // namespace weft::api
