#include "runtime/executor/flatten.h"

#include <algorithm>
#include <bit>
#include <set>

#include "ir/base/text.h"

namespace weft {

namespace {

class Flattener {
 public:
  Flattener(const Plan& plan, const ExecutableParts& parts, PlanCode& code) : plan_(plan), parts_(parts), code_(code) {
    out_.patches.resize(plan.buffers.size());
  }

  Result<Program> run(const Region& tree, bool prepare) {
    TRY(region(tree));
    if (parts_.device) find_stretches();
    out_.tensors.assign(tensors_.begin(), tensors_.end());
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (plan_.buffers[i].storage == Storage::arena && plan_.buffers[i].prepare == prepare && plan_.buffers[i].first >= 0)
        out_.arena.push_back(static_cast<int>(i));
    return std::move(out_);
  }

 private:
  // Nothing jumps into the middle of one.
  void find_stretches() {
    std::set<int> targets;
    for (const Step& s : out_.steps) targets.insert(s.target);
    for (const SelectCode& s : out_.selects) targets.insert(s.targets.begin(), s.targets.end());
    for (int i = 0; i < here(); ++i) {
      if (!is_early(out_.steps[i])) continue;
      bool goes_on = !out_.stretches.empty() && out_.stretches.back().end == i && !targets.count(i);
      if (goes_on) out_.stretches.back().end = i + 1;
      else out_.stretches.push_back({i, i + 1});
    }
    std::erase_if(out_.stretches, [](const Stretch& r) { return r.end - r.first < 2; });
    for (size_t k = 0; k < out_.stretches.size(); ++k) out_.steps[out_.stretches[k].first].stretch = static_cast<int>(k);
  }

  // Nothing of it has to be found when it is its turn. The tensors of a collective lie in the arena: callers' memory is another
  // one in each run.
  bool is_early(const Step& s) const {
    if (s.kind == Step::Kind::launch) return !out_.launches[s.item].late;
    if (s.kind == Step::Kind::wait_collective || s.kind == Step::Kind::record || s.kind == Step::Kind::wait) return true;
    if (s.kind != Step::Kind::collective || !out_.collectives[s.item].on_device) return false;
    for (int t : s.source->tensors)
      if (const TensorCode& c = code_.tensors[t]; c.late || c.late_pointer || plan_.buffers[c.buffer].storage != Storage::arena) return false;
    return true;
  }

  Status region(const Region& r) {
    ++depth_;
    for (const Command& c : r.commands) {
      Status s = command(c);
      if (s.ok()) continue;
      if (!c.nodes.empty()) s.error().at_node(c.nodes[0]);
      return s;
    }
    --depth_;
    return {};
  }

  int here() const { return static_cast<int>(out_.steps.size()); }
  Step& emit(Step::Kind kind, const Command& c, int number) {
    Step s;
    s.kind = kind;
    s.command = number;
    s.source = &c;
    out_.steps.push_back(s);
    return out_.steps.back();
  }

