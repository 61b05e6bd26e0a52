// Called from a process that holds another ONNX.
#include <weft/weft.h>

#include <cstdio>

extern "C" int compile_and_run(const char* path) {
  auto exe = weft::compile(path);
  if (!exe.ok()) return std::fprintf(stderr, "%s\n", exe.error().to_string().c_str()), 1;
  auto ids = weft::Tensor::of<int64_t>({1, 2, 3}, {1, 3});
  auto out = exe->context().run({{exe->inputs()[0].name, *ids}});
  return out.ok() ? 0 : 1;
}
