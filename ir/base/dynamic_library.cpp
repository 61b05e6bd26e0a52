#include "ir/base/dynamic_library.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

namespace weft {

static std::string path_of(void* handle, const std::string& name) {
  link_map* map = nullptr;
  return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name && *map->l_name ? map->l_name : name;
}

Result<DynamicLibrary> DynamicLibrary::open(const std::vector<std::string>& names) {
  std::string broken;
  for (const std::string& name : names) {
    const bool is_path = name.find('/') != std::string::npos;
    if (is_path && access(name.c_str(), R_OK) != 0) continue;
    DynamicLibrary l;
    l.handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (l.handle_) {
      l.path_ = path_of(l.handle_, name);
      return l;
    }
    const char* why = dlerror();
    // That a soname is nowhere on the system's search path is no fault of a file.
    if (why && std::string(why).find("No such file") == std::string::npos) broken = why;
  }
  if (!broken.empty()) return unsupported(broken);
  return unsupported((names.empty() ? std::string("a library") : names.front()) + " is not there");
}

void* DynamicLibrary::symbol(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

}  // namespace weft
