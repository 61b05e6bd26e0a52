// What a public Executable holds, and how one is made of the runtime's.
#pragma once

#include "frontend/api/runtime/group_state.h"
#include "runtime/executable.h"
#include "weft/executable.h"

namespace weft::api {

// What callers see, of all stages of a pipeline together. Every stage has all inputs, in one order.
struct Ports {
  std::vector<PortInfo> inputs, outputs;
  std::vector<StateInfo> states;
  struct OfStage {
    std::vector<int> outputs, states;  // the numbers of a plan's
  };
  std::vector<OfStage> stages;
};
Ports describe_ports(const std::vector<const Plan*>& stages);

struct Executable::State {
  std::shared_ptr<const ExecutableImpl> exe;
  std::vector<std::shared_ptr<const ExecutableImpl>> peers;  // the other ranks of this process
  std::shared_ptr<Communicator> world;                       // null: there is one rank
  std::shared_ptr<const Group::State> group;                 // whose other ranks are processes; null: none is
  Ports ports;
  std::map<std::string, std::string> metadata;
  CompileStats stats;
  int threads = 1;
};

// The ranks that run in this process: one executable to callers, with the first rank's results.
struct LocalRanks {
  Ports ports;
  std::vector<std::shared_ptr<const ExecutableImpl>> exes;
  std::shared_ptr<Communicator> world;                  // of the first one; null: there is one rank in all
  std::shared_ptr<const Group::State> group = nullptr;  // of processes
};

// Describes the plan's ports; `stats` gets what the plan and the ranks tell (commands, arena, weights).
Executable make_public(LocalRanks ranks, std::map<std::string, std::string> metadata, CompileStats stats, int threads);

// Extents of dims over the plan's symbols.
std::vector<Extent> extents_of(const Shape& dims, const SymbolTable& symbols);

// A value for every symbol: its optimum, else its lower bound, else 1; at least 1 where the range allows it.
SymbolValues typical_values(const SymbolTable& symbols);

}  // namespace weft::api
