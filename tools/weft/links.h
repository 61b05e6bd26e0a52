// What host memory can be moved with at best, measured: the roofs of collectives on host memory.
#pragma once

#include "ir/base/result.h"

namespace weft::cli {

// Bytes a second of one thread that copies between two buffers larger than caches (the bytes copied, not those touched).
// Ranks of one machine that measure it at once share what there is. Takes about 50 ms.
double measure_memory_copy();
// Bytes a second from one thread of this process to another one over TCP at 127.0.0.1. Takes about 100 ms. Error kResources
// where there is no such connection.
Result<double> measure_tcp_loopback();

}  // namespace weft::cli
