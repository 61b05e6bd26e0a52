#include "codegen/cuda/push.h"

#include "codegen/cuda/nvrtc.h"

namespace weft {

std::string push_source() {
  std::string text = "#include \"kernels/comm/push.cuh\"\nnamespace weft {\n";
  auto kernel = [&](const std::string& name, const std::string& call) {
    text += "extern \"C\" __global__ void __launch_bounds__(256) " + name +
            "(const u8* in, u8* out, const u64* peers, u32* epochs, const u32* stop, const i64* dims) {\n  " + call +
            "(in, out, peers, epochs, stop, dims);\n}\n";
  };
  for (const std::string type : {"f32", "f16", "bf16"}) kernel("push_all_reduce_" + type, "push_all_reduce<" + type + ">");
  kernel("push_all_gather_bytes", "push_all_gather");
  return text + "}  // namespace weft\n";
}

Result<std::string> compile_push(const Target& target) {
  TRY_ASSIGN(CudaBinary binary, compile_cuda({"push", push_source()}, target.isa));
  return std::move(binary.code);
}

}  // namespace weft
