// The public Executable: descriptions of ports, statistics that the plan tells, profile tables.
#include "frontend/api/runtime/executable_state.h"

#include <algorithm>

#include "ir/base/text.h"

namespace weft::api {

namespace {

int count_commands(const Region& r) {
  int n = 0;
  for_each_command(r, [](const Command&, int) {}, n);
  return n;
}

// The arena for typical dims; nothing for sizes that depend on data, nor where the model rejects such dims (a window longer
// than its input).
void arena_stats(const Plan& p, CompileStats& stats) {
  SymbolValues values = typical_values(p.symbols);
  std::vector<ArenaRequest> requests;
  for (const PlanBuffer& b : p.buffers) {
    if (b.storage != Storage::arena || b.first < 0 || b.prepare) continue;
    std::optional<int64_t> bytes = b.bytes.eval(values);
    if (bytes && *bytes < 0) return;
    if (bytes) requests.push_back({*bytes, b.alignment, b.first, b.last});
  }
  stats.max_live_bytes = max_live_bytes(requests);
  stats.arena_bytes = p.arena_bytes > 0 ? p.arena_bytes : plan_arena(requests).bytes;
}

std::string port_text(const std::string& name, DType t, const std::vector<Extent>& dims) {
  std::string s = name + ": " + dtype_name(t) + "[";
  for (size_t i = 0; i < dims.size(); ++i) s += (i ? "," : "") + dims[i].text;
  return s + "]";
}

}  // namespace

std::string PortInfo::describe() const { return port_text(name, dtype, dims); }

SymbolValues typical_values(const SymbolTable& symbols) {
  SymbolValues values;
  for (const auto& [name, info] : symbols) values[name] = info.opt > 0 ? info.opt : std::min(std::max<int64_t>(info.lo, 1), info.hi);
  return values;
}

std::vector<Extent> extents_of(const Shape& dims, const SymbolTable& symbols) {
  std::vector<Extent> out;
  for (const Dim& d : dims) {
    Interval r = range_of(d, symbols);
    SymbolValues optimum;
    for (const auto& [name, info] : symbols)
      if (info.opt > 0) optimum[name] = info.opt;
    out.push_back({d.to_string(), std::max<int64_t>(r.lo, 0), r.hi, d.is_const() ? 0 : d.eval(optimum).value_or(0)});
  }
  return out;
}

Ports describe_ports(const std::vector<const Plan*>& stages) {
  Ports out;
  for (const Plan* p : stages) {
    Ports::OfStage& mine = out.stages.emplace_back();
    auto port = [&](const PlanPort& q) {
      const PlanTensor& t = p->tensors[q.tensor];
      return PortInfo{q.name, t.dtype, extents_of(t.dims, p->symbols)};
    };
    if (p == stages[0])
      for (const PlanPort& q : p->inputs) out.inputs.push_back(port(q));
    for (const PlanPort& q : p->outputs) {
      const size_t number = q.number < 0 ? out.outputs.size() : static_cast<size_t>(q.number);
      if (number >= out.outputs.size()) out.outputs.resize(number + 1);
      out.outputs[number] = port(q);
      mine.outputs.push_back(static_cast<int>(number));
    }
    for (const PlanPort& q : p->states) {
      mine.states.push_back(static_cast<int>(out.states.size()));
      PortInfo i = port(q);
      if (!q.share.sharding.empty()) i.dims = extents_of(q.share.whole, p->symbols);
      out.states.push_back({i.name, i.dtype, i.dims, q.axis});
    }
  }
  return out;
}

Executable make_public(LocalRanks ranks, std::map<std::string, std::string> metadata, CompileStats stats, int threads) {
  auto s = std::make_shared<Executable::State>();
  const Plan& p = plan_of(*ranks.exes[0]);
  s->ports = std::move(ranks.ports);
  stats.commands = count_commands(p.main);
  arena_stats(p, stats);
  for (auto& exe : ranks.exes) {
    stats.prepared_bytes += prepared_bytes(*exe).computed;
    stats.prepared_cached_bytes += prepared_bytes(*exe).found;
    stats.uploaded_bytes += uploaded_bytes(*exe).bytes;
    stats.upload_ms = std::max(stats.upload_ms, uploaded_bytes(*exe).seconds * 1e3);
  }
  s->exe = std::move(ranks.exes[0]);
  s->peers.assign(ranks.exes.begin() + 1, ranks.exes.end());
  s->world = std::move(ranks.world);
  s->group = std::move(ranks.group);
  s->metadata = std::move(metadata);
  s->stats = std::move(stats);
  s->threads = threads;
  return Executable(std::move(s));
}

const std::vector<PortInfo>& Executable::inputs() const { return state_->ports.inputs; }
const std::vector<PortInfo>& Executable::outputs() const { return state_->ports.outputs; }
const std::vector<StateInfo>& Executable::states() const { return state_->ports.states; }
const std::string& Executable::target() const { return plan_of(*state_->exe).target; }
const std::map<std::string, std::string>& Executable::metadata() const { return state_->metadata; }
const CompileStats& Executable::stats() const { return state_->stats; }
int Executable::threads() const { return state_->threads; }
std::string Executable::plan_text() const { return print_plan(plan_of(*state_->exe)); }

std::string Executable::command_name(int command) const {
  const Plan& p = plan_of(*state_->exe);
  std::string name;
  int n = 0;
  for_each_command(p.main, [&](const Command& c, int number) {
    if (number != command) return;
    name = c.kernel >= 0 ? p.kernels[c.kernel].name : c.name.empty() ? std::string(weft::command_name(c.kind)) : c.name;
    if (!c.nodes.empty()) name += " " + join(c.nodes, "+");
  }, n);
  return name;
}

}  // namespace weft::api
