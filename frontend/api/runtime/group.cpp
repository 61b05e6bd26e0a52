#include "frontend/api/runtime/group_state.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "ir/base/hash.h"
#include "ir/base/text.h"
#include "ir/plan/plan.h"
#include "runtime/comm/sockets.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/executor/lone_rank.h"

namespace weft::api {

namespace {

using std::chrono::milliseconds;

constexpr int kMaxThreadRanks = 256;
constexpr milliseconds kForever = std::chrono::hours(24 * 365);  // for who is alive
constexpr size_t kMaxText = 64 << 10;

Result<milliseconds> time_of(double seconds, const char* what) {
  if (!(seconds > 0) || seconds > 1e9) return usage(std::string(what) + " of " + number_text(seconds) + " s").with_hint("give a positive number of seconds");
  return milliseconds(std::max<int64_t>(1, std::llround(seconds * 1e3)));
}

// The machine and the processors of it that this process may use.
std::string processors() {
  cpu_set_t set;
  std::string text = host_identity() + " ";
  if (sched_getaffinity(0, sizeof set, &set) != 0) return text + "all";
  for (int i = 0; i < CPU_SETSIZE; i += 4) {
    int digit = 0;
    for (int k = 0; k < 4; ++k) digit |= (CPU_ISSET(i + k, &set) ? 1 : 0) << k;
    text += "0123456789abcdef"[digit];
  }
  return text;
}

// Texts with a NUL between them.
std::string pack(std::vector<std::string> texts) {
  for (std::string& t : texts) {
    std::replace(t.begin(), t.end(), '\0', '?');
    if (t.size() > kMaxText) t.resize(kMaxText);
  }
  return join(texts, std::string(1, '\0'));
}
std::vector<std::string> unpack(const std::string& s) {
  std::vector<std::string> out(1);
  for (char c : s)
    if (c) out.back() += c;
    else out.emplace_back();
  return out;
}

}  // namespace

Result<Group> Group::threads(int ranks, const GroupOptions& options) {
  if (ranks < 1 || ranks > kMaxThreadRanks)
    return resources("a group of " + std::to_string(ranks) + " threads; from 1 to " + std::to_string(kMaxThreadRanks) + " are possible");
  auto s = std::make_shared<State>();
  s->size = ranks;
  TRY_ASSIGN(s->comm.timeout, time_of(options.timeout_s, "a time-out"));
  return Group(std::move(s));
}

Result<Group> Group::without_others(int ranks) {
  TRY_ASSIGN(const Group all, threads(ranks));
  auto s = std::make_shared<State>(*all.state());
  s->source = "without others";
  s->world = lone_rank(ranks);
  s->threads = usable_cores();
  return Group(std::move(s));
}

Result<Group> Group::from_environment(const GroupOptions& options) {
  auto s = std::make_shared<State>();
  TRY_ASSIGN(s->comm.timeout, time_of(options.timeout_s, "a time-out"));
  s->comm.cancel = options.cancel;
  JoinOptions join;
  TRY_ASSIGN(join.timeout, time_of(options.join_timeout_s, "a time to join"));
  RankPlaceOptions where;
  where.rendezvous = options.rendezvous;
  if (options.rank >= 0) where.rank = options.rank;
  if (options.size >= 0) where.size = options.size;
  TRY_ASSIGN(const RankPlace asked, find_place(where));
  TRY_ASSIGN(s->meeting, join_job(asked, join));
  const RankPlace& place = s->meeting->place();
  s->rank = place.rank;
  s->size = place.size;
  s->local_rank = place.local_rank;
  s->source = place.source;
  Group group(s);
  // Ranks that may use the same processors share them; launchers often give each its own.
  const std::string mine = processors();
  TRY_ASSIGN(const std::vector<std::string> all, group.exchange(mine));
  const int cores = usable_cores(), here = static_cast<int>(std::count(all.begin(), all.end(), mine));
  s->threads = std::max(1, cores / here);
  s->comm.spins = cores >= here;
  auto world = s->meeting->host_ranks(s->comm);
  if (world.ok()) s->world = std::move(*world);
  TRY(agree(group, "joining", world.ok() ? Status() : Status(world.error())));  // all have it before one may leave
  return group;
}

int Group::rank() const { return state_->rank; }
int Group::size() const { return state_->size; }
const std::string& Group::source() const { return state_->source; }

Result<std::vector<std::string>> Group::exchange(const std::string& mine) const {
  if (!state_->meeting) return std::vector<std::string>{mine};
  std::vector<std::string> all;
  for (int r = 0; r < size(); ++r) {
    TRY_ASSIGN(std::string said, state_->meeting->broadcast(r == rank() ? mine : "", r, kForever));
    all.push_back(std::move(said));
  }
  return all;
}

void Group::abort(const Error& why) const {
  if (!state_->meeting) return;
  if (state_->world) state_->world->abort(why);
  state_->meeting->abort(why);
}

std::optional<Error> Group::failure(double wait_s) const {
  if (!state_->meeting) return {};
  constexpr milliseconds kLook{5};
  for (double waited = 0;; waited += 1e-3 * kLook.count()) {
    std::optional<Error> e = state_->meeting->failure();
    if (!e && waited < wait_s) {
      std::this_thread::sleep_for(kLook);
      continue;
    }
    const std::string history = state_->world->history();
    if (const size_t end = history.rfind('\n'); e && history.find('#') < end)
      e->message += "\n  last collectives of rank " + std::to_string(rank()) + ":\n" + history.substr(0, end);
    return e;
  }
}

int threads_of(const std::optional<Group>& g) { return has_processes(g) ? g->state()->threads : usable_cores(); }

Status agree(const Group& g, const std::string& step, const Status& mine, const std::vector<std::pair<std::string, std::string>>& facts) {
  std::vector<std::string> said = {step, std::to_string(mine.ok() ? 0 : static_cast<int>(mine.error().code)), mine.ok() ? "" : mine.error().message,
                                   mine.ok() ? "" : mine.error().hint};
  for (const auto& [name, value] : facts) said.push_back(name + " " + value);
  auto exchanged = g.exchange(pack(said));
  if (!exchanged.ok()) return mine.ok() ? Status(std::move(exchanged.error())) : mine;
  std::vector<std::vector<std::string>> all;
  for (const std::string& s : *exchanged) all.push_back(unpack(s));
  auto rank_text = [](size_t r) { return "rank " + std::to_string(r); };
  for (size_t r = 1; r < all.size(); ++r)
    if (all[r][0] != all[0][0])
      return usage("the ranks do not do the same: rank 0 is at " + quote(all[0][0]) + ", " + rank_text(r) + " at " + quote(all[r][0]))
          .with_hint("all ranks must make the same executables and runs, in the same order");
  if (!mine.ok()) return mine;
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r].size() < 4 || all[r][1] == "0") continue;
    Error e = error(Code::kDevice, rank_text(r) + " failed: " + all[r][2]);
    for (Code c : {Code::kCheckFailed, Code::kUsage, Code::kInvalidModel, Code::kUnsupported, Code::kResources, Code::kCancelled})
      if (all[r][1] == std::to_string(static_cast<int>(c))) e.code = c;
    return e.with_hint(all[r][3]);
  }
  for (size_t r = 1; r < all.size(); ++r)
    for (size_t i = 4; i < std::max(all[r].size(), all[0].size()); ++i) {
      auto fact = [&](size_t rank) { return i < all[rank].size() ? all[rank][i] : "nothing"; };
      if (fact(r) != fact(0))
        return usage("the ranks do not fit together: rank 0 has " + fact(0) + ", " + rank_text(r) + " has " + fact(r))
            .with_hint("all ranks must have the same model, options and kind of processor");
    }
  return {};
}

