// verify_plan: accesses to the same bytes from different streams, one of them a write, are ordered by events.
//
// Every stream, and every collective between its start and its wait, is a line of execution with a vector clock: how far
// it knows each other line to be. `record`/`wait` and collectives pass clocks on; a command for which the host waits
// passes its stream's clock to all. A loop's body is walked twice, which shows hazards between iterations; after branches
// a line knows what it knows after each of them. Bytes: ranges of a buffer, and of the arena where offsets are fixed;
// arena buffers without offsets may share bytes unless they live at once.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "ir/plan/verify.h"

namespace weft {

namespace {

constexpr int64_t kMaxSteps = 300'000'000;  // pairs looked at: about a second
constexpr size_t kMaxLines = 256;

using Clock = std::vector<int>;
void join(Clock& a, const Clock& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::max(a[i], b[i]);
}
void meet(Clock& a, const Clock& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::min(a[i], b[i]);
}

struct Use {
  int64_t lo, hi;  // bytes of the buffer
  int line;
  bool write;
  int time;
};

struct State {
  std::vector<Clock> knows;              // per line
  Clock time;                            // per line: commands so far
  std::map<int, Clock> events;
  std::map<int, std::vector<Use>> uses;  // per buffer
};

class StreamVerifier {
 public:
  explicit StreamVerifier(const Plan& p) : p_(p), floating_(p.buffers.size(), 0) {}

  Status verify(const Region& tree) {
    collect(tree);
    if (lines_.size() < 2) return {};
    if (lines_.size() > kMaxLines) return resources("more than " + std::to_string(kMaxLines) + " streams and collectives");
    for (size_t i = 0; i < p_.buffers.size(); ++i)
      if (p_.buffers[i].offset < 0) floating_[i] = 1;
    State s;
    s.knows.assign(lines_.size(), Clock(lines_.size(), 0));
    s.time.assign(lines_.size(), 0);
    TRY(region(tree, s));
    auto main = lines_.find({false, 0});
    for (const auto& [key, collective] : lines_)
      if (key.first && main != lines_.end() && s.knows[main->second][collective] < s.time[collective])
        return invalid("stream 0 does not wait for collective " + std::to_string(key.second));
    return {};
  }

 private:
  // Lines: streams by number, collectives by their event.
  static std::pair<bool, int> collective_key(const Command& c) { return {true, c.event}; }
  int line(std::pair<bool, int> key) const { return lines_.at(key); }

  void collect(const Region& r) {
    for (const Command& c : r.commands) {
      lines_.emplace(std::pair(false, c.stream), static_cast<int>(lines_.size()));
      if (c.kind == CommandKind::collective && c.event >= 0) lines_.emplace(collective_key(c), static_cast<int>(lines_.size()));
      if (c.kind == CommandKind::swap)
        for (int t : c.tensors) floating_[p_.tensors[t].buffer] = 1;
      for (const auto& sub : c.regions) collect(*sub);
    }
  }

  Status region(const Region& r, State& s) {
    for (const Command& c : r.commands) {
      Status st = command(c, s);
      if (!st.ok()) {
        if (!c.nodes.empty()) st.error().at_node(c.nodes[0]);
        return st;
      }
    }
    return {};
  }

  Status command(const Command& c, State& s) {
    TRY(count(1));
    int me = line({false, c.stream});
    switch (c.kind) {
      case CommandKind::record: s.events[c.event] = now(s, me); return {};
      case CommandKind::wait:
        if (auto it = s.events.find(c.event); it != s.events.end()) join(s.knows[me], it->second);
        return {};
      case CommandKind::wait_collective:
        if (auto it = lines_.find(collective_key(c)); it != lines_.end()) join(s.knows[me], now(s, it->second));
        return {};
      case CommandKind::collective:
        if (c.event >= 0) {
          Clock start = now(s, me);
          me = line(collective_key(c));
          join(s.knows[me], start);
        }
        break;
      default: break;
    }
    Status bad;
    for_each_access(c, [&](int t, Access a) {
      if (bad.ok()) bad = access(s, me, t, a != Access::read);
    });
    TRY(bad);
    ++s.time[me];
    if (c.kind == CommandKind::swap) merge_uses(s, p_.tensors[c.tensors[0]].buffer, p_.tensors[c.tensors[1]].buffer);
    bool host_waits = c.kind == CommandKind::read || c.kind == CommandKind::host_call || c.kind == CommandKind::if_then ||
                      (c.kind == CommandKind::loop && !c.tensors.empty());
    if (host_waits) {
      Clock done = now(s, me);
      for (Clock& k : s.knows) join(k, done);
    }
    return nested(c, s);
  }

