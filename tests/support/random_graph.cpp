#include "tests/support/random_graph.h"

#include <cmath>
#include <limits>
#include <random>

#include "ir/core/builder.h"
#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/pool.h"
#include "ir/ops/reduce.h"
#include "ir/ops/structure.h"

namespace weft::test {

namespace {

class RandomGraph {
 public:
  explicit RandomGraph(uint64_t seed) : rng_(seed), m_(std::make_unique<Module>()), g_(m_->add_graph("main")), b_(g_) { m_->name = "random"; }

  std::unique_ptr<Module> make(int steps) {
    inputs();
    for (int i = 0; i < steps; ++i) {
      b_.provenance = {"n" + std::to_string(i)};
      step();
    }
    for (Value* v : values_)
      if (v->uses.empty() && v->def) output(v);
    if (g_->outputs.empty()) output(values_.back());
    return std::move(m_);
  }

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_() % static_cast<uint64_t>(n)); }
  bool often(int percent) { return below(100) < percent; }
  template <class T>
  const T& any(const std::vector<T>& v) { return v[below(static_cast<int64_t>(v.size()))]; }

  void output(Value* v) {
    g_->outputs.push_back(v);
    g_->output_names.push_back("y" + std::to_string(g_->outputs.size()));
  }
  void inputs() {
    Dim n = Dim::symbol("n");
    m_->symbols["n"] = {1, 64, 0};
    const std::vector<Shape> shapes = {{n, 4, 6}, {2, 3, 8, 8}, {n, 6}, {3, 1, 6}, {6}, {2, 4, 5, 6}};
    int64_t count = 1 + below(3);
    for (int64_t i = 0; i < count; ++i) values_.push_back(g_->add_input(Type::tensor(DType::f32, any(shapes)), "x" + std::to_string(i)));
  }

  // Remembers a result; an op that inference refuses is simply not there.
  Value* add(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr) {
    for (Value* v : operands)
      if (!v && kind != OpKind::clip) return nullptr;
    auto op = b_.create(kind, std::move(operands), std::move(attrs));
    return op.ok() ? (*op)->result() : nullptr;
  }
  template <class A>
  Value* add(OpKind kind, std::vector<Value*> operands, A attrs) {
    return add(kind, std::move(operands), std::unique_ptr<Attrs>(std::make_unique<A>(std::move(attrs))));
  }
  void keep(Value* v) {
    bool fits = v && v->type.is_ranked() && v->type.dtype == DType::f32 && v->type.rank() <= 5;
    if (fits && is_static(v->type.shape)) fits = numel(v->type.shape).value() <= 4096 && numel(v->type.shape).value() > 0;
    if (fits) values_.push_back(v);
  }

  Value* value() { return any(values_); }
  Value* value_of_rank(int lo, int hi) {
    for (int k = 0; k < 8; ++k)
      if (Value* v = value(); v->type.rank() >= lo && v->type.rank() <= hi) return v;
    return nullptr;
  }
  Value* number(double v) { return often(70) ? b_.scalar(DType::f32, v) : b_.splat(DType::f32, {1}, v); }
  Value* weights(std::vector<int64_t> dims, double lo = -1, double hi = 1) {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    std::vector<float> v(n);
    std::uniform_real_distribution<float> u(static_cast<float>(lo), static_cast<float>(hi));
    for (float& x : v) x = u(rng_);
    const std::byte* p = reinterpret_cast<const std::byte*>(v.data());
    return b_.constant(m_->constants.add_bytes("w", DType::f32, std::move(dims), std::vector<std::byte>(p, p + 4 * n)));
  }
  // The length of a dim where it is a number, else 0.
  // 0: not known, or a scalar.
  static int64_t length(const Value* v, int d) { return v->type.rank() > 0 && v->type.dim(d).is_const() ? v->type.dim(d).value() : 0; }

  void step() {
    switch (below(14)) {
      case 0: case 1: return keep(unary());
      case 2: case 3: return keep(binary());
      case 4: return keep(reduction());
      case 5: return keep(normalisation());
      case 6: case 7: case 8: return keep(movement());
      case 9: return keep(product());
      case 10: return keep(picture());
      case 11: return keep(shape_arithmetic());
      case 12: return keep(spelling());
      default: return keep(branch());
    }
  }

