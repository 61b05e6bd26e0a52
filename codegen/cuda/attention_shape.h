// How the `attention` template divides its rows and keys: into tiles of rows, and each tile's keys over slices of a block's
// warps and over the blocks of a cluster.
#pragma once

#include "codegen/attention.h"
#include "codegen/tuning.h"
#include "ir/base/target.h"

namespace weft {

// Rows are each * groups: of a warp (16 times `each`), or of 8 threads that stand beside each other.
struct AttentionTile {
  int64_t each, groups, keys, slices, stages;  // keys of a slice at once; slots of shared memory
  bool all_rows = false;                       // of all row axes; else of the last one
  int64_t ranks = 1;                           // blocks of the cluster
  AttentionAxes axes(const AttentionAxes& a) const { return all_rows ? a : a.single(); }
};
struct AttentionTiling {
  bool mma = false;                 // on tensor cores
  std::vector<AttentionTile> tiles; // one, or by the rows at run time: for few, for many
  int64_t rows_of(const AttentionTile& t) const { return t.each * t.groups * (mma ? 16 : 1); }
  int64_t threads_of(const AttentionTile& t) const { return t.groups * t.slices * (mma ? 32 : 8); }
};
// Of a chosen spec.
AttentionTiling attention_tiling(const KernelSpec& s, const AttentionAxes& a, const Target& target);

// False when the spec is something else.
bool choose_cuda_attention(KernelSpec& s, const Target& target, const Tuning* tuning);

}  // namespace weft
