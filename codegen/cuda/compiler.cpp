// KernelSpec -> cubin: prints the source and has NVRTC compile it.
#include <dlfcn.h>

#include "codegen/backend.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "ir/base/check.h"
#include "ir/base/mapped_file.h"

namespace weft {

namespace {

class NvrtcCompiler : public KernelCompiler {
 public:
  Result<KernelCode> compile(const KernelSpec& spec, const Target& target, const std::string& symbol, bool want_listing) override {
    CudaSource source{symbol, cuda_source(spec, target, symbol)};
    auto binary = compile_cuda(source, target.isa);
    if (!binary.ok()) {
      if (binary.error().code == Code::kInvalidModel)
        check_failed(__FILE__, __LINE__, (binary.error().message + "\n" + source.text + "\n" + print_spec(spec)).c_str());
      return std::move(binary.error());
    }
    KernelCode code;
    code.object = std::move(binary->code);
    code.symbol = symbol;
    if (want_listing) code.listing = std::move(source.text);
    return code;
  }
};

}  // namespace

// The code generator is part of this library, which the linker marks by its contents alone; with NVRTC's version.
Result<Hash> cuda_compiler_id() {
  TRY_ASSIGN(const Nvrtc* n, nvrtc());
  Dl_info info{};
  if (!dladdr(reinterpret_cast<const void*>(&cuda_compiler_id), &info) || !info.dli_fname) return unsupported("the file of libweft is not known");
  TRY_ASSIGN(auto file, MappedFile::open(info.dli_fname));
  return hash_text(hash_bytes(file->data(), file->size()).hex() + " " + std::to_string(n->major) + "." + std::to_string(n->minor));
}

Result<KernelCompiler*> cuda_compiler() {
  TRY(nvrtc());
  static NvrtcCompiler compiler;
  return &compiler;
}

}  // namespace weft
