// Prints a Module as .wir text, which parse_module reads back to an equal Module (the text of which is the same again).
// One declaration or op a line, so that two texts compare line by line:
//
//   weft.module 1 "mlp"
//   symbol batch = 1..64 @8                               // range and optimum; symbols without either are not declared
//   mesh @m = dp:2,tp:4
//   metadata "key" = "value"
//   const @w : f32[2,2] = [1.0, 2.0, 3.0, 4.0]            // also splat(0.5), hex "00ff", strings ["a", "b"], and
//   const @big : f32[512,512] = file "mlp.weights" offset 0 size 1048576 hash 0123…
//   state kv : append(axis=2, length=past, capacity=room) @main %past -> %present
//   given "w" : [_,tp] by "--shard w=1:tp"                // what is asked of the pass `shard`, see ir/core/given.h
//   prepare() -> (packed = %0) {                          // only where something is prepared
//   }
//   graph @main(%x: f32[batch,2], %n: i64[] host) -> (probs = %1) {
//     %w = constant @w : f32[2,2]
//     %0 = contract(%x, %w, _) {spec="bk,kn->bn"} : f32[batch,2] loc("MatMul_0")
//     %1 = if_else(%c, %0) then(%a: f32[batch,2]) -> (%b) {
//       %b = softmax(%a) : f32[batch,2] shard(m:[dp,_])
//     } else(%a: f32[batch,2]) -> (%a) {
//     } : f32[batch,2]
//   }
//
// A value stands under its ONNX name where that is unique in its graph (quoted unless an identifier), else under a number;
// a name that is not unique follows where the value is defined: `%7 named "x"`. Attributes that have the op's defaults
// are left out. The constants are those that ops refer to, in pool order.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/core/module.h"

namespace weft {

struct PrintOptions {
  // Constants of more elements do not stand in the text when they lie in a file.
  int64_t inline_elements = 64;
  // false: constants of more elements print as their hash alone. Such text is for comparing; it does not parse.
  bool contents = true;
  // Constants of more elements that lie in no file print as their hash, those in files not below base_dir by the file's name
  // alone: for a text that belongs to a compiled model. It parses where such files and no such hashes are.
  bool by_reference = false;
  // Paths below this folder print relative to it; empty: as they are.
  std::string base_dir;
  // Constants that stand in a file of this name beside the text, at these offsets (see save_module).
  std::string side_file;
  std::map<int, uint64_t> side_offsets;
};

std::string print_module(const Module& m, const PrintOptions& options = {});
// One op (with its bodies) as it stands in the text of its module, without indentation.
std::string print_op(const Op& op);

// Pool entries that some op refers to, ascending.
std::vector<int> used_constants(const Module& m);

}  // namespace weft
