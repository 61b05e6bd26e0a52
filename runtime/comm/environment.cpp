#include "runtime/comm/environment.h"

#include <charconv>
#include <cstdlib>

#include "ir/base/text.h"

namespace weft {

namespace {

constexpr int kMaxRanks = 1 << 20;

struct Reader {
  const Environment& get;
  bool has(const char* name) const {
    const char* v = get(name);
    return v && *v;
  }
  std::string text(const char* name) const { return has(name) ? get(name) : ""; }
  // Error when it is set to something else than a number from 0.
  Result<int> number(const char* name, int otherwise) const {
    const std::string v = text(name);
    if (v.empty()) return otherwise;
    int n = 0;
    auto [end, code] = std::from_chars(v.data(), v.data() + v.size(), n);
    if (code != std::errc() || end != v.data() + v.size() || n < 0 || n > kMaxRanks)
      return usage("the environment says " + std::string(name) + "=" + quote(v) + ", which is no number from 0 to " + std::to_string(kMaxRanks));
    return n;
  }
};

// The four numbers as a launcher calls them; an absent local one is taken from the others.
struct Names {
  const char *rank, *size, *local_rank, *local_size;
};
Result<RankPlace> read(const Reader& env, const Names& names, const std::string& source) {
  if (!env.has(names.rank) || !env.has(names.size))
    return usage("the environment has " + std::string(env.has(names.rank) ? names.rank : names.size) + " but not " +
                 (env.has(names.rank) ? names.size : names.rank));
  RankPlace p;
  p.source = source;
  TRY_ASSIGN(p.rank, env.number(names.rank, 0));
  TRY_ASSIGN(p.size, env.number(names.size, 1));
  TRY_ASSIGN(p.local_rank, env.number(names.local_rank, p.rank));
  TRY_ASSIGN(p.local_size, env.number(names.local_size, p.size));
  return p;
}

Result<RankPlace> of_launch(const Reader& env) {
  TRY_ASSIGN(RankPlace p, read(env, {"WEFT_RANK", "WEFT_SIZE", "WEFT_LOCAL_RANK", "WEFT_LOCAL_SIZE"}, "weft launch"));
  p.rendezvous = env.text("WEFT_RENDEZVOUS");
  p.nonce = env.text("WEFT_NONCE");
  TRY_ASSIGN(p.listener, env.number("WEFT_LISTENER", -1));
  return p;
}

Result<RankPlace> of_torchrun(const Reader& env) {
  TRY_ASSIGN(RankPlace p, read(env, {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}, "torchrun"));
  if (env.has("MASTER_ADDR") && env.has("MASTER_PORT")) {
    TRY_ASSIGN(int port, env.number("MASTER_PORT", 0));
    // The agent keeps its own store at that port.
    if (env.text("TORCHELASTIC_USE_AGENT_STORE") == "True") ++port;
    p.rendezvous = "tcp://" + env.text("MASTER_ADDR") + ":" + std::to_string(port);
  }
  if (env.has("TORCHELASTIC_RUN_ID")) p.nonce = env.text("TORCHELASTIC_RUN_ID") + "." + env.text("TORCHELASTIC_RESTART_COUNT");
  return p;
}

Result<RankPlace> of_open_mpi(const Reader& env) {
  TRY_ASSIGN(RankPlace p, read(env, {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"}, "Open MPI"));
  p.rendezvous = "mpi://";
  return p;
}

Result<RankPlace> of_pmi(const Reader& env) {
  RankPlace p;
  p.source = env.has("PMI_RANK") ? "PMI" : "PMIx";
  TRY_ASSIGN(p.rank, env.number(env.has("PMI_RANK") ? "PMI_RANK" : "PMIX_RANK", 0));
  // PMIx has no variable for the size.
  TRY_ASSIGN(p.size, env.number(env.has("PMI_RANK") ? "PMI_SIZE" : "SLURM_STEP_NUM_TASKS", 0));
  TRY_ASSIGN(p.local_rank, env.number(env.has("MPI_LOCALRANKID") ? "MPI_LOCALRANKID" : "SLURM_LOCALID", p.rank));
  TRY_ASSIGN(p.local_size, env.number("MPI_LOCALNRANKS", p.size));
  p.rendezvous = "mpi://";
  return p;
}

// The first name of "gpu[07-12,14],login": gpu07.
std::string first_host(const std::string& list) {
  const size_t end = list.find_first_of(",[");
  std::string host = list.substr(0, end);
  if (end != std::string::npos && list[end] == '[') host += list.substr(end + 1, list.find_first_of(",-]", end + 1) - end - 1);
  return host;
}

Result<RankPlace> of_slurm(const Reader& env) {
  TRY_ASSIGN(RankPlace p, read(env, {"SLURM_PROCID", env.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", "SLURM_LOCALID", ""},
                           "Slurm"));
  const std::string hosts = env.text(env.has("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST");
  const std::string job = env.text("SLURM_JOB_ID"), step = env.text("SLURM_STEP_ID");
  // "3(x2),1": three tasks on each of two machines, one on the next. Machines with equal numbers are the rule.
  const std::string tasks = env.text("SLURM_STEP_TASKS_PER_NODE");
  if (int n = std::atoi(tasks.c_str()); n > 0 && n <= p.size) p.local_size = n;
  p.nonce = job + "." + step + "." + env.text("SLURM_RESTART_COUNT");
  if (hosts.empty() || job.empty()) return p;
  // A port of the job's own, below those that systems give away.
  const unsigned long long number = std::strtoull(job.c_str(), nullptr, 10) * 31 + std::strtoull(step.c_str(), nullptr, 10);
  p.rendezvous = "tcp://" + first_host(hosts) + ":" + std::to_string(20000 + number % 10000);
  return p;
}

Result<RankPlace> of_leader_worker_set(const Reader& env) {
  TRY_ASSIGN(RankPlace p, read(env, {"LWS_WORKER_INDEX", "LWS_GROUP_SIZE", "", ""}, "LeaderWorkerSet"));
  p.local_rank = 0, p.local_size = 1;  // a pod each
  if (!env.has("LWS_LEADER_ADDRESS")) return usage("the environment has LWS_GROUP_SIZE but not LWS_LEADER_ADDRESS");
  p.rendezvous = "tcp://" + env.text("LWS_LEADER_ADDRESS") + ":29477";
  p.nonce = env.text("LWS_LEADER_ADDRESS");
  return p;
}

Result<RankPlace> of_environment(const Reader& env) {
  if (env.has("WEFT_RANK") || env.has("WEFT_SIZE")) return of_launch(env);
  if (env.has("RANK") && env.has("WORLD_SIZE")) return of_torchrun(env);  // alone, either is somebody else's
  if (env.has("OMPI_COMM_WORLD_RANK")) return of_open_mpi(env);
  if (env.has("PMIX_RANK") || (env.has("PMI_RANK") && env.has("PMI_SIZE"))) return of_pmi(env);
  if (env.has("SLURM_PROCID") && env.has("SLURM_STEP_ID")) return of_slurm(env);  // not of a batch script, which runs once
  if (env.has("LWS_GROUP_SIZE")) return of_leader_worker_set(env);
  return RankPlace{};
}

}  // namespace

Result<RankPlace> find_place(const RankPlaceOptions& options, const Environment& environment) {
  const Reader env{environment};
  RankPlace p;
  if (options.rank && options.size) {
    p.source = "options";
    p.rank = p.local_rank = *options.rank;
    p.size = p.local_size = *options.size;
    // The rest of it may still be the launcher's.
    if (Result<RankPlace> from = of_environment(env); from.ok() && from->rank == p.rank && from->size == p.size) p = *from;
  } else if (options.rank || options.size) {
    return usage(options.rank ? "a rank is given, but not how many there are" : "a number of ranks is given, but not which one this is");
  } else {
    TRY_ASSIGN(p, of_environment(env));
  }
  if (options.local_rank) p.local_rank = *options.local_rank;
  if (!options.nonce.empty()) p.nonce = options.nonce;
  if (!options.rendezvous.empty() && options.rendezvous != "env://") {
    p.rendezvous = options.rendezvous;
    p.listener = -1;
  }
  const bool by_mpi = p.rendezvous == "mpi://";
  if (p.size < (by_mpi ? 0 : 1) || p.size > kMaxRanks || p.rank < 0 || (p.size > 0 && p.rank >= p.size))
    return usage("rank " + std::to_string(p.rank) + " of " + std::to_string(p.size) + " (" + p.source + ")")
        .with_hint(p.source == "PMIx" ? "give the rank and the number of ranks, or mpi:// as the rendezvous" : "ranks count from 0");
  if (!p.rendezvous.empty()) TRY(parse_rendezvous(p.rendezvous));
  if (p.size > 1 && p.rendezvous.empty())
    return usage("rank " + std::to_string(p.rank) + " of " + std::to_string(p.size) + " (" + p.source + ") does not know where the ranks meet")
        .with_hint("give a rendezvous: tcp://HOST:PORT of rank 0, or file:///DIR");
  return p;
}

Result<RankPlace> find_place(const RankPlaceOptions& options) {
  return find_place(options, [](const char* name) -> const char* { return std::getenv(name); });
}

Result<RendezvousUrl> parse_rendezvous(const std::string& url) {
  RendezvousUrl u;
  auto wrong = [&](const std::string& why) {
    return usage("the rendezvous " + quote(url) + " " + why).with_hint("tcp://HOST:PORT, file:///DIR, mpi:// or env://");
  };
  if (url == "mpi://") {
    u.kind = RendezvousUrl::Kind::mpi;
    return u;
  }
  if (url.starts_with("file://")) {
    u.kind = RendezvousUrl::Kind::file;
    u.path = url.substr(7);
    if (!u.path.starts_with('/')) return wrong("names no absolute folder");
    return u;
  }
  if (!url.starts_with("tcp://")) return wrong("is of no known kind");
  const std::string place = url.substr(6);
  const size_t colon = place.rfind(':');
  if (colon == std::string::npos) return wrong("has no port");
  u.host = place.substr(0, colon);
  if (u.host.size() > 2 && u.host.front() == '[' && u.host.back() == ']') u.host = u.host.substr(1, u.host.size() - 2);  // IPv6
  const std::string port = place.substr(colon + 1);
  auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), u.port);
  if (code != std::errc() || end != port.data() + port.size() || u.port < 1 || u.port > 65535) return wrong("has no port from 1 to 65535");
  if (u.host.empty()) return wrong("has no host");
  return u;
}

}  // namespace weft
