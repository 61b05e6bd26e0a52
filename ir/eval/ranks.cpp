// Ranks as threads of one process. A collective is a meeting of its group: each rank lays down its operand and waits for the
// others, then makes its own result of all of them, so that ranks that compute the same get the same bits.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "ir/eval/evaluator.h"
#include "ir/ops/collective.h"

namespace weft {

namespace {

class World {
 public:
  explicit World(const Mesh& mesh) : mesh_(mesh), turns_(static_cast<size_t>(mesh.size())) {}

  // What the ranks of the group laid down, in their order.
  Result<std::vector<Tensor>> meet(int64_t rank, const std::vector<std::string>& axes, const std::string& what, const Tensor& mine) {
    std::vector<int64_t> group = mesh_.group(rank, axes);
    std::unique_lock lock(mutex_);
    Key key{group, turns_[rank][group]++};
    Meeting& m = meetings_[key];
    if (m.what.empty()) m.what = what;
    if (m.what != what) fail(invalid("ranks disagree: " + m.what + " and " + what));
    m.laid_down[rank] = mine;
    if (m.laid_down.size() == group.size()) arrived_.notify_all();
    arrived_.wait(lock, [&] { return failed_ || m.laid_down.size() == group.size(); });
    if (failed_) return *failed_;
    std::vector<Tensor> all;
    for (int64_t r : group) all.push_back(m.laid_down.at(r));
    if (++m.left == group.size()) meetings_.erase(key);
    return all;
  }
  void send(int64_t from, int64_t to, int64_t tag, const Tensor& x) {
    std::lock_guard lock(mutex_);
    sent_[{from, to}].emplace_back(tag, x);
    arrived_.notify_all();
  }
  Result<Tensor> recv(int64_t from, int64_t to, int64_t tag) {
    std::unique_lock lock(mutex_);
    auto& queue = sent_[{from, to}];
    arrived_.wait(lock, [&] { return failed_ || !queue.empty(); });
    if (failed_) return *failed_;
    auto [sent, x] = std::move(queue.front());
    queue.pop_front();
    if (sent != tag)
      fail(invalid("rank " + std::to_string(to) + " waits for tag " + std::to_string(tag) + ", rank " + std::to_string(from) + " sends " +
                   std::to_string(sent)));
    if (failed_) return *failed_;
    return std::move(x);
  }
  void stop(Error e) {
    std::lock_guard lock(mutex_);
    fail(std::move(e));
  }
  const std::optional<Error>& failed() const { return failed_; }

 private:
  using Key = std::pair<std::vector<int64_t>, int64_t>;  // a group, and how often it met before
  struct Meeting {
    std::string what;
    std::map<int64_t, Tensor> laid_down;
    size_t left = 0;
  };
  void fail(Error e) {
    if (!failed_) failed_ = std::move(e);
    arrived_.notify_all();
  }
  const Mesh& mesh_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<Key, Meeting> meetings_;
  std::vector<std::map<std::vector<int64_t>, int64_t>> turns_;
  std::map<std::pair<int64_t, int64_t>, std::deque<std::pair<int64_t, Tensor>>> sent_;  // from and to: tags and tensors
  std::optional<Error> failed_;
};

class Rank : public RankExchange {
 public:
  Rank(World& world, const Mesh& mesh, int64_t rank) : world_(world), mesh_(mesh), rank_(rank) {}
  Result<Tensor> run(const Op& op, const Tensor& mine) override {
    TRY_ASSIGN(CollectiveCall call, collective_call(op));
    std::string what = std::string(op_name(op.kind)) + " of " + dtype_name(mine.dtype) + "[" + shape_text(to_shape(mine.dims)) + "]";
    TRY_ASSIGN(std::vector<Tensor> all, world_.meet(rank_, call.axes, what, mine));
    std::vector<int64_t> group = mesh_.group(rank_, call.axes);
    return collective_result(op, all, std::find(group.begin(), group.end(), rank_) - group.begin());
  }
  Status send(const Op& op, const Tensor& mine) override {
    const auto& a = op.attr<SendAttrs>();
    TRY_ASSIGN(int64_t to, of_stage(op, a.stage));
    world_.send(rank_, to, a.tag, mine);
    return {};
  }
  Result<Tensor> recv(const Op& op) override {
    const auto& a = op.attr<RecvAttrs>();
    TRY_ASSIGN(int64_t from, of_stage(op, a.stage));
    return world_.recv(from, rank_, a.tag);
  }

 private:
  Result<int64_t> of_stage(const Op& op, const std::string& name) const {
    TRY_ASSIGN(int stage, stage_number(*op.graph->module, name));
    return mesh_.group(rank_, {kStageAxis})[static_cast<size_t>(stage)];
  }
  World& world_;
  const Mesh& mesh_;
  int64_t rank_;
};

}  // namespace

Result<std::vector<std::vector<HostValue>>> evaluate_ranks(const Module& m, std::vector<std::vector<HostValue>> inputs, const EvalOptions& options) {
  if (m.meshes.size() != 1) return invalid("a module of several ranks has one mesh, this one has " + std::to_string(m.meshes.size()));
  if (m.graphs.size() > 1 && !is_pipeline(m)) return invalid("a module of several graphs that are not the stages of its mesh");
  const Mesh& mesh = m.meshes[0];
  if (static_cast<int64_t>(inputs.size()) != mesh.size())
    return usage("the mesh has " + std::to_string(mesh.size()) + " ranks, inputs are given for " + std::to_string(inputs.size()));
  World world(mesh);
  std::vector<std::vector<HostValue>> out(inputs.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < inputs.size(); ++r)
    threads.emplace_back([&, r] {
      Rank rank(world, mesh, static_cast<int64_t>(r));
      EvalOptions mine = options;
      mine.symbols = mesh.coordinates(static_cast<int64_t>(r));
      mine.ranks = &rank;
      auto result = evaluate(stage_graph(m, static_cast<int64_t>(r)), std::move(inputs[r]), mine);
      if (result.ok()) out[r] = std::move(*result);
      else world.stop(std::move(result.error()));
    });
  for (std::thread& t : threads) t.join();
  if (world.failed()) return *world.failed();
  return out;
}

Result<std::vector<HostValue>> evaluate_shared_out(const Module& m, const std::vector<HostValue>& inputs, const EvalOptions& options) {
  if (m.meshes.size() != 1) return invalid("a module of several ranks has one mesh, this one has " + std::to_string(m.meshes.size()));
  const Interface ports = m.ports();
  if (inputs.size() != ports.inputs.size())
    return usage("the model has " + std::to_string(ports.inputs.size()) + " inputs, " + std::to_string(inputs.size()) + " are given");
  auto number = [](const std::vector<std::string>& names, const std::string& name) { return std::find(names.begin(), names.end(), name) - names.begin(); };
  std::vector<std::vector<HostValue>> each(static_cast<size_t>(m.meshes[0].size()));
  for (size_t r = 0; r < each.size(); ++r)
    for (auto& in : stage_graph(m, static_cast<int64_t>(r)).inputs) each[r].push_back(inputs[static_cast<size_t>(number(ports.inputs, in->name))]);
  TRY_ASSIGN(auto results, evaluate_ranks(m, std::move(each), options));
  std::vector<HostValue> out(ports.outputs.size());
  for (size_t r = results.size(); r-- > 0;) {
    const Graph& g = stage_graph(m, static_cast<int64_t>(r));
    for (size_t i = 0; i < results[r].size(); ++i) out[static_cast<size_t>(number(ports.outputs, g.output_names[i]))] = std::move(results[r][i]);
  }
  return out;
}

}  // namespace weft
