#include "runtime/artefact/artefact.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "ir/base/text.h"
#include "runtime/artefact/format.h"
#include "runtime/cpu/thread_pool.h"

namespace weft {

using namespace artefact;

const char* artefact_section_name(ArtefactSection kind) {
  const char* names[] = {"?", "info", "target", "plan", "code", "spec", "weights", "chunks", "module"};
  return names[static_cast<size_t>(kind)];
}

bool is_artefact(const std::string& path) {
  std::array<char, kMagic.size()> begin{};
  std::ifstream f(path, std::ios::binary);
  return f.read(begin.data(), begin.size()) && begin == kMagic;
}

static uint64_t chunks_of(uint64_t bytes) { return (bytes + kChunk - 1) / kChunk; }

static Error damaged_file(const std::string& path, uint64_t at, const std::string& what) {
  Error e = invalid(path + " is damaged: at byte " + std::to_string(at) + ": " + what);
  return e.with_hint("copy it again, or compile the model again"), e;
}

Error Artefact::damaged(const Section& s, uint64_t at, const std::string& what) const {
  return damaged_file(file_of(s).path(), s.offset + at, std::string("section ") + artefact_section_name(s.kind) + " " + std::to_string(s.number) + ": " + what);
}

Result<std::shared_ptr<const Artefact>> Artefact::open(const std::string& path) {
  auto a = std::make_shared<Artefact>();
  TRY_ASSIGN(a->file_, MappedFile::open(path));
  TRY(a->read_table());
  TRY(a->read_info());
  return std::shared_ptr<const Artefact>(std::move(a));
}

Status Artefact::read_table() {
  std::span<const std::byte> all{file_->data(), file_->size()};
  if (all.size() < kMagic.size() || std::memcmp(all.data(), kMagic.data(), kMagic.size()) != 0) return usage(path() + " is no compiled model (.weft)");
  if (all.size() < kHeaderBytes) return damaged_file(path(), all.size(), "the file ends within its header");
  Reader r(all.subspan(kMagic.size(), kHeaderBytes - kMagic.size()));
  const auto version = r.number<uint32_t>(), count = r.number<uint32_t>();
  if (version != kArtefactVersion) {
    Error e = usage(path() + " has format version " + std::to_string(version) + "; this weft reads version " + std::to_string(kArtefactVersion));
    return e.with_hint("compile the model with this weft"), e;
  }
  const auto bytes = r.number<uint64_t>();
  const Hash hash = r.hash();
  end_ = all.size();
  if (bytes < all.size() && is_signature(all.subspan(bytes))) {
    end_ = bytes;
    all = all.first(bytes);
  }
  if (bytes != all.size())
    return damaged_file(path(), 16, "the file should have " + std::to_string(bytes) + " bytes and has " + std::to_string(all.size()));
  if (r.number<uint64_t>() || r.number<uint64_t>() || r.number<uint64_t>()) return damaged_file(path(), 40, "what should be zero is not");
  if (count > (all.size() - kHeaderBytes) / kEntryBytes) return damaged_file(path(), 12, std::to_string(count) + " sections do not fit");
  const std::span<const std::byte> table = all.subspan(kHeaderBytes, kEntryBytes * count);
  std::string hashed(reinterpret_cast<const char*>(all.data()), 24);
  hashed.append(reinterpret_cast<const char*>(table.data()), table.size());
  if (hash_text(hashed) != hash) return damaged_file(path(), 24, "the hash of header and table is another one");
  Reader t(table);
  uint64_t end = kHeaderBytes + table.size(), beside_end = 0, chunk = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Section s;
    const auto kind = t.number<uint32_t>();
    const uint64_t at = kHeaderBytes + kEntryBytes * i;
    if (kind < 1 || kind > static_cast<uint32_t>(ArtefactSection::module)) return damaged_file(path(), at, "a section of unknown kind " + std::to_string(kind));
    s.kind = static_cast<ArtefactSection>(kind);
    s.target = t.number<uint32_t>();
    s.number = t.number<uint32_t>();
    const auto place = t.number<uint32_t>();
    if (place > static_cast<uint32_t>(WeightsPlace::strip) || (place && s.kind != ArtefactSection::weights))
      return damaged_file(path(), at + 12, "a section at unknown place " + std::to_string(place));
    s.place = static_cast<WeightsPlace>(place);
    uint64_t zero = 0;
    s.offset = t.number<uint64_t>();
    s.bytes = t.number<uint64_t>();
    s.hash = t.hash();
    zero |= t.number<uint64_t>();
    zero |= t.number<uint64_t>();
    if (zero) return damaged_file(path(), at, "what should be zero is not");
    if (s.bytes > INT64_MAX) return damaged_file(path(), at + 24, "a section of " + std::to_string(s.bytes) + " bytes");
    if (s.kind == ArtefactSection::weights) {
      s.first_chunk = chunk;
      chunk += chunks_of(s.bytes);
    }
    if (s.place == WeightsPlace::strip) {
      if (s.offset) return damaged_file(path(), at + 16, "stripped weights have no place");
      sections_.push_back(s);
      continue;
    }
    if (s.place == WeightsPlace::external) {
      if (s.offset != aligned_to(beside_end, kPage) || s.bytes > INT64_MAX - s.offset)
        return damaged_file(path(), at + 16, "weights that lie elsewhere than behind those before them");
      beside_end = s.offset + s.bytes;
      sections_.push_back(s);
      continue;
    }
    if (s.offset != aligned_to(end, s.kind == ArtefactSection::weights ? kPage : kAlignment) || s.offset > all.size() || s.bytes > all.size() - s.offset)
      return damaged_file(path(), at + 16, "a section that lies elsewhere than behind the one before it, within the file");
    for (uint64_t b = end; b < s.offset; ++b)
      if (all[b] != std::byte{0}) return damaged_file(path(), b, "what lies between sections should be zero");
    end = s.offset + s.bytes;
    sections_.push_back(s);
  }
  if (end != all.size()) return damaged_file(path(), end, "bytes behind the last section");
  return beside_end ? open_beside(beside_end) : Status{};
}

