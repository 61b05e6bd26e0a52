// How the contraction template sees a KernelSpec whose first stage is a sum of products.
//
// One factor is broadcast (S, one scalar at a time), the other is read in vectors (V). Parallel axes fall into: the M axes
// (only S walks them; one line of rows, by their product), the V axes (only V walks them) and batch axes (everything else:
// loops around). The V axes are walked as one line q: with two of them either by V's own address (`pitch`: the outer step
// counted in inner steps, so that a padded image is read in whole vectors and the columns between rows are computed and
// dropped), or by their product. All K axes are one line, too; blocks of the outermost one are summed one after the other.
#pragma once

#include <optional>

#include "codegen/cpu/quantised_weights.h"
#include "codegen/tuning.h"

namespace weft {

struct ContractionShape {
  int s = -1, v = -1;           // operands
  int s_arg = -1, v_arg = -1;   // the values of the body that are multiplied
  // A factor is its operand's elements, perhaps cast; else ops come between, which run as the factor is packed.
  bool s_plain = true, v_plain = true;
  // A factor of the sum's type, or of 16-bit floats, has a prepared form if it is constant: S in the sum's type, V in its own,
  // which is widened as it is read, so that products of few rows read half the bytes. 8-bit factors: see below.
  std::optional<DType> s_form, v_form;
  // 8-bit integers and their sum in i32: `dot` steps of the first K axis lie together in both factors, a word of S each, and are
  // one instruction's. Four bytes (VNNI) are unsigned in one factor and signed in the other: where both are alike, S has its
  // highest bits flipped (`flip`), so is 128 more or less, and the sums of V, 128 times, make up for it. Two elements of S are
  // 16 bits wide, those of V are widened as they are read, and any mix of signs will do. Two steps of bf16, whose sum is f32, are
  // one instruction's, too (AVX-512-BF16), to which denormals are 0.
  int64_t dot = 1;
  bool flip = false;
  std::optional<QuantisedWeights> weights;  // V is that, prepared
  // Whether a panel is made of them first, in the sum's type: many tiles of rows read it, or sums have a given order.
  bool unpacks(const KernelSpec& s) const { return weights && (s.ordered || s.config.mc >= 3 * s.config.mr); }
  std::vector<int> batch;       // axis numbers
  std::vector<int> m_axes;      // outer first; none: S has no axis of its own
  std::vector<int> v_axes;      // one or two, outer first
  std::vector<int> k_axes;      // outer first; with dot, the one that it rounds up least
  Dim pitch;                    // inner steps per outer step
  bool by_address = false;      // q walks V's address
  bool s_direct = false;        // S is read in place: constant strides, one M line, one K line
  Dim s_m_stride, s_k_stride;

  Dim extent_m(const KernelSpec& s) const;
  // Length of the q line over `outer` steps of the outer V axis (or of the only one).
  Dim line(const KernelSpec& s, const Dim& outer) const;
  // In units of `dot`, as all that counts steps of K.
  Dim outer_k(const KernelSpec& s) const;
  Dim extent_k(const KernelSpec& s) const;
  Dim inner_k(const KernelSpec& s) const;  // per step of the outermost K axis
  // Batch axes that walk an operand: the leading dims of its prepared form.
  std::vector<int> batch_of(const KernelSpec& s, int operand) const;
};

// The `dot` of a spec whose factors are plain, 8-bit integers with a sum in i32, or bf16 with one in f32; 0 of others.
int64_t dot_steps(const KernelSpec& spec, const Target& target);

// By spec.config.dot. nullopt when the spec is not of this form. swap exchanges the factors' roles; lines makes the inner V axis the line.
std::optional<ContractionShape> contraction_shape(const KernelSpec& spec, bool swap, bool lines);

// Fills config and tasks when the template suits the spec. `like`: see choose_cpu.
bool choose_contraction(KernelSpec& spec, const Target& target, const SpecConfig* like, const Tuning* tuning);

// A factor whose elements never change is laid out once, as the template walks it: a spec that copies operand `factor` of
// a spec whose config is chosen to its prepared form (SpecOperand::tile), or nullopt when the factor is not constant or its
// form depends on run-time dims. *dims receives the dims of the prepared tensor. The copying spec has two pointers; the second
// operand's type is the form's.
std::optional<KernelSpec> prepare_factor(const KernelSpec& spec, int factor, Shape* dims);
// What may be prepared: both factors, S first, then what quantised weights have beside them; none: the spec is no chosen contraction.
std::vector<int> contraction_factors(const KernelSpec& spec);
// How many elements of the factor's line lie together under the chosen config.
int64_t factor_tile(const KernelSpec& spec, int factor);

// Byte offsets of the template's scratch areas, over params: the C block, the V panel, the packed S block.
struct ContractionScratch {
  Dim c, panel, s, total;
  Dim ldc;      // elements between rows of the C block
  Dim block_k;  // length of one block of the K line
};
ContractionScratch contraction_scratch(const KernelSpec& spec, const ContractionShape& shape);

}  // namespace weft
