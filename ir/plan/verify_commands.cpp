// verify_plan: every command has the operands, parameters and regions of its kind, and accesses only what it may.
#include <algorithm>

#include "ir/base/text.h"
#include "ir/plan/verify.h"

namespace weft {

namespace {

constexpr int kMaxDepth = 32;         // of regions
constexpr int kMaxStreams = 64;
constexpr int kMaxCommands = 1 << 24;

class Verifier {
 public:
  Verifier(const Plan& p, bool prepare) : p_(p), prepare_(prepare) {}

  Status region(const Region& r, int depth) {
    if (depth > kMaxDepth) return invalid("regions are nested more than " + std::to_string(kMaxDepth) + " deep");
    for (const Command& c : r.commands) {
      if (number_ >= kMaxCommands) return resources("more than " + std::to_string(kMaxCommands) + " commands");
      Status s = command(c);
      if (!s.ok()) {
        s.error().prefix((prepare_ ? "prepare command " : "command ") + std::to_string(number_) + " (" + command_name(c.kind) + "): ");
        if (!c.nodes.empty()) s.error().at_node(c.nodes[0]);
        return s;
      }
      ++number_;
      for (const auto& sub : c.regions) TRY(region(*sub, depth + 1));
    }
    return {};
  }

 private:
  Status command(const Command& c) {
    if (static_cast<size_t>(c.kind) > static_cast<size_t>(CommandKind::wait)) return invalid("unknown kind");
    if (c.stream < 0 || c.stream >= kMaxStreams) return invalid("stream " + std::to_string(c.stream) + " is out of range");
    for (int t : c.tensors)
      if (t < 0 || t >= static_cast<int64_t>(p_.tensors.size())) return invalid("tensor " + std::to_string(t) + " does not exist");
    for (const Dim* d : {&c.dim, &c.shared_bytes, &c.scratch_bytes, &c.grid[0], &c.grid[1], &c.grid[2], &c.cluster[0], &c.cluster[1], &c.cluster[2]})
      TRY(verify_dim(p_, *d, "a size"));
    if (!(c.kind == CommandKind::loop && c.tasks.is_overflow())) TRY(verify_dim(p_, c.tasks, "the number of tasks"));
    for (const auto& r : c.regions)
      if (!r) return invalid("a region is missing");
    if (c.kind != CommandKind::launch && (c.kernel >= 0 || !c.params.empty())) return invalid("only a launch has a kernel and parameters");
    TRY(counts(c));
    TRY(particular(c));
    Status bad;
    for_each_access(c, [&](int t, Access a) {
      if (bad.ok()) bad = access(c, t, a);
    });
    return bad;
  }

  // How many tensors and regions a kind has.
  Status counts(const Command& c) {
    struct Row {
      size_t min, max, regions_min, regions_max;
    };
    auto row = [&]() -> Row {
      switch (c.kind) {
        case CommandKind::copy:
        case CommandKind::swap: return {2, 2, 0, 0};
        case CommandKind::collective: return {1, 2, 0, 0};
        case CommandKind::fill:
        case CommandKind::read:
        case CommandKind::expect:
        case CommandKind::alloc:
        case CommandKind::free: return {1, 1, 0, 0};
        case CommandKind::host_call: return {0, 1 << 16, 0, 0};
        case CommandKind::if_then: return {1, 1, 1, 2};
        case CommandKind::loop: return {0, 1, 1, 1};
        case CommandKind::select: return {0, 0, 0, 1 << 16};
        default: return {0, 0, 0, 0};
      }
    }();
    if (c.tensors.size() < row.min || c.tensors.size() > row.max) return invalid("it has " + std::to_string(c.tensors.size()) + " tensors");
    if (c.regions.size() < row.regions_min || c.regions.size() > row.regions_max)
      return invalid("it has " + std::to_string(c.regions.size()) + " regions");
    return {};
  }