Status Artefact::open_beside(uint64_t bytes) {
  const std::string name = weights_file(path());
  struct stat st {};
  if (lstat(name.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) {
    Error e = usage("the weights of " + path() + " lie beside it in " + name + ", which is no file");
    return e.with_hint("keep the two together; links are not followed"), e;
  }
  TRY_ASSIGN(beside_, MappedFile::open(name));
  if (beside_->size() != bytes) return damaged_file(name, beside_->size(), "the file should have " + std::to_string(bytes) + " bytes");
  uint64_t end = 0;
  for (const Section& s : sections_) {
    if (s.place != WeightsPlace::external) continue;
    for (; end < s.offset; ++end)
      if (beside_->data()[end] != std::byte{0}) return damaged_file(name, end, "what lies between weights should be zero");
    end = s.offset + s.bytes;
  }
  return {};
}

const Artefact::Section* Artefact::find(ArtefactSection kind, uint32_t target, uint32_t number) const {
  for (const Section& s : sections_)
    if (s.kind == kind && s.target == target && s.number == number) return &s;
  return nullptr;
}

Result<std::span<const std::byte>> Artefact::checked(ArtefactSection kind, uint32_t target, uint32_t number) const {
  const Section* s = find(kind, target, number);
  if (!s) return damaged_file(path(), kHeaderBytes, std::string("there is no section ") + artefact_section_name(kind) + " " + std::to_string(number));
  const std::span<const std::byte> b = bytes_of(*s);
  if (hash_bytes(b.data(), b.size()) != s->hash) return damaged(*s, 0, "its hash is another one");
  return b;
}

Status Artefact::read_info() {
  TRY_ASSIGN(auto bytes, checked(ArtefactSection::info, 0, 0));
  const Section& s = *find(ArtefactSection::info, 0, 0);
  Reader r(bytes);
  producer_ = r.text();
  for (uint32_t i = 0, n = r.count(16); i < n; ++i) {
    std::string key = r.text();
    metadata_[std::move(key)] = r.text();
  }
  for (uint32_t i = 0, n = r.count(8); i < n; ++i) targets_.push_back(r.text());
  if (!r.at_end()) return damaged(s, r.at(), "texts that do not fit");
  return {};
}

Result<std::span<const std::byte>> Artefact::chunk_hashes(const Section& s) const {
  TRY_ASSIGN(auto all, checked(ArtefactSection::chunks, 0, 0));
  const uint64_t count = chunks_of(s.bytes);
  if (s.first_chunk + count > all.size() / kHashBytes) return damaged(s, 0, "there are no hashes of its chunks");
  const std::span<const std::byte> mine = all.subspan(s.first_chunk * kHashBytes, count * kHashBytes);
  if (hash_bytes(mine.data(), mine.size()) != s.hash) return damaged(s, 0, "the hash of its chunks' hashes is another one");
  return mine;
}

Status Artefact::check_chunk(const Section& s, uint64_t chunk, std::span<const std::byte> hashes) const {
  const std::span<const std::byte> bytes = bytes_of(s).subspan(chunk * kChunk, std::min<uint64_t>(kChunk, s.bytes - chunk * kChunk));
  if (hash_bytes(bytes.data(), bytes.size()) == Reader(hashes.subspan(chunk * kHashBytes)).hash()) return {};
  return damaged(s, chunk * kChunk, "the hash of chunk " + std::to_string(chunk) + " is another one");
}

// Of one section of weights. Keeps the artefact.
class WeightsCheck : public BytesCheck {
 public:
  WeightsCheck(std::shared_ptr<const Artefact> a, const Artefact::Section& s, std::span<const std::byte> hashes)
      : artefact_(std::move(a)), section_(s), hashes_(hashes), done_(chunks_of(s.bytes)) {}

  Status check(int64_t begin, int64_t end) const override {
    for (auto c = static_cast<uint64_t>(begin) / kChunk; c * kChunk < static_cast<uint64_t>(end); ++c) {
      if (done_[c].exchange(true, std::memory_order_relaxed)) continue;
      Status s = artefact_->check_chunk(section_, c, hashes_);
      if (!s.ok()) return done_[c] = false, s;
    }
    return {};
  }

 private:
  std::shared_ptr<const Artefact> artefact_;
  const Artefact::Section& section_;
  std::span<const std::byte> hashes_;
  mutable std::vector<std::atomic<bool>> done_;
};

Result<std::string> Artefact::text(ArtefactSection kind, uint32_t target, uint32_t number) const {
  TRY_ASSIGN(auto bytes, checked(kind, target, number));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

struct Artefact::StoredTarget {
  ArtefactTarget target;  // without constants
  std::vector<std::pair<const Section*, bool>> constants;  // and whether they are one element
};

Result<Artefact::StoredTarget> Artefact::read_target(size_t number) const {
  if (number >= targets_.size()) return usage(path() + " has no target " + std::to_string(number));
  const auto t = static_cast<uint32_t>(number);
  StoredTarget stored;
  ArtefactTarget& out = stored.target;
  out.target = targets_[number];
  TRY_ASSIGN(out.plan, text(ArtefactSection::plan, t, 0));
  TRY_ASSIGN(auto bytes, checked(ArtefactSection::target, t, 0));
  const Section& s = *find(ArtefactSection::target, t, 0);
  Reader r(bytes);
  out.generator = r.text();
  out.compiler = r.text();
  out.least_driver = r.number<int32_t>();
  TRY_ASSIGN(out.module, text(ArtefactSection::module, 0, r.number<uint32_t>()));
  for (uint32_t i = 0, n = r.count(12); i < n; ++i) {
    const auto code = r.number<uint32_t>();
    ArtefactKernel k;
    k.shared_bytes = static_cast<int64_t>(r.number<uint64_t>());
    if (k.shared_bytes < 0) return damaged(s, r.at(), "a kernel's shared memory of " + std::to_string(k.shared_bytes) + " bytes");
    TRY_ASSIGN(k.code, text(ArtefactSection::code, 0, code));
    TRY_ASSIGN(k.spec, text(ArtefactSection::spec, 0, code));
    out.kernels.push_back(std::move(k));
  }
  for (uint32_t i = 0, n = r.count(8); i < n; ++i) {
    const auto weights = r.number<uint32_t>(), splat = r.number<uint32_t>();
    const Section* w = find(ArtefactSection::weights, 0, weights);
    if (!w || splat > 1) return damaged(s, r.at(), "weights " + std::to_string(weights) + ", which are not there");
    stored.constants.emplace_back(w, splat == 1);
  }
  if (!r.at_end()) return damaged(s, r.at(), "numbers that do not fit");
  return stored;
}

Result<std::vector<Artefact::Section>> Artefact::weights_of(size_t number) const {
  TRY_ASSIGN(const StoredTarget stored, read_target(number));
  std::vector<Section> out;
  for (const auto& [section, splat] : stored.constants) out.push_back(*section);
  return out;
}

Result<ArtefactTarget> Artefact::target(size_t number, bool with_weights) const {
  TRY_ASSIGN(StoredTarget stored, read_target(number));
  std::map<uint32_t, std::shared_ptr<const BytesCheck>> checks;
  for (const auto& [w, splat] : stored.constants) {
    if (!with_weights) break;
    if (w->place == WeightsPlace::strip) {
      Error e = usage(path() + " was written without its weights");
      return e.with_hint("give it some: weft compile MODEL --refit " + path() + " -o NEW.weft"), e;
    }
    const auto& file = w->place == WeightsPlace::external ? beside_ : file_;
    auto& check = checks[w->number];
    if (!check) {
      TRY_ASSIGN(auto hashes, chunk_hashes(*w));
      check = std::make_shared<WeightsCheck>(shared_from_this(), *w, hashes);
    }
    stored.target.constants.push_back({file->data() + w->offset, static_cast<size_t>(w->bytes), splat, file, check});
  }
  return std::move(stored.target);
}

std::optional<PublicKey> Artefact::signer() const {
  if (trailer().empty()) return std::nullopt;
  return signer_of(trailer());
}

Status Artefact::check_signature(const std::optional<PublicKey>& key) const {
  if (trailer().empty()) {
    Error e = usage(path() + " is not signed");
    return e.with_hint("sign it: weft compile … --sign key.pem"), e;
  }
  if (key && *key != *signer()) return invalid(path() + " is signed with the key " + key_text(*signer()) + ", not with " + key_text(*key));
  TRY_ASSIGN(SignedBytes bytes, SignedBytes::start());
  bytes.add({file_->data(), end_});
  if (beside_) bytes.add({beside_->data(), beside_->size()});
  if (bytes.verify(trailer())) return {};
  return invalid(path() + " has been changed since it was signed with the key " + key_text(*signer()));
}

Status Artefact::check(ThreadPool* pool) const {
  struct Part {
    const Section* section;
    uint64_t chunk;
    std::span<const std::byte> hashes;
  };
  std::vector<Part> parts;
  for (const Section& s : sections_) {
    if (s.kind != ArtefactSection::weights) {
      TRY(checked(s.kind, s.target, s.number));
      continue;
    }
    TRY_ASSIGN(auto hashes, chunk_hashes(s));
    for (uint64_t c = 0; s.place != WeightsPlace::strip && c < chunks_of(s.bytes); ++c) parts.push_back({&s, c, hashes});
  }
  return for_all(pool, static_cast<int64_t>(parts.size()), [&](int64_t i) {
    const Part& p = parts[static_cast<size_t>(i)];
    return check_chunk(*p.section, p.chunk, p.hashes);
  });
}

}  // namespace weft
