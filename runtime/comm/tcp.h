// The rendezvous over sockets: a star whose middle is a thread of rank 0 (tcp_server.h). A rank that dies is known to all
// others as soon as its connection breaks, within milliseconds on one machine and five seconds when a machine vanishes.
#pragma once

#include "runtime/comm/rendezvous.h"

namespace weft {

constexpr const char* kTcpMagic = "weft rendezvous";
constexpr uint64_t kTcpVersion = 1;

// A code that came over the wire, as one of an Error.
Code checked_code(uint64_t code);

// With place.size > 1 and a tcp:// or file:// rendezvous.
Result<std::shared_ptr<Rendezvous>> join_by_tcp(const RankPlace& place, const RendezvousUrl& url, const JoinOptions& options);

}  // namespace weft
