// The rendezvous at mpi://, where MPI has connected the ranks already. MPI is in a plugin, libweft-mpi.so beside
// libweft-runtime.so, which is built where CMake finds an MPI and opened only here.
//
// MPI's launcher ends all ranks when one dies; a rank that fails or aborts is known to the others by its last word.
#pragma once

#include "runtime/comm/rendezvous.h"

namespace weft {

// Error kUnsupported without the plugin or its MPI; kUsage when the place has another rank or size than MPI says.
Result<std::shared_ptr<Rendezvous>> join_by_mpi(const RankPlace& place, const JoinOptions& options);

// What the plugin would use, e.g. "Open MPI v4.1.4"; starts nothing. Error kUnsupported as above.
Result<std::string> mpi_library();

}  // namespace weft
