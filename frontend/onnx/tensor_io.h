// Reads and writes single values in ONNX's files: a .pb holds one TensorProto, SequenceProto, OptionalProto or MapProto,
// and only its reader knows which. Sub-byte elements are packed in the file, one per byte in a Tensor.
#pragma once

#include <string>

#include "ir/eval/host_value.h"

namespace weft {

// type: what the value is to be (kind and element types; dims are not compared). An empty optional gives kind none.
// Errors: kResources when the file cannot be read, kInvalidModel when it holds something else.
Result<HostValue> read_value_file(const std::string& path, const Type& type);
// `name` is written into the message.
Status write_value_file(const std::string& path, const HostValue& value, const Type& type, const std::string& name);

// The names that the value in a file carries, empty when it has none.
Result<std::string> value_file_name(const std::string& path, const Type& type);

}  // namespace weft