  Status particular(const Command& c) {
    switch (c.kind) {
      case CommandKind::launch: return launch(c);
      case CommandKind::copy: return same_kind(c, true);
      case CommandKind::collective:
        if (c.name.empty()) return invalid("it has no name");
        if (c.index != (c.name == "recv" ? 0 : 1) || c.tensors.size() != (c.name == "send" || c.name == "recv" ? 1 : 2))
          return invalid("it has other operands and results than " + name_text(c.name));
        for (const PlanGroup& g : p_.groups)
          if (g.name == c.group) return {};
        return invalid("there is no group " + name_text(c.group));
      case CommandKind::host_call:
        if (c.index < 0 || c.index > static_cast<int64_t>(c.tensors.size())) return invalid("its number of inputs is out of range");
        for (const std::string& s : c.sets) TRY(target(s));
        return c.name.empty() ? Status(invalid("it has no name")) : Status{};
      case CommandKind::set: return target(c.name);
      case CommandKind::read: {
        DType t = p_.tensors[c.tensors[0]].dtype;
        if ((!is_int(t) && t != DType::b1) || is_subbyte(t)) return invalid(std::string("it reads an element of type ") + dtype_name(t));
        if (c.index < 0) return invalid("element " + std::to_string(c.index));
        return target(c.name);
      }
      case CommandKind::expect: {
        const PlanTensor& t = p_.tensors[c.tensors[0]];
        if (t.dtype == DType::i64 && t.dims.empty() && p_.buffers[t.buffer].storage == Storage::report) return {};
        return invalid("tensor " + tensor_name(p_, c.tensors[0]) + " is no report");
      }
      case CommandKind::if_then: return condition(c);
      case CommandKind::loop:
        if (!c.name.empty()) TRY(target(c.name));
        return c.tensors.empty() ? Status{} : condition(c);
      case CommandKind::select: return select(c);
      case CommandKind::swap: return swap(c);
      case CommandKind::alloc:
      case CommandKind::free: {
        const PlanBuffer& b = p_.buffers[p_.tensors[c.tensors[0]].buffer];
        if (b.storage == Storage::dynamic || (b.storage == Storage::output && c.kind == CommandKind::alloc)) return {};
        return invalid("buffer " + buffer_name(p_, p_.tensors[c.tensors[0]].buffer) + " is not dynamic");
      }
      case CommandKind::record:
      case CommandKind::wait:
      case CommandKind::wait_collective: return c.event >= 0 ? Status{} : Status(invalid("it has no event"));
      default: return {};
    }
  }

  Status launch(const Command& c) {
    if (c.kernel < 0 || c.kernel >= static_cast<int64_t>(p_.kernels.size())) return invalid("kernel " + std::to_string(c.kernel) + " does not exist");
    if (range_of(c.tasks, p_.symbols).hi < 0 || range_of(c.scratch_bytes, p_.symbols).hi < 0) return invalid("a size is negative");
    for (const Param& q : c.params) {
      if (static_cast<size_t>(q.kind) > static_cast<size_t>(Param::Kind::workspace) ||
          static_cast<size_t>(q.access) > static_cast<size_t>(Access::update))
        return invalid("a parameter of unknown kind");
      bool wants = q.kind == Param::Kind::tensor || q.kind == Param::Kind::tensor_map || q.kind == Param::Kind::peer_table;
      bool may = wants || q.kind == Param::Kind::workspace;
      if (q.tensor < -1 || q.tensor >= static_cast<int64_t>(p_.tensors.size()) || (wants && q.tensor < 0) || (!may && q.tensor >= 0))
        return invalid("a parameter has no valid tensor");
      TRY(verify_dim(p_, q.dim, "a parameter"));
    }
    return {};
  }

  // Two tensors of one element type, and of one shape as far as that is known.
  Status same_kind(const Command& c, bool shape) {
    const PlanTensor &a = p_.tensors[c.tensors[0]], &b = p_.tensors[c.tensors[1]];
    bool same = a.dtype == b.dtype && (!shape || a.dims.size() == b.dims.size());
    for (size_t i = 0; same && shape && i < a.dims.size(); ++i) {
      Interval d = range_of(a.dims[i] - b.dims[i], p_.symbols);
      same = d.lo <= 0 && d.hi >= 0;
    }
    if (same) return {};
    return invalid(std::string("tensors ") + tensor_name(p_, c.tensors[0]) + ": " + dtype_name(a.dtype) + "[" + shape_text(a.dims) +
                   "] and " + tensor_name(p_, c.tensors[1]) + ": " + dtype_name(b.dtype) + "[" + shape_text(b.dims) + "] differ");
  }