  Status nested(const Command& c, State& s) {
    if (c.kind == CommandKind::loop) {
      TRY(region(*c.regions[0], s));
      return region(*c.regions[0], s);
    }
    if (c.regions.empty()) return {};
    State before = s, after;
    bool whole = c.kind == CommandKind::if_then && c.regions.size() == 2;
    for (size_t i = 0; i < c.regions.size(); ++i) {
      TRY(count(static_cast<int64_t>(before.uses.size() + before.knows.size() * before.knows.size())));
      State branch = before;
      TRY(region(*c.regions[i], branch));
      i ? merge(after, branch) : void(after = std::move(branch));
    }
    if (!whole) merge(after, before);
    s = std::move(after);
    return {};
  }

  Status count(int64_t steps) {
    if ((steps_ += steps) <= kMaxSteps) return {};
    return resources("the plan's streams are too entangled to verify");
  }

  // What a line has done and knows.
  Clock now(const State& s, int me) const {
    Clock k = s.knows[me];
    k[me] = s.time[me];
    return k;
  }

  Status access(State& s, int me, int t, bool write) {
    const PlanTensor& x = p_.tensors[t];
    Use use{0, INT64_MAX, me, write, s.time[me] + 1};
    std::tie(use.lo, use.hi) = bytes_of(x);
    const PlanBuffer& b = p_.buffers[x.buffer];
    if (b.storage == Storage::constant) return {};
    if (b.storage != Storage::arena) {
      TRY(compare(s, x.buffer, use, x.buffer, 0));
    } else {
      for (const auto& [other, uses] : s.uses) {
        const PlanBuffer& o = p_.buffers[other];
        if (o.storage != Storage::arena || o.space != b.space) continue;
        if (other == x.buffer) {
          TRY(compare(s, other, use, x.buffer, 0));
        } else if (!floating_[other] && !floating_[x.buffer]) {
          TRY(compare(s, other, use, x.buffer, b.offset - o.offset));
        } else if (o.last < b.first || b.last < o.first) {
          Use whole = use;
          whole.lo = 0, whole.hi = INT64_MAX;
          TRY(compare(s, other, whole, x.buffer, 0));
        }
      }
    }
    std::vector<Use>& mine = s.uses[x.buffer];
    for (Use& u : mine)
      if (u.line == me && u.write == write && u.lo == use.lo && u.hi == use.hi) {
        u.time = use.time;
        return {};
      }
    mine.push_back(use);
    return {};
  }

  // `use` of buffer `mine`, whose bytes begin `shift` behind those of `other`, against what was done to `other`.
  Status compare(const State& s, int other, const Use& use, int mine, int64_t shift) {
    auto it = s.uses.find(other);
    if (it == s.uses.end()) return {};
    for (const Use& u : it->second) {
      TRY(count(1));
      if (u.line == use.line || (!u.write && !use.write) || s.knows[use.line][u.line] >= u.time) continue;
      int64_t lo = use.lo, hi = use.hi;
      if (__builtin_add_overflow(lo, shift, &lo)) lo = INT64_MIN;
      if (__builtin_add_overflow(hi, shift, &hi)) hi = INT64_MAX;
      if (hi <= u.lo || u.hi <= lo) continue;
      std::string what = mine == other ? "buffer " + buffer_name(p_, mine)
                                       : "buffers " + buffer_name(p_, other) + " and " + buffer_name(p_, mine) + ", which share bytes,";
      return invalid("accesses to " + what + " from " + line_name(u.line) + " and " + line_name(use.line) + " are not ordered");
    }
    return {};
  }
  std::string line_name(int l) const {
    for (const auto& [key, id] : lines_)
      if (id == l) return (key.first ? "collective " : "stream ") + std::to_string(key.second);
    return "?";
  }

  static void add_uses(std::vector<Use>& to, const std::vector<Use>& from) {
    for (const Use& u : from) {
      auto same = std::find_if(to.begin(), to.end(),
                               [&](const Use& v) { return v.line == u.line && v.write == u.write && v.lo == u.lo && v.hi == u.hi; });
      if (same == to.end()) to.push_back(u);
      else same->time = std::max(same->time, u.time);
    }
  }
  // Swapped storage: either name may mean either bytes from here on.
  static void merge_uses(State& s, int a, int b) {
    if (a == b) return;
    add_uses(s.uses[a], s.uses[b]);
    s.uses[b] = s.uses[a];
  }
  static void merge(State& a, const State& b) {
    for (size_t i = 0; i < a.knows.size(); ++i) meet(a.knows[i], b.knows[i]);
    join(a.time, b.time);
    std::erase_if(a.events, [&](const auto& e) { return !b.events.count(e.first); });
    for (auto& [event, clock] : a.events) meet(clock, b.events.at(event));
    for (const auto& [buffer, uses] : b.uses) add_uses(a.uses[buffer], uses);
  }

  const Plan& p_;
  std::vector<char> floating_;  // arena buffers whose place is not fixed
  std::map<std::pair<bool, int>, int> lines_;
  int64_t steps_ = 0;
};

}  // namespace

Status verify_streams(const Plan& p) {
  TRY(StreamVerifier(p).verify(p.prepare));
  return StreamVerifier(p).verify(p.main);
}

}  // namespace weft
