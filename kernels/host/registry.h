// Host calls: what a plan's `call` commands run. A name in host.def is a function `Status host_call_<name>(HostCall&)`;
// names are stable, since plans are stored.
//
// Inputs and outputs are strided views in row-major logical order; sub-byte types do not occur. An output whose size only
// the function knows has no data yet (and dims of -1 where they are unknown): resize() gives it dims and dense memory, and
// thereby values to the symbols in its dims. Attributes are `name=value` pairs with spaces between.
#pragma once

#include <span>
#include <string_view>

#include "ir/base/result.h"
#include "ir/base/tensor_view.h"

namespace weft {

struct HostCall {
  std::span<const TensorView> inputs;
  std::span<TensorView> outputs;
  std::string_view attributes;
  // The caller's allocator: sets outputs[i]. Error when the dims are not what the plan can take.
  Status (*resizer)(void* state, int output, std::span<const int64_t> dims) = nullptr;
  void* state = nullptr;

  // Also for an output that has its memory: then dims must be the ones it has.
  Status resize(int output, std::span<const int64_t> dims) { return resizer(state, output, dims); }

  // Attributes by name; the fallback where there is none. Booleans are also `true` and `false`. Error kInvalidModel for
  // text that is no number.
  bool has(std::string_view name) const;
  Result<int64_t> integer(std::string_view name, int64_t fallback) const;
  Result<double> real(std::string_view name, double fallback) const;
  Result<std::vector<int64_t>> integers(std::string_view name) const;  // with commas between
  std::string_view word(std::string_view name) const;
};

using HostFn = Status (*)(HostCall&);

// nullptr: there is no such function.
HostFn find_host_function(std::string_view name);

}  // namespace weft
