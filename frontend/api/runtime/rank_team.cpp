#include "frontend/api/runtime/rank_team.h"

#include <algorithm>
#include <utility>

#include "runtime/comm/threads.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/device.h"

namespace weft::api {

// How long the others may go on after a rank failed: all fail alike where the input is wrong, and then nobody waits.
constexpr std::chrono::milliseconds kPatience{200};

RankTeam::RankTeam(int ranks) : results_(static_cast<size_t>(ranks)) {
  for (int r = 1; r < ranks; ++r) threads_.emplace_back([this, r] { serve(r); });
}

RankTeam::~RankTeam() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  begin_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void RankTeam::serve(int rank) {
  uint64_t seen = 0;
  while (true) {
    std::unique_lock lock(mutex_);
    begin_.wait(lock, [&] { return stop_ || turn_ != seen; });
    if (stop_) return;
    seen = turn_;
    lock.unlock();
    work(rank);
  }
}

void RankTeam::work(int rank) {
  Status s = (*f_)(rank);
  std::unique_lock lock(mutex_);
  --at_work_;
  end_.notify_all();
  if (!s.ok()) {
    end_.wait_for(lock, kPatience, [&] { return at_work_ == 0; });
    if (at_work_ > 0 && !aborted_) {
      aborted_ = s.error();
      lock.unlock();
      (*abort_)(s.error());
      lock.lock();
    }
  }
  results_[static_cast<size_t>(rank)] = std::move(s);
  --here_;
  end_.notify_all();
}

Status RankTeam::run(const std::function<Status(int)>& f, const std::function<void(const Error&)>& abort) {
  {
    std::lock_guard lock(mutex_);
    f_ = &f;
    abort_ = &abort;
    at_work_ = here_ = static_cast<int>(results_.size());
    aborted_.reset();
    ++turn_;
  }
  begin_.notify_all();
  work(0);
  std::unique_lock lock(mutex_);
  end_.wait(lock, [&] { return here_ == 0; });
  if (aborted_) return *aborted_;
  for (Status& s : results_)
    if (!s.ok()) return std::move(s);
  return {};
}

Result<int> device_here(const std::optional<Group>& group, int device) {
  if (!has_processes(group) || group->state()->local_rank == 0) return device;
  TRY_ASSIGN(const std::vector<CudaDevice> all, cuda_devices());
  return all.empty() ? device : (device + group->state()->local_rank) % static_cast<int>(all.size());
}

static Result<LocalRanks> make_one_rank(ExecutableParts parts, const Group& group) {
  LocalRanks out;
  out.group = group.state();
  parts.world = out.world = group.state()->world;
  parts.comm_timeout = group.state()->comm.timeout;
  auto exe = make_executable(std::move(parts));
  if (!exe.ok()) {
    group.abort(exe.error());
    return std::move(exe.error());
  }
  out.exes.push_back(std::move(*exe));
  // Weights take each rank its own time, for which nobody should wait in a collective.
  TRY(agree(group, "the first run", {}));
  return out;
}

Result<LocalRanks> make_local_ranks(ExecutableParts parts, const std::optional<Group>& group, const std::vector<std::shared_ptr<Device>>& devices,
                                    const std::function<Status(ExecutableParts&)>& load) {
  if (has_processes(group)) return make_one_rank(std::move(parts), *group);
  LocalRanks out;
  const auto ranks = static_cast<size_t>(parts.plan.mesh.size());
  if (ranks == 1) {
    TRY_ASSIGN(auto exe, make_executable(std::move(parts)));
    out.exes.push_back(std::move(exe));
    return out;
  }
  TRY_ASSIGN(auto worlds, thread_ranks(static_cast<int>(ranks), group ? group->state()->comm : CommOptions{}));
  const int threads = std::max(1, (parts.pool ? parts.pool->threads() : 1) / static_cast<int>(ranks));
  const std::string text = print_plan(parts.plan);
  std::vector<ExecutableParts> each(ranks);
  for (size_t r = 0; r < ranks; ++r) {
    ExecutableParts& p = each[r];
    TRY_ASSIGN(p.plan, parse_plan(text));
    p.objects = parts.objects;
    p.device = devices.empty() ? parts.device : devices[r % devices.size()];
    if (devices.empty()) p.functions = parts.functions;
    else if (r < devices.size()) TRY(load(p));
    else p.functions = each[r % devices.size()].functions;
    p.constants = parts.constants;
    p.push_code = parts.push_code;
    p.prepared = parts.prepared;
    if (group) p.comm_timeout = group->state()->comm.timeout;
    p.world = std::move(worlds[r]);
    TRY_ASSIGN(p.pool, ThreadPool::create(threads));
  }
  out.world = each[0].world;
  out.exes.resize(ranks);
  RankTeam team(static_cast<int>(ranks));
  TRY(team.run(
      [&](int r) -> Status {
        TRY_ASSIGN(out.exes[static_cast<size_t>(r)], make_executable(std::move(each[static_cast<size_t>(r)])));
        return {};
      },
      [&](const Error& why) { out.world->abort(why); }));
  return out;
}

}  // namespace weft::api
