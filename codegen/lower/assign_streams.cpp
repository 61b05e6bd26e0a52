#include "codegen/lower/assign_streams.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace weft {

namespace {

constexpr int kStreams = 2;

// What has certainly ended when a command begins, or when it has ended itself.
struct Known {
  std::array<int, kStreams> upto{-1, -1};  // per stream the last command
  std::set<int> collectives;               // those with events
  void join(const Known& o) {
    for (size_t s = 0; s < upto.size(); ++s) upto[s] = std::max(upto[s], o.upto[s]);
    collectives.insert(o.collectives.begin(), o.collectives.end());
  }
};

struct Placed {
  int stream = 0;
  Known known;                  // when it has ended
  std::vector<int> waits;       // for these commands, of another stream or collectives with events
  int last_waiter = -1;         // of a collective with an event: the last command that waits for it
  bool recorded = false;        // another stream waits for it
};

// f(tensor, Access) of a command and of all in its regions.
template <class F>
void for_each_inside(const Command& c, F&& f) {
  for_each_access(c, f);
  int number = 0;
  for (auto& r : c.regions) for_each_command(*r, [&](const Command& inner, int) { for_each_access(inner, f); }, number);
}

class Streams {
 public:
  Streams(const Plan& p, std::vector<Command>& commands) : p_(p), commands_(commands), placed_(commands.size() + 1) {}

  void run() {
    if (std::none_of(commands_.begin(), commands_.end(), [](const Command& c) { return c.kind == CommandKind::collective; })) return;
    for (size_t i = 0; i < commands_.size(); ++i) needs_.push_back(needs_of(static_cast<int>(i)));
    find_beside();
    if (std::none_of(beside_.begin(), beside_.end(), [](bool b) { return b; })) return;
    for (size_t i = 0; i < commands_.size(); ++i) place(static_cast<int>(i));
    wait_for_all(placed_.back());
    emit();
  }

 private:
  struct Use {
    int command, tensor;
    bool write;
  };

  bool is_collective(int i) const { return commands_[static_cast<size_t>(i)].kind == CommandKind::collective; }
  bool is_launch(int i) const { return commands_[static_cast<size_t>(i)].kind == CommandKind::launch; }
  bool is_alone(int i) const { return !is_launch(i) && !is_collective(i); }  // waits for all before it
  bool same_bytes(int a, int b) const {
    auto [alo, ahi] = bytes_of(p_.tensors[static_cast<size_t>(a)]);
    auto [blo, bhi] = bytes_of(p_.tensors[static_cast<size_t>(b)]);
    return alo < bhi && blo < ahi;
  }

  // The commands before it that read what it writes, or write what it reads or writes.
  std::set<int> needs_of(int i) {
    std::set<int> out;
    for_each_inside(commands_[static_cast<size_t>(i)], [&](int t, Access a) {
      std::vector<Use>& before = accesses_[p_.tensors[static_cast<size_t>(t)].buffer];
      for (const Use& x : before)
        if (x.command != i && (x.write || a != Access::read) && same_bytes(x.tensor, t)) out.insert(x.command);
      before.push_back({i, t, a != Access::read});
    });
    return out;
  }

  // Collectives behind which a launch stands that needs nothing of them, before one that does.
  void find_beside() {
    beside_.assign(commands_.size(), false);
    for (int i = 0; i < static_cast<int>(commands_.size()); ++i) {
      if (!is_collective(i) || commands_[static_cast<size_t>(i)].tensors.empty()) continue;
      for (size_t k = static_cast<size_t>(i) + 1; k < commands_.size() && !is_alone(static_cast<int>(k)) && !needs_[k].count(i); ++k)
        beside_[static_cast<size_t>(i)] = beside_[static_cast<size_t>(i)] || is_launch(static_cast<int>(k));
    }
  }

  void place(int i) {
    // What both streams use keeps its bytes until they meet: now and then they do.
    constexpr int kMostApart = 48;
    Placed& me = placed_[static_cast<size_t>(i)];
    Known known;
    if (is_alone(i) || i - met_ > kMostApart) {
      known = wait_for_all(me);
      met_ = i;
    } else {
      me.stream = stream_for(i);
      known = state_[static_cast<size_t>(me.stream)];
      if (me.stream != 0) wait(met_, me, known);  // both streams meet
      for (auto it = needs_[static_cast<size_t>(i)].rbegin(); it != needs_[static_cast<size_t>(i)].rend(); ++it) wait(*it, me, known);
    }
    const auto s = static_cast<size_t>(me.stream);
    last_[s] = known.upto[s] = i;
    state_[s] = known;
    if (beside_[static_cast<size_t>(i)]) known.collectives.insert(i);  // the stream goes on before
    me.known = std::move(known);
  }

