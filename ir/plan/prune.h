// Parts of a plan: what prepared tensors need of the prepare region, and a plan without what nothing refers to.
#pragma once

#include <vector>

#include "ir/plan/plan.h"

namespace weft {

// Whether the region is a list of commands that only make tensors: no control flow, no symbols.
bool is_straight(const Region& r);

// Numbers of the commands of a straight prepare region that lead to the buffer, in order.
std::vector<size_t> commands_behind(const Plan& p, int buffer);

// Removes commands of a straight prepare region whose results no prepared buffer and no check needs.
void drop_dead_commands(Plan& p);

// A prepared buffer becomes a constant of its bytes, the last one of the plan. The commands that make it stay.
void make_constant(Plan& p, int buffer, std::string name, const Hash& hash);

// Removes buffers, tensors, kernels and constants that nothing refers to; the others keep their order. Per old one its new
// number, or -1.
struct PlanNumbers {
  std::vector<int> buffers, kernels, constants;
};
PlanNumbers prune_plan(Plan& p);
// The same for what lies parallel to one of these lists.
template <class T>
void renumber(std::vector<T>& items, const std::vector<int>& numbers) {
  std::vector<T> kept;
  for (size_t i = 0; i < items.size(); ++i)
    if (numbers[i] >= 0) kept.push_back(std::move(items[i]));
  items = std::move(kept);
}

}  // namespace weft
