#include "runtime/cuda/nccl.h"

#include "ir/base/dynamic_library.h"

namespace weft {

using namespace nccl_api;

static Error no_nccl(const std::string& what) {
  return unsupported("no NCCL: " + what).with_hint("install libnccl2 (2.18 or later) from NVIDIA's repository; only several GPUs need it");
}

std::string Nccl::version_text() const {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

static Result<Nccl> open_nccl() {
  setenv("NCCL_NVLS_ENABLE", "0", 0);  // NVLink multicast only where the user asks for it
  auto library = DynamicLibrary::open({"libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2", "libnccl.so"});
  if (!library.ok()) return no_nccl(library.error().message);
  Nccl n;
  n.path = library->path();
  const char* absent = nullptr;
#define NCCL_FUNCTION(result, name, parameters)                        \
  n.name = reinterpret_cast<decltype(n.name)>(library->symbol(#name)); \
  if (!n.name) absent = #name;
#include "runtime/cuda/nccl.def"
  if (absent) return no_nccl(n.path + " has no " + absent + ", so it is older than 2.18");
  if (n.ncclGetVersion(&n.version) != ncclSuccess || n.version < 21800) return no_nccl(n.path + " is older than 2.18");
  return n;
}

Result<const Nccl*> nccl() {
  static const Result<Nccl> opened = open_nccl();
  if (!opened.ok()) return opened.error();
  return &*opened;
}

Error nccl_error(int result, ncclComm_t comm, const std::string& doing) {
  auto n = nccl();
  if (!n.ok()) return n.error();
  std::string text = (*n)->ncclGetErrorString(result);
  if (const char* last = comm ? (*n)->ncclGetLastError(comm) : nullptr; last && *last) text += std::string(" (") + last + ")";
  return error(Code::kDevice, doing + ": NCCL: " + text);
}

}  // namespace weft
