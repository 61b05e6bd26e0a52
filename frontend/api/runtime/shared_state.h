// The value of a state of which each rank has a part (PlanPort::share).
#pragma once

#include <optional>

#include "frontend/api/runtime/group_state.h"
#include "runtime/executable.h"
#include "weft/executable.h"

namespace weft::api {

struct StatePart {
  TensorView view;                    // of memory of the rank that has it
  std::vector<int64_t> whole, first;  // dims of the whole, and where the part begins
};
// What a rank of the plan's mesh has of the plan's state `number`. Error kUsage before its first run.
Result<StatePart> part_of_state(const Plan& plan, int number, int64_t rank, const weft::Context& context);
// Copies it into a tensor of the whole, null at first, which is made then. What repeats the last element is left out.
Status put_part(const StatePart& part, Tensor& whole);
// The whole on every process of the group, each of which calls it: with its part, without one, or with the Error.
Result<Tensor> gather_state(const std::string& name, DType dtype, const Result<std::optional<StatePart>>& mine,
                            const std::shared_ptr<const Group::State>& group);

}  // namespace weft::api
