// Opens the LLVM code generator, libweft-llvm.so, which lies beside libweft.so: so the rest of weft starts and works on a
// machine without LLVM. Opened once per process and never closed, since LLVM keeps global state. A failure is remembered
// too: installing LLVM needs a new process.
#include <dlfcn.h>
#include <unistd.h>

#include <string>

#include "codegen/backend.h"
#include "ir/base/mapped_file.h"

namespace weft {

namespace {

constexpr const char* kLibrary = "libweft-llvm.so";

std::string own_folder() {
  Dl_info info{};
  if (!dladdr(reinterpret_cast<const void*>(&cpu_compiler), &info) || !info.dli_fname) return {};
  std::string path = info.dli_fname;
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

Error missing(const std::string& what, const char* hint) {
  Error e = unsupported("CPU kernels cannot be compiled: " + what);
  e.with_hint(hint);
  return e;
}

Error not_there(const std::string& path) {
  return missing(path + " is not there", "this weft was built without LLVM 19.1; install llvm-19-dev and build it again");
}

Result<KernelCompiler*> open_compiler() {
  const std::string path = cpu_compiler_path();
  if (access(path.c_str(), R_OK) != 0) return not_there(path);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    return missing(path + " does not load: " + (why ? why : "unknown reason"),
        "install LLVM 19.1, on Debian and Ubuntu with `apt-get install libllvm19`");
  }
  auto make = reinterpret_cast<KernelCompiler* (*)()>(dlsym(library, "weft_make_cpu_compiler"));
  if (!make) return missing(path + " is of another version of weft", "install libweft.so and libweft-llvm.so from one build");
  return make();
}

}  // namespace

std::string cpu_compiler_path() { return own_folder() + kLibrary; }

Result<Hash> cpu_compiler_id() {
  const std::string path = cpu_compiler_path();
  auto file = MappedFile::open(path);
  if (!file.ok()) return not_there(path);
  return hash_bytes((*file)->data(), (*file)->size());
}

Result<KernelCompiler*> cpu_compiler() {
  static const Result<KernelCompiler*> opened = open_compiler();
  return opened;
}

}  // namespace weft
