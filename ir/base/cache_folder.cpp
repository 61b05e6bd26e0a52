#include "ir/base/cache_folder.h"

#include <cstdlib>

namespace weft {

Result<std::string> default_cache_folder() {
  const auto variable = [](const char* name) { return std::string(std::getenv(name) ? std::getenv(name) : ""); };
  if (std::string s = variable("WEFT_CACHE_DIR"); !s.empty()) return s;
  // A relative path is to be ignored, says the XDG specification.
  if (std::string s = variable("XDG_CACHE_HOME"); s.starts_with('/')) return s + "/weft";
  if (std::string s = variable("HOME"); s.starts_with('/')) return s + "/.cache/weft";
  return resources("cache: no home folder").with_hint("set WEFT_CACHE_DIR");
}

}  // namespace weft
