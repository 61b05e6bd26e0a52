// What is the same for every backend about a KernelSpec that is attention: an inner sum of products (a query and a key), a
// score made of it, and the softmax-weighted sum of values along the row.
#pragma once

#include <optional>

#include "codegen/kernel_spec.h"

namespace weft {

// Roles of the axes. Keys, inner and column walk the rows and the columns of K and V; `rows` are those that K and V do not
// depend on: queries, and the query heads that share a key head. They are taken as one axis of their product. `batch` are all
// others. Axes are listed outermost first.
struct AttentionAxes {
  std::vector<int> batch, rows;
  int column = -1, keys = -1, inner = -1;
  int q = -1, k = -1, v = -1;  // operands, whose elements are multiplied as they are, or cast
  int64_t inner_size = 0, column_size = 0;

  Dim rows_extent(const KernelSpec& s) const;
  AttentionAxes single() const;  // the same with the last row axis alone as rows: the others are batch axes, the innermost
  Dim batch_extent(const KernelSpec& s) const;
};
// nullopt for any other spec, and for ones with unknown sizes of heads.
std::optional<AttentionAxes> attention_axes(const KernelSpec& s);

// The stage that weighs values, with the score alone as its output.
SpecStage score_of(const SpecStage& attend);
// A value of the body alone, as that output.
SpecStage value_of(const SpecStage& stage, int value);

// A condition under which a key is seen: it lies below value + shift (upper), or there or above. The value depends on the last
// of the row axes alone, with which it never falls, and on batch axes.
struct KeyLimit {
  bool upper = false;
  int value = -1;     // of the attend stage's body
  int64_t shift = 0;
};
struct KeyLimits {
  std::vector<KeyLimit> limits;
  int seen = -1;      // the score of a key that all limits allow
};
KeyLimits key_limits(const KernelSpec& s, const AttentionAxes& a);

// Where every score that is not hidden is the sum of products times a positive constant: takes the factor out of the stage and
// returns it; else 1.
double take_scale(SpecStage* attend, const KeyLimits& limits);

// Multiplications and additions of both products.
Dim attention_flops(const KernelSpec& s, const AttentionAxes& a);

}  // namespace weft
