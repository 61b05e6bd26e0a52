// Modules as files: NAME.wir, and beside it NAME.weights for constants that are too large for the text and lie in no file
// of their own. Constants that are mapped from elsewhere (the model) stay there; the text says where, with a hash.
#pragma once

#include "ir/text/parser.h"
#include "ir/text/printer.h"

namespace weft {

// Writes both files, each in full or not at all. Error kResources.
Status save_module(const Module& m, const std::string& path);
// Large constants are mapped, not copied.
Result<std::unique_ptr<Module>> load_module(const std::string& path);

}  // namespace weft
