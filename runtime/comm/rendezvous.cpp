#include "runtime/comm/rendezvous.h"

#include "runtime/comm/mpi.h"
#include "runtime/comm/tcp.h"
#include "runtime/comm/threads.h"

namespace weft {

namespace {

// One rank has nobody to wait for.
class Alone final : public Rendezvous {
 public:
  explicit Alone(const RankPlace& place) { place_ = place; }
  Result<std::string> broadcast(const std::string& bytes, int root, std::chrono::milliseconds) override {
    if (root != 0) return usage("a broadcast from rank " + std::to_string(root) + " of 1");
    return bytes;
  }
  std::optional<Error> failure() const override { return {}; }
  void abort(const Error&) override {}
  Result<std::unique_ptr<Communicator>> host_ranks(const CommOptions& options) override {
    TRY_ASSIGN(std::vector<std::unique_ptr<Communicator>> ranks, thread_ranks(1, options));
    return std::move(ranks[0]);
  }
};

}  // namespace

Result<std::shared_ptr<Rendezvous>> join_job(const RankPlace& place, const JoinOptions& options) {
  if (place.size == 1) return std::shared_ptr<Rendezvous>(std::make_shared<Alone>(place));
  TRY_ASSIGN(RendezvousUrl url, parse_rendezvous(place.rendezvous));
  if (url.kind == RendezvousUrl::Kind::mpi) return join_by_mpi(place, options);
  return join_by_tcp(place, url, options);
}

}  // namespace weft
