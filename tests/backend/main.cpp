// The differential suite for given targets: `backend --targets=cpu,cuda`; without the option for the levels of this machine's
// CPU. Where there is no GPU, `--targets=cuda:sm_90a` compiles the kernels and runs none.
#include "tests/backend/support.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i], option = "--targets=";
    if (arg.rfind(option, 0) != 0) continue;
    weft::backend_test::targets().clear();
    std::stringstream list(arg.substr(option.size()));
    for (std::string t; std::getline(list, t, ',');) weft::backend_test::targets().push_back(t);
  }
  return RUN_ALL_TESTS();
}
