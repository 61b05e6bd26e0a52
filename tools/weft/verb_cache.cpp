// weft cache: where compiled kernels and prepared weights are kept, how much there is, and who used what.
#include <ctime>

#include "ir/base/text.h"
#include "runtime/cache/disk_cache.h"
#include "tools/weft/cli.h"
#include "tools/weft/npy.h"

namespace weft::cli {

namespace {

struct CacheArgs {
  std::string action, folder, limit, entry, blob;
};

Result<int64_t> parse_bytes(const std::string& text) {
  char* end = nullptr;
  double v = std::strtod(text.c_str(), &end);
  std::string unit = end ? end : "";
  double factor = unit.empty() || unit == "B"    ? 1
                  : unit == "K" || unit == "KiB" ? 1 << 10
                  : unit == "M" || unit == "MiB" ? 1 << 20
                  : unit == "G" || unit == "GiB" ? 1 << 30
                                                 : 0;
  if (end == text.c_str() || v < 0 || factor == 0 || v * factor > 9e18) return usage("--limit takes bytes such as 500M or 4G, not `" + text + "`");
  return static_cast<int64_t>(v * factor);
}

std::string when(int64_t seconds) {
  auto t = static_cast<std::time_t>(seconds);
  std::tm tm{};
  localtime_r(&t, &tm);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M", &tm);
  return buffer;
}

std::string first_line(std::string_view s) { return std::string(s.substr(0, s.find('\n'))); }

// What the cache holds, each in a folder of its own.
constexpr const char* kSections[] = {"kernels", "weights"};

struct Section {
  std::string name;
  DiskCache cache;
};

Status list(Cli& cli, const std::vector<Section>& sections, const std::string& folder) {
  Json rows = Json::array();
  std::vector<std::vector<std::string>> cells;
  for (const Section& s : sections) {
    TRY_ASSIGN(std::vector<CacheEntryInfo> entries, s.cache.list());
    for (const CacheEntryInfo& e : entries) {
      auto entry = s.cache.read(e.hash);
      std::string user, title;
      if (entry.ok() && *entry) {
        user = first_line((*entry)->text("used-by"));
        title = first_line((*entry)->text("spec"));
      }
      Json j;
      j["section"] = s.name;
      j["entry"] = e.hash.hex();
      j["bytes"] = e.bytes;
      j["last_use_s"] = e.last_use_s;
      j["what"] = title;
      j["used_by"] = user;
      rows.push_back(j);
      cells.push_back({s.name, e.hash.hex(), human_bytes(static_cast<double>(e.bytes)), when(e.last_use_s), shorten(title, 40), shorten(user, 40)});
    }
  }
  if (cli.json()) {
    Json j;
    j["folder"] = folder;
    j["entries"] = rows;
    return cli.emit(j);
  }
  print(table({"section", "entry", "size", "last used", "what", "used by"}, cells, {4, 5}));
  return {};
}

Status show(Cli& cli, const std::vector<Section>& sections, const std::string& folder, const CacheArgs& a) {
  Hash hash;
  if (!Hash::from_hex(a.entry, &hash)) return usage("`weft cache show` takes an entry's 32 hex digits, as `weft cache list` prints them");
  std::optional<CacheEntry> entry;
  for (const Section& s : sections)
    if (!entry) {
      TRY_ASSIGN(entry, s.cache.read(hash));
    }
  if (!entry) return usage("there is no entry " + a.entry + " in " + folder);
  if (!a.blob.empty()) {
    bool found = false;
    for (const CacheBlob& b : entry->blobs()) found = found || b.name == a.blob;
    if (!found) return usage("the entry has no part " + a.blob);
    print(std::string(entry->text(a.blob)));
    return {};
  }
  Json parts = Json::array();
  std::string text = "key:\n" + std::string(entry->key());
  for (const CacheBlob& b : entry->blobs()) {
    Json j;
    j["name"] = b.name;
    j["bytes"] = static_cast<int64_t>(b.bytes.size());
    parts.push_back(j);
    text += std::string(b.name) + ": " + std::to_string(b.bytes.size()) + " bytes\n";
  }
  text += "used by:\n" + std::string(entry->text("used-by"));
  if (!cli.json()) return print(text), Status();
  Json j;
  j["entry"] = a.entry;
  j["key"] = entry->key();
  j["parts"] = parts;
  j["used_by"] = entry->text("used-by");
  return cli.emit(j);
}

Status run_cache(Cli& cli, const CacheArgs& a) {
  Result<std::string> folder = a.folder.empty() ? default_cache_folder() : a.folder;
  if (!folder.ok()) return std::move(folder.error());
  std::vector<Section> sections;
  for (const char* name : kSections) {
    TRY_ASSIGN(DiskCache cache, DiskCache::open(*folder, name));
    sections.push_back({name, std::move(cache)});
  }
  if (a.action == "list") return list(cli, sections, *folder);
  if (a.action == "show") return show(cli, sections, *folder, a);
  Json json;
  json["folder"] = *folder;
  std::string text = *folder + "\n";
  for (const Section& s : sections) {
    CacheStats gone;
    int64_t limit = a.action == "clear" ? 0 : s.cache.limit_bytes();
    if (a.action == "prune" && !a.limit.empty()) {
      TRY_ASSIGN(limit, parse_bytes(a.limit));
    }
    if (a.action != "stat") {
      TRY_ASSIGN(gone, s.cache.prune(limit));
    }
    TRY_ASSIGN(CacheStats stats, s.cache.stat());
    Json& j = json[s.name];
    j["entries"] = stats.entries;
    j["bytes"] = stats.bytes;
    j["limit_bytes"] = s.cache.limit_bytes();
    j["removed_entries"] = gone.entries;
    j["removed_bytes"] = gone.bytes;
    text += s.name + ": " + std::to_string(stats.entries) + " entries, " + human_bytes(static_cast<double>(stats.bytes)) + " of at most " +
            human_bytes(static_cast<double>(s.cache.limit_bytes())) + "\n";
    if (a.action != "stat") text += "  removed " + std::to_string(gone.entries) + " entries, " + human_bytes(static_cast<double>(gone.bytes)) + "\n";
  }
  if (cli.json()) return cli.emit(json);
  print(text);
  return {};
}

}  // namespace

void add_cache(Cli& cli) {
  auto a = std::make_shared<CacheArgs>();
  a->action = "stat";
  Verb& v = add_verb(cli, "cache", "Show or shrink the cache of compiled kernels and prepared weights", [&cli, a] { return run_cache(cli, *a); });
  v.positional_choice("action", a->action, {"stat", "list", "show", "prune", "clear"},
                      "stat: how much there is; list: entries, last used first; show ENTRY: one of them; prune: down to --limit; clear");
  v.positional("entry", a->entry, "show: an entry's hex digits", false);
  v.text("--part", a->blob, "show: print this part of the entry (a kernel has spec, listing, used-by, object)");
  v.text("--limit", a->limit, "prune: bytes that may remain of kernels, and of weights, such as 500M; default: their limits");
  v.text("--cache-dir", a->folder, "default: $WEFT_CACHE_DIR, else ~/.cache/weft");
}

}  // namespace weft::cli
