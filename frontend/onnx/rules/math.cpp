// Elementwise ops of old opsets: broadcasting by attributes, bounds and slopes in other forms.
#include <algorithm>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/pointwise.h"

namespace weft {

// Below opset 7 the second operand's dims stood at `axis` of the first one's.
Values rule_old_binary(Node& n) {
  n.ignore("consumed_inputs");
  OpKind kind = kind_of(n);
  if (n.version >= 7) return n.as(kind);
  Value *a = n.need(0), *b = n.need(1);
  bool placed = n.int_attr("broadcast", 0) != 0 && n.has("axis");
  int64_t at = n.int_attr("axis", 0);
  if (placed) {
    int rank = n.rank(a), from = n.axis(at, rank);
    std::vector<int64_t> axes;
    for (int i = n.rank(b); i < rank - from; ++i) axes.push_back(i);
    if (!axes.empty()) b = n.unsqueeze(b, axes);
  }
  return n.as(kind, {a, b});
}

// consumed_inputs asked for work in place, up to opset 5.
Values rule_old_in_place(Node& n) {
  n.ignore("consumed_inputs");
  return n.as(kind_of(n));
}

Values rule_selu(Node& n) {
  n.ignore("consumed_inputs");
  SeluAttrs a = attrs_of<SeluAttrs>(n, OpKind::selu);
  if (n.version < 6 && !n.has("alpha")) a.alpha = 1.6732;
  if (n.version < 6 && !n.has("gamma")) a.gamma = 1.0507;
  return n.done({n.op(OpKind::selu, {n.need(0)}, a)});
}

// Below opset 7 a slope of one dim goes along the channels.
Values rule_prelu(Node& n) {
  n.ignore("consumed_inputs");
  Value* slope = n.need(1);
  if (n.version < 7 && n.rank(slope) == 1 && n.rank(n.need(0)) > 2) slope = along(n, slope, 1, n.rank(n.need(0)));
  return n.as(OpKind::prelu, {n.need(0), slope});
}

Values rule_clip(Node& n) {
  if (n.version >= 11) return n.as(OpKind::clip);
  n.ignore("consumed_inputs");
  Value* x = n.need(0);
  auto bound = [&](const char* name) { return n.has(name) ? n.scalar(n.dtype(x), n.float_attr(name, 0)) : nullptr; };
  Value *low = bound("min"), *high = bound("max");
  return n.done({n.op(OpKind::clip, {x, low, high})});
}

Values rule_cast_like(Node& n) {
  CastAttrs a = attrs_of<CastAttrs>(n, OpKind::cast);
  a.to = n.dtype(n.need(1));
  return n.done({n.op(OpKind::cast, {n.need(0)}, a)});
}

Value* activated(Node& n, Value* y) {
  std::string f = n.text_attr("activation", "");
  std::vector<double> p = n.floats_attr("activation_params");
  if (f.empty()) return y;
  for (auto [name, at] : {std::pair("activation_alpha", 0u), std::pair("activation_beta", 1u)}) {
    if (!n.has(name)) continue;
    p.resize(std::max<size_t>(p.size(), at + 1));
    p[at] = n.float_attr(name, 0);
  }
  for (auto [name, kind] : {std::pair("Relu", OpKind::relu), std::pair("Tanh", OpKind::tanh), std::pair("Sigmoid", OpKind::sigmoid)})
    if (f == name) return n.op(kind, {y});
  if (f == "LeakyRelu") {
    LeakyReluAttrs a;
    if (p.size() > 0) a.alpha = p[0];
    return n.op(OpKind::leaky_relu, {y}, a);
  }
  if (f == "HardSigmoid") {
    HardSigmoidAttrs a;
    if (p.size() > 0) a.alpha = p[0];
    if (p.size() > 1) a.beta = p[1];
    return n.op(OpKind::hard_sigmoid, {y}, a);
  }
  if (f == "Clip" && p.size() == 2) return n.op(OpKind::clip, {y, n.scalar(n.dtype(y), p[0]), n.scalar(n.dtype(y), p[1])});
  n.fail(unsupported("activation " + f + " in " + n.type()));
  return nullptr;
}

}  // namespace weft
