#include "codegen/tuning.h"

#include <algorithm>
#include <numeric>

namespace weft {

Result<Tuning> parse_tuning(std::string_view text, const std::string& file) {
  Tuning t;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    Hash key;
    if (space == std::string_view::npos || !Hash::from_hex(line.substr(0, space), &key)) {
      Error e = usage(file + ", line " + std::to_string(number) + " is not `KEY NAME` of a tuning table");
      return e.with_hint("write one with --tune --tuning FILE"), e;
    }
    t.chosen[std::string(line.substr(0, space))] = line.substr(space + 1);
  }
  return t;
}

std::string print_tuning(const Tuning& t) {
  std::string text;
  for (const auto& [key, name] : t.chosen) text += key + " " + name + "\n";
  return text;
}

Candidates::Candidates(KernelSpec& spec, const Target& target, const Tuning* tuning) : spec_(spec), tuning_(tuning) {
  if (tuning) spec.choice.key = spec_hash(spec, target).hex();
}

void Candidates::add(std::string name, double cost, const std::string& shown) {
  spec_.runners_up.push_back(name + ": " + shown);
  all_.push_back({std::move(name), cost});
}

size_t Candidates::pick() {
  std::vector<size_t> order(all_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return all_[a].cost < all_[b].cost; });
  size_t taken = order[0];
  if (tuning_) {
    auto entry = tuning_->chosen.find(spec_.choice.key);
    auto known = entry == tuning_->chosen.end() ? all_.end() : std::find_if(all_.begin(), all_.end(), [&](const One& c) { return c.name == entry->second; });
    taken = known != all_.end() ? static_cast<size_t>(known - all_.begin()) : order[std::min(tuning_->rank, order.size() - 1)];
  }
  spec_.choice.name = all_[taken].name;
  spec_.choice.candidates = all_.size();
  return taken;
}

}  // namespace weft
