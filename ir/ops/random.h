// Attributes of random ops. Every op draws from a stream of its own that starts at `seed`, each time it runs: results are
// the same in every run. ONNX lets a runtime choose where no seed is given; the importer gives such nodes different ones.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// random_normal() and random_normal_like(x): mean and scale (the deviation). has_dtype (like): else the operand's type.
struct RandomNormalAttrs : AttrsOf<RandomNormalAttrs> {
  bool has_dtype = false;
  DType dtype = DType::f32;
  double mean = 0, scale = 1, seed = 0;
  std::vector<int64_t> shape;  // random_normal alone
  void fields(FieldVisitor& v) {
    v.field("has_dtype", has_dtype);
    v.field("dtype", dtype);
    v.field("mean", mean);
    v.field("scale", scale);
    v.field("seed", seed);
    v.field("shape", shape);
  }
};
// random_uniform() and random_uniform_like(x): in [low, high).
struct RandomUniformAttrs : AttrsOf<RandomUniformAttrs> {
  bool has_dtype = false;
  DType dtype = DType::f32;
  double low = 0, high = 1, seed = 0;
  std::vector<int64_t> shape;
  void fields(FieldVisitor& v) {
    v.field("has_dtype", has_dtype);
    v.field("dtype", dtype);
    v.field("low", low);
    v.field("high", high);
    v.field("seed", seed);
    v.field("shape", shape);
  }
};
// bernoulli(p): 1 with probability p.
struct BernoulliAttrs : AttrsOf<BernoulliAttrs> {
  bool has_dtype = false;
  DType dtype = DType::f32;
  double seed = 0;
  void fields(FieldVisitor& v) {
    v.field("has_dtype", has_dtype);
    v.field("dtype", dtype);
    v.field("seed", seed);
  }
};
// multinomial(log_p[batch, classes]) -> [batch, sample_size] class numbers; log_p need not be normalised.
struct MultinomialAttrs : AttrsOf<MultinomialAttrs> {
  DType dtype = DType::i32;
  int64_t sample_size = 1;
  double seed = 0;
  void fields(FieldVisitor& v) {
    v.field("dtype", dtype);
    v.field("sample_size", sample_size);
    v.field("seed", seed);
  }
};
// dropout(x, ratio?, training_mode?) -> y, mask?. The identity unless training_mode is true.
struct DropoutAttrs : AttrsOf<DropoutAttrs> {
  int64_t seed = 0;
  void fields(FieldVisitor& v) { v.field("seed", seed); }
};
// Whether a dropout is known to be the identity: in inference, or with a ratio of 0.
bool drops_nothing(const Op& dropout);

}  // namespace weft
