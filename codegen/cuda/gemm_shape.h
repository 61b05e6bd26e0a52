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
struct GemmShape {
  GemmFactor a, b;
  std::vector<int> batch, k;
  bool mma = false;          // on tensor cores
  bool wgmma = false;        // whose warpgroups take factors out of shared memory by themselves
};

// nullopt when the spec is not of this form. Axes are taken in the spec's order.
std::optional<GemmShape> gemm_shape(const KernelSpec& s, const Target& target);

// A tile: its size, how it is shared, and how near it comes to the peak. m, n: warps along M and N (tensor cores), or sums of a
// thread along them.
struct GemmTile {
  int64_t bm, bn, bk, m, n, slices, stages, at_once;  // at_once: blocks of a multiprocessor
  double efficiency;
  int64_t ranks = 1;        // blocks of a cluster that share a tile's steps along K
  bool warpgroups = false;  // wgmma: bk is 128 bytes, m the number of warps, n 1
};
// The tiles of a chosen spec: the one that its config states, or, where sizes depend on run-time dims, some of equally many
// threads: for few rows (unless their number is known), perhaps for few tiles, and for many.
std::vector<GemmTile> gemm_tiles(const KernelSpec& s, const GemmShape& g);

// Template, tile and order of axes for a spec of this form; false when another template suits better.
bool choose_gemm(KernelSpec& s, const Target& target, const Tuning* tuning);

}  // namespace weft
