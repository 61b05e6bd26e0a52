// Random ops: a node without a seed gets one of its own.
#include "ir/ops/random.h"

#include "frontend/onnx/importer.h"
#include "frontend/onnx/rules/rules.h"

namespace weft {

template <class A>
static Values seeded(Node& n, OpKind kind) {
  A a = attrs_of<A>(n, kind);
  if (!n.has("seed")) a.seed = ++n.state.random_nodes;
  return n.as(kind, n.inputs, a.clone());
}

Values rule_random(Node& n) {
  OpKind kind = kind_of(n);
  if (kind == OpKind::bernoulli) return seeded<BernoulliAttrs>(n, kind);
  if (kind == OpKind::multinomial) return seeded<MultinomialAttrs>(n, kind);
  bool normal = kind == OpKind::random_normal || kind == OpKind::random_normal_like;
  return normal ? seeded<RandomNormalAttrs>(n, kind) : seeded<RandomUniformAttrs>(n, kind);
}

// Before opset 12 the ratio was an attribute and nothing but is_test told training from inference: it is inference.
Values rule_dropout(Node& n) {
  if (n.version >= 12) return seeded<DropoutAttrs>(n, OpKind::dropout);
  for (const char* name : {"ratio", "is_test", "consumed_inputs"}) n.ignore(name);
  Value* x = n.need(0);
  Op* op = n.create(OpKind::dropout, {x}, nullptr, 2);
  if (!op) return n.done(nullptr);
  Value* mask = n.version >= 10 || !n.wants(1) ? op->result(1) : n.cast(op->result(1), n.dtype(x));
  return n.done({op->result(0), mask});
}

}  // namespace weft
