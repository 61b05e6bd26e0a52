// Attributes of softmax and the normalisations. Names and defaults are ONNX's; all compute in one precision and round
// once, so stash_type only decides the type of saved statistics.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// softmax, log_softmax, hardmax: along one axis (opset 13's meaning).
struct SoftmaxAttrs : AttrsOf<SoftmaxAttrs> {
  int64_t axis = -1;
  void fields(FieldVisitor& v) { v.field("axis", axis); }
};

// batch_normalization(x, scale[C], bias[C], mean[C], var[C]) -> y, running_mean?, running_var? (training only)
struct BatchNormAttrs : AttrsOf<BatchNormAttrs> {
  double epsilon = 9.999999747378752e-06;  // 1e-5 as f32
  double momentum = 0.8999999761581421;
  bool training_mode = false;
  void fields(FieldVisitor& v) {
    v.field("epsilon", epsilon);
    v.field("momentum", momentum);
    v.field("training_mode", training_mode);
  }
};

// instance_normalization(x, scale[C], bias[C]) -> y
struct InstanceNormAttrs : AttrsOf<InstanceNormAttrs> {
  double epsilon = 9.999999747378752e-06;
  void fields(FieldVisitor& v) { v.field("epsilon", epsilon); }
};

// group_normalization(x, scale[C], bias[C]) -> y; num_groups divides C.
struct GroupNormAttrs : AttrsOf<GroupNormAttrs> {
  double epsilon = 9.999999747378752e-06;
  int64_t num_groups = 0;
  DType stash_type = DType::f32;
  void fields(FieldVisitor& v) {
    v.field("epsilon", epsilon);
    v.field("num_groups", num_groups);
    v.field("stash_type", stash_type);
  }
};

// layer_normalization(x, scale, bias?) -> y, mean?, inv_std?; rms_normalization(x, scale) -> y of scale's type.
// Normalised over dims [axis, rank); scale and bias broadcast to x.
struct LayerNormAttrs : AttrsOf<LayerNormAttrs> {
  int64_t axis = -1;
  double epsilon = 9.999999747378752e-06;
  DType stash_type = DType::f32;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("epsilon", epsilon);
    v.field("stash_type", stash_type);
  }
};

// skip_layer_normalization(input, skip, gamma, beta?, bias?) -> y, mean?, inv_std?, sum?
// sum = input + skip + bias; y = norm(sum) * gamma + beta over the last dim. simplified: RMS instead of mean and variance.
struct SkipLayerNormAttrs : AttrsOf<SkipLayerNormAttrs> {
  double epsilon = 9.999999960041972e-13;
  bool simplified = false;
  void fields(FieldVisitor& v) {
    v.field("epsilon", epsilon);
    v.field("simplified", simplified);
  }
};

// lrn(x[N,C,...]): divides by (bias + alpha/size * sum of squares over `size` neighbouring channels)^beta.
struct LrnAttrs : AttrsOf<LrnAttrs> {
  double alpha = 9.999999747378752e-05, beta = 0.75, bias = 1;
  int64_t size = 1;
  void fields(FieldVisitor& v) {
    v.field("alpha", alpha);
    v.field("beta", beta);
    v.field("bias", bias);
    v.field("size", size);
  }
};

// lp_normalization: divides by the L1 or L2 norm along an axis; a zero norm gives zeros.
struct LpNormAttrs : AttrsOf<LpNormAttrs> {
  int64_t axis = -1, p = 2;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("p", p);
  }
};

// flops = `per_element` for each element of operand 0; bytes as op_cost's default.
Cost norm_cost(const Op& op, int64_t per_element);
// Error unless operand 0 is a ranked float tensor of at least `min_rank` dims.
Status need_float_input(const Op& op, int min_rank);

}  // namespace weft