  Value* unary() {
    Value* x = value();
    switch (below(6)) {
      case 0: {
        CastAttrs wide, narrow;
        wide.to = DType::f64;
        return add(OpKind::cast, {add(OpKind::cast, {x}, wide)}, narrow);
      }
      case 1: return add(OpKind::clip, {x, number(-1), often(50) ? number(2) : nullptr});
      case 2: return add(OpKind::neg, {add(OpKind::neg, {x})});
      case 3: return add(OpKind::dropout, {x, number(0.5)});
      default:
        return add(any<OpKind>({OpKind::relu, OpKind::tanh, OpKind::sigmoid, OpKind::erf, OpKind::abs, OpKind::identity,
                       OpKind::neg, OpKind::sin}),
            {x});
    }
  }
  Value* binary() {
    Value* x = value();
    Value* other = often(50) ? number(any<double>({0, 1, 2, 0.5, -1, 3})) : value();
    if (often(20) && length(x, -1)) other = weights({length(x, -1)});
    OpKind kind = any<OpKind>({OpKind::add, OpKind::mul, OpKind::sub, OpKind::max, OpKind::min});
    if (auto u = constant_of(other); u && u->numel() == 1 && often(25)) {
      if (often(50)) return add(OpKind::div, {x, number(any<double>({1, 2, 3}))});
      return add(OpKind::pow, {add(OpKind::abs, {x}), number(any<double>({0.5, 1, 2, 3}))});
    }
    return often(50) ? add(kind, {x, other}) : add(kind, {other, x});
  }
  Value* reduction() {
    Value* x = value_of_rank(1, 4);
    if (!x) return nullptr;
    ReduceAttrs a;
    a.keepdims = often(70);
    return add(any<OpKind>({OpKind::reduce_mean, OpKind::reduce_sum, OpKind::reduce_max, OpKind::reduce_l2}),
        {x, b_.ints({below(x->type.rank())})}, a);
  }
  Value* normalisation() {
    Value* x = value_of_rank(2, 4);
    int64_t n = x ? length(x, -1) : 0;
    if (!n) return nullptr;
    if (often(40)) {
      SoftmaxAttrs s;
      s.axis = often(60) ? -1 : 0;
      return add(often(80) ? OpKind::softmax : OpKind::log_softmax, {x}, s);
    }
    if (often(50)) return add(OpKind::rms_normalization, {x, weights({n})});
    return add(OpKind::layer_normalization, {x, weights({n}), weights({n})});
  }

  Value* movement() {
    Value* x = value_of_rank(1, 4);
    if (!x) return nullptr;
    int rank = x->type.rank();
    int64_t axis = below(rank), n = length(x, static_cast<int>(axis));
    switch (below(9)) {
      case 0: {
        TransposeAttrs t;
        for (int d = 0; d < rank; ++d) t.perm.push_back(d);
        std::shuffle(t.perm.begin(), t.perm.end(), rng_);
        return add(OpKind::transpose, {x}, t);
      }
      case 1: return add(OpKind::unsqueeze, {x, b_.ints({below(rank + 1)})});
      case 2: return add(OpKind::squeeze, {x, b_.ints({axis})});
      case 3: return add(OpKind::reshape, {x, b_.ints(often(50) ? std::vector<int64_t>{0, -1} : std::vector<int64_t>{-1, 6})});
      case 4: {
        if (n < 2) return nullptr;
        int64_t from = below(n - 1);
        return add(OpKind::slice, {x, b_.ints({from}), b_.ints({from + 1 + below(n - from)}), b_.ints({axis})});
      }
      case 5: {
        ConcatAttrs c;
        c.axis = axis;
        Value* y = often(50) ? x : value();
        return add(OpKind::concat, often(30) ? std::vector<Value*>{x, y, x} : std::vector<Value*>{x, y}, c);
      }
      case 6: return n ? split(x, axis, n) : nullptr;
      case 7: {
        std::vector<int64_t> pads(2 * rank, 0);
        if (often(70)) pads[below(2 * rank)] = 1;
        return add(OpKind::pad, {x, b_.ints(pads), number(0.5)});
      }
      default: {
        GatherAttrs a;
        a.axis = axis;
        return n ? add(OpKind::gather, {x, often(50) ? b_.ints({n - 1, 0}) : b_.scalar(DType::i64, static_cast<double>(below(n)))}, a) : nullptr;
      }
    }
  }
  Value* split(Value* x, int64_t axis, int64_t n) {
    if (n < 2) return nullptr;
    SplitAttrs s;
    s.axis = axis;
    auto op = b_.create(OpKind::split, {x, b_.ints({1, n - 1})}, std::make_unique<SplitAttrs>(s), 2);
    if (!op.ok()) return nullptr;
    keep((*op)->result(0));
    if (often(50)) return (*op)->result(1);
    ConcatAttrs c;
    c.axis = axis;
    return add(OpKind::concat, {(*op)->result(0), (*op)->result(1)}, c);
  }

