// The one folder in which weft keeps things for a user: compiled kernels, prepared weights, what tools/setup fetched.
#pragma once

#include <string>

#include "ir/base/result.h"

namespace weft {

// $WEFT_CACHE_DIR, else $XDG_CACHE_HOME/weft, else ~/.cache/weft; not created. Error kResources when there is no home.
Result<std::string> default_cache_folder();

}  // namespace weft
