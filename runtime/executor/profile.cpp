// Sums profile events by kernel or by node.
#include <algorithm>
#include <unordered_map>

#include "ir/base/text.h"
#include "runtime/executable.h"

namespace weft {

std::vector<ProfileRow> aggregate_profile(const Plan& plan, std::span<const ProfileEvent> events, ProfileBy by, const SymbolValues& symbols) {
  std::vector<const Command*> commands;
  int number = 0;
  for_each_command(plan.main, [&](const Command& c, int) { commands.push_back(&c); }, number);
  std::vector<ProfileRow> rows;
  std::unordered_map<std::string, size_t> known;
  for (const ProfileEvent& e : events) {
    if (e.command < 0 || static_cast<size_t>(e.command) >= commands.size()) continue;
    const Command& c = *commands[e.command];
    const PlanKernel* k = c.kind == CommandKind::launch ? &plan.kernels[c.kernel] : nullptr;
    std::string plain = c.kind == CommandKind::host_call ? c.name : command_name(c.kind);
    std::string name = by == ProfileBy::node && !c.nodes.empty() ? join(c.nodes, ", ") : k ? k->name : plain;
    auto [it, fresh] = known.emplace(name, rows.size());
    if (fresh) {
      rows.emplace_back();
      rows.back().name = name;
    }
    ProfileRow& r = rows[it->second];
    int64_t ns = e.end_ns - e.start_ns;
    r.min_ns = r.calls ? std::min(r.min_ns, ns) : ns;
    r.max_ns = std::max(r.max_ns, ns);
    r.total_ns += ns;
    ++r.calls;
    for (const std::string& n : c.nodes)
      if (std::find(r.nodes.begin(), r.nodes.end(), n) == r.nodes.end()) r.nodes.push_back(n);
    if (!k) continue;
    r.flops += static_cast<double>(k->flops.eval(symbols).value_or(0));
    r.bytes += static_cast<double>(k->bytes.eval(symbols).value_or(0));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const ProfileRow& a, const ProfileRow& b) { return a.total_ns > b.total_ns; });
  return rows;
}

}  // namespace weft