  static ContractAttrs spec(std::string text) {
    ContractAttrs a;
    a.spec = std::move(text);
    return a;
  }
  Value* dense(Value* x, int64_t n, bool bias) {
    int64_t k = length(x, -1);
    if (!k) return nullptr;
    std::string lead = std::string("abcd").substr(0, x->type.rank() - 1);
    Value* y = often(50) ? add(OpKind::contract, {x, weights({k, n})}, spec(lead + "k,kn->" + lead + "n"))
                         : add(OpKind::contract, {x, add(OpKind::transpose, {weights({n, k})})}, spec(lead + "k,kn->" + lead + "n"));
    return bias && y ? add(OpKind::add, {y, weights({n})}) : y;
  }
  Value* product() {
    Value* x = value_of_rank(2, 4);
    if (!x) return nullptr;
    if (often(60)) {
      bool bias = often(60);
      if (often(40)) keep(dense(x, 4, bias));
      Value* y = dense(x, 6, bias);
      return y && often(40) ? add(OpKind::mul, {y, often(50) ? number(0.25) : weights({6})}) : y;
    }
    if (x->type.rank() != 3) return nullptr;
    TransposeAttrs t;
    t.perm = {0, 2, 1};
    return add(OpKind::contract, {add(OpKind::mul, {x, number(0.5)}), add(OpKind::transpose, {x}, t)}, spec("bmk,bkn->bmn"));
  }
  Value* picture() {
    Value* x = value_of_rank(4, 4);
    int64_t c = x ? length(x, 1) : 0;
    if (!c || length(x, 2) < 3 || length(x, 3) < 3) return nullptr;
    if (often(30)) {
      MaxPoolAttrs p;
      p.kernel_shape = {2, 2};
      p.strides = {2, 2};
      return add(OpKind::max_pool, {x}, p);
    }
    ConvAttrs a;
    if (often(50)) a.pads = {1, 1, 1, 1};
    bool bias = often(50);
    std::vector<Value*> operands = {x, weights({4, c, 3, 3}, -0.3, 0.3)};
    if (bias) operands.push_back(weights({4}));
    Value* y = add(OpKind::conv, operands, a);
    if (!y || often(30)) return y;
    if (often(30)) return add(OpKind::add, {add(OpKind::mul, {y, weights({4, 1, 1})}), weights({4, 1, 1})});
    return add(OpKind::batch_normalization, {y, weights({4}), weights({4}), weights({4}), weights({4}, 0.5, 1.5)});
  }

  // Reshapes and expands to shapes that are computed.
  Value* shape_arithmetic() {
    Value* x = value_of_rank(2, 4);
    if (!x) return nullptr;
    Value* dims = add(OpKind::shape, {x});
    if (often(40)) {
      Value* test = add(OpKind::equal, {dims, b_.scalar(DType::i64, -1)});
      Value* to = add(OpKind::where, {test, b_.scalar(DType::i64, 1), dims});
      return add(OpKind::expand, {number(1.5), to});
    }
    ConcatAttrs c;
    Value* first = add(OpKind::gather, {dims, b_.ints({0})});
    Value* to = add(OpKind::concat, {first, b_.ints({-1})}, c);
    return add(OpKind::reshape, {x, to});
  }

