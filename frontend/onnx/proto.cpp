#include "frontend/onnx/proto.h"

#include "ir/ops/sequence.h"

namespace weft {

namespace {
using TP = pb::TensorProto;
struct DTypeRow {
  int number;
  DType type;
  const char* word;
};
constexpr DTypeRow kDTypes[] = {
    {TP::FLOAT, DType::f32, "FLOAT"},
    {TP::UINT8, DType::u8, "UINT8"},
    {TP::INT8, DType::i8, "INT8"},
    {TP::UINT16, DType::u16, "UINT16"},
    {TP::INT16, DType::i16, "INT16"},
    {TP::INT32, DType::i32, "INT32"},
    {TP::INT64, DType::i64, "INT64"},
    {TP::STRING, DType::str, "STRING"},
    {TP::BOOL, DType::b1, "BOOL"},
    {TP::FLOAT16, DType::f16, "FLOAT16"},
    {TP::DOUBLE, DType::f64, "DOUBLE"},
    {TP::UINT32, DType::u32, "UINT32"},
    {TP::UINT64, DType::u64, "UINT64"},
    {TP::COMPLEX64, DType::c64, "COMPLEX64"},
    {TP::COMPLEX128, DType::c128, "COMPLEX128"},
    {TP::BFLOAT16, DType::bf16, "BFLOAT16"},
    {TP::FLOAT8E4M3FN, DType::f8e4m3fn, "FLOAT8E4M3FN"},
    {TP::FLOAT8E4M3FNUZ, DType::f8e4m3fnuz, "FLOAT8E4M3FNUZ"},
    {TP::FLOAT8E5M2, DType::f8e5m2, "FLOAT8E5M2"},
    {TP::FLOAT8E5M2FNUZ, DType::f8e5m2fnuz, "FLOAT8E5M2FNUZ"},
    {TP::UINT4, DType::u4, "UINT4"},
    {TP::INT4, DType::i4, "INT4"},
    {TP::FLOAT4E2M1, DType::f4e2m1, "FLOAT4E2M1"},
    {TP::FLOAT8E8M0, DType::f8e8m0, "FLOAT8E8M0"},
    {TP::UINT2, DType::u2, "UINT2"},
    {TP::INT2, DType::i2, "INT2"},
};

Result<Shape> shape_from_onnx(const pb::TensorShapeProto& s, DimReader& dims, int max_rank) {
  if (s.dim_size() > max_rank) return resources("a type has rank " + std::to_string(s.dim_size()) + ", the limit is " + std::to_string(max_rank));
  Shape out;
  for (const auto& d : s.dim()) {
    TRY_ASSIGN(Dim dim, dims.dim(d));
    out.push_back(std::move(dim));
  }
  return out;
}
}  // namespace

Result<DType> dtype_from_onnx(int64_t number) {
  for (const DTypeRow& r : kDTypes)
    if (r.number == number) return r.type;
  return invalid("unknown element type " + std::to_string(number));
}
Result<DType> dtype_from_onnx_word(const std::string& word) {
  for (const DTypeRow& r : kDTypes)
    if (r.word == word) return r.type;
  return invalid("unknown element type `" + word + "`");
}
int dtype_to_onnx(DType t) {
  for (const DTypeRow& r : kDTypes)
    if (r.type == t) return r.number;
  UNREACHABLE();
}

Result<Type> type_from_onnx(const pb::TypeProto& t, DimReader& dims, int max_rank) {
  switch (t.value_case()) {
    case pb::TypeProto::kTensorType: {
      TRY_ASSIGN(DType dtype, dtype_from_onnx(t.tensor_type().elem_type()));
      if (!t.tensor_type().has_shape()) return Type::unranked(dtype);
      TRY_ASSIGN(Shape shape, shape_from_onnx(t.tensor_type().shape(), dims, max_rank));
      return Type::tensor(dtype, std::move(shape));
    }
    case pb::TypeProto::kSequenceType: {
      TRY_ASSIGN(Type e, type_from_onnx(t.sequence_type().elem_type(), dims, max_rank));
      return declared_sequence(std::move(e));
    }
    case pb::TypeProto::kOptionalType: {
      TRY_ASSIGN(Type e, type_from_onnx(t.optional_type().elem_type(), dims, max_rank));
      return Type::optional(std::move(e));
    }
    case pb::TypeProto::kMapType: {
      TRY_ASSIGN(DType key, dtype_from_onnx(t.map_type().key_type()));
      TRY_ASSIGN(Type v, type_from_onnx(t.map_type().value_type(), dims, max_rank));
      return Type::map(key, std::move(v));
    }
    case pb::TypeProto::kSparseTensorType: return unsupported("sparse tensor types");
    case pb::TypeProto::kOpaqueType: return unsupported("opaque types");
    case pb::TypeProto::VALUE_NOT_SET: return Type();
  }
  return Type();
}

pb::TypeProto type_to_onnx(const Type& t) {
  pb::TypeProto p;
  switch (t.kind) {
    case Type::Kind::none: break;
    case Type::Kind::tensor: {
      auto* tensor = p.mutable_tensor_type();
      tensor->set_elem_type(dtype_to_onnx(t.dtype));
      if (!t.ranked) break;
      auto* shape = tensor->mutable_shape();
      for (const Dim& d : t.shape) {
        auto* dim = shape->add_dim();
        if (d.is_const()) dim->set_dim_value(d.value());
        else dim->set_dim_param(d.to_string());
      }
      break;
    }
    case Type::Kind::sequence: *p.mutable_sequence_type()->mutable_elem_type() = type_to_onnx(*t.elem); break;
    case Type::Kind::optional: *p.mutable_optional_type()->mutable_elem_type() = type_to_onnx(*t.elem); break;
    case Type::Kind::map:
      p.mutable_map_type()->set_key_type(dtype_to_onnx(t.key));
      *p.mutable_map_type()->mutable_value_type() = type_to_onnx(*t.elem);
      break;
  }
  return p;
}

}  // namespace weft