  Status command(const Command& c) {
    int number = next_number_++;
    for_each_access(c, [&](int t, Access) { tensors_.insert(t); });
    switch (c.kind) {
      case CommandKind::launch: return launch(c, number);
      case CommandKind::copy: return emit(Step::Kind::copy, c, number), Status{};
      case CommandKind::fill: return emit(Step::Kind::fill, c, number), Status{};
      case CommandKind::host_call: return host_call(c, number);
      case CommandKind::set: {
        Step& s = emit(Step::Kind::set, c, number);
        s.slot = code_.program.slot(c.name);
        TRY_ASSIGN(s.dim, code_.program.compile(c.dim));
        return {};
      }
      case CommandKind::check: {
        Step& s = emit(Step::Kind::check, c, number);
        TRY_ASSIGN(s.dim, code_.program.compile(c.dim));
        if (depth_ > 1 || s.dim.late) return {};
        out_.checks.push_back(s);
        out_.steps.pop_back();
        return {};
      }
      case CommandKind::expect: {
        ExpectCode& e = out_.expects.emplace_back();
        e.buffer = code_.tensors[c.tensors[0]].buffer;
        e.source = &c;
        TRY_ASSIGN(e.dim, code_.program.compile(c.dim));
        return {};
      }
      case CommandKind::read: return emit(Step::Kind::read, c, number).slot = code_.program.slot(c.name), Status{};
      case CommandKind::select: return select(c, number);
      case CommandKind::if_then: return branch(c, number);
      case CommandKind::loop: return loop(c, number);
      case CommandKind::alloc: return emit(Step::Kind::alloc, c, number), Status{};
      case CommandKind::free: return emit(Step::Kind::free, c, number), Status{};
      case CommandKind::swap: return emit(Step::Kind::swap, c, number), Status{};
      case CommandKind::collective: return collective(c, number);
      case CommandKind::wait_collective:
        if (parts_.device) emit(Step::Kind::wait_collective, c, number).slot = c.event;
        return {};  // on the host a collective ends before what follows begins
      case CommandKind::record:
      case CommandKind::wait:
        if (parts_.device) return stream_order(c, number);
        return {};  // on the host, streams run one after the other
    }
    return invalid("unknown command");
  }

  Status stream_order(const Command& c, int number) {
    if (c.stream > 1) return unsupported("a plan with more than two streams");
    emit(c.kind == CommandKind::record ? Step::Kind::record : Step::Kind::wait, c, number).slot = c.event;
    out_.records = std::max(out_.records, c.event + 1);
    return {};
  }

  Status launch(const Command& c, int number) {
    LaunchCode l;
    const PlanKernel& k = plan_.kernels[c.kernel];
    if (static_cast<size_t>(c.kernel) < parts_.builtin.size()) l.fn = parts_.builtin[c.kernel];
    if (parts_.device) {
      if (k.object < 0 || static_cast<size_t>(k.object) >= parts_.functions.size())
        return invalid("there is no code for kernel " + name_text(k.name));
      l.function = parts_.functions[k.object];
      l.threads = k.threads;
      l.dependent = c.dependent;
      bool fixed = c.shared_bytes.is_const();
      for (int i = 0; i < 3; ++i) fixed = fixed && c.grid[i].is_const() && c.cluster[i].is_const();
      if (!fixed || k.threads < 1) return invalid("kernel " + name_text(k.name) + " has no fixed launch");
      l.shared_bytes = c.shared_bytes.value();
      for (int i = 0; i < 3; ++i) {
        l.grid[i] = c.grid[i].value();
        l.cluster[i] = c.cluster[i].value();
      }
    }
    if (!parts_.device && !l.fn && k.object >= 0) {
      if (static_cast<size_t>(k.object) >= parts_.objects.size() || !parts_.objects[k.object])
        return invalid("kernel " + name_text(k.name) + ": there is no object " + std::to_string(k.object));
      l.fn = parts_.objects[k.object]->kernel(k.name);
    }
    if (!l.fn && !l.function) return invalid("there is no code for kernel " + name_text(k.name));
    l.ptrs = static_cast<uint32_t>(out_.ptr_tensors.size());
    l.dims = static_cast<uint32_t>(out_.dims.size());
    for (const Param& p : c.params) {
      CompiledDim d;
      switch (p.kind) {
        case Param::Kind::tensor:
          l.late = l.late || code_.tensors[p.tensor].late_pointer;
          patch(p.tensor);
          out_.ptr_tensors.push_back(p.tensor);
          break;
        case Param::Kind::dim: {
          TRY_ASSIGN(d, code_.program.compile(p.dim));
          l.late = l.late || waits(d);
          if (d.late && !waits(d)) out_.starting_dims.push_back(static_cast<uint32_t>(out_.dims.size()));
          out_.dims.push_back(d);
          break;
        }
        case Param::Kind::scalar:
          d.constant = std::bit_cast<int64_t>(p.scalar);
          out_.dims.push_back(d);
          break;
        default: return unsupported("kernel " + name_text(k.name) + " has a parameter of a kind that is not for the CPU");
      }
    }
    l.ptr_count = static_cast<uint32_t>(out_.ptr_tensors.size()) - l.ptrs;
    l.dim_count = static_cast<uint32_t>(out_.dims.size()) - l.dims;
    TRY_ASSIGN(l.tasks, code_.program.compile(c.tasks));
    TRY_ASSIGN(l.scratch, code_.program.compile(c.scratch_bytes));
    l.late = l.late || waits(l.tasks) || waits(l.scratch);
    emit(Step::Kind::launch, c, number).item = static_cast<int>(out_.launches.size());
    out_.launches.push_back(l);
    return {};
  }
  // Whether it has to be evaluated when it is its launch's turn.
  bool waits(const CompiledDim& d) const { return parts_.device ? d.during : d.late; }
  // Pointers into memory that each run binds anew.
  void patch(int tensor) {
    const TensorCode& t = code_.tensors[tensor];
    Storage s = plan_.buffers[t.buffer].storage;
    if (!t.late_pointer && (s == Storage::input || s == Storage::output || s == Storage::state))
      out_.patches[t.buffer].push_back(static_cast<uint32_t>(out_.ptr_tensors.size()));
  }

