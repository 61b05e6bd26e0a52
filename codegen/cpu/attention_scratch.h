// The CPU's `attention` template (codegen/cpu/llvm/attention.cpp): its parameters and its scratch memory.
//
// A task owns config.mc rows of one batch. Keys come in blocks of config.nc; for each block: scores of all rows, the softmax
// so far (maximum and sum of each row), and the weighed values, added to a block of results that is scaled when a maximum grows.
// Rows are taken config.mr at a time against vectors of keys; with mr = 1 each score is a sum along the head instead, for few rows.
#pragma once

#include "codegen/attention.h"
#include "ir/base/target.h"

namespace weft {

// Fills config and tasks when the spec is attention.
bool choose_attention(KernelSpec& spec, const Target& target);

// Float offsets of the areas; each begins at a whole vector.
struct AttentionScratch {
  int64_t q = 0;        // [mc][inner]
  int64_t keys = 0;     // [inner][nc], a block of K transposed; unused with mr = 1
  int64_t scores = 0;   // [mc][nc]
  int64_t values = 0;   // [nc][columns]
  int64_t result = 0;   // [mc][columns]
  int64_t top = 0, sum = 0;  // [mc]
  int64_t total = 0;
  int64_t columns = 0;  // column_size up to a multiple of config.nr
};
AttentionScratch attention_scratch(const KernelSpec& spec, const AttentionAxes& axes);

}  // namespace weft
