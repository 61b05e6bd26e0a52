// write_artefact.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "runtime/artefact/artefact.h"
#include "runtime/artefact/format.h"

namespace weft {

using namespace artefact;

namespace {

struct Piece {
  ArtefactSection kind;
  uint32_t target, number;
  WeightsPlace place = WeightsPlace::embed;
  std::string own;                     // bytes, unless
  std::span<const std::byte> foreign;  // they are the caller's
  Hash hash;
  std::span<const std::byte> bytes() const { return own.empty() ? foreign : std::as_bytes(std::span(own)); }
};

class ArtefactWriter {
 public:
  explicit ArtefactWriter(const ArtefactContent& c) : c_(c) {}

  Result<int64_t> write(const std::string& path) {
    collect();
    layout();
    if (!c_.sign_key.empty()) {
      TRY_ASSIGN(SignedBytes all, SignedBytes::start());
      all.add(std::as_bytes(std::span(head_.bytes())));
      TRY(for_pieces(WeightsPlace::embed, head_.bytes().size(), [&](auto b) { return all.add(b), Status(); }));
      TRY(for_pieces(WeightsPlace::external, 0, [&](auto b) { return all.add(b), Status(); }));
      TRY_ASSIGN(signature_, all.sign(c_.sign_key));
    }
    if (beside_end_) TRY(replace(weights_file(path), [&](int fd, const std::string& name) { return write_beside(fd, name); }));
    TRY(replace(path, [&](int fd, const std::string& name) { return write_to(fd, name); }));
    if (!beside_end_) unlink(weights_file(path).c_str());  // of an earlier artefact of this name
    return static_cast<int64_t>(end_ + signature_.size() + beside_end_);
  }

 private:
  // A file that is whole or not there.
  static Status replace(const std::string& path, const std::function<Status(int, const std::string&)>& write) {
    const std::string beside = path + ".tmp." + std::to_string(getpid());
    const int fd = open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return failed(beside, "cannot be made");
    Status s = write(fd, beside);
    if (s.ok() && fsync(fd) != 0) s = failed(beside, "cannot be written");
    if (close(fd) != 0 && s.ok()) s = failed(beside, "cannot be written");
    if (s.ok() && rename(beside.c_str(), path.c_str()) != 0) s = failed(path, "cannot be replaced");
    if (!s.ok()) unlink(beside.c_str());
    return s;
  }
  static Error failed(const std::string& path, const char* what) { return resources(path + " " + what + ": " + std::strerror(errno)); }

