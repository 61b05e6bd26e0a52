// verify_plan: the arenas (of main and of prepare). Every buffer lives as long as the commands need it, and two that live
// at once share no byte. Buffers without offsets are placed by plan_arena when dims are bound.
#include <algorithm>
#include <map>

#include "ir/plan/lifetimes.h"
#include "ir/plan/verify.h"

namespace weft {

namespace {

Status check_lifetimes(const Plan& p, bool prepare) {
  std::vector<LiveRange> required = required_lifetimes(p, prepare ? p.prepare : p.main);
  for (size_t i = 0; i < p.buffers.size(); ++i) {
    const PlanBuffer& b = p.buffers[i];
    if (b.storage != Storage::arena || b.prepare != prepare) continue;
    std::string what = "buffer " + buffer_name(p, static_cast<int>(i));
    if (b.first < -1 || b.first > b.last || (b.first == -1) != (b.last == -1)) return invalid("the lifetime of " + what + " is malformed");
    const LiveRange& r = required[i];
    if (!r.empty() && (b.first > r.first || b.last < r.last || b.first < 0))
      return invalid(what + " lives from command " + std::to_string(b.first) + " to " + std::to_string(b.last) + " but is needed from " +
                     std::to_string(r.first) + " to " + std::to_string(r.last));
  }
  return {};
}

Status check_outputs(const Plan& p) {
  for (const PlanPort& q : p.outputs) {
    const PlanTensor& t = p.tensors[q.tensor];
    if (p.buffers[t.buffer].storage == Storage::arena && p.buffers[t.buffer].first < 0)
      return invalid("buffer " + buffer_name(p, t.buffer) + " holds an output but never lives");
  }
  return {};
}

// A sweep over time: what lives does not overlap, so a new buffer need only be compared with its neighbours.
Status check_offsets(const Plan& p, bool prepare) {
  std::vector<int> order;
  for (size_t i = 0; i < p.buffers.size(); ++i) {
    const PlanBuffer& b = p.buffers[i];
    if (b.storage != Storage::arena || b.prepare != prepare || b.offset < 0 || b.bytes.is(0) || b.first < 0) continue;
    std::string what = "buffer " + buffer_name(p, static_cast<int>(i));
    if (!b.bytes.is_const()) return invalid(what + " has an offset but no constant size");
    if (b.offset > INT64_MAX - b.bytes.value()) return invalid(what + " has a bad offset");
    if (!prepare && b.offset + b.bytes.value() > p.arena_bytes)
      return invalid(what + " ends at byte " + std::to_string(b.offset + b.bytes.value()) + " of an arena of " +
                     std::to_string(p.arena_bytes));
    order.push_back(static_cast<int>(i));
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return p.buffers[a].first < p.buffers[b].first; });
  std::map<int64_t, int> live;                 // offset → buffer
  std::multimap<int, int64_t> ends;            // last command → offset
  for (int i : order) {
    const PlanBuffer& b = p.buffers[i];
    while (!ends.empty() && ends.begin()->first < b.first) {
      live.erase(ends.begin()->second);
      ends.erase(ends.begin());
    }
    auto next = live.lower_bound(b.offset);
    int other = -1;
    if (next != live.end() && next->first < b.offset + b.bytes.value()) other = next->second;
    if (next != live.begin()) {
      const PlanBuffer& before = p.buffers[std::prev(next)->second];
      if (before.offset + before.bytes.value() > b.offset) other = std::prev(next)->second;
    }
    if (other >= 0) return invalid("buffers " + buffer_name(p, other) + " and " + buffer_name(p, i) + " share bytes while both live");
    live.emplace(b.offset, i);
    ends.emplace(b.last, b.offset);
  }
  return {};
}

}  // namespace

Status verify_arena(const Plan& p) {
  if (p.arena_bytes < 0) return invalid("the arena's size is negative");
  TRY(check_outputs(p));
  for (bool prepare : {true, false}) {
    TRY(check_lifetimes(p, prepare));
    TRY(check_offsets(p, prepare));
  }
  return {};
}

}  // namespace weft
