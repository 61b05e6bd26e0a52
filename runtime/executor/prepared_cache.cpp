#include "runtime/executor/prepared_cache.h"

#include <algorithm>

#include "ir/plan/prune.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/executor/executable_impl.h"

namespace weft {

namespace {

constexpr int64_t kLeastBytes = 64 << 10;  // a smaller tensor is computed as fast as it is found

// The commands that a prepared buffer needs, as a text without names: buffers are numbered as they appear.
class KeyWriter {
 public:
  KeyWriter(const Plan& p, const SymbolValues& symbols) : plan_(p), symbols_(symbols), commands_(p.prepare.commands) {}

  // Empty: not a buffer whose key can be told.
  std::string key(int buffer) {
    numbers_.clear();
    text_.clear();
    fixed_ = true;
    for (size_t i : commands_behind(plan_, buffer)) command(commands_[i]);
    text_ += "result " + std::to_string(number(buffer)) + "\n";
    return fixed_ ? text_ : "";
  }

 private:
  void dim(const Dim& d) {
    std::optional<int64_t> value = d.eval(symbols_);  // of this rank
    fixed_ = fixed_ && value;
    text_ += " " + std::to_string(value.value_or(0));
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
  const SymbolValues& symbols_;
  const std::vector<Command>& commands_;
  std::map<int, int> numbers_;
  std::string text_;
  bool fixed_ = true;
};

}  // namespace

int64_t PreparedCache::fetch(ExecutableParts& parts) {
  cache_ = parts.prepared.cache;
  const Plan& p = parts.plan;
  if (!cache_.enabled() || !is_straight(p.prepare)) return 0;
  KeyWriter writer(p, parts.symbols);
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
    const std::span<const std::byte> bytes = entries[i]->blob("tensor");
    make_constant(parts.plan, missing_[i].buffer, parts.plan.buffers[missing_[i].buffer].name, hash_text(entries[i]->key()));
    parts.constants.push_back({bytes.data(), bytes.size(), false, entries[i]->owner()});
    found += missing_[i].bytes;
    missing_.erase(missing_.begin() + static_cast<long>(i));
  }
  if (found) drop_dead_commands(parts.plan);
  return found;
}

Status PreparedCache::store(const ExecutableImpl& exe) const {
  auto count = static_cast<int64_t>(missing_.size());
  return for_all(exe.pool.get(), count, [&](int64_t i) {
    CacheBlob blob{"tensor", {exe.loaded.fixed[missing_[i].buffer].data, static_cast<size_t>(missing_[i].bytes)}};
    return cache_.put(missing_[i].key, {&blob, 1});
  });
}

}  // namespace weft
