// How the `gemm` template sees a KernelSpec whose first stage is a sum of products: as products of matrices, one for each point
// of the batch axes. Rows of A are the points of the M axes, rows of B those of the N axes, and both have the K axes as depth.
// Addresses may be anything that an index map can say, guards included: a convolution is one of them.
#pragma once

#include "codegen/product.h"
#include "codegen/tuning.h"
#include "ir/base/target.h"

namespace weft {

struct GemmFactor {
  ProductFactor product;
  std::vector<int> axes;     // of its rows, the last one fastest
  bool along_k = true;       // neighbours in memory are along K, not along the rows
  bool direct = false;       // values lie in memory as they are multiplied
  DType dtype = DType::f32;  // of the elements, where plain
};
// Quantised weights, scaled and rounded to `factor`: of i4, u4, i8, u8, f8e4m3fn or f8e5m2. Scales and zero points are the same all
// over chunks of 16 bytes, and rows lie one behind the other.
struct WeightFactor : ScaledElements {
  DType factor = DType::f16; // or bf16
  int64_t chunk = 16;        // elements of 16 bytes, those of 4 bits packed
  int64_t row_stride = 0, k_stride = 0;  // of the elements before they are packed
};
// Of a product's factor whose rows are one axis.
std::optional<WeightFactor> weight_factor(const KernelSpec& s, const ProductFactor& f, const std::vector<int>& k, int rows);

struct GemmShape {
  GemmFactor a, b;
  std::vector<int> batch, k;
  std::optional<WeightFactor> weights;  // that b is; a is plain, of the factor's type
  bool mma = false;          // on tensor cores
  bool wgmma = false;        // whose warpgroups take factors out of shared memory by themselves
};

// How far the neighbours of an address lie along these axes as one, the last one fastest, wherever they are; nullopt: it differs.
// *rest: the address without them.
std::optional<Dim> step_along(const KernelSpec& s, const Dim& at, const std::vector<int>& axes, Dim* rest);

// nullopt when the spec is not of this form. Axes are taken in the spec's order.
std::optional<GemmShape> gemm_shape(const KernelSpec& s, const Target& target);

// A tile: its size, how it is shared, and how near it comes to the peak. m, n: warps along M and N (tensor cores), or sums of a
// thread along them.
struct GemmTile {
  int64_t bm, bn, bk, m, n, slices, stages, at_once;  // at_once: blocks of a multiprocessor
  double efficiency;
  int64_t ranks = 1;        // blocks of a cluster that share a tile's steps along K
  bool warpgroups = false;  // wgmma: bk is 128 bytes, m the number of warps, n 1
  bool weights = false;     // of few rows of A, for quantised weights: bk is a step of a warp, slices share K
};
// The tiles of a chosen spec: the one that its config states, or, where sizes depend on run-time dims, some of equally many
// threads: for few rows (unless their number is known), perhaps for few tiles, and for many.
std::vector<GemmTile> gemm_tiles(const KernelSpec& s, const GemmShape& g);

// Constant weights in the order that the template reads them in, and those of 4 bits two a byte: made once.
struct PackedWeights {
  int operand = -1;     // of the spec
  KernelSpec copy;      // two pointers: from these, to those
  Shape dims;           // of what it makes
  SpecOperand as_read;  // in place of the spec's operand
};
std::optional<PackedWeights> pack_weights(const KernelSpec& s, const Target& target);

// Template, tile and order of axes for a spec of this form; false when another template suits better.
bool choose_gemm(KernelSpec& s, const Target& target, const Tuning* tuning);

}  // namespace weft
