#include "frontend/api/weight_forms.h"

#include <algorithm>
#include <map>
#include <set>

#include "codegen/backend.h"
#include "ir/base/check.h"
#include "ir/plan/prune.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/executor/constants.h"

namespace weft {

namespace {

constexpr int64_t kSmall = 4096;  // a page, which what is smaller takes in a file, too

bool is_fixed(const Plan& p, int tensor) {
  const PlanTensor& t = p.tensors[tensor];
  auto fixed = [](const std::vector<Dim>& v) { return std::all_of(v.begin(), v.end(), [](const Dim& d) { return d.is_const(); }); };
  return t.offset.is_const() && fixed(t.dims) && fixed(t.strides) && p.buffers[t.buffer].bytes.is_const();
}

// Whether this machine's processor can run the command.
bool runs_anywhere(const Lowered& l, const Command& c) {
  const bool known = c.kind == CommandKind::launch || c.kind == CommandKind::copy || c.kind == CommandKind::fill || c.kind == CommandKind::host_call;
  if (!known || !c.sets.empty()) return false;
  bool fixed = true;
  for_each_access(c, [&](int t, Access) { fixed = fixed && is_fixed(l.plan, t); });
  for (const Param& p : c.params) fixed = fixed && (p.kind == Param::Kind::tensor || p.kind == Param::Kind::dim) && p.dim.is_const();
  if (c.kind != CommandKind::launch || !fixed) return fixed;
  const KernelSpec& s = l.specs[static_cast<size_t>(c.kernel)];
  return std::none_of(s.operands.begin(), s.operands.end(), [](const SpecOperand& o) { return o.write && !o.guards.empty(); });
}

// Constants that the commands read.
std::vector<int> sources_of(const Plan& p, const std::vector<size_t>& commands) {
  std::set<int> found;
  for (size_t i : commands)
    for_each_access(p.prepare.commands[i], [&](int t, Access) {
      const PlanBuffer& b = p.buffers[p.tensors[t].buffer];
      if (b.storage == Storage::constant) found.insert(b.source);
    });
  return {found.begin(), found.end()};
}

// Weights that forms connect, of all targets: they are stored as they are, or their forms are.
class Groups {
 public:
  int id(const PlanConstant& c, const ConstantBytes& bytes) {
    auto [it, fresh] = ids_.emplace(c.hash, static_cast<int>(groups_.size()));
    if (fresh) groups_.push_back({it->second, static_cast<int64_t>(bytes.size)});
    return it->second;
  }
  int add() { return groups_.push_back({static_cast<int>(groups_.size()), 0}), static_cast<int>(groups_.size()) - 1; }
  int root(int i) const { return groups_[i].parent == i ? i : root(groups_[i].parent); }
  void join(int a, int b) {
    a = root(a), b = root(b);
    if (a == b) return;
    groups_[b].parent = a;
    groups_[a].bytes += groups_[b].bytes;
    groups_[a].raw = groups_[a].raw || groups_[b].raw;
  }
  void set_raw(int i) { groups_[root(i)].raw = true; }
  // A form of the group; target: that needs it.
  void count(int i, int target, const WeightForm& f) {
    Group& g = groups_[root(i)];
    if (f.data.data && !g.seen.insert(f.hash).second) return;
    (f.data.data ? g.made : g.estimates[target]) += f.bytes;
  }
  bool grows(int i) const {
    const Group& g = groups_[root(i)];
    int64_t forms = g.made;
    for (auto& [target, bytes] : g.estimates) forms = std::max(forms, bytes);  // other targets' may be the same
    return g.raw || forms > g.bytes + g.bytes / 16 + kSmall;
  }