  // me begins behind command d.
  void wait(int d, Placed& me, Known& known) {
    if (d < 0) return;
    Placed& other = placed_[static_cast<size_t>(d)];
    const bool collective = beside_[static_cast<size_t>(d)];
    if (collective ? known.collectives.count(d) != 0 : known.upto[static_cast<size_t>(other.stream)] >= d) return;
    if (collective) other.last_waiter = number(me);
    else other.recorded = true;
    me.waits.push_back(d);
    known.join(other.known);
  }
  Known wait_for_all(Placed& me) {
    Known known = state_[0];
    wait(last_[1], me, known);
    for (int i = 0; i < number(me); ++i)
      if (beside_[static_cast<size_t>(i)]) wait(i, me, known);
    return known;
  }
  int number(const Placed& me) const { return static_cast<int>(&me - placed_.data()); }

  // That of the command that it needs and that came last, if nothing has followed that; else one whose last command it needs to
  // have ended anyway.
  int stream_for(int i) const {
    const std::set<int>& needs = needs_[static_cast<size_t>(i)];
    if (needs.empty()) return 0;
    Known all;
    for (int d : needs) all.join(placed_[static_cast<size_t>(d)].known);
    const int latest = *needs.rbegin(), home = placed_[static_cast<size_t>(latest)].stream;
    auto ended = [&](int s) { return all.upto[static_cast<size_t>(s)] >= last_[static_cast<size_t>(s)]; };
    if (ended(0) && ended(1)) return 0;
    if (last_[static_cast<size_t>(home)] == latest) return home;
    return ended(1 - home) ? 1 - home : home;
  }

  void emit() {
    std::vector<Command> out;
    std::map<int, int> records, events;  // numbers of events: of commands; of collectives while somebody is still to wait for them
    std::set<int> taken;
    auto put = [&](CommandKind kind, int stream, int event, int of) {
      Command& c = out.emplace_back();
      c.kind = kind;
      c.stream = stream;
      c.event = event;
      c.nodes = nodes_[static_cast<size_t>(of)];
    };
    auto put_waits = [&](int i) {
      const Placed& me = placed_[static_cast<size_t>(i)];
      for (int d : me.waits) {
        auto e = events.find(d);
        if (e == events.end()) {
          put(CommandKind::wait, me.stream, records.at(d), d);
          continue;
        }
        put(CommandKind::wait_collective, me.stream, e->second, d);
        if (placed_[static_cast<size_t>(d)].last_waiter != i) continue;
        taken.erase(e->second);
        events.erase(e);
      }
    };
    for (const Command& c : commands_) nodes_.push_back(c.nodes);
    for (int i = 0; i < static_cast<int>(commands_.size()); ++i) {
      const Placed& me = placed_[static_cast<size_t>(i)];
      put_waits(i);
      Command& c = commands_[static_cast<size_t>(i)];
      c.stream = me.stream;
      if (beside_[static_cast<size_t>(i)]) {
        int e = 0;
        while (taken.count(e)) ++e;
        taken.insert(e);
        c.event = events[i] = e;
      }
      out.push_back(std::move(c));
      if (!me.recorded) continue;
      const int e = records[i] = static_cast<int>(records.size());
      put(CommandKind::record, me.stream, e, i);
    }
    put_waits(static_cast<int>(commands_.size()));
    commands_ = std::move(out);
  }

  const Plan& p_;
  std::vector<Command>& commands_;
  std::vector<Placed> placed_;
  std::vector<std::set<int>> needs_;
  std::vector<bool> beside_;
  std::map<int, std::vector<Use>> accesses_;  // per buffer
  std::vector<std::vector<std::string>> nodes_;
  std::array<Known, kStreams> state_;         // what each stream knows
  std::array<int, kStreams> last_{-1, -1};
  int met_ = -1;                              // the last command that waited for all
};

}  // namespace

void assign_streams(Plan& p) { Streams(p, p.main.commands).run(); }

void widen_lifetimes(Plan& p) {
  std::map<int, int> recorded, started;  // event -> number of the command, and of the one that gave a collective to stream 1
  int number = 0, begin = -1, before = 0, last = -1;
  auto meet = [&](int upto) {
    if (begin < 0 || upto < last) return;
    for (PlanBuffer& b : p.buffers) {
      if (b.storage != Storage::arena || b.prepare || b.first < 0) continue;
      if (b.first >= begin && b.first <= number) b.first = begin;
      if (b.last >= begin && b.last <= number) b.last = number;
    }
    begin = -1;
  };
  for (const Command& c : p.main.commands) {
    if (c.kind == CommandKind::record) recorded[c.event] = number;
    if (c.kind == CommandKind::collective && c.event >= 0) started[c.event] = c.stream != 0 ? number : -1;
    if (c.stream != 0) {
      // From where on it does not know what stream 0 does.
      if (begin < 0) begin = c.kind == CommandKind::wait ? recorded.at(c.event) : before;
      before = begin;
      last = number;
    } else if (c.kind == CommandKind::wait) {
      meet(recorded.at(c.event));
    } else if (c.kind == CommandKind::wait_collective) {
      meet(started.at(c.event));
    }
    ++number;
    for (auto& r : c.regions) for_each_command(*r, [](const Command&, int) {}, number);
  }
}

}  // namespace weft
