#include "tools/weft/ranks.h"

#include <charconv>

#include "frontend/api/runtime/group_state.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"
#include "runtime/comm/environment.h"
#include "tools/weft/artefact.h"
#include "tools/weft/planning.h"

namespace weft::cli {

namespace {

constexpr const char* kNoJob = "none";

Result<Mesh> mesh_for(Cli& cli, const std::string& model) {
  if (!is_artefact(model)) return parse_mesh(compile_options(cli).mesh);
  TRY_ASSIGN(auto artefact, Artefact::open(model));
  return mesh_of(*artefact);
}

// Where the job's ranks meet and which this one is; a place of one rank outside of jobs.
Result<RankPlace> place_of(const Common& c) {
  if (c.rendezvous == kNoJob) return RankPlace{};
  RankPlaceOptions where;
  where.rendezvous = c.rendezvous;
  TRY_ASSIGN(RankPlace place, find_place(where));
  if (place.size == 1 && place.source == "alone" && !c.rendezvous.empty())
    return usage("--rendezvous: the environment does not say which rank this process is").with_hint("start it with weft launch, mpirun, torchrun or srun");
  return place;
}

Status check_size(const Mesh& mesh, int size, const std::string& source) {
  if (mesh.size() == size) return {};
  return usage("the mesh " + mesh.axes_text() + " has " + std::to_string(mesh.size()) + " ranks, the job (" + source + ") has " + std::to_string(size))
      .with_hint("start as many processes, or give --rendezvous none to run all ranks in each process");
}

}  // namespace

void add_rank_options(Verb& v, Cli& cli) {
  v.text("--rendezvous", cli.common.rendezvous,
         "where the ranks of a job meet: tcp://HOST:PORT, file:///DIR, mpi://; left out, as the launcher says; none: all ranks of the mesh are threads of "
         "this process, whatever launched it");
  v.number("--microbatches", cli.common.microbatches, 1, kMaxStages, "with --pp: the batch goes through the stages in so many equal parts");
  v.number("--comm-timeout", cli.common.comm_timeout, "seconds that ranks wait for one another in a collective");
}

Status join_ranks(Cli& cli, const std::string& model, bool alone) {
  const Common& c = cli.common;
  TRY(choose_mesh(cli, model));
  TRY_ASSIGN(const Mesh mesh, mesh_for(cli, model));
  if (mesh.size() == 1) {
    if (!c.rendezvous.empty()) return usage("--rendezvous is for models of several ranks; give --tp, --dp or --mesh");
    return {};
  }
  if (alone) {
    TRY_ASSIGN(cli.group, api::Group::without_others(static_cast<int>(mesh.size())));
    return {};
  }
  TRY_ASSIGN(const RankPlace place, place_of(c));
  api::GroupOptions o;
  o.timeout_s = c.comm_timeout;
  o.cancel = &cli.cancel;
  if (place.size == 1) {
    TRY_ASSIGN(cli.group, api::Group::threads(static_cast<int>(mesh.size()), o));
    return {};
  }
  cli.speaks = place.rank == 0;
  if (c.compile.target == "eval")
    return usage("the evaluator runs all ranks in one process, and this is one of several (" + place.source + ")")
        .with_hint("start it once, or with --rendezvous none");
  if (place.size) TRY(check_size(mesh, place.size, place.source));
  o.rendezvous = c.rendezvous;
  TRY_ASSIGN(cli.group, api::Group::from_environment(o));
  cli.speaks = cli.group->rank() == 0;
  if (!cli.speaks) {
    if (c.log_level == "info" && !c.quiet) cli.log.set_level("warning");
    cli.common.progress = "none";
    cli.log.set_progress(false);
  }
  return check_size(mesh, cli.group->size(), cli.group->source());  // MPI knows
}

bool Cli::in_job() const { return api::has_processes(group); }

Status leave_ranks(Cli& cli, Status status) {
  if (!cli.in_job()) return status;
  constexpr double kNews = 0.2;  // s
  if (status.ok()) {
    auto said = cli.group->exchange("the end");
    return said.ok() ? Status() : Status(std::move(said.error()));
  }
  // Launchers end all processes when one dies: that one is the cause.
  if (status.error().code == Code::kCancelled)
    if (std::optional<Error> e = cli.group->failure(kNews); e && e->code != Code::kCancelled) status = std::move(*e);
  cli.group->abort(status.error());
  return status;
}

Result<int64_t> same_for_all(const Cli& cli, int64_t mine) {
  if (!cli.in_job()) return mine;
  TRY_ASSIGN(const std::vector<std::string> all, cli.group->exchange(std::to_string(mine)));
  int64_t n = 0;
  const char* end = all[0].data() + all[0].size();
  if (auto [at, code] = std::from_chars(all[0].data(), end, n); code != std::errc() || at != end)
    return usage("rank 0 is at " + quote(all[0]) + ", rank " + std::to_string(cli.group->rank()) + " expects a number")
        .with_hint("start all ranks with the same options");
  return n;
}

}  // namespace weft::cli
