#include "tools/weft/bench_collectives.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "codegen/cuda/push.h"
#include "frontend/api/runtime/group_state.h"
#include "frontend/api/runtime/rank_team.h"
#include "frontend/api/target_choice.h"
#include "ir/base/text.h"
#include "runtime/comm/threads.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/measure.h"
#include "tools/weft/links.h"
#include "tools/weft/ranks.h"

namespace weft::cli {

namespace {

using Clock = std::chrono::steady_clock;
constexpr CollectiveKind kKinds[] = {CollectiveKind::all_reduce, CollectiveKind::all_gather, CollectiveKind::reduce_scatter, CollectiveKind::all_to_all};
constexpr int64_t kSmallest = 8 << 10, kLargestHost = 16 << 20, kLargest = 256 << 20;
constexpr int kRepeats = 7;         // of which the median counts
constexpr int kRecorded = 8;        // collectives in one graph
constexpr int64_t kMoved = 16 << 20;  // bytes of a repeat, about

// Of f32. bytes: of the operand, for all_gather of the result.
Collective call_of(CollectiveKind kind, int64_t bytes, int n) {
  Collective c;
  c.kind = kind;
  c.inner = bytes / 4 / (kind == CollectiveKind::all_reduce ? 1 : n);
  c.label = "bench";
  return c;
}
// Bytes that must cross a rank's link for each byte of the above.
double crossing(CollectiveKind kind, int n) {
  const double share = static_cast<double>(n - 1) / n;
  return kind == CollectiveKind::all_reduce ? 2 * share : share;
}

// What a transport is held against.
enum Link : uint8_t { kMemory, kTcp, kGpus, kLinks };
struct LinkName {
  const char *key, *text;
};
constexpr LinkName kLinkNames[kLinks] = {{"memory_copy", "a copy in memory"}, {"tcp_loopback", "TCP over loopback"}, {"gpu_copy", "a copy between two GPUs"}};

struct Row {
  std::string transport;
  CollectiveKind kind;
  int64_t bytes;
  double seconds;
  Link link;
};
struct Measured {
  std::vector<Row> rows;
  double links[kLinks] = {};  // bytes a second; 0: not known
};

// One rank's part of the measurement; all ranks call the same methods in the same order.
class RankBench {
 public:
  RankBench(Communicator& world, Measured& measured) : world_(world), measured_(measured) {}

  // link: of the ranks' host memory.
  Status on_host(Link link) {
    TRY(together());
    const double copies = measure_memory_copy();  // of all ranks at once
    TRY(together());
    if (world_.rank() == 0) {
      measured_.links[kMemory] = copies;
      if (const Result<double> tcp = measure_tcp_loopback(); tcp.ok()) measured_.links[kTcp] = *tcp;
    }
    for (CollectiveKind kind : kKinds)
      for (int64_t bytes = kSmallest; bytes <= kLargestHost; bytes *= 4) {
        const Collective c = call_of(kind, bytes, world_.size());
        std::vector<std::byte> in(static_cast<size_t>(bytes)), out(static_cast<size_t>(bytes));
        const int64_t runs = std::clamp<int64_t>(kMoved / bytes, 4, 100);
        auto some = [&]() -> Status {
          for (int64_t i = 0; i < runs; ++i) TRY(world_.run(c, in.data(), out.data()));
          return {};
        };
        TRY(measure(world_.transport(), link, c, bytes, runs, some));
      }
    return {};
  }

  // By the push kernels of `code` where they take over, or, without code, as NCCL does it alone.
  Status on_device(Device& device, const std::string& code) {
    TRY_ASSIGN(std::unique_ptr<DeviceRanks> ranks, device.join(world_, std::as_bytes(std::span(code))));
    if (!ranks) return {};
    TRY_ASSIGN(std::unique_ptr<DeviceQueue> queue, device.queue());
    TRY_ASSIGN(std::byte * in, device.allocate(kLargest, MemoryUse::tensors));
    TRY_ASSIGN(std::byte * out, device.allocate(kLargest, MemoryUse::tensors));
    TRY(queue->clear(in, kLargest));
    for (CollectiveKind kind : kKinds)
      for (int64_t bytes = kSmallest; bytes <= kLargest; bytes *= 4) {
        const Collective c = call_of(kind, bytes, world_.size());
        if (!ranks->supports(c) || (!code.empty() && ranks->transport(c) == std::string("NCCL"))) continue;
        TRY(ranks->run(c, in, out, *queue));
        TRY(queue->finish());
        TRY(queue->begin_graph());
        for (int i = 0; i < kRecorded; ++i) TRY(ranks->run(c, in, out, *queue));
        TRY_ASSIGN(std::unique_ptr<DeviceGraph> graph, queue->end_graph());
        const int64_t runs = std::clamp<int64_t>(kMoved / bytes, 4, 50);
        auto some = [&]() -> Status {
          for (int64_t i = 0; i < runs; ++i) TRY(queue->replay(*graph));
          return queue->finish();
        };
        TRY(measure(ranks->transport(c), kGpus, c, bytes, runs * kRecorded, some));
      }
    device.release(in);
    device.release(out);
    return {};
  }

