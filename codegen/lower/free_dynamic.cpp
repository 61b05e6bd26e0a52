// Dynamic buffers are given back behind the last command that mentions them, so that a run holds what it still needs. A
// buffer is freed in the region that allocates it, when nothing outside of that region mentions it.
#include <algorithm>

#include "codegen/lower/free_dynamic.h"

namespace weft {

namespace {

class Frees {
 public:
  explicit Frees(Plan& plan) : p_(plan), mentions_(plan.buffers.size()), exchanged_(plan.buffers.size()) {
    count(plan.main, mentions_);
    for (const PlanPort& q : plan.outputs) ++mentions_[plan.tensors[q.tensor].buffer];
  }
  void run() { region(p_.main); }

 private:
  template <class F>
  void each(const Command& c, F&& f) {
    for (int t : c.tensors) f(t);
    for (const Param& q : c.params)
      if (q.tensor >= 0) f(q.tensor);
  }
  void count(const Command& c, std::vector<int>& into) {
    each(c, [&](int t) {
      ++into[p_.tensors[t].buffer];
      if (c.kind == CommandKind::swap) exchanged_[p_.tensors[t].buffer] = true;
    });
    for (const auto& r : c.regions) count(*r, into);
  }
  void count(const Region& r, std::vector<int>& into) {
    for (const Command& c : r.commands) count(c, into);
  }

  void region(Region& r) {
    for (Command& c : r.commands)
      for (auto& sub : c.regions) region(*sub);
    std::vector<int> here(p_.buffers.size()), last(p_.buffers.size(), -1), tensor(p_.buffers.size(), -1);
    for (size_t k = 0; k < r.commands.size(); ++k) {
      std::vector<int> now(p_.buffers.size());
      count(r.commands[k], now);
      for (size_t b = 0; b < now.size(); ++b) {
        here[b] += now[b];
        if (now[b]) last[b] = static_cast<int>(k);
      }
      // `alloc`, or the host call that sizes its result.
      const Command& c = r.commands[k];
      if (c.kind == CommandKind::alloc || c.kind == CommandKind::host_call)
        for (size_t i = c.kind == CommandKind::alloc ? 0 : static_cast<size_t>(c.index); i < c.tensors.size(); ++i)
          if (int& t = tensor[p_.tensors[c.tensors[i]].buffer]; t < 0) t = c.tensors[i];
    }
    std::vector<Command> out;
    for (size_t k = 0; k < r.commands.size(); ++k) {
      out.push_back(std::move(r.commands[k]));
      for (size_t b = 0; b < here.size(); ++b) {
        if (p_.buffers[b].storage != Storage::dynamic || exchanged_[b] || last[b] != static_cast<int>(k) ||
            tensor[b] < 0 || here[b] != mentions_[b])
          continue;
        Command c;
        c.kind = CommandKind::free;
        c.tensors = {tensor[b]};
        out.push_back(std::move(c));
      }
    }
    r.commands = std::move(out);
  }

  Plan& p_;
  std::vector<int> mentions_;   // per buffer, in the whole program
  std::vector<bool> exchanged_;
};

}  // namespace

void free_dynamic(Plan& p) {
  bool any = std::any_of(p.buffers.begin(), p.buffers.end(), [](const PlanBuffer& b) { return b.storage == Storage::dynamic; });
  if (any) Frees(p).run();
}

}  // namespace weft
