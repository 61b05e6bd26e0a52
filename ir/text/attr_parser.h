// Reads attributes generically, through the field list of their struct: `{axis=1, pads=[0, 0]}`.
#pragma once

#include <unordered_map>

#include "ir/base/text.h"
#include "ir/core/attrs.h"

namespace weft {

using ConstantIds = std::unordered_map<std::string, int>;

// From `{` to `}`. Error for a name that the struct lacks or that comes twice.
Status parse_attrs(Lexer& lx, Attrs& attrs, const ConstantIds& constants);
// `@name`
Result<int> parse_constant_ref(Lexer& lx, const ConstantIds& constants);

}  // namespace weft
