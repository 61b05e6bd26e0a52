// A command line of the shell, run as a user would run it.
#pragma once

#include <string>

namespace weft::multi_test {

struct Outcome {
  int code = -1;     // 128 + the signal for one that a signal ended
  std::string text;  // stdout and stderr
};
// In which `weft` is the program and `$RANK` this one as a rank (main.cpp).
Outcome shell(const std::string& command);

}  // namespace weft::multi_test