 private:
  struct Group {
    int parent;
    int64_t bytes;              // of the weights
    bool raw = false;           // one of them is read as it is
    int64_t made = 0;           // of different forms that are made
    std::set<Hash> seen;
    std::map<int, int64_t> estimates;
  };
  std::vector<Group> groups_;
  std::map<Hash, int> ids_;
};

// Weights that the target reads as they are: in runs, or at load for what is not stored.
std::set<int> raw_constants(const FileWeights& w) {
  const Plan& p = w.lowered->plan;
  std::set<int> out;
  std::vector<char> used = buffers_used(p, p.main);
  for (const PlanPort& q : p.outputs) used[p.tensors[q.tensor].buffer] = 1;
  std::set<int> stored;
  for (const WeightForm& f : w.forms)
    if (f.stored) stored.insert(f.buffer);
  for (size_t b = 0; b < used.size(); ++b) {
    if (used[b] && p.buffers[b].storage == Storage::constant) out.insert(p.buffers[b].source);
    if (p.buffers[b].storage != Storage::prepared || stored.count(static_cast<int>(b))) continue;
    for (int c : sources_of(p, commands_behind(p, static_cast<int>(b)))) out.insert(c);
  }
  return out;
}

Result<Target> form_target() {
  for (const char* level : {"cpu:x86-64-v3", "cpu:x86-64-v2", "cpu:armv8-a"}) {
    TRY_ASSIGN(const Target t, parse_target(level));
    if (runs_here(t)) return t;
  }
  return unsupported("this processor cannot prepare weights");
}

// The launch's kernel for another target; kernels of the part so far by their hash.
void retarget(const Lowered& from, Lowered& part, Command& c, const Target& target, std::map<Hash, int>& kernels) {
  KernelSpec s = from.specs[static_cast<size_t>(c.kernel)];
  s.config = {};
  s.tasks = 1;
  s.runners_up.clear();
  choose_cpu(s, target);
  std::vector<Dim> dims;
  for (const Param& p : c.params)
    if (p.kind == Param::Kind::dim) dims.push_back(p.dim);
  c.tasks = with_params(s, dims, s.tasks);
  c.scratch_bytes = with_params(s, dims, scratch_cpu(s));
  const Hash h = spec_hash(s, target);
  auto [it, fresh] = kernels.emplace(h, static_cast<int>(part.specs.size()));
  if (fresh) {
    PlanKernel k;
    k.name = "k_" + h.hex();
    k.hash = h;
    k.nodes = from.plan.kernels[static_cast<size_t>(c.kernel)].nodes;
    part.plan.kernels.push_back(std::move(k));
    part.specs.push_back(std::move(s));
  }
  c.kernel = it->second;
}

// What a kernel leaves out of a form is zero, so that two compilations write the same bytes.
void clear_first(Plan& p, int buffer) {
  PlanTensor all;
  all.buffer = buffer;
  all.offset = Dim(0);
  all.dtype = DType::u8;
  all.dims = {p.buffers[buffer].bytes};
  all.strides = plan_strides(all.dims, all.dtype);
  Command c;
  c.kind = CommandKind::fill;
  c.tensors = {p.add_tensor(std::move(all))};
  p.prepare.commands.insert(p.prepare.commands.begin(), std::move(c));
}

// The part of the plan that makes the stored forms, for this machine.
Result<Lowered> form_part(const FileWeights& w, const Target& target, PlanNumbers* numbers) {
  Lowered part;
  Plan& p = part.plan;
  TRY_ASSIGN(p, parse_plan(print_plan(w.lowered->plan)));
  p.target = target.to_string();
  p.arena_bytes = 0;
  p.main.commands.clear();
  for (auto* ports : {&p.inputs, &p.outputs, &p.states}) ports->clear();
  std::erase_if(p.prepare.commands, [](const Command& c) { return c.kind == CommandKind::check; });
  for (PlanBuffer& b : p.buffers) {
    if (b.storage != Storage::prepared) continue;
    b.storage = Storage::arena;
    b.prepare = true;
  }
  for (const WeightForm& f : w.forms) {
    if (!f.stored) continue;
    p.buffers[f.buffer].storage = Storage::prepared;
    p.buffers[f.buffer].prepare = false;
    clear_first(p, f.buffer);
  }
  drop_dead_commands(p);
  p.kernels.clear();
  std::map<Hash, int> kernels;
  for (Command& c : p.prepare.commands)
    if (c.kind == CommandKind::launch) retarget(*w.lowered, part, c, target, kernels);
  *numbers = prune_plan(p);
  return part;
}

}  // namespace

void find_forms(FileWeights& w) {
  const Plan& p = w.lowered->plan;
  if (!is_straight(p.prepare) || p.mesh.size() > 1) return;
  std::set<std::string> names;
  for (const PlanConstant& c : p.constants) names.insert(c.name);
  std::vector<char> runs;
  for (const Command& c : p.prepare.commands) runs.push_back(runs_anywhere(*w.lowered, c));
  for (size_t b = 0; b < p.buffers.size(); ++b) {
    const PlanBuffer& buffer = p.buffers[b];
    if (buffer.storage != Storage::prepared || !buffer.bytes.is_const() || buffer.bytes.is(0)) continue;
    const std::vector<size_t> commands = commands_behind(p, static_cast<int>(b));
    if (commands.empty() || std::any_of(commands.begin(), commands.end(), [&](size_t i) { return !runs[i]; })) continue;
    WeightForm f;
    f.buffer = static_cast<int>(b);
    f.name = buffer.name;
    for (int k = 1; !names.insert(f.name).second; ++k) f.name = buffer.name + "." + std::to_string(k);
    f.bytes = buffer.bytes.value();
    f.sources = sources_of(p, commands);
    w.forms.push_back(std::move(f));
  }
}

void leave_out_growing(std::span<FileWeights* const> all) {
  Groups groups;
  auto small = [](const ConstantBytes& b) { return static_cast<int64_t>(b.size) < kSmall; };
  for (const FileWeights* w : all)
    for (int c : raw_constants(*w))
      if (!small(w->constants[c])) groups.set_raw(groups.id(w->lowered->plan.constants[c], w->constants[c]));
  std::map<const WeightForm*, int> group_of;
  for (const FileWeights* w : all)
    for (const WeightForm& f : w->forms) {
      if (!f.stored) continue;
      const int g = group_of[&f] = groups.add();
      for (int c : f.sources)
        if (!small(w->constants[c])) groups.join(groups.id(w->lowered->plan.constants[c], w->constants[c]), g);
    }
  int target = 0;
  for (const FileWeights* w : all) {
    for (const WeightForm& f : w->forms)
      if (f.stored) groups.count(group_of[&f], target, f);
    ++target;
  }
  for (FileWeights* w : all)
    for (WeightForm& f : w->forms) {
      if (!f.stored || !groups.grows(group_of[&f])) continue;
      f.stored = false;
      f.data = {};
    }
}

Status make_forms(FileWeights& w, KernelBuildOptions options, Reporter& reporter) {
  if (std::none_of(w.forms.begin(), w.forms.end(), [](const WeightForm& f) { return f.stored; })) return {};
  TRY_ASSIGN(options.target, form_target());
  PlanNumbers numbers;
  TRY_ASSIGN(Lowered part, form_part(w, options.target, &numbers));
  TRY_ASSIGN(KernelBuild kernels, build_kernels(part, options, reporter));
  reporter.progress("weights", "");
  ExecutableParts parts;
  parts.plan = std::move(part.plan);
  parts.objects = std::move(kernels.objects);
  for (size_t i = 0; i < w.constants.size(); ++i)
    if (numbers.constants[i] >= 0) parts.constants.push_back(w.constants[i]);
  TRY_ASSIGN(parts.pool, ThreadPool::create(options.threads));
  const std::shared_ptr<ThreadPool> pool = parts.pool;
  TRY_ASSIGN(auto exe, make_executable(std::move(parts)));
  return for_all(pool.get(), static_cast<int64_t>(w.forms.size()), [&](int64_t i) -> Status {
    WeightForm& f = w.forms[static_cast<size_t>(i)];
    if (!f.stored) return {};
    const std::span<const std::byte> bytes = prepared_tensor(*exe, numbers.buffers[static_cast<size_t>(f.buffer)]);
    CHECK(static_cast<int64_t>(bytes.size()) == f.bytes);
    f.data = {bytes.data(), bytes.size(), false, exe};
    f.hash = hash_bytes(bytes.data(), bytes.size());
    return {};
  });
}

void put_forms(FileWeights& w) {
  Lowered& l = *w.lowered;
  bool any = false;
  for (WeightForm& f : w.forms) {
    if (!f.stored) continue;
    make_constant(l.plan, f.buffer, f.name, f.hash);
    w.constants.push_back(std::move(f.data));
    l.constants.push_back(-1);
    any = true;
  }
  w.forms.clear();
  if (!any) return;
  drop_dead_commands(l.plan);
  const PlanNumbers numbers = prune_plan(l.plan);
  renumber(l.specs, numbers.kernels);
  renumber(l.constants, numbers.constants);
  renumber(w.constants, numbers.constants);
}

}  // namespace weft
