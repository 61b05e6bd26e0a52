// Compiles the model it is given and runs it once.
#include <weft/weft.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto exe = weft::compile(argv[1]);
  if (!exe.ok()) return std::fprintf(stderr, "%s\n", exe.error().to_string().c_str()), 1;
  auto ids = weft::Tensor::of<int64_t>({1, 2, 3, 4, 5, 6}, {2, 3});
  auto out = exe->context().run({{exe->inputs()[0].name, *ids}});
  if (!out.ok()) return std::fprintf(stderr, "%s\n", out.error().to_string().c_str()), 1;
  const weft::Tensor& y = out->begin()->tensor;
  std::printf("%s\n", y.describe().c_str());
  return y.dims().at(0) == 2 ? 0 : 1;
}
