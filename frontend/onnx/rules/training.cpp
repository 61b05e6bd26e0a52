// Optimizer steps of ai.onnx.preview.training, spelled out. Inputs: the rate R, the step count T, then for each kind of
// tensor one per parameter; results likewise.
#include "frontend/onnx/rules/rules.h"

namespace weft {

namespace {

struct Step {
  Node& n;
  int kinds;                              // kinds of tensors among the inputs: X, G, and states
  int count = (n.num_inputs() - 2) / kinds;
  std::vector<std::vector<Value*>> results = std::vector<std::vector<Value*>>(kinds - 1);

  Value* rate() { return n.need(0); }
  Value* tensor(int kind, int i) { return n.need(2 + kind * count + i); }
  Value* number(Value* like, double v) { return n.scalar(n.dtype(like), v); }
  Value* times(Value* v, double factor) { return n.mul(v, number(v, factor)); }
  Value* root_plus(Value* v, double epsilon) { return n.add(n.op(OpKind::sqrt, {v}), number(v, epsilon)); }
  // The gradient with L2 regularisation.
  Value* gradient(int i, double norm) { return n.add(times(tensor(0, i), norm), tensor(1, i)); }
  // a where T > 0, else b.
  Value* after_first(Value* a, Value* b) { return n.op(OpKind::where, {n.op(OpKind::greater, {n.need(1), n.int_scalar(0)}), a, b}); }
  Values done() {
    if (count * kinds + 2 != n.num_inputs()) return invalid(n.type() + " has a wrong number of inputs");
    std::vector<Value*> all;
    for (auto& kind : results) all.insert(all.end(), kind.begin(), kind.end());
    return n.done(all);
  }
};

}  // namespace

Values rule_adagrad(Node& n) {
  Step s{n, 3};
  double decay = n.float_attr("decay_factor", 0);
  double epsilon = n.float_attr("epsilon", 9.999999974752427e-07), norm = n.float_attr("norm_coefficient", 0);
  Value* slower = n.add(s.number(s.rate(), 1), s.times(n.cast(n.need(1), n.dtype(s.rate())), decay));
  Value* rate = n.div(s.rate(), slower);
  for (int i = 0; i < s.count; ++i) {
    Value *g = s.gradient(i, norm), *h = n.add(s.tensor(2, i), n.mul(g, g));
    s.results[0].push_back(n.sub(s.tensor(0, i), n.div(n.mul(rate, g), s.root_plus(h, epsilon))));
    s.results[1].push_back(h);
  }
  return s.done();
}

Values rule_adam(Node& n) {
  Step s{n, 4};
  double alpha = n.float_attr("alpha", 0.8999999761581421), beta = n.float_attr("beta", 0.9990000128746033);
  double epsilon = n.float_attr("epsilon", 9.999999974752427e-07);
  double norm = n.float_attr("norm_coefficient", 0), post = n.float_attr("norm_coefficient_post", 0);
  Value* t = n.cast(n.need(1), n.dtype(s.rate()));
  auto left = [&](double base) { return n.sub(s.number(s.rate(), 1), n.op(OpKind::pow, {s.number(s.rate(), base), t})); };
  Value* rate = s.after_first(n.div(n.mul(s.rate(), n.op(OpKind::sqrt, {left(beta)})), left(alpha)), s.rate());
  for (int i = 0; i < s.count; ++i) {
    Value* g = s.gradient(i, norm);
    Value* v = n.add(s.times(s.tensor(2, i), alpha), s.times(g, 1 - alpha));
    Value* h = n.add(s.times(s.tensor(3, i), beta), s.times(n.mul(g, g), 1 - beta));
    Value* x = n.sub(s.tensor(0, i), n.div(n.mul(rate, v), s.root_plus(h, epsilon)));
    s.results[0].push_back(s.times(x, 1 - post));
    s.results[1].push_back(v);
    s.results[2].push_back(h);
  }
  return s.done();
}

Values rule_momentum(Node& n) {
  Step s{n, 3};
  double alpha = n.float_attr("alpha", 0), beta = n.float_attr("beta", 0), norm = n.float_attr("norm_coefficient", 0);
  std::string mode = n.text_attr("mode", "standard");
  if (mode != "standard" && mode != "nesterov") return invalid("Momentum's mode " + mode);
  for (int i = 0; i < s.count; ++i) {
    Value *x = s.tensor(0, i), *g = s.gradient(i, norm);
    Value* v = n.add(s.times(s.tensor(2, i), alpha), n.mul(s.after_first(s.number(g, beta), s.number(g, 1)), g));
    Value* step = mode == "nesterov" ? n.add(g, s.times(v, alpha)) : v;
    s.results[0].push_back(n.sub(x, n.mul(s.rate(), step)));
    s.results[1].push_back(v);
  }
  return s.done();
}

}  // namespace weft
