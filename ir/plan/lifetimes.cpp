#include "ir/plan/lifetimes.h"

#include <map>
#include <numeric>

namespace weft {

namespace {

struct RegionInfo {
  int parent = -1, depth = 0;
  bool loop_body = false;
  int begin = 0, end = 0;  // numbers of the command that holds it and of the last command inside
};

struct BufferInfo {
  LiveRange range;
  int common = -1;          // the lowest region that holds all accesses
  int first_region = -1;    // region of the first access
  bool overwritten = false; // the first access overwrites all of it
};

class Analysis {
 public:
  Analysis(const Plan& p, const Region& tree) : p_(p), buffers_(p.buffers.size()), swap_of_(p.buffers.size()) {
    std::iota(swap_of_.begin(), swap_of_.end(), 0);
    regions_.emplace_back();
    walk(tree, 0);
    loop_accesses(tree, 0);
  }

  std::vector<LiveRange> result(bool outputs) {
    std::vector<LiveRange> out(buffers_.size());
    for (size_t i = 0; i < buffers_.size(); ++i) {
      BufferInfo& b = buffers_[i];
      if (b.range.empty()) continue;
      bool local = b.overwritten && b.first_region == b.common;
      if (!local) extend(b, b.common, -1);
    }
    if (outputs)
      for (const PlanPort& q : p_.outputs) {
        LiveRange& r = buffers_[p_.tensors[q.tensor].buffer].range;
        if (!r.empty()) r.add(r.first, next_ - 1);
      }
    for (size_t i = 0; i < buffers_.size(); ++i)
      if (!buffers_[i].range.empty()) out[root(static_cast<int>(i))].add(buffers_[i].range.first, buffers_[i].range.last);
    for (size_t i = 0; i < buffers_.size(); ++i) out[i] = out[root(static_cast<int>(i))];
    return out;
  }

 private:
  int root(int i) {
    while (swap_of_[i] != i) i = swap_of_[i] = swap_of_[swap_of_[i]];
    return i;
  }
  int buffer_of(int tensor) const { return p_.tensors[tensor].buffer; }

  // First pass: numbers, regions, the ranges of plain accesses and the regions that hold them.
  void walk(const Region& r, int id) {
    for (const Command& c : r.commands) {
      int number = next_++;
      for_each_access(c, [&](int t, Access a) { access(c, t, a, number, id); });
      for_each_end(c, [&](int t) { access(c, t, Access::read, number, id); });
      if (c.kind == CommandKind::swap) swap_of_[root(buffer_of(c.tensors[0]))] = root(buffer_of(c.tensors[1]));
      for (const auto& sub : c.regions) {
        int child = static_cast<int>(regions_.size());
        regions_.push_back({id, regions_[id].depth + 1, c.kind == CommandKind::loop, number, number});
        walk(*sub, child);
        regions_[child].end = next_ - 1;
      }
    }
  }

  void access(const Command& c, int t, Access a, int number, int region) {
    BufferInfo& b = buffers_[buffer_of(t)];
    if (b.range.empty()) {
      b.common = b.first_region = region;
      b.overwritten = a == Access::write && covers(t);
    } else if (b.range.first == number && a != Access::write) {
      b.overwritten = false;  // the first command reads it as well
    }
    b.common = meet(b.common, region);
    b.range.add(number, number);
  }
  // The tensors of the collective whose end a command waits for.
  template <class F>
  void for_each_end(const Command& c, F&& f) {
    if (c.kind == CommandKind::collective && c.event >= 0) running_[c.event] = &c;
    if (auto it = running_.find(c.event); c.kind == CommandKind::wait_collective && it != running_.end())
      for (int t : it->second->tensors) f(t);
  }
  // The tensor is the whole buffer.
  bool covers(int t) const {
    const PlanTensor& x = p_.tensors[t];
    return x.offset.is(0) && x.strides == plan_strides(x.dims, x.dtype) && plan_bytes(x.dims, x.dtype) == p_.buffers[x.buffer].bytes;
  }
  int meet(int a, int b) const {
    while (regions_[a].depth > regions_[b].depth) a = regions_[a].parent;
    while (regions_[b].depth > regions_[a].depth) b = regions_[b].parent;
    while (a != b) a = regions_[a].parent, b = regions_[b].parent;
    return a;
  }
  // Over the loops whose bodies lie on the way from `region` up to `stop`, which does not count.
  void extend(BufferInfo& b, int region, int stop) {
    for (; region != stop && region >= 0; region = regions_[region].parent)
      if (regions_[region].loop_body) b.range.add(regions_[region].begin, regions_[region].end);
  }

  // Second pass, when every buffer's common region is known.
  void loop_accesses(const Region& r, int id) {
    if (id == 0) next_region_ = 1;
    for (const Command& c : r.commands) {
      auto inside = [&](int t) { extend(buffers_[buffer_of(t)], id, buffers_[buffer_of(t)].common); };
      for_each_access(c, [&](int t, Access) { inside(t); });
      for_each_end(c, inside);
      for (const auto& sub : c.regions) {
        int child = next_region_++;
        if (c.kind == CommandKind::loop)
          for (int t : c.tensors) buffers_[buffer_of(t)].range.add(regions_[child].begin, regions_[child].end);
        loop_accesses(*sub, child);
      }
    }
  }

  const Plan& p_;
  std::vector<BufferInfo> buffers_;
  std::vector<int> swap_of_;
  std::vector<RegionInfo> regions_;
  int next_ = 0, next_region_ = 0;
  std::map<int, const Command*> running_;  // by event: the collective started last
};

}  // namespace

std::vector<LiveRange> required_lifetimes(const Plan& p, const Region& tree) { return Analysis(p, tree).result(&tree == &p.main); }

void assign_lifetimes(Plan& p) {
  std::vector<LiveRange> main = required_lifetimes(p, p.main), prepare = required_lifetimes(p, p.prepare);
  for (size_t i = 0; i < p.buffers.size(); ++i) {
    PlanBuffer& b = p.buffers[i];
    if (b.storage != Storage::arena) continue;
    const LiveRange& r = (b.prepare ? prepare : main)[i];
    b.first = r.first;
    b.last = r.last;
  }
}

}  // namespace weft
