// How the contraction template sees a KernelSpec whose first stage is a sum of products.
//
// One factor is broadcast (S, one scalar at a time), the other is read in vectors (V). Parallel axes fall into: the m axis
// (only S walks it), one or two V axes (only V walks them), and batch axes (everything else: loops around). The V axes are
// walked as one line q: with two of them either by V's own address (`pitch`: the outer step counted in inner steps, so
// that a padded image is read in whole vectors and the columns between rows are computed and dropped), or by their
// product. All K axes are one line, too.
#pragma once

#include <optional>

#include "codegen/kernel_spec.h"

namespace weft {

struct ContractionShape {
  int s = -1, v = -1;           // operands
  std::vector<int> batch;       // axis numbers
  int m = -1;                   // -1: S has no axis of its own
  std::vector<int> v_axes;      // one or two, outer first
  std::vector<int> k_axes;
  Dim pitch;                    // inner steps per outer step
  bool by_address = false;      // q walks V's address
  bool s_direct = false;        // S is read in place: constant strides, one K line
  Dim s_m_stride, s_k_stride;

  Dim extent_m(const KernelSpec& s) const;
  // Length of the q line over `outer` steps of the outer V axis (or of the only one).
  Dim line(const KernelSpec& s, const Dim& outer) const;
  Dim extent_k(const KernelSpec& s) const;
};

// nullopt when the spec is not of this form. swap exchanges the factors' roles.
std::optional<ContractionShape> contraction_shape(const KernelSpec& spec, bool swap);

// Fills config and tasks when the template suits the spec; *scratch is the bytes each thread needs.
bool choose_contraction(KernelSpec& spec, const Target& target, Dim* scratch);

// A size to plan with where a dim is symbolic.
int64_t estimate(const Dim& d);

// Byte offsets of the template's scratch areas, over params: the C block, the V panel, the packed S block.
struct ContractionScratch {
  Dim c, panel, s, total;
  Dim ldc;  // elements between rows of the C block
};
ContractionScratch contraction_scratch(const KernelSpec& spec, const ContractionShape& shape);

}  // namespace weft
