// Reads .wir text (see printer.h for its shape) and checks it: types are inferred again and must be those that the text
// states, and the module must keep the rules of the verifier. A type that is left out is inferred; of a layout, what the
// text says holds. The text may be hostile: nesting, sizes and counts are bounded, and every Error has line, column and
// byte offset.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "ir/core/module.h"

namespace weft {

// base_dir: the folder to which paths in the text are relative; empty: the current one.
Result<std::unique_ptr<Module>> parse_module(std::string_view text, const std::string& base_dir = "");

}  // namespace weft
