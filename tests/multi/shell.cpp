#include "tests/multi/shell.h"

#include <sys/wait.h>

#include <cstdio>

namespace weft::multi_test {

Outcome shell(const std::string& command) {
  const std::string line = "export PATH='" WEFT_BUILD_DIR "':\"$PATH\" RANK='" WEFT_BUILD_DIR "/tests/multi --as-rank'; { " + command + "\n} 2>&1";
  Outcome o;
  FILE* pipe = popen(line.c_str(), "r");
  char buffer[1 << 14];
  for (size_t n; pipe && (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) o.text.append(buffer, n);
  const int status = pipe ? pclose(pipe) : -1;
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return o;
}

}  // namespace weft::multi_test
