#include "tools/weft/links.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/comm/descriptor.h"

namespace weft::cli {

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kCopied = 64 << 20, kSent = 256 << 20, kAtOnce = 1 << 20;
constexpr int kRepeats = 3;  // of which the best counts

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }
Error no_socket(const char* doing) { return resources(std::string(doing) + " at 127.0.0.1: " + std::strerror(errno)); }

}  // namespace

double measure_memory_copy() {
  std::unique_ptr<char[]> from(new char[kCopied]()), to(new char[kCopied]());
  double best = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    const Clock::time_point begin = Clock::now();
    std::memcpy(to.get(), from.get(), kCopied);
    asm volatile("" : : "r"(to.get()) : "memory");  // so that no copy is dropped
    best = std::min(best, seconds_since(begin));
  }
  return static_cast<double>(kCopied) / best;
}

Result<double> measure_tcp_loopback() {
  const Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), out(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  if (!listener || !out || bind(listener.get(), address, length) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), address, &length) != 0 || connect(out.get(), address, length) != 0)
    return no_socket("connecting");
  const Descriptor in(accept(listener.get(), nullptr, nullptr));
  if (!in) return no_socket("accepting");
  std::thread sender([&] {
    const std::vector<char> data(kAtOnce);
    for (size_t sent = 0; sent < kSent;) {
      const ssize_t n = send(out.get(), data.data(), std::min(kAtOnce, kSent - sent), MSG_NOSIGNAL);
      if (n < 0 && errno != EINTR) break;
      sent += static_cast<size_t>(std::max<ssize_t>(n, 0));
    }
    shutdown(out.get(), SHUT_WR);
  });
  std::vector<char> data(kAtOnce);
  size_t received = 0;
  const Clock::time_point begin = Clock::now();
  for (ssize_t n; (n = recv(in.get(), data.data(), data.size(), 0)) > 0 || (n < 0 && errno == EINTR);) received += static_cast<size_t>(std::max<ssize_t>(n, 0));
  const double seconds = seconds_since(begin);
  sender.join();
  return received == kSent ? Result<double>(static_cast<double>(received) / seconds) : no_socket("sending");
}

}  // namespace weft::cli
