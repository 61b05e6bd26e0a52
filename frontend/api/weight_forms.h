// Prepared weights of models that are compiled into a file: the prepare region of a plan runs on this machine's processor, also
// for a GPU's plan, so that loading the file lays out nothing. Kernels of the region are compiled anew for a processor level
// that every machine of its kind makes the same bytes with.
//
// What stays to be prepared at load: what depends on symbols, on control flow, or on kernels that leave elements
// out; where there are several ranks, everything, since each has forms of its own; and, under ArtefactOptions::Prepared::fit, forms
// for which the file would grow, since the weights that they are made of are read as they are by some target, or since there are
// more bytes of forms than of these weights.
#pragma once

#include "codegen/lower/lower.h"
#include "frontend/api/kernels.h"
#include "runtime/executable.h"

namespace weft {

struct WeightForm {
  int buffer = -1;            // of the plan: a prepared one
  std::string name;           // as a constant
  int64_t bytes = 0;
  std::vector<int> sources;   // constants of the plan
  ConstantBytes data;         // once made
  Hash hash;
  bool stored = true;
};

// One target's weights on their way into a file.
struct FileWeights {
  Lowered* lowered = nullptr;
  std::vector<ConstantBytes> constants;  // parallel to the plan's
  std::vector<WeightForm> forms;         // all that this machine can make
};

// Fills in `forms`.
void find_forms(FileWeights& w);
// Leaves out forms for which a file of all these targets would grow, as far as is known: before and after they are made.
void leave_out_growing(std::span<FileWeights* const> all);
// Computes the stored forms. options: of kernels; its target is chosen here. Errors as of compiling and running.
Status make_forms(FileWeights& w, KernelBuildOptions options, Reporter& reporter);
// The stored forms become constants of the plan, in place of what made them.
void put_forms(FileWeights& w);

}  // namespace weft
