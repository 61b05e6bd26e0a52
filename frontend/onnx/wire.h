// A bounded look at protobuf's wire format before protobuf sees it: counts and nesting are checked against the limits, and
// the payloads of large tensors are cut out, so that they stay in the mapped file. No allocation depends on what the
// bytes claim, only on what they are.
//
// The cut-out payload is replaced by an unknown field of the TensorProto, kCutField, holding the payload's place; such a
// field in the input itself is dropped, so a model cannot forge one.
#pragma once

#include <span>
#include <string>

#include "frontend/onnx/import.h"

namespace weft {

inline constexpr uint32_t kCutField = 536870000;
// Payloads from this size on are cut out.
inline constexpr int64_t kCutBytes = 64 << 10;

// The contents of a kCutField: 17 bytes.
struct CutPayload {
  uint64_t offset = 0, size = 0;
  uint8_t field = 0;  // TensorProto's field: raw_data 9, float_data 4, double_data 10
  std::string encode() const;
  static bool decode(std::string_view text, CutPayload* out);
};

struct WireScan {
  int64_t nodes = 0, messages = 0;
  bool cut = false;       // whether `structure` stands for the input
  std::string structure;  // the input without large payloads
};

// bytes: a ModelProto. Error kInvalidModel with the offset where the wire format is broken, kResources beyond a limit.
Result<WireScan> scan_model(std::span<const std::byte> bytes, const ImportLimits& limits);

// Whether a ModelProto has multi-device configurations, as far as its outermost fields can be read.
bool has_configurations(std::span<const std::byte> bytes);

}  // namespace weft
