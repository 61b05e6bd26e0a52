#include "frontend/onnx/tensor_io.h"

#include <cstring>
#include <fstream>

#include "frontend/onnx/proto.h"
#include "onnx/onnx-data.pb.h"

namespace weft {

namespace {

const TensorSource kNoSource;

// Sequences of sequences of ...: the type says how deep, and it is the model's.
Result<HostValue> from_sequence(const pb::SequenceProto& p, const Type& type);
Result<HostValue> from_map(const pb::MapProto& p, const Type& type);
Result<HostValue> from_optional(const pb::OptionalProto& p, const Type& type);

Error wrong_kind(const Type& type) { return invalid("the file does not hold a value of type " + type.to_string()); }

template <class List, class Read>
Result<HostValue> read_items(const List& list, Read read) {
  std::vector<HostValue> items;
  for (const auto& item : list) {
    TRY_ASSIGN(HostValue v, read(item));
    items.push_back(std::move(v));
  }
  return HostValue::sequence(std::move(items));
}

Result<HostValue> from_sequence(const pb::SequenceProto& p, const Type& type) {
  const Type& e = *type.elem;
  using S = pb::SequenceProto;
  switch (p.elem_type()) {
    case S::TENSOR: return read_items(p.tensor_values(), [](const auto& t) { return tensor_from_proto(t, kNoSource); });
    case S::SEQUENCE:
      if (e.kind != Type::Kind::sequence) return wrong_kind(type);
      return read_items(p.sequence_values(), [&](const auto& s) { return from_sequence(s, e); });
    case S::MAP:
      if (e.kind != Type::Kind::map) return wrong_kind(type);
      return read_items(p.map_values(), [&](const auto& m) { return from_map(m, e); });
    case S::OPTIONAL:
      if (e.kind != Type::Kind::optional) return wrong_kind(type);
      return read_items(p.optional_values(), [&](const auto& o) { return from_optional(o, e); });
    case S::UNDEFINED: return HostValue::sequence({});
    default: return unsupported("sequences of sparse tensors");
  }
}

Result<HostValue> from_map(const pb::MapProto& p, const Type& type) {
  TRY_ASSIGN(HostValue v, from_sequence(p.values(), Type::sequence(*type.elem)));
  v.kind = HostValue::Kind::map;
  TRY_ASSIGN(DType key, dtype_from_onnx(p.key_type()));
  if (key == DType::str) {
    for (const std::string& k : p.string_keys()) {
      TRY_ASSIGN(Tensor t, Tensor::make(DType::str, {}));
      t.strings = std::make_shared<std::vector<std::string>>(1, k);
      v.keys.push_back(std::move(t));
    }
  } else {
    for (int64_t k : p.keys()) {
      TRY_ASSIGN(Tensor t, store_all(DType::i64, {}, std::vector<int64_t>{k}));
      v.keys.push_back(std::move(t));
    }
  }
  if (v.keys.size() != v.items.size()) return invalid("a map has more keys than values, or fewer");
  return v;
}

Result<HostValue> from_optional(const pb::OptionalProto& p, const Type& type) {
  using O = pb::OptionalProto;
  const Type& e = *type.elem;
  if (p.has_tensor_value()) {
    TRY_ASSIGN(Tensor t, tensor_from_proto(p.tensor_value(), kNoSource));
    return HostValue(std::move(t));
  }
  if (p.has_sequence_value()) return e.kind == Type::Kind::sequence ? from_sequence(p.sequence_value(), e) : Result<HostValue>(wrong_kind(type));
  if (p.has_map_value()) return e.kind == Type::Kind::map ? from_map(p.map_value(), e) : Result<HostValue>(wrong_kind(type));
  if (p.has_optional_value()) return e.kind == Type::Kind::optional ? from_optional(p.optional_value(), e) : Result<HostValue>(wrong_kind(type));
  if (p.elem_type() == O::SPARSE_TENSOR) return unsupported("optional sparse tensors");
  return HostValue();
}

Status to_proto(const HostValue& v, const Type& type, pb::SequenceProto& p) {
  if (v.kind != HostValue::Kind::sequence || type.kind != Type::Kind::sequence) return wrong_kind(type);
  const Type& e = *type.elem;
  p.set_elem_type(e.is_tensor() ? pb::SequenceProto::TENSOR : pb::SequenceProto::SEQUENCE);
  for (const HostValue& item : v.items) {
    if (e.is_tensor()) tensor_to_proto(item.tensor, *p.add_tensor_values());
    else TRY(to_proto(item, e, *p.add_sequence_values()));
  }
  return {};
}

Status to_proto(const HostValue& v, const Type& type, pb::OptionalProto& p) {
  const Type& e = *type.elem;
  if (e.is_tensor()) {
    p.set_elem_type(pb::OptionalProto::TENSOR);
    if (v.kind == HostValue::Kind::tensor) tensor_to_proto(v.tensor, *p.mutable_tensor_value());
    return {};
  }
  if (e.kind != Type::Kind::sequence) return unsupported("writing a value of type " + type.to_string());
  p.set_elem_type(pb::OptionalProto::SEQUENCE);
  return v.kind == HostValue::Kind::none ? Status() : to_proto(v, e, *p.mutable_sequence_value());
}

// protobuf throws nothing of its own, but strings and vectors may.
template <class F>
auto guarded(F f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& e) {
    return resources(std::string("reading or writing a value failed: ") + e.what());
  }
}

template <class Proto>
Result<Proto> parse_file(const std::string& path) {
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  Proto p;
  if (file->size() > INT32_MAX || !p.ParseFromArray(file->data(), static_cast<int>(file->size())))
    return invalid("not a protobuf value file: " + path);
  return p;
}

template <class Proto>
Status save(const Proto& p, const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  if (!out || !p.SerializeToOstream(&out) || !out.flush()) return resources("cannot write " + path);
  return {};
}

}  // namespace

