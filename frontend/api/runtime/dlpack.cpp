// DLPack in and out, of the host and of CUDA devices; sub-byte elements pass packed, as ours are.
#include "frontend/api/runtime/tensor_access.h"
#include "ir/base/result.h"
#include "weft/dlpack.h"

namespace weft::api {

namespace {

struct CodeOf {
  DType type;
  DLDataTypeCode code;
};
constexpr CodeOf kCodes[] = {
    {DType::f64, kDLFloat},      {DType::f32, kDLFloat},          {DType::f16, kDLFloat},
    {DType::bf16, kDLBfloat},    {DType::f8e4m3fn, kDLFloat8_e4m3fn}, {DType::f8e4m3fnuz, kDLFloat8_e4m3fnuz},
    {DType::f8e5m2, kDLFloat8_e5m2}, {DType::f8e5m2fnuz, kDLFloat8_e5m2fnuz}, {DType::f8e8m0, kDLFloat8_e8m0fnu},
    {DType::f4e2m1, kDLFloat4_e2m1fn},
    {DType::i64, kDLInt},        {DType::i32, kDLInt},            {DType::i16, kDLInt},
    {DType::i8, kDLInt},         {DType::i4, kDLInt},             {DType::i2, kDLInt},
    {DType::u64, kDLUInt},       {DType::u32, kDLUInt},           {DType::u16, kDLUInt},
    {DType::u8, kDLUInt},        {DType::u4, kDLUInt},            {DType::u2, kDLUInt},
    {DType::b1, kDLBool},        {DType::c64, kDLComplex},        {DType::c128, kDLComplex},
};

Result<DType> dtype_of_code(const DLDataType& t) {
  if (t.lanes != 1) return unsupported("a DLPack tensor with " + std::to_string(t.lanes) + " lanes");
  for (const CodeOf& c : kCodes)
    if (c.code == t.code && bit_width(c.type) == t.bits) return c.type;
  return unsupported("a DLPack tensor of type code " + std::to_string(t.code) + " with " + std::to_string(t.bits) + " bits");
}

Result<Tensor> view_of_dlpack(const DLTensor& t, bool read_only, bool padded) {
  const bool on_gpu = t.device.device_type == kDLCUDA;
  if (!on_gpu && t.device.device_type != kDLCPU && t.device.device_type != kDLCUDAHost)
    return unsupported("a DLPack tensor on device type " + std::to_string(t.device.device_type) + "; only memory of the host and of CUDA devices can be used");
  TRY_ASSIGN(DType type, dtype_of_code(t.dtype));
  if (padded && is_subbyte(type)) return unsupported("a DLPack tensor whose elements narrower than a byte are padded");
  if (t.ndim < 0 || (t.ndim > 0 && !t.shape)) return usage("a DLPack tensor without a shape");
  Tensor::Dims dims(t.shape, t.shape + t.ndim), strides;
  for (int64_t d : dims)
    if (d < 0) return usage("a DLPack tensor with the dim " + std::to_string(d));
  if (t.strides) strides.assign(t.strides, t.strides + t.ndim);
  void* data = static_cast<char*>(t.data) + t.byte_offset;
  Tensor out = read_only ? Tensor::view(static_cast<const void*>(data), type, std::move(dims), std::move(strides))
                         : Tensor::view(data, type, std::move(dims), std::move(strides));
  if (on_gpu) TensorAccess::place(out, t.device.device_id);
  return out;
}

template <class Managed>
Result<Tensor> adopt(Managed* tensor, bool read_only, bool padded) {
  std::shared_ptr<Managed> owner(tensor, [](Managed* t) {
    if (t->deleter) t->deleter(t);
  });
  TRY_ASSIGN(Tensor out, view_of_dlpack(tensor->dl_tensor, read_only, padded));
  TensorAccess::own(out, std::move(owner));
  return out;
}

// What to_dlpack() hands out: the struct, and the Tensor that keeps everything it points to.
struct Exported {
  DLManagedTensorVersioned managed{};
  Tensor tensor;
  Tensor::Dims dims, strides;
};

}  // namespace

Result<Tensor> Tensor::from_dlpack(DLManagedTensor* tensor) {
  if (!tensor) return usage("a null DLPack tensor");
  return adopt(tensor, false, false);
}

Result<Tensor> Tensor::from_dlpack(DLManagedTensorVersioned* tensor) {
  if (!tensor) return usage("a null DLPack tensor");
  if (tensor->version.major != DLPACK_MAJOR_VERSION) {
    // Of another major version only the first three members are where we think.
    Error e = unsupported("a DLPack tensor of version " + std::to_string(tensor->version.major) + "." + std::to_string(tensor->version.minor));
    if (tensor->deleter) tensor->deleter(tensor);
    return e;
  }
  return adopt(tensor, tensor->flags & DLPACK_FLAG_BITMASK_READ_ONLY, tensor->flags & DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED);
}

Result<DLManagedTensorVersioned*> Tensor::to_dlpack() const {
  if (empty()) return usage("an empty tensor cannot be passed as DLPack");
  const CodeOf* code = nullptr;
  for (const CodeOf& c : kCodes)
    if (c.type == dtype_) code = &c;
  if (!code) return unsupported(std::string("DLPack has no elements of type ") + dtype_name(dtype_));
  auto* out = new Exported;
  out->tensor = *this;
  out->dims = dims_;
  out->strides = strides_;
  DLManagedTensorVersioned& m = out->managed;
  m.version = {DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION};
  m.manager_ctx = out;
  m.deleter = [](DLManagedTensorVersioned* self) { delete static_cast<Exported*>(self->manager_ctx); };
  m.flags = read_only_ ? DLPACK_FLAG_BITMASK_READ_ONLY : 0;
  m.dl_tensor.data = data_;
  m.dl_tensor.device = device_ == kHost ? DLDevice{kDLCPU, 0} : DLDevice{kDLCUDA, device_};
  m.dl_tensor.ndim = rank();
  m.dl_tensor.dtype = {static_cast<uint8_t>(code->code), static_cast<uint8_t>(bit_width(dtype_)), 1};
  m.dl_tensor.shape = out->dims.data();
  m.dl_tensor.strides = out->strides.data();
  m.dl_tensor.byte_offset = 0;
  return &m;
}

}  // namespace weft::api
