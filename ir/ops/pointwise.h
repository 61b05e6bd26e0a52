// Attributes of elementwise ops that other folders read. Names and defaults are ONNX's.
#pragma once

#include "ir/core/attrs.h"

namespace weft {

// saturate: float8 targets clamp instead of giving NaN or Inf. round_mode (up, down, nearest) matters for f8e8m0 alone.
struct CastAttrs : AttrsOf<CastAttrs> {
  DType to = DType::f32;
  bool saturate = true;
  std::string round_mode = "up";
  void fields(FieldVisitor& v) {
    v.field("to", to);
    v.field("saturate", saturate);
    v.field("round_mode", round_mode);
  }
};
struct BitcastAttrs : AttrsOf<BitcastAttrs> {
  DType to = DType::f32;
  void fields(FieldVisitor& v) { v.field("to", to); }
};

// approximate: "none" (erf) or "tanh".
struct GeluAttrs : AttrsOf<GeluAttrs> {
  std::string approximate = "none";
  void fields(FieldVisitor& v) { v.field("approximate", approximate); }
};
struct LeakyReluAttrs : AttrsOf<LeakyReluAttrs> {
  double alpha = 0.009999999776482582;  // 0.01 as f32
  void fields(FieldVisitor& v) { v.field("alpha", alpha); }
};
// elu, celu, swish, thresholded_relu
struct AlphaAttrs : AttrsOf<AlphaAttrs> {
  double alpha = 1;
  void fields(FieldVisitor& v) { v.field("alpha", alpha); }
};
struct HardSigmoidAttrs : AttrsOf<HardSigmoidAttrs> {
  double alpha = 0.20000000298023224, beta = 0.5;
  void fields(FieldVisitor& v) {
    v.field("alpha", alpha);
    v.field("beta", beta);
  }
};
struct SeluAttrs : AttrsOf<SeluAttrs> {
  double alpha = 1.6732631921768188, gamma = 1.0507010221481323;
  void fields(FieldVisitor& v) {
    v.field("alpha", alpha);
    v.field("gamma", gamma);
  }
};
struct ShrinkAttrs : AttrsOf<ShrinkAttrs> {
  double bias = 0, lambd = 0.5;
  void fields(FieldVisitor& v) {
    v.field("bias", bias);
    v.field("lambd", lambd);
  }
};
struct IsInfAttrs : AttrsOf<IsInfAttrs> {
  bool detect_negative = true, detect_positive = true;
  void fields(FieldVisitor& v) {
    v.field("detect_negative", detect_negative);
    v.field("detect_positive", detect_positive);
  }
};
// fmod false: sign of the divisor, integers only. true: C's fmod, sign of the dividend.
struct ModAttrs : AttrsOf<ModAttrs> {
  bool fmod = false;
  void fields(FieldVisitor& v) { v.field("fmod", fmod); }
};
struct BitShiftAttrs : AttrsOf<BitShiftAttrs> {
  std::string direction = "LEFT";  // or "RIGHT"
  void fields(FieldVisitor& v) { v.field("direction", direction); }
};

}  // namespace weft