Result<HostValue> read_value_file(const std::string& path, const Type& type) {
  auto r = guarded([&]() -> Result<HostValue> {
    switch (type.kind) {
      case Type::Kind::sequence: {
        TRY_ASSIGN(auto p, parse_file<pb::SequenceProto>(path));
        return from_sequence(p, type);
      }
      case Type::Kind::optional: {
        TRY_ASSIGN(auto p, parse_file<pb::OptionalProto>(path));
        return from_optional(p, type);
      }
      case Type::Kind::map: {
        TRY_ASSIGN(auto p, parse_file<pb::MapProto>(path));
        return from_map(p, type);
      }
      default: {
        TRY_ASSIGN(auto p, parse_file<pb::TensorProto>(path));
        TRY_ASSIGN(Tensor t, tensor_from_proto(p, kNoSource));
        return HostValue(std::move(t));
      }
    }
  });
  if (!r.ok()) r.error().prefix(path + ": ");
  return r;
}

Status write_value_file(const std::string& path, const HostValue& v, const Type& type, const std::string& name) {
  return guarded([&]() -> Status {
    if (type.kind == Type::Kind::sequence) {
      pb::SequenceProto p;
      p.set_name(name);
      TRY(to_proto(v, type, p));
      return save(p, path);
    }
    if (type.kind == Type::Kind::optional) {
      pb::OptionalProto p;
      p.set_name(name);
      TRY(to_proto(v, type, p));
      return save(p, path);
    }
    if (v.kind != HostValue::Kind::tensor) return unsupported("writing a value of type " + type.to_string());
    pb::TensorProto p;
    p.set_name(name);
    tensor_to_proto(v.tensor, p);
    return save(p, path);
  });
}

Result<std::string> value_file_name(const std::string& path, const Type& type) {
  return guarded([&]() -> Result<std::string> {
    if (type.kind == Type::Kind::sequence) {
      TRY_ASSIGN(auto p, parse_file<pb::SequenceProto>(path));
      return p.name();
    }
    if (type.kind == Type::Kind::optional) {
      TRY_ASSIGN(auto p, parse_file<pb::OptionalProto>(path));
      return p.name();
    }
    TRY_ASSIGN(auto p, parse_file<pb::TensorProto>(path));
    return p.name();
  });
}

}  // namespace weft
