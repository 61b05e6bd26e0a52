#include "tests/multi/shell.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tests/multi/forked.h"

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

bool has_mpi() { return access(WEFT_BUILD_DIR "/lib/libweft-mpi.so", R_OK) == 0 && shell("command -v mpirun").code == 0; }

std::string with_torchruns_variables(int n, const std::string& command) {
  std::string line = "export MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(free_port()) + " WORLD_SIZE=" + std::to_string(n) + "; p=; c=\n";
  for (int r = n; r-- > 0;) line += "RANK=" + std::to_string(r) + " " + command + " & p=\"$! $p\"\n";
  return line + "for q in $p; do wait $q; c=\"$c $?\"; done; echo \"codes$c\"";
}

}  // namespace weft::multi_test