  Value* spelling() {
    Value* x = value_of_rank(2, 4);
    if (!x) return nullptr;
    switch (below(6)) {
      case 0: {  // gelu
        Value* erf = add(OpKind::erf, {add(OpKind::div, {x, number(std::sqrt(2.0))})});
        Value* bracket = add(OpKind::add, {erf, number(1)});
        if (often(50)) return add(OpKind::mul, {add(OpKind::mul, {x, bracket}), number(0.5)});
        return add(OpKind::mul, {add(OpKind::mul, {x, number(0.5)}), bracket});
      }
      case 1: {  // gelu with tanh
        Value* cube = often(50) ? add(OpKind::pow, {x, number(3)}) : add(OpKind::mul, {x, add(OpKind::mul, {x, x})});
        Value* sum = add(OpKind::add, {x, add(OpKind::mul, {cube, number(0.044715)})});
        Value* tanh = add(OpKind::tanh, {add(OpKind::mul, {sum, number(0.7978845608)})});
        return add(OpKind::mul, {add(OpKind::mul, {number(0.5), x}), add(OpKind::add, {number(1), tanh})});
      }
      case 2: return add(OpKind::mul, {x, add(OpKind::sigmoid, {often(50) ? x : add(OpKind::mul, {x, number(1.702)})})});
      case 3:
        return add(OpKind::div,
            {add(OpKind::mul, {x, add(OpKind::clip, {add(OpKind::add, {x, number(3)}), number(0), number(6)})}),
                number(6)});
      case 4: return layer_norm(x);
      default: return attention();
    }
  }
  Value* layer_norm(Value* x) {
    Value* last = b_.ints({-1});
    bool centred = often(60);
    Value* d = centred ? add(OpKind::sub, {x, add(OpKind::reduce_mean, {x, last})}) : x;
    Value* square = often(50) ? add(OpKind::mul, {d, d}) : add(OpKind::pow, {d, number(2)});
    Value* root = add(OpKind::sqrt, {add(OpKind::add, {add(OpKind::reduce_mean, {square, last}), number(0.01)})});
    Value* y = often(50) ? add(OpKind::div, {d, root}) : add(OpKind::mul, {d, add(OpKind::reciprocal, {root})});
    int64_t n = length(x, -1);
    if (n && often(60)) y = add(OpKind::mul, {y, weights({n})});
    return n && often(40) ? add(OpKind::add, {y, weights({n})}) : y;
  }
  Value* attention() {
    Value* x = value_of_rank(4, 4);
    if (!x) return nullptr;
    TransposeAttrs t;
    t.perm = {0, 1, 3, 2};
    Value* scores = add(OpKind::contract, {x, add(OpKind::transpose, {x}, t)}, spec("bhqd,bhdk->bhqk"));
    scores = add(OpKind::mul, {scores, number(0.3)});
    int64_t n = length(x, 2);
    if (n && often(60)) scores = add(OpKind::add, {scores, weights({n, n})});
    return add(OpKind::contract, {add(OpKind::softmax, {scores}), x}, spec("bhqk,bhkd->bhqd"));
  }

  Value* branch() {
    Value* x = value();
    Value* two = number(2);
    std::vector<std::unique_ptr<Graph>> bodies;
    for (OpKind kind : {OpKind::mul, OpKind::sub}) {
      auto body = std::make_unique<Graph>();
      body->module = m_.get();
      body->name = kind == OpKind::mul ? "then" : "else";
      Value *in = body->add_input(x->type, "a"), *number = body->add_input(two->type, "b");
      Builder inner(body.get());
      inner.provenance = b_.provenance;
      body->outputs.push_back(inner.op(kind, {in, number}));
      bodies.push_back(std::move(body));
    }
    bool truth = often(50);
    auto op = b_.create(OpKind::if_else, {b_.scalar(DType::b1, truth), x, two}, nullptr, 1, std::move(bodies));
    return op.ok() ? (*op)->result() : nullptr;
  }

  std::mt19937_64 rng_;
  std::unique_ptr<Module> m_;
  Graph* g_;
  Builder b_;
  std::vector<Value*> values_;
};

}  // namespace

std::unique_ptr<Module> random_graph(uint64_t seed, int steps) { return RandomGraph(seed).make(steps); }

}  // namespace weft::test