size_t stage_of(const Mesh& mesh, size_t stages, size_t rank) { return stages == 1 ? 0 : static_cast<size_t>(mesh.stage(static_cast<int64_t>(rank))); }

bool runs_here(const std::optional<Group>& g, const Plan& plan) {
  return plan.stage < 0 || !has_processes(g) || plan.mesh.stage(g->rank()) == plan.stage;
}

Status check_plans(const std::optional<Group>& g, const std::vector<const Plan*>& plans) {
  const Mesh& mesh = plans[0]->mesh;
  const auto stages = static_cast<int64_t>(plans.size());
  if (stages > 1 && mesh.axis_size(kStageAxis) != stages) return invalid(std::to_string(stages) + " stages for a mesh of " + mesh.axes_text());
  std::string text;
  for (size_t k = 0; k < plans.size(); ++k) {
    if (plans[k]->mesh != mesh || plans[k]->stage != (stages > 1 ? static_cast<int>(k) : -1))
      return invalid("plan " + std::to_string(k) + " is not one of a pipeline's stages");
    if (has_processes(g)) text += print_plan(*plans[k]);
  }
  TRY(verify_collectives(plans));
  if (!g) return {};
  Status fits;
  if (mesh.size() != g->size())
    fits = usage("the model is for a mesh of " + std::to_string(mesh.size()) + " (" + mesh.axes_text() + "), the group (" + g->source() + ") has " +
                 std::to_string(g->size()) + " ranks");
  if (!g->state()->meeting) return fits;
  return agree(*g, "a model's plan", fits, {{"mesh", mesh.axes_text()}, {"target", plans[0]->target}, {"plan", hash_text(text).hex()}});
}

}  // namespace weft::api