  Status host_call(const Command& c, int number) {
    HostCallCode h;
    h.fn = find_host_function(c.name);
    if (!h.fn) return unsupported("there is no host function " + name_text(c.name));
    std::set<std::string> sets(c.sets.begin(), c.sets.end());
    for (const std::string& s : sets) h.sets.push_back(code_.program.slot(s));
    for (size_t i = static_cast<size_t>(c.index); i < c.tensors.size(); ++i) {
      const PlanTensor& t = plan_.tensors[c.tensors[i]];
      bool sized = false;
      for (size_t k = 0; k < t.dims.size(); ++k) {
        std::string symbol;
        int unknown = 0;
        for (const std::string& s : t.dims[k].symbols())
          if (sets.count(s)) symbol = s, ++unknown;
        sized = sized || unknown > 0;
        Dim rest;
        std::optional<Dim> coefficient = unknown == 1 ? t.dims[k].coefficient(symbol, &rest) : std::nullopt;
        if (!coefficient) continue;
        Solve s;
        s.port = static_cast<int>(i - static_cast<size_t>(c.index));
        s.dim = static_cast<int>(k);
        s.slot = code_.program.slot(symbol);
        TRY_ASSIGN(s.coefficient, code_.program.compile(*coefficient));
        TRY_ASSIGN(s.rest, code_.program.compile(rest));
        h.solves.push_back(s);
      }
      h.sized_here.push_back(sized);
    }
    emit(Step::Kind::host_call, c, number).item = static_cast<int>(out_.host_calls.size());
    out_.host_calls.push_back(std::move(h));
    return {};
  }

