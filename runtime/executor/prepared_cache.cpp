#include "runtime/executor/prepared_cache.h"

#include <algorithm>
#include <set>

#include "runtime/cpu/thread_pool.h"
#include "runtime/executor/executable_impl.h"

namespace weft {

namespace {

constexpr int64_t kLeastBytes = 64 << 10;  // a smaller tensor is computed as fast as it is found

// The commands that a prepared buffer needs, as a text without names: buffers are numbered as they appear.
class KeyWriter {
 public:
  explicit KeyWriter(const Plan& p) : plan_(p), commands_(p.prepare.commands) {}

  // Empty: not a buffer whose key can be told.
  std::string key(int buffer) {
    numbers_.clear();
    text_.clear();
    fixed_ = true;
    std::set<int> needed{buffer};
    std::vector<size_t> chain;
    for (size_t i = commands_.size(); i-- > 0;) {
      bool writes = false;
      for_each_access(commands_[i], [&](int t, Access a) { writes = writes || (a != Access::read && needed.count(plan_.tensors[t].buffer)); });
      if (!writes) continue;
      chain.push_back(i);
      for_each_access(commands_[i], [&](int t, Access) { needed.insert(plan_.tensors[t].buffer); });
    }
    for (size_t k = chain.size(); k-- > 0;) command(commands_[chain[k]]);
    text_ += "result " + std::to_string(number(buffer)) + "\n";
    return fixed_ ? text_ : "";
  }

 private:
  void dim(const Dim& d) {
    fixed_ = fixed_ && d.is_const();
    text_ += " " + d.to_string();
  }
  int number(int buffer) {
    auto [it, fresh] = numbers_.emplace(buffer, static_cast<int>(numbers_.size()));
    return it->second;
  }
  void tensor(int id) {
    const PlanTensor& t = plan_.tensors[id];
    const PlanBuffer& b = plan_.buffers[t.buffer];
    text_ += " b" + std::to_string(number(t.buffer));
    if (b.storage == Storage::constant) text_ += "=" + plan_.constants[b.source].hash.hex();
    else dim(b.bytes);
    dim(t.offset);
    text_ += " " + std::string(dtype_name(t.dtype));
    for (const Dim& d : t.dims) dim(d);
    text_ += " /";
    for (const Dim& d : t.strides) dim(d);
  }
  void command(const Command& c) {
    bool known = c.kind == CommandKind::launch || c.kind == CommandKind::copy || c.kind == CommandKind::fill || c.kind == CommandKind::host_call;
    fixed_ = fixed_ && known && c.sets.empty();
    text_ += std::string(command_name(c.kind)) + " " + c.name + " " + c.text + " " + std::to_string(c.index) + " " + std::to_string(c.scalar);
    for (int t : c.tensors) tensor(t);
    if (c.kernel >= 0) text_ += " kernel " + plan_.kernels[c.kernel].hash.hex();
    for (const Param& p : c.params) {
      text_ += " p" + std::to_string(static_cast<int>(p.kind)) + std::to_string(static_cast<int>(p.access)) + " " + std::to_string(p.scalar);
      dim(p.dim);
      if (p.tensor >= 0) tensor(p.tensor);
    }
    dim(c.tasks);
    text_ += "\n";
  }

  const Plan& plan_;
  const std::vector<Command>& commands_;
  std::map<int, int> numbers_;
  std::string text_;
  bool fixed_ = true;
};

// A found buffer's new owner: a constant of as many bytes.
void adopt(ExecutableParts& parts, int buffer, const CacheEntry& entry, std::span<const std::byte> bytes) {
  PlanBuffer& b = parts.plan.buffers[buffer];
  b.storage = Storage::constant;
  b.source = static_cast<int>(parts.plan.constants.size());
  PlanConstant c;
  c.name = b.name;
  c.dtype = DType::u8;
  c.dims = {static_cast<int64_t>(bytes.size())};
  c.hash = hash_text(entry.key());
  parts.plan.constants.push_back(std::move(c));
  parts.constants.push_back({bytes.data(), bytes.size(), false, entry.owner()});
}

// Commands whose results nobody reads.
void drop_dead_commands(Plan& p) {
  std::vector<Command>& commands = p.prepare.commands;
  std::vector<char> needed(p.buffers.size(), 0);
  for (size_t i = 0; i < p.buffers.size(); ++i) needed[i] = p.buffers[i].storage == Storage::prepared;
  for (size_t i = commands.size(); i-- > 0;) {
    bool keep = commands[i].kind == CommandKind::check;
    for_each_access(commands[i], [&](int t, Access a) { keep = keep || (a != Access::read && needed[p.tensors[t].buffer]); });
    if (keep) for_each_access(commands[i], [&](int t, Access) { needed[p.tensors[t].buffer] = 1; });
    else commands.erase(commands.begin() + static_cast<long>(i));
  }
  assign_lifetimes(p);
}

bool straight(const Region& r) {
  return std::all_of(r.commands.begin(), r.commands.end(), [](const Command& c) {
    return c.regions.empty() && c.kind != CommandKind::set && c.kind != CommandKind::read && c.kind != CommandKind::swap;
  });
}

}  // namespace

int64_t PreparedCache::fetch(ExecutableParts& parts) {
  cache_ = parts.prepared.cache;
  const Plan& p = parts.plan;
  if (!cache_.enabled() || !straight(p.prepare)) return 0;
  KeyWriter writer(p);
  for (size_t i = 0; i < p.buffers.size(); ++i) {
    const PlanBuffer& b = p.buffers[i];
    if (b.storage != Storage::prepared || !b.bytes.is_const() || b.bytes.value() < kLeastBytes) continue;
    std::string key = writer.key(static_cast<int>(i));
    if (!key.empty()) missing_.push_back({static_cast<int>(i), b.bytes.value(), key + "generator " + parts.prepared.generator + "\n"});
  }
  std::vector<std::optional<CacheEntry>> entries(missing_.size());
  auto look = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      auto e = cache_.get(missing_[i].key);
      if (e.ok() && *e && static_cast<int64_t>((*e)->blob("tensor").size()) == missing_[i].bytes) entries[i] = std::move(*e);
    }
  };
  auto count = static_cast<int64_t>(missing_.size());
  if (parts.pool) parts.pool->parallel_for(count, look);
  else look(0, count, 0);
  int64_t found = 0;
  for (size_t i = missing_.size(); i-- > 0;) {
    if (!entries[i]) continue;
    adopt(parts, missing_[i].buffer, *entries[i], entries[i]->blob("tensor"));
    found += missing_[i].bytes;
    missing_.erase(missing_.begin() + static_cast<long>(i));
  }
  if (found) drop_dead_commands(parts.plan);
  return found;
}

Status PreparedCache::store(const ExecutableImpl& exe) const {
  auto count = static_cast<int64_t>(missing_.size());
  std::vector<Status> done(missing_.size());
  auto put = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      CacheBlob blob{"tensor", {exe.loaded.fixed[missing_[i].buffer].data, static_cast<size_t>(missing_[i].bytes)}};
      done[i] = cache_.put(missing_[i].key, {&blob, 1});
    }
  };
  if (exe.pool) exe.pool->parallel_for(count, put);
  else put(0, count, 0);
  for (Status& s : done) TRY(std::move(s));
  return {};
}

}  // namespace weft
