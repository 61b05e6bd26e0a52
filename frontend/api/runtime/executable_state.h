// What a public Executable holds, and how one is made of the runtime's.
#pragma once

#include "runtime/executable.h"
#include "weft/executable.h"

namespace weft::api {

struct Executable::State {
  std::shared_ptr<const ExecutableImpl> exe;
  std::vector<PortInfo> inputs, outputs;
  std::vector<StateInfo> states;
  std::map<std::string, std::string> metadata;
  CompileStats stats;
  int threads = 1;
};

// Describes the plan's ports; `stats` gets what the plan alone tells (commands, arena).
Executable make_public(std::shared_ptr<const ExecutableImpl> exe, std::map<std::string, std::string> metadata, CompileStats stats, int threads);

// Extents of dims over the plan's symbols.
std::vector<Extent> extents_of(const Shape& dims, const SymbolTable& symbols);

// A value for every symbol: its optimum, else its lower bound, else 1; at least 1 where the range allows it.
SymbolValues typical_values(const SymbolTable& symbols);

}  // namespace weft::api
