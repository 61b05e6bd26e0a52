#include "runtime/comm/wire.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace weft {

FrameWriter& FrameWriter::number(uint64_t v) {
  for (int i = 0; i < 8; ++i) body_ += static_cast<char>(v >> (8 * i));
  return *this;
}
FrameWriter& FrameWriter::text(std::string_view s) {
  number(s.size());
  body_ += s;
  return *this;
}
std::string FrameWriter::frame() const {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(body_.size() >> (8 * i));
  out += static_cast<char>(kind_);
  return out + body_;
}

static uint64_t little(std::string_view bytes) {
  uint64_t v = 0;
  for (size_t i = bytes.size(); i-- > 0;) v = v << 8 | static_cast<uint8_t>(bytes[i]);
  return v;
}

uint64_t FrameReader::number() {
  if (rest_.size() < 8) {
    ok_ = false;
    return 0;
  }
  const uint64_t v = little(rest_.substr(0, 8));
  rest_.remove_prefix(8);
  return v;
}
std::string FrameReader::text() {
  const uint64_t n = number();
  if (!ok_ || n > rest_.size()) {
    ok_ = false;
    return "";
  }
  std::string s(rest_.substr(0, n));
  rest_.remove_prefix(n);
  return s;
}

Result<std::optional<WireFrame>> take_frame(std::string& buffer, size_t limit) {
  if (buffer.size() < 5) return std::optional<WireFrame>();
  const uint64_t n = little(std::string_view(buffer).substr(0, 4));
  const uint8_t kind = static_cast<uint8_t>(buffer[4]);
  if (kind < static_cast<uint8_t>(WireKind::hello) || kind > static_cast<uint8_t>(WireKind::bye)) return usage("what answers there is no rank of weft");
  if (n > limit) return usage("a message of " + std::to_string(n) + " bytes, more than " + std::to_string(limit));
  if (buffer.size() < 5 + n) return std::optional<WireFrame>();
  WireFrame f{static_cast<WireKind>(kind), buffer.substr(5, n)};
  buffer.erase(0, 5 + n);
  return std::optional<WireFrame>(std::move(f));
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    else if (n < 0 && errno == EAGAIN) {
      pollfd p{fd, POLLOUT, 0};
      poll(&p, 1, 1000);
    } else if (n < 0 && errno != EINTR) return false;
  }
  return true;
}

void watch_connection(int fd) {
  auto set = [fd](int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 2);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

}  // namespace weft
