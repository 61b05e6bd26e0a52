// Which layer becomes what: the multiple-choice knapsack. Each layer has options with a cost and an error, errors of layers
// are taken to add up, and steps from option to option along the lower hull of each layer, the one that saves most per error first, give a
// chain of assignments from all float to all cheapest. Every assignment of the chain is the cheapest for its sum of errors but for the last
// step's share (Sinha and Zoltners, The multiple-choice knapsack problem, 1979), and has as float every layer that a later one has.
#pragma once

#include <functional>
#include <vector>

#include "ir/base/result.h"

namespace weft::quantize {

// Option 0 is float, with error 0.
struct Option {
  double cost = 0, error = 0;
};
using Assignment = std::vector<int>;  // an option for each layer

// Starts with all float; costs fall along the chain.
std::vector<Assignment> chain_of(const std::vector<std::vector<Option>>& layers);

// The last assignment of the chain that `holds` accepts, by number; first of a fixed grid, from the end, then one by one between the
// accepted point of it and the next. So a budget that accepts less never gives a later one. Number 0 is accepted unasked.
Result<size_t> last_that_holds(size_t count, const std::function<Result<bool>(size_t)>& holds);

}  // namespace weft::quantize
