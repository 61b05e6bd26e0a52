// DiskCache: results of compilation kept between processes. An entry is a key text and some named blobs (object code,
// source, spec, who uses it), so that the cache is also the folder to look into when a kernel misbehaves.
//
// One file per entry, named by the hash of its key. A hit compares the whole key, so a collision of hashes is a miss. An
// entry appears whole or not at all (written aside, synced, renamed) and carries hashes of all its parts: one that was cut
// off or changed is a miss, and is removed. Processes and threads may use one folder at once without locks: the last
// writer of a key wins, and who has read an entry keeps its bytes though it be replaced or pruned meanwhile.
//
// Code that will run is read from here: a folder that belongs to another user, or that others may write to, is refused
// with an Error; so is an entry (as a miss). Everything is Error kResources; a caller goes on without the cache.
//
// A disabled cache holds nothing and accepts everything: get() misses, put() does nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/cache_folder.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"
#include "ir/base/result.h"

namespace weft {

struct CacheBlob {
  std::string_view name;
  std::span<const std::byte> bytes;
};
inline CacheBlob text_blob(std::string_view name, std::string_view text) { return {name, std::as_bytes(std::span(text))}; }

// A verified entry, mapped from its file. Blobs start at multiples of 64 bytes. Copies share the mapping.
class CacheEntry {
 public:
  std::string_view key() const { return key_; }
  const std::vector<CacheBlob>& blobs() const { return blobs_; }
  // Empty when there is no blob of this name.
  std::span<const std::byte> blob(std::string_view name) const;
  std::string_view text(std::string_view name) const;
  // Keeps the bytes alive, for those who hold them longer than the entry.
  std::shared_ptr<const void> owner() const { return file_; }

 private:
  friend class DiskCache;
  static std::optional<CacheEntry> parse(std::shared_ptr<const MappedFile> file);
  std::shared_ptr<const MappedFile> file_;
  std::string_view key_;
  std::vector<CacheBlob> blobs_;
};

struct CacheEntryInfo {
  Hash hash;
  int64_t bytes = 0;
  int64_t last_use_s = 0;  // seconds since 1970, exact to a minute
};
struct CacheStats {
  int64_t entries = 0, bytes = 0;
};

constexpr int64_t kDefaultCacheLimit = int64_t{4} << 30;

// A handle: copies are cheap and share state. All functions are thread safe.
class DiskCache {
 public:
  DiskCache() = default;  // disabled
  // Entries in `folder`/`section` (one plain name, such as "kernels"); both are made, mode 0700, if absent. At more than
  // `limit_bytes` put() removes the entries least recently used.
  static Result<DiskCache> open(const std::string& folder, const std::string& section, int64_t limit_bytes = kDefaultCacheLimit);
  bool enabled() const { return state_ != nullptr; }
  std::string folder() const;  // with the section; empty when disabled
  int64_t limit_bytes() const;

  // The entry of exactly this key, nullopt if there is none. Counts as a use.
  Result<std::optional<CacheEntry>> get(std::string_view key) const;
  // Replaces. Names of blobs are distinct. An entry larger than the limit is not stored.
  Status put(std::string_view key, std::span<const CacheBlob> blobs) const;
  // Adds a line to the entry's text blob "used-by", unless it is there, or 64 are. Not an Error if there is no entry.
  Status add_user(std::string_view key, std::string_view user) const;

  // For the command line. The entry of that file name, whatever its key; not a use.
  Result<std::optional<CacheEntry>> read(const Hash& hash) const;
  Result<std::vector<CacheEntryInfo>> list() const;  // last used first
  Result<CacheStats> stat() const;
  // Removes the least recently used until at most `limit_bytes` remain, and what crashed writers left. Returns what went.
  Result<CacheStats> prune(int64_t limit_bytes) const;
  Result<CacheStats> clear() const { return prune(0); }

 private:
  struct State;
  Result<std::optional<CacheEntry>> load(const Hash& hash, bool use) const;
  Status publish(const std::string& name, std::span<const std::byte> head, std::span<const CacheBlob> blobs) const;
  std::shared_ptr<State> state_;
};

}  // namespace weft
