// What is the same for every backend about a KernelSpec whose first stage is a sum of products.
#pragma once

#include <optional>
#include <set>

#include "codegen/kernel_spec.h"

namespace weft {

struct ProductFactor {
  int arg = -1;             // the value of the body that is multiplied
  std::vector<int> loads;   // operands it is computed from
  int operand = -1;         // the one that walks all axes that any of its loads walks; -1: there is none
  bool plain = true;        // that operand's elements, perhaps cast to a type that holds them all
  bool tf32 = false;        // that operand's elements, rounded to tf32
};

// Stage 0 is a reduction of mul(x, y) by add from 0, all in one type; both are computed from loads and constants.
struct Product {
  ProductFactor x, y;
};
std::optional<Product> find_product(const KernelSpec& s);

// A factor that is (element - zero) * scale of quantised weights, as dequantize_linear has it: elements are integers, or floats of 8
// bits without a zero point.
struct ScaledElements {
  int elements = -1, zero = -1, scale = -1;  // operands; -1: fixed_zero, fixed_scale
  double fixed_zero = 0, fixed_scale = 1;
};
// Through casts.
std::optional<ScaledElements> scaled_elements(const KernelSpec& s, const ProductFactor& factor);

// Names of the axes, and `$k`, that an operand's address depends on.
std::set<std::string> axes_of_operand(const KernelSpec& s, int operand);

}  // namespace weft
