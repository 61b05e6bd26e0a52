#include "runtime/comm/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

#include "ir/base/hash.h"
#include "ir/base/text.h"

namespace weft {

namespace {

std::string last_error() { return std::strerror(errno); }

std::string read_small(const char* path) {
  Descriptor fd(open(path, O_RDONLY | O_CLOEXEC));
  char buffer[256];
  const ssize_t n = fd ? read(fd.get(), buffer, sizeof buffer) : 0;
  std::string s(buffer, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  while (!s.empty() && s.back() == '\n') s.pop_back();
  return s;
}

struct Addresses {
  addrinfo* list = nullptr;
  ~Addresses() {
    if (list) freeaddrinfo(list);
  }
};
Status resolve(const std::string& host, int port, Addresses& out) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &out.list);
  if (code == 0) return {};
  return error(Code::kDevice, "there is no host " + quote(host) + ": " + gai_strerror(code));
}

bool listen_on(Descriptor& fd, const sockaddr* address, socklen_t size, int family) {
  fd = Descriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  return fd && bind(fd.get(), address, size) == 0 && listen(fd.get(), 1024) == 0;
}
bool listen_anywhere(Descriptor& fd, int port) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<uint16_t>(port));
  return listen_on(fd, reinterpret_cast<sockaddr*>(&any), sizeof any, AF_INET);
}

Result<Descriptor> inherited(int fd) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
    return usage("WEFT_LISTENER=" + std::to_string(fd) + " is no socket that listens").with_hint("`weft launch` sets it; it must stay open until weft starts");
  Descriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  fcntl(copy.get(), F_SETFL, fcntl(copy.get(), F_GETFL) | O_NONBLOCK);
  return copy;
}

// --- the file of a file:// rendezvous: a line each for the format, the host's identity, the port, and every address ----

std::string file_of(const RankPlace& place, const RendezvousUrl& url) { return url.path + "/weft-rendezvous-" + hash_text(place.nonce).hex().substr(0, 16); }

std::vector<std::string> own_addresses() {
  std::vector<std::string> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    char text[INET_ADDRSTRLEN];
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || i->ifa_flags & IFF_LOOPBACK) continue;
    if (inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text)) out.push_back(text);
  }
  freeifaddrs(list);
  return out;
}

Status write_file(const std::string& path, int port) {
  std::string text = "weft 1\n" + host_identity() + "\n" + std::to_string(port) + "\n";
  for (const std::string& a : own_addresses()) text += a + "\n";
  // Complete when it gets its name.
  const std::string part = path + "." + std::to_string(getpid());
  Descriptor fd(open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || rename(part.c_str(), path.c_str()) != 0) {
    Error e = resources("cannot write the rendezvous " + quote(path) + ": " + last_error());
    unlink(part.c_str());
    return e;
  }
  return {};
}

struct Told {
  std::vector<std::string> hosts;
  int port = 0;
};
Result<Told> read_file(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return error(Code::kDevice, "the rendezvous " + quote(path) + ": " + last_error());
  struct stat s;
  if (fstat(fd.get(), &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != geteuid() || s.st_size > 4096)
    return usage("the rendezvous " + quote(path) + " is no file of this user's").with_hint("take a folder that nobody else writes to");
  std::string text(4096, 0);
  const ssize_t n = read(fd.get(), text.data(), text.size());
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  std::istringstream lines(text);
  std::string format, identity, line;
  Told t;
  if (!std::getline(lines, format) || format != "weft 1" || !std::getline(lines, identity) || !(lines >> t.port) || t.port < 1 || t.port > 65535)
    return usage("the rendezvous " + quote(path) + " is damaged");
  if (identity == host_identity()) t.hosts.push_back("127.0.0.1");
  while (lines >> line) t.hosts.push_back(line);
  return t;
}

Result<Descriptor> connect_once(const std::string& host, int port) {
  Addresses a;
  TRY(resolve(host, port, a));
  std::string why = "no address";
  for (const addrinfo* i = a.list; i; i = i->ai_next) {
    Descriptor fd(socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) continue;
    int code = connect(fd.get(), i->ai_addr, i->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
      pollfd p{fd.get(), POLLOUT, 0};
      socklen_t size = sizeof code;
      if (poll(&p, 1, 1000) != 1) code = ETIMEDOUT;
      else getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size);
    }
    if (code == 0) {
      watch_connection(fd.get());
      return fd;
    }
    why = std::strerror(code);
  }
  return error(Code::kDevice, "nobody answers at " + host + ":" + std::to_string(port) + " (" + why + ")");
}

}  // namespace

std::string host_identity() {
  char space[64] = {};
  (void)!readlink("/proc/self/ns/pid", space, sizeof space - 1);
  return read_small("/proc/sys/kernel/random/boot_id") + " " + space + " " + std::to_string(geteuid());
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "?";
}

Result<Descriptor> listen_at(const RankPlace& place, const RendezvousUrl& url, std::string* file) {
  if (place.listener >= 0) return inherited(place.listener);
  Descriptor fd;
  if (url.kind == RendezvousUrl::Kind::file) {
    if (!listen_anywhere(fd, 0)) return resources("cannot listen: " + last_error());
    sockaddr_in a{};
    socklen_t size = sizeof a;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size);
    TRY(write_file(*file = file_of(place, url), ntohs(a.sin_port)));
    return fd;
  }
  Addresses a;
  TRY(resolve(url.host, url.port, a));
  for (const addrinfo* i = a.list; i; i = i->ai_next)
    if (listen_on(fd, i->ai_addr, i->ai_addrlen, i->ai_family)) return fd;
  // The name may be that of something in front of this machine.
  if (errno == EADDRNOTAVAIL && listen_anywhere(fd, url.port)) return fd;
  return resources("rank 0 cannot listen at " + place.rendezvous + ": " + last_error())
      .with_hint("take another port, or stop what is left of an earlier job");
}

Result<Descriptor> connect_to(const RankPlace& place, const RendezvousUrl& url) {
  if (url.kind == RendezvousUrl::Kind::tcp) return connect_once(url.host, url.port);
  TRY_ASSIGN(Told t, read_file(file_of(place, url)));
  Error last = error(Code::kDevice, "the rendezvous names no address");
  for (const std::string& host : t.hosts) {
    Result<Descriptor> fd = connect_once(host, t.port);
    if (fd.ok()) return fd;
    last = std::move(fd.error());
  }
  return last;
}

}  // namespace weft
