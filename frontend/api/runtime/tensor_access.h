// Between the public Tensor and the runtime's TensorView.
#pragma once

#include "ir/base/tensor_view.h"
#include "weft/tensor.h"

namespace weft::api {

struct TensorAccess {
  // Into `out`, whose vectors keep their capacity.
  static void to_view(const Tensor& t, TensorView& out) {
    out.data = t.data_;
    out.dtype = t.dtype_;
    out.device = t.device_;
    out.dims.assign(t.dims_.begin(), t.dims_.end());
    out.strides.assign(t.strides_.begin(), t.strides_.end());
  }
  // A view that owns nothing.
  static void from_view(const TensorView& v, Tensor& out) {
    out.defined_ = true;
    out.read_only_ = false;
    out.dtype_ = v.dtype;
    out.device_ = v.device;
    out.data_ = v.data;
    out.dims_.assign(v.dims.begin(), v.dims.end());
    out.strides_.assign(v.strides.begin(), v.strides.end());
    if (out.owner_) out.owner_.reset();
  }
  static void place(Tensor& t, int device) { t.device_ = device; }
  static void own(Tensor& t, std::shared_ptr<const void> owner) { t.owner_ = std::move(owner); }
  static const std::shared_ptr<const void>& owner(const Tensor& t) { return t.owner_; }
};

}  // namespace weft::api