  Status target(const std::string& symbol) const {
    if (p_.symbols.count(symbol)) return {};
    return invalid("the symbol " + name_text(symbol) + " that it sets is not declared");
  }
  Status condition(const Command& c) const {
    const PlanTensor& t = p_.tensors[c.tensors[0]];
    Dim n = numel(t.dims);
    if (t.dtype != DType::b1 || (n.is_const() && !n.is(1))) return invalid("its condition " + tensor_name(p_, c.tensors[0]) + " is not one bool");
    return {};
  }

  Status select(const Command& c) const {
    if (c.ranges.size() != c.regions.size())
      return invalid("it has " + std::to_string(c.regions.size()) + " regions and " + std::to_string(c.ranges.size()) + " lists of ranges");
    size_t names = 0;
    for (size_t from = 0; from < c.text.size();) {
      size_t to = std::min(c.text.find(',', from), c.text.size());
      TRY(verify_dim(p_, Dim::symbol(c.text.substr(from, to - from)), "its choice"));
      ++names;
      from = to + 1;
    }
    for (const auto& r : c.ranges) {
      if (!r.empty() && r.size() != 2 * names)
        return invalid("a list of ranges has " + std::to_string(r.size()) + " bounds for " + std::to_string(names) + " symbols");
      for (const Dim& d : r) TRY(verify_dim(p_, d, "a bound"));
    }
    return {};
  }

  Status swap(const Command& c) const {
    int ia = p_.tensors[c.tensors[0]].buffer, ib = p_.tensors[c.tensors[1]].buffer;
    const PlanBuffer &a = p_.buffers[ia], &b = p_.buffers[ib];
    bool kind = a.storage == b.storage && (a.storage == Storage::arena || a.storage == Storage::dynamic || a.storage == Storage::state);
    if (!kind) return invalid("buffers " + buffer_name(p_, ia) + " and " + buffer_name(p_, ib) + " cannot be swapped");
    if (a.storage == Storage::arena && (!(a.bytes == b.bytes) || a.first != b.first || a.last != b.last || a.alignment != b.alignment))
      return invalid("buffers " + buffer_name(p_, ia) + " and " + buffer_name(p_, ib) + " are swapped but differ in size or lifetime");
    if (a.storage == Storage::state && (a.source != b.source || !(a.bytes == b.bytes)))
      return invalid("only the buffers of one state can be swapped");
    return {};
  }

  Status access(const Command& c, int t, Access a) const {
    if (t < 0) return {};
    const PlanTensor& x = p_.tensors[t];
    const PlanBuffer& b = p_.buffers[x.buffer];
    std::string what = buffer_name(p_, x.buffer);
    if (!is_bound(p_, x.buffer)) return invalid("it accesses buffer " + what + ", which does not hold its input, output or state");
    bool pointer_only = c.kind == CommandKind::swap || c.kind == CommandKind::alloc || c.kind == CommandKind::free;
    if (a != Access::read && !pointer_only) {
      if (b.storage == Storage::constant || b.storage == Storage::input || (b.storage == Storage::prepared && !prepare_))
        return invalid("it writes to buffer " + what + ", which is not writable");
      bool empty = std::any_of(x.dims.begin(), x.dims.end(), [](const Dim& d) { return d.is(0); });
      for (size_t i = 0; i < x.dims.size() && !empty; ++i)
        if (x.strides[i].is(0) && range_of(x.dims[i], p_.symbols).lo > 1)
          return invalid("it writes to tensor " + tensor_name(p_, t) + ", which has a stride of 0");
    }
    if (prepare_) {
      bool there = b.storage == Storage::constant || b.storage == Storage::prepared || (b.storage == Storage::arena && b.prepare);
      if (!there) return invalid("it accesses buffer " + what + ", which does not exist while weights are prepared");
    } else if (b.prepare) {
      return invalid("it accesses buffer " + what + " of the prepare region");
    }
    return {};
  }

  const Plan& p_;
  bool prepare_;
  int number_ = 0;
};

}  // namespace

Status verify_commands(const Plan& p) {
  TRY(Verifier(p, true).region(p.prepare, 0));
  return Verifier(p, false).region(p.main, 0);
}

}  // namespace weft