  uint32_t add(ArtefactSection kind, uint32_t target, uint32_t number, std::string bytes) {
    Piece p{kind, target, number, WeightsPlace::embed, std::move(bytes), {}, {}};
    p.hash = hash_bytes(p.own.data(), p.own.size());
    pieces_.push_back(std::move(p));
    return number;
  }
  uint32_t code(const ArtefactKernel& k) {
    auto [it, fresh] = codes_.emplace(hash_text(k.code), static_cast<uint32_t>(codes_.size()));
    if (fresh) {
      add(ArtefactSection::code, 0, it->second, k.code);
      add(ArtefactSection::spec, 0, it->second, k.spec);
    }
    return it->second;
  }
  uint32_t module(const std::string& text) {
    auto [it, fresh] = modules_.emplace(text, static_cast<uint32_t>(modules_.size()));
    if (fresh) add(ArtefactSection::module, 0, it->second, text);
    return it->second;
  }
  uint32_t weights(const ConstantBytes& b) {
    Writer chunks;
    for (size_t at = 0; at < b.size; at += kChunk) chunks.hash(hash_bytes(b.data + at, std::min<size_t>(kChunk, b.size - at)));
    const Hash hash = hash_text(chunks.bytes());
    auto [it, fresh] = weights_.emplace(std::pair(hash, b.size), static_cast<uint32_t>(weights_.size()));
    if (fresh) {
      weight_pieces_.push_back({ArtefactSection::weights, 0, it->second, c_.weights, {}, {b.data, b.size}, hash});
      chunks_.raw(chunks.bytes());
    }
    return it->second;
  }
  void collect() {
    Writer info;
    info.text(c_.producer);
    info.number(static_cast<uint32_t>(c_.metadata.size()));
    for (const auto& [key, value] : c_.metadata) info.text(key), info.text(value);
    info.number(static_cast<uint32_t>(c_.targets.size()));
    for (const ArtefactTarget& t : c_.targets) info.text(t.target);
    add(ArtefactSection::info, 0, 0, std::move(info.bytes()));
    for (uint32_t n = 0; n < c_.targets.size(); ++n) {
      const ArtefactTarget& t = c_.targets[n];
      Writer w;
      w.text(t.generator), w.text(t.compiler), w.number(t.least_driver), w.number(module(t.module));
      w.number(static_cast<uint32_t>(t.kernels.size()));
      for (const ArtefactKernel& k : t.kernels) w.number(code(k)), w.number(static_cast<uint64_t>(k.shared_bytes));
      w.number(static_cast<uint32_t>(t.constants.size()));
      for (const ConstantBytes& b : t.constants) w.number(weights(b)), w.number(static_cast<uint32_t>(b.splat));
      add(ArtefactSection::target, n, 0, std::move(w.bytes()));
      add(ArtefactSection::plan, n, 0, t.plan);
    }
    add(ArtefactSection::chunks, 0, 0, std::move(chunks_.bytes()));
    for (Piece& p : weight_pieces_) pieces_.push_back(std::move(p));
  }
  void layout() {
    uint64_t at = kHeaderBytes + kEntryBytes * pieces_.size();
    Writer table;
    for (const Piece& p : pieces_) {
      uint64_t& end = p.place == WeightsPlace::external ? beside_end_ : at;
      const bool here = p.place != WeightsPlace::strip;
      if (here) end = aligned_to(end, p.kind == ArtefactSection::weights ? kPage : kAlignment);
      table.number(static_cast<uint32_t>(p.kind)), table.number(p.target), table.number(p.number), table.number(static_cast<uint32_t>(p.place));
      table.number(here ? end : 0), table.number(static_cast<uint64_t>(p.bytes().size()));
      table.hash(p.hash);
      table.zeros(16);
      if (here) end += p.bytes().size();
    }
    end_ = at;
    head_.raw({kMagic.data(), kMagic.size()});
    head_.number(kArtefactVersion), head_.number(static_cast<uint32_t>(pieces_.size())), head_.number(end_);
    head_.hash(hash_text(head_.bytes() + table.bytes()));
    head_.zeros(kHeaderBytes - head_.bytes().size());
    head_.raw(table.bytes());
  }
  static Status put(int fd, const std::string& path, std::span<const std::byte> b) {
    while (!b.empty()) {
      const ssize_t n = ::write(fd, b.data(), std::min<size_t>(b.size(), 1 << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed(path, "cannot be written");
      b = b.subspan(static_cast<size_t>(n));
    }
    return {};
  }
  // The pieces of a place, from byte `at` on, and what lies between them.
  template <class F>
  Status for_pieces(WeightsPlace place, uint64_t at, F&& f) const {
    for (const Piece& p : pieces_) {
      if (p.place != place) continue;
      const std::string gap(aligned_to(at, p.kind == ArtefactSection::weights ? kPage : kAlignment) - at, '\0');
      TRY(f(std::as_bytes(std::span(gap))));
      TRY(f(p.bytes()));
      at += gap.size() + p.bytes().size();
    }
    return {};
  }
  Status write_to(int fd, const std::string& path) {
    TRY(put(fd, path, std::as_bytes(std::span(head_.bytes()))));
    TRY(for_pieces(WeightsPlace::embed, head_.bytes().size(), [&](auto b) { return put(fd, path, b); }));
    return put(fd, path, std::as_bytes(std::span(signature_)));
  }
  Status write_beside(int fd, const std::string& path) {
    return for_pieces(WeightsPlace::external, 0, [&](auto b) { return put(fd, path, b); });
  }

  const ArtefactContent& c_;
  std::vector<Piece> pieces_, weight_pieces_;
  std::map<Hash, uint32_t> codes_;
  std::map<std::string, uint32_t> modules_;
  std::map<std::pair<Hash, size_t>, uint32_t> weights_;
  Writer head_, chunks_;
  std::string signature_;
  uint64_t end_ = 0, beside_end_ = 0;
};

}  // namespace

std::string weights_file(const std::string& path) { return path + ".weights"; }

Result<int64_t> write_artefact(const std::string& path, const ArtefactContent& content) { return ArtefactWriter(content).write(path); }

}  // namespace weft
