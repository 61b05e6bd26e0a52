#include "frontend/api/runtime/rank_team.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/comm/threads.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/gpu.h"

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

Result<std::vector<std::shared_ptr<Device>>> rank_devices(const std::optional<Group>& group, std::shared_ptr<Device> first, int device, int64_t ranks,
                                                          double gpu_memory, std::vector<std::string>& notes) {
  std::vector<std::shared_ptr<Device>> out{std::move(first)};
  if (has_processes(group) || ranks == 1) return out;
  TRY_ASSIGN(std::vector<CudaDevice> all, cuda_devices());
  const auto count = static_cast<int64_t>(all.size());
  for (int64_t k = 1; k < std::min(ranks, count); ++k) {
    TRY_ASSIGN(auto gpu, open_gpu(static_cast<int>((device + k) % count), gpu_memory));
    out.push_back(std::move(gpu));
  }
  if (count < ranks)
    notes.push_back(std::to_string(ranks) + " ranks share " + std::to_string(count) + " GPUs: what they exchange passes through the host");
  return out;
}

static Status make_one_rank(LocalRanks& out, ExecutableParts parts, const Group& group) {
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
  return agree(group, "the first run", {});
}

static Status make_threads(LocalRanks& out, const std::vector<ExecutableParts>& stages, const std::optional<Group>& group,
                           const std::vector<std::shared_ptr<Device>>& devices, const LoadFunctions& load) {
  const Mesh& mesh = stages[0].plan.mesh;
  const auto ranks = static_cast<size_t>(mesh.size());
  TRY_ASSIGN(auto worlds, thread_ranks(static_cast<int>(ranks), group ? group->state()->comm : CommOptions{}));
  const int threads = std::max(1, (stages[0].pool ? stages[0].pool->threads() : 1) / static_cast<int>(ranks));
  std::vector<std::string> texts;
  for (const ExecutableParts& s : stages) texts.push_back(print_plan(s.plan));
  std::map<std::pair<Device*, size_t>, std::vector<void*>> functions;
  std::vector<ExecutableParts> each(ranks);
  for (size_t r = 0; r < ranks; ++r) {
    const size_t stage = stage_of(mesh, stages.size(), r);
    const ExecutableParts& from = stages[stage];
    ExecutableParts& p = each[r];
    TRY_ASSIGN(p.plan, parse_plan(texts[stage]));
    p.objects = from.objects;
    if (!devices.empty()) {
      p.device = devices[r % devices.size()];
      auto [it, is_new] = functions.try_emplace({p.device.get(), stage});
      if (is_new) {
        TRY(load(p, stage));
        it->second = p.functions;
      }
      p.functions = it->second;
    }
    p.constants = from.constants;
    p.push_code = from.push_code;
    p.prepared = from.prepared;
    if (group) p.comm_timeout = group->state()->comm.timeout;
    p.world = std::move(worlds[r]);
    TRY_ASSIGN(p.pool, ThreadPool::create(threads));
  }
  out.world = each[0].world;
  out.exes.resize(ranks);
  RankTeam team(static_cast<int>(ranks));
  return team.run(
      [&](int r) -> Status {
        TRY_ASSIGN(out.exes[static_cast<size_t>(r)], make_executable(std::move(each[static_cast<size_t>(r)])));
        return {};
      },
      [&](const Error& why) { out.world->abort(why); });
}

Result<LocalRanks> make_local_ranks(std::vector<ExecutableParts> stages, const std::optional<Group>& group,
                                    const std::vector<std::shared_ptr<Device>>& devices, const LoadFunctions& load) {
  LocalRanks out;
  std::vector<const Plan*> plans;
  for (const ExecutableParts& s : stages) plans.push_back(&s.plan);
  out.ports = describe_ports(plans);
  const Mesh& mesh = stages[0].plan.mesh;
  if (mesh.size() > 1 && !has_processes(group)) {
    TRY(make_threads(out, stages, group, devices, load));
    return out;
  }
  const size_t stage = has_processes(group) ? stage_of(mesh, stages.size(), static_cast<size_t>(group->rank())) : 0;
  ExecutableParts& mine = stages[stage];
  if (mine.device) TRY(load(mine, stage));
  if (has_processes(group)) {
    TRY(make_one_rank(out, std::move(mine), *group));
  } else {
    TRY_ASSIGN(auto exe, make_executable(std::move(mine)));
    out.exes.push_back(std::move(exe));
  }
  return out;
}

}  // namespace weft::api
