// Listening and connecting at a rendezvous, by address or through a file that says where.
#pragma once

#include <chrono>

#include "runtime/comm/environment.h"
#include "runtime/comm/wire.h"

namespace weft {

// Where this process runs: equal for two processes that can share memory (boot, process namespace, user).
std::string host_identity();
std::string host_name();

// A socket that listens, not blocking, for rank 0. With a file:// rendezvous it also writes the file, whose name goes to
// `file` (remove it when all have come). Error kResources when it cannot, with the address.
Result<Descriptor> listen_at(const RankPlace& place, const RendezvousUrl& url, std::string* file);

// One attempt, which takes a second at most. Error kDevice when nobody answers there.
Result<Descriptor> connect_to(const RankPlace& place, const RendezvousUrl& url);

}  // namespace weft
