// A factor of a contraction that is (elements - zero) * scale of constants: integers of at most 8 bits, with scales and zero points
// for each element of the line and each group of steps of K, as dequantize_linear has them.
//
// The kernel reads them as they are. `per_word` steps of the last K axis lie in one 32-bit word, the first one in the lowest bits;
// a word's type says whether they are signed. Sums of at most a group's steps are of elements less their zero; times the scale,
// they are added up.
#pragma once

#include <optional>

#include "codegen/product.h"

namespace weft {

struct QuantisedWeights : ScaledElements {
  int bits = 0;
  bool is_signed = false;
  int64_t group = 0;  // steps of K, all axes as one line, that share a scale and a zero point
  int64_t chunk = 0;  // the most steps, at most 64, that divide a group and are whole words
  int64_t per_word() const { return 32 / bits; }
  std::vector<int> beside() const {
    std::vector<int> out;
    for (int o : {zero, scale})
      if (o >= 0) out.push_back(o);
    return out;
  }
};

// How many steps of K, all axes as one line, one element of an operand is for; nullopt: it walks others than the outermost axes.
// k_axes: outer first, of known sizes.
std::optional<int64_t> steps_of(const KernelSpec& spec, int operand, const std::vector<int>& k_axes);

// nullopt when the factor is none of these, or its groups are not whole words.
std::optional<QuantisedWeights> quantised_weights(const KernelSpec& spec, const ProductFactor& factor, const std::vector<int>& k_axes);

}  // namespace weft