  Status collective(const Command& c, int number) {
    CollectiveCode k;
    for (size_t g = 0; g < parts_.groups.size(); ++g)
      if (plan_.groups[g].name == c.group) {
        k.group = parts_.groups[g].get();
        k.on_device = parts_.device_groups[g].get();
      }
    if (!k.group) return unsupported("a collective over group " + name_text(c.group) + " in a plan that runs as one rank");
    auto kind = collective_from_name(c.name);
    if (!kind) return unsupported("there is no collective " + name_text(c.name));
    k.call.kind = *kind;
    k.call.dtype = plan_.tensors[c.tensors[0]].dtype;
    k.call.label = c.nodes.empty() ? plan_.tensors[c.tensors.back()].name : c.nodes[0];
    k.in = c.index > 0 ? c.tensors.front() : -1;
    k.out = c.index < static_cast<int64_t>(c.tensors.size()) ? c.tensors.back() : -1;
    HostCall attributes;
    attributes.attributes = c.text;
    TRY_ASSIGN(k.dim, attributes.integer(*kind == CollectiveKind::all_to_all ? "split" : "dim", 0));
    TRY_ASSIGN(k.join, attributes.integer("join", 0));
    TRY_ASSIGN(k.call.root, attributes.integer("root", 0));
    TRY_ASSIGN(k.call.tag, attributes.integer("tag", 0));
    TRY_ASSIGN(k.call.pairs, attributes.integers("pairs"));
    if (auto name = attributes.word("reduction"); !name.empty()) {
      auto r = reduction_from_name(name);
      if (!r) return unsupported("there is no reduction " + quote(name));
      k.call.reduction = *r;
    }
    if (k.on_device && !k.on_device->supports(k.call)) k.on_device = nullptr;
    if (k.on_device) k.event = c.event;
    out_.events = std::max(out_.events, k.event + 1);
    emit(Step::Kind::collective, c, number).item = static_cast<int>(out_.collectives.size());
    out_.collectives.push_back(std::move(k));
    return {};
  }

  Status branch(const Command& c, int number) {
    int at = here();
    emit(Step::Kind::branch, c, number);
    TRY(region(*c.regions[0]));
    if (c.regions.size() < 2) {
      out_.steps[at].target = here();
      return {};
    }
    int jump = here();
    emit(Step::Kind::jump, c, number);
    out_.steps[at].target = here();
    TRY(region(*c.regions[1]));
    out_.steps[jump].target = here();
    return {};
  }

  Status select(const Command& c, int number) {
    SelectCode s;
    for (size_t from = 0; from < c.text.size();) {
      size_t to = std::min(c.text.find(',', from), c.text.size());
      s.slots.push_back(code_.program.slot(c.text.substr(from, to - from)));
      from = to + 1;
    }
    for (const auto& list : c.ranges) {
      std::vector<CompiledDim>& r = s.ranges.emplace_back();
      for (const Dim& d : list) {
        TRY_ASSIGN(CompiledDim x, code_.program.compile(d));
        r.push_back(x);
      }
    }
    int item = static_cast<int>(out_.selects.size());
    emit(Step::Kind::select, c, number).item = item;
    out_.selects.push_back(std::move(s));
    std::vector<int> jumps;
    for (const auto& r : c.regions) {
      out_.selects[item].targets.push_back(here());
      TRY(region(*r));
      jumps.push_back(here());
      emit(Step::Kind::jump, c, number);
    }
    for (int j : jumps) out_.steps[j].target = here();
    return {};
  }

  Status loop(const Command& c, int number) {
    int item = out_.loops++, at = here();
    auto step = [&](Step::Kind kind) -> Status {
      Step& s = emit(kind, c, number);
      s.item = item;
      s.slot = c.name.empty() ? -1 : code_.program.slot(c.name);
      s.unbounded = c.tasks.is_overflow();
      if (!s.unbounded) {
        TRY_ASSIGN(s.dim, code_.program.compile(c.tasks));
      }
      return {};
    };
    TRY(step(Step::Kind::loop_enter));
    TRY(region(*c.regions[0]));
    TRY(step(Step::Kind::loop_next));
    out_.steps.back().target = at + 1;
    out_.steps[at].target = here();
    return {};
  }

  const Plan& plan_;
  const ExecutableParts& parts_;
  PlanCode& code_;
  Program out_;
  std::set<int> tensors_;
  int next_number_ = 0, depth_ = 0;
};

}  // namespace

Result<Program> flatten(const Plan& plan, const ExecutableParts& parts, PlanCode& code, const Region& tree) {
  return Flattener(plan, parts, code).run(tree, &tree == &plan.prepare);
}

}  // namespace weft
