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

// A line for n processes that differ in RANK, without a launcher that watches them; ends with "codes 0 0 …", those of the ranks.
std::string with_torchruns_variables(int n, const std::string& command);

bool has_mpi();  // weft was built with it, and its launcher is there
// Open MPI refuses root, and more ranks than processors, unless it is told.
inline const std::string kMpirun =
    "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none; "
    "timeout 60 mpirun ";

}  // namespace weft::multi_test
