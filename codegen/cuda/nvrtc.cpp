#include "codegen/cuda/nvrtc.h"

#include <unistd.h>

#include "ir/base/cache_folder.h"
#include "ir/base/dynamic_library.h"
#include "ir/base/embedded_text.h"

namespace weft {

namespace {

constexpr const char* kHint =
    "install a CUDA toolkit (12.0 or later), or run `tools/setup --with-nvrtc`, which fetches NVRTC alone from the Python package index";

Error missing(const std::string& what) {
  Error e = unsupported("CUDA kernels cannot be compiled: " + what);
  e.with_hint(kHint);
  return e;
}

std::vector<std::string> candidates() {
  std::vector<std::string> folders = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/targets/x86_64-linux/lib/",
                                      "/usr/local/cuda/targets/sbsa-linux/lib/", "/opt/cuda/lib64/"};
  if (auto cache = default_cache_folder(); cache.ok()) folders.push_back(*cache + "/deps/nvrtc/");
  std::vector<std::string> out;
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})
    for (const std::string& folder : folders) out.push_back(folder + name);
  return out;
}

// NVRTC opens its companion by soname alone, which fails where the system's search does not lead to it.
void open_builtins(const Nvrtc& n) {
  std::string name = "libnvrtc-builtins.so." + std::to_string(n.major) + "." + std::to_string(n.minor);
  std::string beside = n.path.substr(0, n.path.rfind('/') + 1) + name;
  // When it is not there, a compilation will say so.
  (void)DynamicLibrary::open({beside, name}).ok();
}

Result<Nvrtc> open_nvrtc() {
  auto library = DynamicLibrary::open(candidates());
  if (!library.ok()) return missing(library.error().message);
  Nvrtc n;
  n.path = library->path();
  const char* absent = nullptr;
#define NVRTC_FUNCTION(result, name, parameters)                         \
  n.name = reinterpret_cast<decltype(n.name)>(library->symbol(#name)); \
  if (!n.name) absent = #name;
#include "codegen/cuda/nvrtc.def"
  if (absent) return missing(n.path + " has no " + absent + ", so it is older than 12.0");
  if (n.nvrtcVersion(&n.major, &n.minor) != nvrtc_api::NVRTC_SUCCESS) return missing(n.path + " does not say its version");
  if (n.major < 12) return missing(n.path + " is version " + std::to_string(n.major) + "." + std::to_string(n.minor) + ", older than 12.0");
  int count = 0;
  if (n.nvrtcGetNumSupportedArchs(&count) == nvrtc_api::NVRTC_SUCCESS && count > 0) {
    n.archs.resize(static_cast<size_t>(count));
    if (n.nvrtcGetSupportedArchs(n.archs.data()) != nvrtc_api::NVRTC_SUCCESS) n.archs.clear();
  }
  open_builtins(n);
  return n;
}

// A program that is destroyed at the end.
struct Program {
  const Nvrtc& n;
  nvrtc_api::nvrtcProgram handle = nullptr;
  ~Program() {
    if (handle) n.nvrtcDestroyProgram(&handle);
  }
  std::string log() const {
    size_t bytes = 0;
    if (n.nvrtcGetProgramLogSize(handle, &bytes) != nvrtc_api::NVRTC_SUCCESS || bytes < 2) return {};
    std::string text(bytes, '\0');
    if (n.nvrtcGetProgramLog(handle, text.data()) != nvrtc_api::NVRTC_SUCCESS) return {};
    text.resize(bytes - 1);
    return text;
  }
};

Error failed(const Nvrtc& n, int result, const std::string& log, const CudaSource& source, const std::string& isa) {
  using namespace nvrtc_api;
  const std::string version = std::to_string(n.major) + "." + std::to_string(n.minor);
  if (result == NVRTC_ERROR_COMPILATION) return invalid("CUDA source " + source.name + " does not compile for " + isa + ":\n" + log);
  if (result == NVRTC_ERROR_INVALID_OPTION && log.find("gpu-architecture") != std::string::npos)
    return missing("NVRTC " + version + " (" + n.path + ") does not know " + isa);
  std::string message = "NVRTC " + version + ": " + n.nvrtcGetErrorString(result) + (log.empty() ? "" : ": " + log);
  return error(result == NVRTC_ERROR_OUT_OF_MEMORY ? Code::kResources : Code::kUnsupported, message).with_hint(kHint);
}

}  // namespace

Result<const Nvrtc*> nvrtc() {
  static const Result<Nvrtc> opened = open_nvrtc();
  if (!opened.ok()) return opened.error();
  return &*opened;
}

Result<CudaBinary> compile_cuda(const CudaSource& source, const std::string& isa) {
  TRY_ASSIGN(const Nvrtc* n, nvrtc());
  // Named from the repository's root, as everywhere.
  static const std::vector<std::string> names = [] {
    std::vector<std::string> v;
    for (unsigned long i = 0; i < kEmbeddedKernelsCount; ++i) v.push_back(std::string("kernels/") + kEmbeddedKernels[i].name);
    return v;
  }();
  std::vector<const char*> texts, included_as;
  for (unsigned long i = 0; i < kEmbeddedKernelsCount; ++i) {
    texts.push_back(kEmbeddedKernels[i].text);
    included_as.push_back(names[i].c_str());
  }
  Program p{*n};
  const std::string file = source.name + ".cu";
  const int headers = static_cast<int>(texts.size());
  int result = n->nvrtcCreateProgram(&p.handle, source.text.c_str(), file.c_str(), headers, texts.data(), included_as.data());
  if (result != nvrtc_api::NVRTC_SUCCESS) return failed(*n, result, "", source, isa);
  const bool cubin = isa.rfind("sm_", 0) == 0;
  // A product and a sum round twice, as on every other target; what is meant to be fused says so.
  std::string arch = "--gpu-architecture=" + isa;
  std::vector<const char*> options = {arch.c_str(), "--fmad=false", "--std=c++17"};
  if (cubin) options.push_back("--ptxas-options=-v");
  if (n->major > 12 || n->minor >= 8) options.push_back("--minimal");
  // What NVRTC takes from its own cache comes without ptxas's account.
  if (n->major > 12 || n->minor >= 9) options.push_back("--no-cache");
  result = n->nvrtcCompileProgram(p.handle, static_cast<int>(options.size()), options.data());
  CudaBinary out;
  out.log = p.log();
  if (result != nvrtc_api::NVRTC_SUCCESS) return failed(*n, result, out.log, source, isa);
  size_t bytes = 0;
  result = cubin ? n->nvrtcGetCUBINSize(p.handle, &bytes) : n->nvrtcGetPTXSize(p.handle, &bytes);
  if (result == nvrtc_api::NVRTC_SUCCESS) {
    out.code.resize(bytes);
    result = cubin ? n->nvrtcGetCUBIN(p.handle, out.code.data()) : n->nvrtcGetPTX(p.handle, out.code.data());
  }
  if (result != nvrtc_api::NVRTC_SUCCESS) return failed(*n, result, out.log, source, isa);
  if (!cubin && !out.code.empty() && out.code.back() == '\0') out.code.pop_back();
  return out;
}

}  // namespace weft
