#include "runtime/comm/mpi.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "ir/base/dynamic_library.h"
#include "ir/base/text.h"
#include "runtime/comm/mpi_job.h"
#include "runtime/comm/sockets.h"

namespace weft {

namespace {

constexpr int64_t kPieceBytes = 1 << 20;
constexpr size_t kFactBytes = 2048;

Result<const weft_mpi*> open_plugin() {
  Dl_info info{};
  std::string folder = dladdr(reinterpret_cast<const void*>(&join_by_mpi), &info) && info.dli_fname ? info.dli_fname : "";
  folder.resize(folder.rfind('/') + 1);  // npos + 1 is 0
  auto library = DynamicLibrary::open({folder + "libweft-mpi.so"});
  if (!library.ok()) {
    Error e = unsupported("a rendezvous at mpi:// needs libweft-mpi.so: " + library.error().message);
    return e.with_hint("build weft where an mpicc is (libopenmpi-dev, libmpich-dev), or let the ranks meet at tcp://HOST:PORT");
  }
  auto get = reinterpret_cast<const weft_mpi* (*)()>(library->symbol("weft_mpi_plugin"));
  const weft_mpi* api = get ? get() : nullptr;
  if (!api || api->version != WEFT_MPI_VERSION) return unsupported(library->path() + " is of another version of weft");
  return api;
}

class MpiRendezvous final : public Rendezvous {
 public:
  MpiRendezvous(const RankPlace& place, std::shared_ptr<MpiJob> job, void* comm, const JoinOptions& options)
      : job_(std::move(job)), comm_(comm), options_(options) {
    place_ = place;
  }
  ~MpiRendezvous() override {
    (void)job_->call([this](const weft_mpi& m) { return m.close(comm_), 0; }, "").ok();
  }

  // Every rank sees what all have, and so comes to the same result.
  Status compare() {
    std::string mine = "weft=" + quote(WEFT_VERSION) + "\n";
    for (const auto& [name, value] : options_.facts) mine += name + "=" + quote(value) + "\n";
    mine.resize(kFactBytes);
    const size_t n = static_cast<size_t>(place_.size);
    std::string all(n * kFactBytes, 0);
    TRY(move([&](const weft_mpi& m) { return m.all(comm_, mine.data(), 0, all.data(), static_cast<int>(kFactBytes)); }, true));
    auto facts = [&](size_t r) { return std::string_view(all).substr(r * kFactBytes, kFactBytes); };
    for (size_t r = 1; r < n; ++r) {
      if (facts(r) == facts(0)) continue;
      auto [a, b] = std::mismatch(facts(0).begin(), facts(0).end(), facts(r).begin());
      auto line = [&](std::string_view all_lines, size_t at) {
        const size_t begin = at == 0 ? 0 : all_lines.rfind('\n', at - 1) + 1;
        std::string s(all_lines.substr(begin, std::min(all_lines.find('\n', begin), kFactBytes) - begin));
        s.resize(std::strlen(s.c_str()));
        return s.empty() ? "nothing" : s;
      };
      const size_t at = static_cast<size_t>(a - facts(0).begin());
      return usage("the ranks do not fit together: rank 0 has " + line(facts(0), at) + ", rank " + std::to_string(r) + " has " + line(facts(r), at))
          .with_hint("all ranks must run the same weft, model and options");
    }
    return {};
  }

  Result<std::string> broadcast(const std::string& bytes, int root, std::chrono::milliseconds timeout) override {
    if (root < 0 || root >= place_.size) return usage("a broadcast from rank " + std::to_string(root) + " of " + std::to_string(place_.size));
    if (bytes.size() > static_cast<size_t>(kPieceBytes)) return resources("more than 1 MiB for the other ranks");
    std::lock_guard lock(mutex_);
    uint64_t size = bytes.size();
    TRY(move([&](const weft_mpi& m) { return m.broadcast(comm_, &size, sizeof size, root); }, false, timeout));
    if (size > static_cast<uint64_t>(kPieceBytes)) return error(Code::kDevice, "a broadcast of " + std::to_string(size) + " bytes");
    std::string out = bytes;
    out.resize(size);
    TRY(move([&](const weft_mpi& m) { return m.broadcast(comm_, out.data(), static_cast<int>(size), root); }, false, timeout));
    return out;
  }
  std::optional<Error> failure() const override { return job_->failure(); }
  void abort(const Error& why) override { job_->stop(place_.rank, why); }
  Result<std::unique_ptr<Communicator>> host_ranks(const CommOptions& options) override { return mpi_ranks(job_, options); }

 private:
  Status move(const std::function<int(const weft_mpi&)>& begin, bool of_all, std::chrono::milliseconds timeout = {}) {
    TRY(job_->call(begin, "at the rendezvous"));
    CommOptions wait;
    wait.timeout = timeout.count() == 0 ? options_.timeout : timeout;
    std::vector<int> ranks(static_cast<size_t>(place_.size));
    std::iota(ranks.begin(), ranks.end(), 0);
    std::vector<uint8_t> come(ranks.size(), !of_all);
    const MpiJob::Waiting what = of_all ? MpiJob::Waiting::for_all : MpiJob::Waiting::for_one;
    return job_->finish(comm_, ranks, wait, come, what, [](const std::string& why) { return error(Code::kDevice, "at the rendezvous: " + why); });
  }

  std::shared_ptr<MpiJob> job_;
  void* comm_;
  JoinOptions options_;
  std::mutex mutex_;  // one broadcast at a time
};

}  // namespace

Result<std::string> mpi_library() {
  TRY_ASSIGN(const weft_mpi* api, open_plugin());
  return std::string(api->library);
}

Result<std::shared_ptr<Rendezvous>> join_by_mpi(const RankPlace& place, const JoinOptions& options) {
  TRY_ASSIGN(const weft_mpi* api, open_plugin());
  weft_mpi_place found{};
  void *world = nullptr, *comm = nullptr;
  if (int code = api->open(&found, &world)) {
    char text[512] = "";
    api->error_text(code, text, sizeof text);
    return unsupported(std::string(api->library) + " does not start: " + text).with_hint("start the ranks with the mpirun of this MPI, once each");
  }
  auto job = std::make_shared<MpiJob>(api, world, found);
  TRY(job->call([&](const weft_mpi& m) { return m.copy(world, &comm); }, "copying the communicator"));
  if (place.size != 0 && (place.size != found.size || place.rank != found.rank)) {
    const Error e = usage("this is rank " + std::to_string(place.rank) + " of " + std::to_string(place.size) + " (" + place.source + "), but MPI says rank " +
                          std::to_string(found.rank) + " of " + std::to_string(found.size));
    job->stop(found.rank, e);
    return e;
  }
  RankPlace here = place;
  here.rank = found.rank, here.size = found.size, here.local_rank = found.local_rank, here.local_size = found.local_size;
  auto meeting = std::make_shared<MpiRendezvous>(here, job, comm, options);
  TRY(meeting->compare());
  return std::shared_ptr<Rendezvous>(std::move(meeting));
}

}  // namespace weft
