#include "codegen/lower/start_collectives.h"

#include <algorithm>

namespace weft {

namespace {

struct Started {
  size_t at;           // of the collective in the new list
  bool beside = false; // something computes since
};

bool same_bytes(const Plan& p, int a, int b) {
  const PlanTensor &x = p.tensors[static_cast<size_t>(a)], &y = p.tensors[static_cast<size_t>(b)];
  if (x.buffer != y.buffer) return false;
  auto [xlo, xhi] = bytes_of(x);
  auto [ylo, yhi] = bytes_of(y);
  return xlo < yhi && ylo < xhi;
}

// Whether c has to see the collective's end first.
bool needs(const Plan& p, const Command& c, const Command& collective) {
  bool found = !c.regions.empty();
  for_each_access(c, [&](int t, Access a) {
    for_each_access(collective, [&](int u, Access b) { found = found || ((a != Access::read || b != Access::read) && same_bytes(p, t, u)); });
  });
  return found;
}

bool computes(const Command& c) {
  return c.kind == CommandKind::launch || c.kind == CommandKind::copy || c.kind == CommandKind::fill || c.kind == CommandKind::host_call;
}

// The lowest number of an event that nothing under way has.
int free_event(const std::vector<Command>& commands, const std::vector<Started>& running) {
  for (int e = 0;; ++e)
    if (std::none_of(running.begin(), running.end(), [&](const Started& s) { return commands[s.at].event == e; })) return e;
}

}  // namespace

void start_collectives(Region& region, const Plan& p) {
  std::vector<Command> out;
  std::vector<Started> running;
  auto wait = [&](const Started& s) {
    if (!s.beside) return void(out[s.at].event = -1);
    Command w;
    w.kind = CommandKind::wait_collective;
    w.event = out[s.at].event;
    w.nodes = out[s.at].nodes;
    out.push_back(std::move(w));
  };
  for (Command& c : region.commands) {
    std::erase_if(running, [&](const Started& s) {
      const bool now = needs(p, c, out[s.at]);
      if (now) wait(s);
      return now;
    });
    for (auto& r : c.regions) start_collectives(*r, p);
    for (Started& s : running) s.beside = s.beside || computes(c);
    const bool starts = c.kind == CommandKind::collective && !c.tensors.empty();
    if (starts) c.event = free_event(out, running);
    out.push_back(std::move(c));
    if (starts) running.push_back({out.size() - 1});
  }
  for (const Started& s : running) wait(s);
  region.commands = std::move(out);
}

}  // namespace weft
