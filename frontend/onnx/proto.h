// Between ONNX's messages and our types. Included by the few files that see protobuf.
#pragma once

#include "frontend/onnx/external_data.h"
#include "frontend/onnx/import.h"
#include "ir/eval/host_value.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "onnx/onnx_pb.h"
#pragma GCC diagnostic pop

namespace weft {

namespace pb = ::ONNX_NAMESPACE;

// TensorProto.DataType's numbers, and the words that Cast once took ("FLOAT16"). Error kInvalidModel for unknown ones.
Result<DType> dtype_from_onnx(int64_t number);
Result<DType> dtype_from_onnx_word(const std::string& word);
int dtype_to_onnx(DType t);

// Where a message's tensors may point to.
struct TensorSource {
  std::span<const std::byte> bytes;               // what was scanned: cut payloads lie in it
  std::shared_ptr<const MappedFile> file;         // the same bytes as a mapped file, if they are one
  ExternalData* external = nullptr;               // null: external data is refused
  bool shapes_only = false;                       // external data of more than 1 KiB is neither opened nor looked for
};

// A tensor's elements: strings, or a range of a file (packed as in ONNX), or bytes (unpacked, one per element).
struct TensorData {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;
  std::vector<std::string> strings;
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0, size = 0;
};
// Checks type, dims and that the data is exactly as long as they say. Payloads that were cut out stay file ranges.
Result<TensorData> read_tensor(const pb::TensorProto& t, const TensorSource& source);
// The pool's entry for it.
Result<int> pool_tensor(const pb::TensorProto& t, const TensorSource& source, ConstantPool& pool, std::string name);
// A sparse tensor as the dense one it stands for.
Result<int> pool_sparse(const pb::SparseTensorProto& t, const TensorSource& source, ConstantPool& pool, std::string name);
Result<Tensor> tensor_from_proto(const pb::TensorProto& t, const TensorSource& source);
// All but a name.
void tensor_to_proto(const Tensor& t, pb::TensorProto& p);

// Dims through `dim`, which sees each TensorShapeProto dimension.
struct DimReader {
  virtual ~DimReader() = default;
  virtual Result<Dim> dim(const pb::TensorShapeProto_Dimension& d) = 0;
};
// Error kUnsupported for sparse tensors and opaque types; an absent type gives kind none.
Result<Type> type_from_onnx(const pb::TypeProto& t, DimReader& dims, int max_rank);
// Symbolic dims become dim_params. Layouts have no spelling.
pb::TypeProto type_to_onnx(const Type& t);

}  // namespace weft
