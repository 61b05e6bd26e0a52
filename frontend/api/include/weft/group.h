// Group: the ranks that share the work of a model which is compiled for a mesh. Part of the public API.
//
//   auto group = weft::Group::from_environment();  // of a process of `weft launch`, mpirun, torchrun, srun
//   auto exe = weft::compile("model.onnx", {.mesh = "tp=2", .group = *group});
//
// Where ranks are processes, each of them does the same: it makes executables and contexts, and runs them on the same inputs, in
// the same order, one at a time. Inputs and outputs are whole on every rank.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/base/error.h"

namespace weft::api {

struct GroupOptions {
  double timeout_s = 300;      // for one collective, from a rank's arrival to that of the last one; then it names who is missing
  double join_timeout_s = 60;  // until all ranks have come
  // Where they meet: tcp://HOST:PORT, file:///DIR, mpi://; empty: as the launcher's variables say.
  std::string rendezvous;
  int rank = -1, size = -1;    // -1: as the launcher's variables say
  // Under MPI, whose launcher tells all ranks to end when one dies: set it then (from a signal handler, say), and who waits for
  // others soon returns an Error that names them. Must outlive the group.
  const std::atomic<bool>* cancel = nullptr;
};

// A handle; copies share. Thread safe, but for exchanges: one at a time, on all ranks in the same order, and none while a rank
// compiles or loads.
class Group {
 public:
  // All ranks are threads of this process, and divide its threads between them; one executable has them all. Error kResources
  // for fewer than one or more than 256.
  static Result<Group> threads(int ranks, const GroupOptions& options = {});
  // This process is one rank; waits for the others. A process that nobody launched is a group of one. Errors: kUsage for
  // variables that contradict each other, or ranks of different versions of weft; kDevice, naming the ranks that did not come;
  // kUnsupported for ranks on several machines without MPI.
  static Result<Group> from_environment(const GroupOptions& options = {});
  // The first of so many ranks without the others, for measuring what a rank takes by itself: it exchanges nothing, and what it
  // computes means nothing. Error kResources as of threads().
  static Result<Group> without_others(int ranks);

  int rank() const;                   // 0, where all are threads
  int size() const;
  const std::string& source() const;  // who said so: "threads", "weft launch", "torchrun", …, "alone"

  // What the processes say (at most 1 MiB each), by rank; where all ranks are threads, what this one says. Waits for them
  // without limit, so that what a rank does by itself between runs may take long; one that dies or gives up is an Error.
  Result<std::vector<std::string>> exchange(const std::string& mine) const;
  // Ends the group: every rank gets this Error, with this rank's number, from whatever it waits for and from all it begins.
  // So does a compilation or a load that fails, and a run that fails with another Error than kUsage and kResources: these,
  // which a rank gets before anything is exchanged, should be the same on all.
  void abort(const Error& why) const;
  // What ended the group, on this rank or another one; waits for that so long. Nothing while it is well.
  std::optional<Error> failure(double wait_s = 0) const;

  struct State;
  explicit Group(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const std::shared_ptr<const State>& state() const { return state_; }  // for weft itself

 private:
  std::shared_ptr<const State> state_;
};

}  // namespace weft::api
