// Rank 0's side of the rendezvous: one thread that accepts the ranks, compares what they say, keeps the values that they
// hand each other, and tells all of them when the connection of one breaks.
//
// Strangers may connect: who does not say the nonce within ten seconds is sent away, and only bounded messages are read.
#pragma once

#include <chrono>
#include <memory>

#include "runtime/comm/wire.h"

namespace weft {

struct TcpServerOptions {
  int size = 1;
  std::string nonce;
  std::chrono::milliseconds timeout;
};

class TcpServer {
 public:
  virtual ~TcpServer() = default;  // ends the thread and the connections
  // `listener` is non-blocking and listens. `first` is one end of a pair, the other is rank 0's connection.
  static Result<std::unique_ptr<TcpServer>> start(Descriptor listener, Descriptor first, const TcpServerOptions& options);
};

}  // namespace weft
