// Which passes run at which level, in which order, and why there.
#include "passes/pass_manager.h"

namespace weft {

// Each of these makes work for the others; most modules settle in two or three rounds.
static Stage cleanup(int rounds) {
  Stage s;
  s.rounds = rounds;
  s.passes = {
      "simplify-shapes",  // first: shape arithmetic goes, and with it what only it uses
      "fold-constants",
      "eliminate-identity",  // what folding made trivial
      "simplify-algebra",
      "canonicalize-casts",
      "canonicalize-views",  // before transposes: one that moves dims of 1 alone becomes a view
      "canonicalize-transposes",
      "canonicalize-slices",
      "eliminate-common",  // last: equal ops look alike by now
      "eliminate-dead",
  };
  return s;
}

std::vector<Stage> pipeline_of(int opt_level) {
  // At every level: what the user asked for. First, while outputs look as they were exported.
  std::vector<Stage> out = {{{"raise-states"}, 1}};
  if (opt_level <= 0) {
    out.push_back({{"chunk-sums", "repeat-heads", "assign-stages", "shard", "partition", "lower-precision"}, 1});
    return out;
  }
  int rounds = opt_level == 1 ? 2 : 5;
  // Behind what finds attention and norms, whose heads and rows ranks share; before weights are merged or moved away.
  Stage share = {{"chunk-sums", "repeat-heads", "assign-stages", "shard", "partition"}, 1};
  if (opt_level >= 2) share.passes.insert(share.passes.end() - 1, "overlap-collectives");
  // Everything later looks at single uses, equal operands and canonical forms.
  out.push_back(cleanup(rounds));
  if (opt_level >= 2) {
    // From simple ops to the ones they spell, before anything takes their parts elsewhere.
    out.push_back({{"raise-norm", "raise-gelu", "raise-activations", "raise-softmax", "raise-rotary", "eliminate-dead"}, 3});
    // Transposes and scales are part of the products in which attention is looked for.
    out.push_back({{"fold-contract"}, 3});
    out.push_back({{"raise-attention", "canonicalize-views", "canonicalize-transposes", "raise-grouped-heads"}, 2});
    // What products read is what was quantised, not what moved it.
    out.push_back({{"propagate-quantize"}, 4});
    // Where each factor is what was quantised still: transposes are part of the products, biases are numbers.
    out.push_back({{"integer-products"}, 1});
  }
  out.push_back(share);
  // What targets have no kernels for; before fusion, which makes kernels of the parts.
  out.push_back({{"expand"}, 1});
  out.push_back(cleanup(rounds));
  if (opt_level >= 2) {
    // Scales become part of weights before the weights' work moves away; siblings are alike once biases are folded.
    out.push_back({{"fold-scale", "fold-contract"}, 4});
  }
  // What is folded into weights is folded in f32.
  out.push_back({{"lower-precision"}, 1});
  if (opt_level >= 2) {
    out.push_back({{"merge-siblings", "pad-channels", "depth-last"}, 1});
    out.push_back(cleanup(2));
  }
  // After all that makes work on constants, before fusion, which would take it into kernels.
  out.push_back({{"lift-prepare"}, 1});
  // Last: what lies inside a region is out of reach for rewrites.
  out.push_back({{"explicit-padding", "eliminate-common"}, 1});
  out.push_back({{"repeat-casts", "fuse"}, 1});
  // What lies in memory is known now: the results of regions.
  if (opt_level >= 2) out.push_back({{"channels-last"}, 1});
  out.push_back({{"assign-layouts"}, 1});
  // Kernels are known now, and nothing looks at neighbours any more.
  if (opt_level >= 2) out.push_back({{"order-memory", "order-collectives"}, 1});
  return out;
}

}  // namespace weft
