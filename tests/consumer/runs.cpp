// Links what only runs compiled models; that this links and starts shows that no compiler is needed.
#include <weft/executable.h>

#include <cstdio>

int main() {
  auto t = weft::api::Tensor::of<float>({1, 2, 3}, {3});
  std::printf("%s\n", t->describe().c_str());
  return t.ok() && t->describe() == "f32[3]" ? 0 : 1;
}
