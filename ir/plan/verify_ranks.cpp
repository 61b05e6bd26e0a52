// verify_collectives: the stages' plans as their ranks run them together, collective by collective. All ranks of a stage run one
// plan and pass what they send to the rank of another stage that differs from them by the stage alone, so that they are always
// at the same place: one rank of each stage stands for them, and what a stage does by itself never waits. What goes on between
// stages goes on when both, or all, are there; when nothing can, and not all have ended, ranks would wait forever.
#include <algorithm>

#include "ir/plan/verify.h"

namespace weft {

namespace {

struct Exchange {
  const Command* command = nullptr;
  enum class Kind : uint8_t { send, recv, all } kind = Kind::all;
  int64_t other = -1, tag = -1;  // send, recv
  const PlanTensor* tensor = nullptr;
};

std::string type_text(const PlanTensor& t) {
  std::string dims;
  for (const Dim& d : t.dims) dims += (dims.empty() ? "" : ",") + d.to_string();
  return std::string(dtype_name(t.dtype)) + "[" + dims + "]";
}
// Dims of which stages have different expressions may be equal.
bool same_type(const PlanTensor& a, const PlanTensor& b) {
  return a.dtype == b.dtype && std::equal(a.dims.begin(), a.dims.end(), b.dims.begin(), b.dims.end(),
                                          [](const Dim& x, const Dim& y) { return !x.is_const() || !y.is_const() || x == y; });
}
bool fit(const Exchange& a, const Exchange& b) {
  if (!same_type(*a.tensor, *b.tensor) || a.tag != b.tag) return false;
  return a.kind != Exchange::Kind::all || (a.command->name == b.command->name && a.command->text == b.command->text && a.command->group == b.command->group);
}

// "root=1 tag=0": the number behind the name; -1: there is none.
int64_t number_in(const std::string& text, const std::string& name) {
  const size_t at = (" " + text).find(" " + name + "=");
  return at == std::string::npos ? -1 : std::strtoll(text.c_str() + at + name.size() + 1, nullptr, 10);
}

// Those of a region tree that ranks of other stages take part in.
void collect(const Plan& p, const Region& r, std::vector<Exchange>& out) {
  for (const Command& c : r.commands) {
    if (c.kind == CommandKind::collective && !c.tensors.empty()) {
      const auto group = std::find_if(p.groups.begin(), p.groups.end(), [&](const PlanGroup& g) { return g.name == c.group; });
      const bool between = group != p.groups.end() && std::count(group->axes.begin(), group->axes.end(), kStageAxis);
      if (between) {
        Exchange e;
        e.command = &c;
        e.tensor = &p.tensors[static_cast<size_t>(c.tensors[0])];
        if (c.name == "send" || c.name == "recv") {
          e.kind = c.name == "send" ? Exchange::Kind::send : Exchange::Kind::recv;
          e.other = number_in(c.text, "root");
          e.tag = number_in(c.text, "tag");
        }
        out.push_back(std::move(e));
      }
    }
    for (const auto& inner : c.regions) collect(p, *inner, out);
  }
}

std::string text_of(const Exchange& e) {
  const std::string type = type_text(*e.tensor);
  if (e.kind == Exchange::Kind::all) return e.command->name + " of " + type + " over " + e.command->group;
  const bool sends = e.kind == Exchange::Kind::send;
  return std::string(sends ? "send of " : "recv of ") + type + (sends ? " to stage " : " from stage ") + std::to_string(e.other) + ", tag " +
         std::to_string(e.tag);
}

class Together {
 public:
  explicit Together(const std::vector<const Plan*>& stages) : at_(stages.size(), 0) {
    for (const Plan* p : stages) collect(*p, p->main, exchanges_.emplace_back());
  }

  Status run() {
    while (true) {
      bool any = false;
      for (size_t k = 0; k < at_.size(); ++k) {
        const Exchange* mine = head(k);
        if (!mine || mine->kind == Exchange::Kind::all) continue;
        if (mine->other < 0 || static_cast<size_t>(mine->other) >= at_.size() || static_cast<size_t>(mine->other) == k)
          return wrong(k, "there is no such stage");
        const Exchange* other = head(static_cast<size_t>(mine->other));
        const bool meet = mine->kind == Exchange::Kind::send && other && other->kind == Exchange::Kind::recv && other->other == static_cast<int64_t>(k);
        if (!meet) continue;
        if (!fit(*mine, *other)) return wrong(k, "stage " + std::to_string(mine->other) + " is at " + text_of(*other));
        ++at_[k];
        ++at_[static_cast<size_t>(mine->other)];
        any = true;
      }
      if (all_at_one()) any = true;
      if (any) continue;
      for (size_t k = 0; k < at_.size(); ++k)
        if (head(k)) return stuck(k);
      return {};
    }
  }

 private:
  const Exchange* head(size_t stage) const { return at_[stage] < exchanges_[stage].size() ? &exchanges_[stage][at_[stage]] : nullptr; }
  bool all_at_one() {
    for (size_t k = 0; k < at_.size(); ++k)
      if (const Exchange* e = head(k); !e || e->kind != Exchange::Kind::all || !fit(*e, *head(0))) return false;
    for (size_t& at : at_) ++at;
    return true;
  }
  Error wrong(size_t stage, const std::string& why) const {
    const Exchange& e = *head(stage);
    Error error = invalid("stage " + std::to_string(stage) + " of the pipeline: " + text_of(e) + ": " + why);
    if (!e.command->nodes.empty()) error.at_node(e.command->nodes[0]);
    return error;
  }
  Error stuck(size_t stage) const {
    std::string others;
    for (size_t k = 0; k < at_.size(); ++k)
      if (k != stage) others += "; stage " + std::to_string(k) + (head(k) ? " is at " + text_of(*head(k)) : std::string(" has ended"));
    return wrong(stage, "its ranks would wait forever" + others);
  }

  std::vector<std::vector<Exchange>> exchanges_;  // per stage, in order
  std::vector<size_t> at_;
};

}  // namespace

Status verify_collectives(const std::vector<const Plan*>& stages) { return stages.size() < 2 ? Status{} : Together(stages).run(); }

}  // namespace weft
