// Given: what a model's annotations and its user ask of how it is shared out. Passes keep it until `shard` has done it.
//
//   given mesh @four = d0:2,d1:2                                 // of the annotations, and their configuration's name
//   given stage "MatMul_3" = 1                                   // of a pipeline, by ONNX node
//   given "w" : [_,tp] whole=[dp] by "--shard w=1:tp,_:dp"       // a tensor by its ONNX name
//   given "x" of "MatMul_3" : [tp,_] by "node \"MatMul_3\""      // as this node reads it
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/base/mesh.h"

namespace weft {

class Lexer;

struct GivenSharding {
  std::string tensor;
  std::string reader;                          // the ONNX node that reads it so; empty: as it is computed, or, of a constant or an input, as all read it
  std::vector<std::vector<std::string>> dims;  // per dim the axes that cut it, outermost first
  std::vector<std::string> whole;              // axes that do not cut it; those that stand nowhere are free
  std::string source;                          // who says so, for messages
  bool operator==(const GivenSharding&) const = default;
  std::string form() const;                    // [_,tp] whole=[dp]
};

struct Given {
  Mesh mesh;                                   // of annotations, named like their configuration; without axes there is none
  std::vector<GivenSharding> shardings;
  std::map<std::string, int> stages;           // by ONNX node, counted from 0
  bool operator==(const Given&) const = default;
  std::string to_string() const;               // lines
  Status parse(Lexer& lx);                     // one line, behind the word given
};

}  // namespace weft
