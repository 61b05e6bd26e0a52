// Messages of the rendezvous: what stands in a frame, and a socket that sends and gathers frames. A frame is the length of
// its body (4 bytes, low first), a byte for its kind, and the body. Lengths come from strangers: they are bounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ir/base/result.h"
#include "runtime/comm/descriptor.h"

namespace weft {

enum class WireKind : uint8_t {
  hello = 1,  // client: magic, version, nonce, rank, size, host, process, facts
  refused,    // server: code, text, hint, whether to try again
  ready,      // server: all are there; for each rank host and process
  set,        // client: key, value
  get,        // client: key
  value,      // server: key, value
  failed,     // client: code, text of its own failure; server: code, text of somebody's
  bye,        // either: leaves in good order
};

constexpr size_t kMaxHello = 64 << 10, kMaxFrame = (1 << 20) + (4 << 10);

class FrameWriter {
 public:
  explicit FrameWriter(WireKind kind) : kind_(kind) {}
  FrameWriter& number(uint64_t v);
  FrameWriter& text(std::string_view s);
  std::string frame() const;  // with its head

 private:
  WireKind kind_;
  std::string body_;
};

struct WireFrame {
  WireKind kind = WireKind::bye;
  std::string body;
};

// Reads fields in order; after a field that is not there `ok` is false and values are empty.
class FrameReader {
 public:
  explicit FrameReader(const WireFrame& f) : rest_(f.body) {}
  uint64_t number();
  std::string text();
  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Takes the first frame off a buffer of received bytes. Nothing: more bytes are needed. Error: it is no frame, or its body
// is longer than `limit`.
Result<std::optional<WireFrame>> take_frame(std::string& buffer, size_t limit);

// Sends all of it; false when the connection is gone. Blocks.
bool send_all(int fd, std::string_view bytes);
// A host that vanishes is noticed after five seconds, a process that dies at once.
void watch_connection(int fd);

}  // namespace weft
