// The op census as an enum. ops.def is included here and in the registry, nowhere else.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weft {

enum class OpKind : uint16_t {
#define WEFT_OP(name) name,
#include "ir/ops/ops.def"
#undef WEFT_OP
  kCount
};

const char* op_name(OpKind k);
std::optional<OpKind> op_from_name(std::string_view name);

}  // namespace weft
