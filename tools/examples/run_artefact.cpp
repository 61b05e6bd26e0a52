// Runs a compiled model on zeros with weft's runtime alone.
//
//   weft compile model.onnx -o model.weft
//   run_artefact model.weft
#include <algorithm>
#include <cstdio>

#include <weft/executable.h>

using namespace weft::api;

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: run_artefact MODEL.weft\n"), 2;
  auto exe = Executable::load(argv[1]);
  if (!exe.ok()) return std::fprintf(stderr, "%s\n", exe.error().to_string().c_str()), 1;
  NamedTensors inputs;
  for (const PortInfo& port : exe->inputs()) {
    Tensor::Dims dims;
    for (const Extent& e : port.dims) dims.push_back(e.optimum ? e.optimum : std::max<int64_t>(e.min, 1));
    auto zeros = Tensor::make(port.dtype, dims);
    if (!zeros.ok()) return std::fprintf(stderr, "%s\n", zeros.error().to_string().c_str()), 1;
    inputs.add(port.name, *zeros);
  }
  Context context = exe->context();
  auto out = context.run(inputs);
  if (!out.ok()) return std::fprintf(stderr, "%s\n", out.error().to_string().c_str()), 1;
  std::printf("on %s\n", exe->target().c_str());
  for (const NamedTensor& t : *out) std::printf("%s: %s\n", t.name.c_str(), t.tensor.describe().c_str());
}
