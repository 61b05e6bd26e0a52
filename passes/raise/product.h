// A tree of products as a list, so that patterns match in whatever order an exporter multiplied.
#pragma once

#include <vector>

#include "passes/rewrite/rewrite.h"

namespace weft {

struct Product {
  double number = 1;            // of all uniform factors
  std::vector<Value*> factors;  // the others, in order
  std::vector<Op*> ops;         // the tree's mul, div and pow ops
};

// v as a product: through mul, div by a number, and pow with exponent 2 or 3. `stop` stays a factor whatever it is. Below
// the top, values that something else reads, too, are taken apart only where `shared` says so.
Product product_of(Value* v, const Value* stop = nullptr, bool shared = false);
// Near enough to be the same constant in computations of that type, written by an exporter with few digits or in a narrow type. In
// f64 every digit counts.
bool is_about(double a, double b, DType t);

}  // namespace weft
