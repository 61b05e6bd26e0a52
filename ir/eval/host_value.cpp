// Tensors of the reference evaluator: allocation, rows in and out of the carriers, constants as tensors.
#include "ir/eval/host_value.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "ir/base/text.h"

namespace weft {

Result<Tensor> Tensor::make(DType t, std::vector<int64_t> dims) {
  // Zero dims count as 1 here, so that no product of the others can overflow later.
  int64_t bytes = t == DType::str ? static_cast<int64_t>(sizeof(std::string)) : byte_size(t);
  for (int64_t d : dims) {
    if (d < 0) return invalid("a tensor would have the negative dim " + std::to_string(d));
    if (__builtin_mul_overflow(bytes, d ? d : 1, &bytes) || bytes > kMaxTensorBytes)
      return resources("a tensor " + std::string(dtype_name(t)) + "[" + shape_text(to_shape(dims)) + "] would be larger than " +
                       human_bytes(static_cast<double>(kMaxTensorBytes)));
  }
  Tensor out;
  out.dtype = t;
  out.dims = std::move(dims);
  if (t == DType::str) {
    out.strings = std::make_shared<std::vector<std::string>>(out.numel());
    return out;
  }
  void* p = std::calloc(static_cast<size_t>(std::max<int64_t>(out.bytes(), 1)), 1);
  if (!p) return resources("out of memory: " + human_bytes(static_cast<double>(out.bytes())));
  out.data = std::shared_ptr<std::byte>(static_cast<std::byte*>(p), [](std::byte* b) { std::free(b); });
  return out;
}

static const std::byte* at(const Tensor& t, int64_t offset) { return t.data.get() + offset * byte_size(t.dtype); }
static std::byte* at(Tensor& t, int64_t offset) { return t.data.get() + offset * byte_size(t.dtype); }

// Reads integers as T, whatever their signedness.
template <class T>
static void load_integers(const Tensor& t, int64_t offset, T* dst, int64_t n) {
  if (is_unsigned_int(t.dtype)) load_row_u64(t.dtype, at(t, offset), reinterpret_cast<uint64_t*>(dst), n);
  else load_row_i64(t.dtype, at(t, offset), reinterpret_cast<int64_t*>(dst), n);
}

void load_row(const Tensor& t, int64_t offset, double* dst, int64_t n) {
  if (is_float(t.dtype)) return load_row_f64(t.dtype, at(t, offset), dst, n);
  CHECK(is_int(t.dtype) || t.dtype == DType::b1);
  constexpr int64_t kChunk = 256;
  int64_t buf[kChunk];
  for (int64_t k = 0; k < n; k += kChunk) {
    int64_t m = std::min(kChunk, n - k);
    load_integers(t, offset + k, buf, m);
    for (int64_t j = 0; j < m; ++j)
      dst[k + j] = is_unsigned_int(t.dtype) ? static_cast<double>(static_cast<uint64_t>(buf[j])) : static_cast<double>(buf[j]);
  }
}
void load_row(const Tensor& t, int64_t offset, int64_t* dst, int64_t n) {
  CHECK(is_int(t.dtype) || t.dtype == DType::b1);
  load_integers(t, offset, dst, n);
}
void load_row(const Tensor& t, int64_t offset, uint64_t* dst, int64_t n) {
  CHECK(is_int(t.dtype) || t.dtype == DType::b1);
  load_integers(t, offset, dst, n);
}
void load_row(const Tensor& t, int64_t offset, std::complex<double>* dst, int64_t n) {
  if (t.dtype == DType::c128) {
    std::memcpy(static_cast<void*>(dst), at(t, offset), static_cast<size_t>(n) * 16);
    return;
  }
  CHECK(t.dtype == DType::c64);
  for (int64_t k = 0; k < n; ++k) {
    float v[2];
    std::memcpy(v, at(t, offset + k), sizeof v);
    dst[k] = {v[0], v[1]};
  }
}

void store_row(Tensor& t, int64_t offset, const double* src, int64_t n, bool saturate) {
  CHECK(is_float(t.dtype));
  store_row_f64(t.dtype, src, at(t, offset), n, saturate);
}
// Two's complement storing is the same for both signednesses.
void store_row(Tensor& t, int64_t offset, const int64_t* src, int64_t n) {
  if (is_unsigned_int(t.dtype)) return store_row_u64(t.dtype, reinterpret_cast<const uint64_t*>(src), at(t, offset), n);
  CHECK(is_signed_int(t.dtype) || t.dtype == DType::b1);
  store_row_i64(t.dtype, src, at(t, offset), n);
}
void store_row(Tensor& t, int64_t offset, const uint64_t* src, int64_t n) {
  store_row(t, offset, reinterpret_cast<const int64_t*>(src), n);
}
void store_row(Tensor& t, int64_t offset, const std::complex<double>* src, int64_t n) {
  if (t.dtype == DType::c128) {
    std::memcpy(at(t, offset), static_cast<const void*>(src), static_cast<size_t>(n) * 16);
    return;
  }
  CHECK(t.dtype == DType::c64);
  for (int64_t k = 0; k < n; ++k) {
    float v[2] = {static_cast<float>(src[k].real()), static_cast<float>(src[k].imag())};
    std::memcpy(at(t, offset + k), v, sizeof v);
  }
}

template <class T>
static std::vector<T> load_rows(const Tensor& t) {
  std::vector<T> v(static_cast<size_t>(t.numel()));
  load_row(t, 0, v.data(), t.numel());
  return v;
}
template <> std::vector<double> load_all<double>(const Tensor& t) { return load_rows<double>(t); }
template <> std::vector<int64_t> load_all<int64_t>(const Tensor& t) { return load_rows<int64_t>(t); }
template <> std::vector<uint64_t> load_all<uint64_t>(const Tensor& t) { return load_rows<uint64_t>(t); }
template <> std::vector<std::complex<double>> load_all<std::complex<double>>(const Tensor& t) { return load_rows<std::complex<double>>(t); }

TensorView view_of(const Tensor& t) {
  TensorView v;
  v.data = t.dtype == DType::str ? static_cast<void*>(t.strings->data()) : t.data.get();
  v.dtype = t.dtype;
  v.dims = t.dims;
  v.strides = dense_strides(t.dims);
  return v;
}

// The bytes of a constant as shared data without a copy, when they are aligned.
static std::shared_ptr<std::byte> share(const Constant& c) {
  const std::byte* p = c.data();
  if (!p || reinterpret_cast<uintptr_t>(p) % 16 != 0) return nullptr;
  // Tensor data is immutable once shared, so the cast never leads to a write.
  std::byte* q = const_cast<std::byte*>(p);
  if (c.source == Constant::Source::bytes) return {c.bytes, q};
  return {c.file, q};
}

Result<Tensor> tensor_of(const Constant& c) {
  if (c.source == Constant::Source::absent) return resources("weight " + c.name + " was left out when the model was read");
  if (auto data = share(c)) {
    Tensor t;
    t.dtype = c.dtype;
    t.dims = c.dims;
    t.data = std::move(data);
    return t;
  }
  TRY_ASSIGN(Tensor t, Tensor::make(c.dtype, c.dims));
  int64_t n = t.numel();
  if (n == 0) return t;  // no elements may have no address
  switch (c.source) {
    case Constant::Source::absent: break;
    case Constant::Source::strings: *t.strings = *c.strings; break;
    case Constant::Source::splat: {
      size_t size = byte_size(c.dtype);
      for (int64_t k = 0; k < n; ++k) std::memcpy(t.data.get() + k * size, c.bytes->data(), size);
      break;
    }
    case Constant::Source::bytes:
    case Constant::Source::file:
      if (c.data()) std::memcpy(t.data.get(), c.data(), static_cast<size_t>(t.bytes()));
      else unpack_subbyte(c.dtype, c.file->data() + c.offset, t.data.get(), n);
  }
  return t;
}

Result<std::vector<HostValue>> one(Result<Tensor> t) {
  if (!t.ok()) return std::move(t.error());
  std::vector<HostValue> v;
  v.emplace_back(std::move(t).value());
  return v;
}

}  // namespace weft
