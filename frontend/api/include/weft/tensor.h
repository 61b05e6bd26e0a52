// Tensor: elements that a model reads or writes, owned or the caller's. Part of the public API.
//
// A Tensor is a handle: copies share the elements. Dims and strides count elements; strides may be 0 or negative. Elements
// narrower than a byte (i4, u2, f4e2m1, …) lie packed, low bits first, rows following each other without padding, as ONNX
// stores them. bool is one byte, 0 or 1. A tensor of strings (dtype str) holds std::string objects. The elements lie in the
// host's memory, or on a GPU (device() says which): see Executable::upload.
// Thread safety: like std::vector.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/error.h"

struct DLManagedTensor;
struct DLManagedTensorVersioned;

namespace weft::api {

namespace detail {
template <class T>
constexpr bool kIsElement = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, bool> ||
                            (std::is_integral_v<T> && sizeof(T) <= 8) || std::is_same_v<T, std::complex<float>> ||
                            std::is_same_v<T, std::complex<double>> || std::is_same_v<T, std::string>;
}  // namespace detail

// The dtype of a C++ type: float, double, bool, the integers, std::complex of float and double, std::string.
template <class T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  static_assert(detail::kIsElement<U>, "no dtype of this C++ type: use the overload that names it");
  if constexpr (std::is_same_v<U, float>) return DType::f32;
  else if constexpr (std::is_same_v<U, double>) return DType::f64;
  else if constexpr (std::is_same_v<U, bool>) return DType::b1;
  else if constexpr (std::is_same_v<U, std::complex<float>>) return DType::c64;
  else if constexpr (std::is_same_v<U, std::complex<double>>) return DType::c128;
  else if constexpr (std::is_same_v<U, std::string>) return DType::str;
  else if constexpr (std::is_signed_v<U>) return sizeof(U) == 8 ? DType::i64 : sizeof(U) == 4 ? DType::i32 : sizeof(U) == 2 ? DType::i16 : DType::i8;
  else return sizeof(U) == 8 ? DType::u64 : sizeof(U) == 4 ? DType::u32 : sizeof(U) == 2 ? DType::u16 : DType::u8;
}

class Tensor {
 public:
  using Dims = std::vector<int64_t>;

  static constexpr int kHost = -1;

  // No tensor at all: empty() is true.
  Tensor() = default;

  // The caller's memory, which must outlive every use. Row-major unless strides are given. A view of const elements may be
  // an input, never an output.
  template <class T>
  static Tensor view(T* data, Dims dims) {
    if constexpr (std::is_const_v<T>) return view(static_cast<const void*>(data), dtype_of<T>(), std::move(dims));
    else return view(static_cast<void*>(data), dtype_of<T>(), std::move(dims));
  }
  static Tensor view(void* data, DType dtype, Dims dims, Dims strides = {});
  static Tensor view(const void* data, DType dtype, Dims dims, Dims strides = {});
  // Memory of the GPU of that number (DLPack's device_id).
  static Tensor view_on_gpu(int device, void* data, DType dtype, Dims dims, Dims strides = {});
  // Zero-filled (strings: empty), row-major, aligned to 64 bytes. Error kUsage for a negative dim, kResources when the
  // memory is not there.
  static Result<Tensor> make(DType dtype, Dims dims);
  // A copy of the values, row-major. Error kUsage when their number is not the product of the dims.
  template <class T>
  static Result<Tensor> of(const std::vector<T>& values, Dims dims) {
    Result<Tensor> t = make(dtype_of<T>(), std::move(dims));
    if (!t.ok()) return t;
    if (t->numel() != static_cast<int64_t>(values.size())) return wrong_count(t->numel(), static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) t->template data_as<T>()[i] = values[i];
    return t;
  }

  // Takes over one reference: the tensor's deleter runs when the last copy is gone, at once if this fails. Error
  // kUnsupported for memory that is neither the host's nor a CUDA device's, more than one lane, an unknown dtype, or a major version other than 1.
  static Result<Tensor> from_dlpack(DLManagedTensor* tensor);
  static Result<Tensor> from_dlpack(DLManagedTensorVersioned* tensor);
  // Shares the elements: the receiver calls `deleter`. Error kUnsupported for strings, kUsage for an empty tensor. A view
  // keeps no memory alive.
  Result<DLManagedTensorVersioned*> to_dlpack() const;

  bool empty() const { return !defined_; }
  DType dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  const Dims& strides() const { return strides_; }
  int rank() const { return static_cast<int>(dims_.size()); }
  int64_t numel() const;
  // Bytes of the elements, packed.
  int64_t bytes() const;
  bool contiguous() const;
  bool read_only() const { return read_only_; }
  int device() const { return device_; }  // kHost, or a GPU's number

  // Where element [0,0,…] lies; null in an empty tensor. mutable_data is null for a read-only one.
  const void* data() const { return data_; }
  void* mutable_data() const { return read_only_ ? nullptr : data_; }
  // Null when T is not the type of the elements.
  template <class T>
  T* data_as() const {
    if (dtype_of<T>() != dtype_ || (read_only_ && !std::is_const_v<T>)) return nullptr;
    return static_cast<T*>(data_);
  }

  // An owning, row-major copy. Error kUsage for elements on a GPU.
  Result<Tensor> copy() const;
  // "f32[1,3,224,224]"
  std::string describe() const;

 private:
  friend struct TensorAccess;
  static Error wrong_count(int64_t want, int64_t got);

  bool defined_ = false, read_only_ = false;
  int device_ = kHost;
  DType dtype_ = DType::f32;
  void* data_ = nullptr;
  Dims dims_, strides_;
  std::shared_ptr<const void> owner_;
};

}  // namespace weft::api