 private:
  template <class F>
  Status measure(const char* transport, Link link, const Collective& c, int64_t bytes, int64_t runs, F&& some) {
    TRY(some());
    std::vector<double> seconds;
    for (int i = 0; i < kRepeats; ++i) {
      TRY(together());
      const auto begin = Clock::now();
      TRY(some());
      seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count() / static_cast<double>(runs));
    }
    std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
    if (world_.rank() == 0) measured_.rows.push_back({transport, c.kind, bytes, seconds[kRepeats / 2], link});
    return {};
  }
  Status together() {
    Collective c = call_of(CollectiveKind::all_reduce, 4, world_.size());
    float x = 0;
    return world_.run(c, &x, &x);
  }

  Communicator& world_;
  Measured& measured_;
};

Status measure_rank(Communicator& world, Device* device, const std::string& code, Link host_link, Measured& measured) {
  RankBench bench(world, measured);
  if (device) {
    TRY(bench.on_device(*device, {}));
    if (!code.empty()) TRY(bench.on_device(*device, code));
  }
  return bench.on_host(host_link);
}

// The slowest copy between two neighbours, bytes a second; 0: not known.
double link_rate(const std::vector<std::shared_ptr<Device>>& devices) {
  double least = 0;
  for (size_t i = 0; i + 1 < devices.size(); ++i) {
    const auto r = measure_peer_copy(devices[i]->number(), devices[i + 1]->number());
    if (r.ok() && (least == 0 || *r < least)) least = *r;
  }
  return least;
}

Status report(Cli& cli, const Mesh& mesh, const Measured& measured) {
  const int n = static_cast<int>(mesh.size());
  std::vector<std::vector<std::string>> lines;
  Json list = Json::array();
  for (const Row& r : measured.rows) {
    const double algorithm = static_cast<double>(r.bytes) / r.seconds, bus = algorithm * crossing(r.kind, n), link = measured.links[r.link];
    char us[32], share[32] = "";
    std::snprintf(us, sizeof us, "%.2f", r.seconds * 1e6);
    if (link > 0) std::snprintf(share, sizeof share, "%.3f", bus / link);
    const std::string bytes = human_bytes(static_cast<double>(r.bytes));
    lines.push_back({r.transport, collective_name(r.kind), bytes, us, si_text(algorithm) + "B/s", si_text(bus) + "B/s", share, kLinkNames[r.link].text});
    Json j;
    j["transport"] = r.transport;
    j["collective"] = collective_name(r.kind);
    j["bytes"] = r.bytes;
    j["us"] = r.seconds * 1e6;
    j["algorithm_bytes_per_s"] = algorithm;
    j["bus_bytes_per_s"] = bus;
    j["link"] = kLinkNames[r.link].key;
    j["share_of_link"] = link > 0 ? Json(bus / link) : Json();
    list.push_back(j);
  }
  std::string links = std::to_string(n) + " ranks";
  Json rates;
  for (int k = 0; k < kLinks; ++k) {
    const double rate = measured.links[k];
    rates[kLinkNames[k].key] = rate > 0 ? Json(rate) : Json();
    if (rate > 0) links += std::string("; ") + kLinkNames[k].text + " " + si_text(rate) + "B/s";
  }
  if (!cli.json()) {
    print(table({"transport", "collective", "bytes", "us", "algorithm", "bus", "share", "of"}, lines, {0, 1, 7}) + "\n" + links + "\n");
    return {};
  }
  Json j;
  j["mesh"] = mesh.axes_text();
  j["ranks"] = n;
  j["links_bytes_per_s"] = rates;
  j["collectives"] = list;
  return cli.emit(j);
}

}  // namespace

Status bench_collectives(Cli& cli) {
  TRY(join_ranks(cli, ""));
  const api::CompileOptions o = compile_options(cli);
  TRY_ASSIGN(const Mesh mesh, parse_mesh(o.mesh));
  if (mesh.size() == 1) return usage("--collectives needs several ranks").with_hint("--tp N");
  TRY_ASSIGN(const Target target, api::choose_target(o.target, o.device));
  const bool processes = api::has_processes(o.group);
  std::vector<std::shared_ptr<Device>> devices;
  std::string code;
  if (target.backend == Backend::cuda) {
    TRY_ASSIGN(const int device, api::device_here(o.group, o.device));
    TRY_ASSIGN(auto gpu, open_gpu(device, o.gpu_memory));
    std::vector<std::string> notes;
    TRY_ASSIGN(devices, api::rank_devices(o.group, std::move(gpu), o.device, mesh.size(), o.gpu_memory, notes));
    for (const std::string& note : notes) cli.log.info(note);
    TRY_ASSIGN(code, compile_push(target));
  }
  Measured measured;
  if (processes) {
    const api::Group::State& group = *o.group->state();
    const Link link = group.meeting->place().local_size < group.size ? kTcp : kMemory;
    TRY(measure_rank(*group.world, devices.empty() ? nullptr : devices[0].get(), code, link, measured));
  } else {
    TRY_ASSIGN(auto worlds, thread_ranks(static_cast<int>(mesh.size()), o.group ? o.group->state()->comm : CommOptions{}));
    api::RankTeam team(static_cast<int>(mesh.size()));
    TRY(team.run(
        [&](int r) {
          Device* device = devices.empty() ? nullptr : devices[static_cast<size_t>(r) % devices.size()].get();
          return measure_rank(*worlds[static_cast<size_t>(r)], device, code, kMemory, measured);
        },
        [&](const Error& why) { worlds[0]->abort(why); }));
  }
  if (!cli.speaks) return {};
  measured.links[kGpus] = link_rate(devices);
  return report(cli, mesh, measured);
}

}  // namespace weft::cli
