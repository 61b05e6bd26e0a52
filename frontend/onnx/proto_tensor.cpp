// TensorProto and SparseTensorProto: every way in which ONNX writes a tensor down, checked in one place.
#include <cstring>

#include "frontend/onnx/proto.h"
#include "frontend/onnx/wire.h"
#include "ir/base/dtype.h"

namespace weft {

namespace {

constexpr int kMaxTensorRank = 64;
// A sparse tensor's dense form: its file says nothing about its size.
constexpr int64_t kMaxDenseBytes = int64_t{256} << 20;
using TP = pb::TensorProto;

Result<int64_t> checked_numel(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  bool zero = false, overflow = false;
  for (int64_t d : dims) {
    if (d < 0) return invalid("a tensor has the negative dim " + std::to_string(d));
    zero = zero || d == 0;
    overflow = overflow || (d > 0 && __builtin_mul_overflow(n, d, &n));
  }
  if (zero) return int64_t{0};
  // 16 bytes is the widest element.
  if (overflow || n > INT64_MAX / 16) return resources("a tensor's element count overflows");
  return n;
}

// The elements of a repeated field, each stored as T.
template <class T, class Field>
void copy_elements(const Field& from, std::vector<std::byte>& to) {
  to.resize(from.size() * sizeof(T));
  for (int i = 0; i < from.size(); ++i) {
    T v = static_cast<T>(from.Get(i));
    std::memcpy(to.data() + i * sizeof(T), &v, sizeof(T));
  }
}

// The typed data field of a tensor, as raw bytes (sub-byte types packed).
std::vector<std::byte> typed_bytes(const TP& t, DType dtype) {
  std::vector<std::byte> out;
  switch (dtype) {
    case DType::f32: case DType::c64: copy_elements<float>(t.float_data(), out); break;
    case DType::f64: case DType::c128: copy_elements<double>(t.double_data(), out); break;
    case DType::i64: copy_elements<int64_t>(t.int64_data(), out); break;
    case DType::u64: copy_elements<uint64_t>(t.uint64_data(), out); break;
    case DType::u32: copy_elements<uint32_t>(t.uint64_data(), out); break;
    case DType::i32: copy_elements<int32_t>(t.int32_data(), out); break;
    case DType::i16: case DType::u16: case DType::f16: case DType::bf16: copy_elements<uint16_t>(t.int32_data(), out); break;
    default: copy_elements<uint8_t>(t.int32_data(), out); break;  // one byte each; sub-byte types packed
  }
  return out;
}

Error wrong_size(const TensorData& d, uint64_t have, uint64_t want) {
  return invalid("a tensor of type " + std::string(dtype_name(d.dtype)) + "[" + shape_text(to_shape(d.dims)) + "] needs " + std::to_string(want) +
                 " bytes, has " + std::to_string(have));
}

// Packed bytes of `n` elements become one per element; others stay.
void take_bytes(TensorData& d, int64_t n, const std::byte* from, size_t size) {
  if (is_subbyte(d.dtype)) {
    d.bytes.resize(n);
    if (n) unpack_subbyte(d.dtype, from, d.bytes.data(), n);
  } else {
    d.bytes.assign(from, from + size);
  }
}

// The payload that the wire scan cut out, if there is one.
Result<bool> find_cut(const TP& t, const TensorSource& source, CutPayload* cut) {
  bool found = false;
  const auto& unknown = t.unknown_fields();
  for (int i = 0; i < unknown.field_count(); ++i) {
    const auto& f = unknown.field(i);
    if (f.number() != static_cast<int>(kCutField) || f.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) continue;
    if (found || !CutPayload::decode(f.length_delimited(), cut)) return invalid("a tensor has two payloads");
    found = true;
  }
  if (found && (cut->offset > source.bytes.size() || cut->size > source.bytes.size() - cut->offset))
    return invalid("a tensor's payload lies outside the file");
  return found;
}

Status read_external(const TP& t, const TensorSource& source, TensorData& d, uint64_t want) {
  if (!source.external) return invalid("external data is not allowed here");
  std::vector<ExternalEntry> entries;
  for (const auto& e : t.external_data()) entries.push_back({e.key(), e.value()});
  TRY_ASSIGN(ExternalRange r, source.external->range(entries, want));
  d.file = r.file;
  d.offset = r.offset;
  d.size = want;
  return {};
}

Status read_strings(const TP& t, TensorData& d, int64_t n) {
  if (t.has_raw_data() || t.data_location() == TP::EXTERNAL) return invalid("string tensors have neither raw nor external data");
  if (t.string_data_size() != n) return invalid("a string tensor of " + std::to_string(n) + " elements has " + std::to_string(t.string_data_size()));
  d.strings.assign(t.string_data().begin(), t.string_data().end());
  return {};
}

Result<TensorData> read_type(const TP& t) {
  TensorData d;
  TRY_ASSIGN(d.dtype, dtype_from_onnx(t.data_type()));
  d.dims.assign(t.dims().begin(), t.dims().end());
  if (t.dims_size() > kMaxTensorRank) return resources("a tensor has " + std::to_string(t.dims_size()) + " dims");
  return d;
}

Result<TensorData> read_located(const TP& t, const TensorSource& source) {
  TRY_ASSIGN(TensorData d, read_type(t));
  TRY_ASSIGN(int64_t n, checked_numel(d.dims));
  if (t.has_segment()) return unsupported("segmented tensors");
  if (d.dtype == DType::str) {
    TRY(read_strings(t, d, n));
    return d;
  }
  uint64_t want = static_cast<uint64_t>(packed_bytes(d.dtype, n));
  if (t.data_location() == TP::EXTERNAL) {
    TRY(read_external(t, source, d, want));
    return d;
  }
  CutPayload cut;
  TRY_ASSIGN(bool is_cut, find_cut(t, source, &cut));
  if (is_cut) {
    bool matches = cut.field == 9 || (cut.field == 4 && (d.dtype == DType::f32 || d.dtype == DType::c64)) ||
                   (cut.field == 10 && (d.dtype == DType::f64 || d.dtype == DType::c128));
    if (!matches || t.has_raw_data() || t.float_data_size() || t.double_data_size()) return invalid("a tensor has data of another type than its own");
    if (cut.size != want) return wrong_size(d, cut.size, want);
    if (source.file) {
      d.file = source.file;
      d.offset = cut.offset;
      d.size = want;
    } else {
      take_bytes(d, n, source.bytes.data() + cut.offset, want);
    }
    return d;
  }
  std::vector<std::byte> typed;
  const std::byte* from = reinterpret_cast<const std::byte*>(t.raw_data().data());
  size_t have = t.raw_data().size();
  if (!t.has_raw_data()) {
    typed = typed_bytes(t, d.dtype);
    from = typed.data();
    have = typed.size();
  }
  if (have != want) return wrong_size(d, have, want);
  take_bytes(d, n, from, have);
  return d;
}

}  // namespace

Result<TensorData> read_tensor(const TP& t, const TensorSource& source) {
  auto r = read_located(t, source);
  if (!r.ok()) r.error().at_tensor(t.name());
  return r;
}

// The pool's entry for a weight whose elements nobody needs; -1: it is none.
static Result<int> pool_absent(const TP& t, ConstantPool& pool, const std::string& name) {
  constexpr int64_t kReadBytes = 1 << 10;
  TRY_ASSIGN(TensorData d, read_type(t));
  TRY_ASSIGN(int64_t n, checked_numel(d.dims));
  if (d.dtype == DType::str || packed_bytes(d.dtype, n) <= kReadBytes) return -1;
  std::string place;
  for (const auto& e : t.external_data()) place += e.key() + "=" + e.value() + " ";
  return pool.add_absent(name, d.dtype, std::move(d.dims), place);
}

Result<int> pool_tensor(const TP& t, const TensorSource& source, ConstantPool& pool, std::string name) {
  if (source.shapes_only && t.data_location() == TP::EXTERNAL) {
    TRY_ASSIGN(const int id, pool_absent(t, pool, name));
    if (id >= 0) return id;
  }
  TRY_ASSIGN(TensorData d, read_tensor(t, source));
  if (d.dtype == DType::str) return pool.add_strings(std::move(name), std::move(d.dims), std::move(d.strings));
  if (d.file) return pool.add_file(std::move(name), d.dtype, std::move(d.dims), d.file, d.offset, d.size);
  return pool.add_bytes(std::move(name), d.dtype, std::move(d.dims), std::move(d.bytes));
}

Result<Tensor> tensor_from_proto(const TP& t, const TensorSource& source) {
  TRY_ASSIGN(TensorData d, read_tensor(t, source));
  TRY_ASSIGN(Tensor out, Tensor::make(d.dtype, d.dims));
  if (d.dtype == DType::str) {
    out.strings = std::make_shared<std::vector<std::string>>(std::move(d.strings));
    return out;
  }
  if (d.file) {
    const std::byte* from = d.file->data() + d.offset;
    std::shared_ptr<const MappedFile> keep = d.file;
    take_bytes(d, out.numel(), from, d.size);
  }
  if (!d.bytes.empty()) std::memcpy(out.data.get(), d.bytes.data(), d.bytes.size());
  return out;
}

void tensor_to_proto(const Tensor& t, pb::TensorProto& p) {
  p.set_data_type(dtype_to_onnx(t.dtype));
  for (int64_t d : t.dims) p.add_dims(d);
  if (t.dtype == DType::str) {
    for (const std::string& s : *t.strings) p.add_string_data(s);
    return;
  }
  std::string raw(packed_bytes(t.dtype, t.numel()), '\0');
  if (is_subbyte(t.dtype)) pack_subbyte(t.dtype, t.data.get(), raw.data(), t.numel());
  else if (!raw.empty()) std::memcpy(raw.data(), t.data.get(), raw.size());
  p.set_raw_data(std::move(raw));
}

// Positions are linear (indices of rank 1) or coordinates (rank 2).
Result<int> pool_sparse(const pb::SparseTensorProto& t, const TensorSource& source, ConstantPool& pool, std::string name) {
  std::vector<int64_t> dims(t.dims().begin(), t.dims().end());
  TRY_ASSIGN(int64_t n, checked_numel(dims));
  TRY_ASSIGN(Tensor values, tensor_from_proto(t.values(), source));
  TRY_ASSIGN(Tensor indices, tensor_from_proto(t.indices(), source));
  if (values.dtype == DType::str) return unsupported("sparse tensors of strings");
  int64_t nnz = values.numel(), rank = static_cast<int64_t>(dims.size());
  bool linear = indices.rank() == 1 && indices.numel() == nnz;
  bool coordinates = indices.rank() == 2 && indices.dims[0] == nnz && indices.dims[1] == rank;
  if (indices.dtype != DType::i64 || values.rank() != 1 || (!linear && !coordinates))
    return invalid("a sparse tensor's indices do not fit its values");
  if (n > kMaxDenseBytes / std::max(1, byte_size(values.dtype))) return resources("a sparse tensor is too large when dense");
  TRY_ASSIGN(Tensor dense, Tensor::make(values.dtype, dims));
  std::vector<int64_t> at = load_all<int64_t>(indices);
  size_t width = byte_size(values.dtype);
  for (int64_t i = 0; i < nnz; ++i) {
    int64_t pos = linear ? at[i] : 0;
    for (int64_t d = 0; !linear && d < rank; ++d) {
      int64_t c = at[i * rank + d];
      if (c < 0 || c >= dims[d]) return invalid("a sparse tensor has an index out of range");
      pos = pos * dims[d] + c;
    }
    if (pos < 0 || pos >= n) return invalid("a sparse tensor has an index out of range");
    std::memcpy(dense.data.get() + pos * width, values.data.get() + i * width, width);
  }
  std::vector<std::byte> bytes(dense.data.get(), dense.data.get() + dense.bytes());
  return pool.add_bytes(std::move(name), values.dtype, std::move(dims), std::move(bytes));
}

}  // namespace weft
