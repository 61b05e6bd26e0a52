#include "tests/support/random_graph.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "ir/core/builder.h"
#include "ir/eval/host_value.h"
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
  explicit RandomGraph(const RandomGraphOptions& o) : o_(o), rng_(o.seed), m_(std::make_unique<Module>()), g_(m_->add_graph("main")), b_(g_) {
    m_->name = "random";
  }

  std::unique_ptr<Module> make() {
    inputs();
    for (int i = 0; i < o_.steps; ++i) {
      b_.provenance = {"n" + std::to_string(i)};
      if (o_.integers && often(30)) keep(integers());
      else step();
    }
    for (const std::vector<Value*>* values : {&values_, &ints_})
      for (Value* v : *values)
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
    for (int64_t i = 0; i < count; ++i) values_.push_back(g_->add_input(Type::tensor(o_.floats, any(shapes)), "x" + std::to_string(i)));
    float_inputs_ = values_;
    if (!o_.integers) return;
    count = 1 + below(2);
    for (int64_t i = 0; i < count; ++i) ints_.push_back(g_->add_input(Type::tensor(integer_type(), any(shapes)), "k" + std::to_string(i)));
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
    const bool integer = v && is_int(v->type.dtype);
    bool fits = v && v->type.is_ranked() && (v->type.dtype == o_.floats || (integer && o_.integers)) && v->type.rank() <= 5;
    if (fits && is_static(v->type.shape)) fits = numel(v->type.shape).value() <= 4096 && numel(v->type.shape).value() > 0;
    if (fits) (integer ? ints_ : values_).push_back(v);
  }

  Value* value() { return any(values_); }
  Value* value_of_rank(int lo, int hi) { return value_of_rank(values_, lo, hi); }
  Value* value_of_rank(const std::vector<Value*>& values, int lo, int hi) {
    for (int k = 0; k < 8; ++k)
      if (Value* v = any(values); v->type.rank() >= lo && v->type.rank() <= hi) return v;
    return nullptr;
  }
  // A float or an integer.
  Value* mover() { return value_of_rank(o_.integers && often(25) ? ints_ : values_, 1, 4); }
  Value* number(double v) { return often(70) ? b_.scalar(o_.floats, v) : b_.splat(o_.floats, {1}, v); }
  Value* weights(std::vector<int64_t> dims, double lo = -1, double hi = 1) {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    std::vector<double> v(n);
    // Every float type has these numbers.
    std::uniform_real_distribution<double> u(lo, hi);
    for (double& x : v) x = std::round(u(rng_) * 64) / 64;
    const Tensor t = store_all(o_.floats, dims, v).value();
    return b_.constant(m_->constants.add_bytes("w", o_.floats, std::move(dims), std::vector<std::byte>(t.data.get(), t.data.get() + t.bytes())));
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
        wide.to = byte_size(o_.floats) < 4 ? DType::f32 : DType::f64;
        narrow.to = o_.floats;
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
    Value* x = mover();
    if (!x) return nullptr;
    ReduceAttrs a;
    a.keepdims = often(70);
    if (x->type.dtype != o_.floats) return add(any<OpKind>({OpKind::reduce_sum, OpKind::reduce_max}), {x, b_.ints({below(x->type.rank())})}, a);
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
    Value* x = mover();
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
        Value* y = often(50) || x->type.dtype != o_.floats ? x : value();
        return add(OpKind::concat, often(30) ? std::vector<Value*>{x, y, x} : std::vector<Value*>{x, y}, c);
      }
      case 6: return n ? split(x, axis, n) : nullptr;
      case 7: {
        std::vector<int64_t> pads(2 * rank, 0);
        if (often(70)) pads[below(2 * rank)] = 1;
        return add(OpKind::pad, {x, b_.ints(pads), b_.scalar(x->type.dtype, x->type.dtype == o_.floats ? 0.5 : 3)});
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

  // --- integers, which are exact everywhere: so they may decide and choose ------------------------------------------------

  DType integer_type() { return any<DType>({DType::i64, DType::i32, DType::i16, DType::i8, DType::u8, DType::u32}); }
  Value* cast_to(Value* v, DType t) {
    CastAttrs a;
    a.to = t;
    return add(OpKind::cast, {v}, a);
  }
  Value* mod(Value* v, int64_t n) { return v ? add(OpKind::mod, {v, b_.scalar(v->type.dtype, static_cast<double>(n))}) : nullptr; }
  Value* integers() {
    Value* k = any(ints_);
    const DType t = k->type.dtype;
    // Of the same type, the scalar most often, since shapes must fit.
    auto other = [&] {
      Value* v = any(ints_);
      return often(40) && v->type.dtype == t ? v : b_.scalar(t, static_cast<double>(1 + below(4)));
    };
    switch (below(8)) {
      case 0: return add(any<OpKind>({OpKind::add, OpKind::sub, OpKind::mul, OpKind::max, OpKind::min, OpKind::bitwise_xor}), {k, other()});
      case 1: return add(any<OpKind>({OpKind::mod, OpKind::div}), {k, b_.scalar(t, static_cast<double>(2 + below(4)))});
      case 2: return cast_to(k, integer_type());
      case 3: return add(is_unsigned_int(t) ? OpKind::bitwise_not : any<OpKind>({OpKind::abs, OpKind::neg, OpKind::sign}), {k});
      case 4: {
        Value* test = add(any<OpKind>({OpKind::less, OpKind::greater_or_equal, OpKind::equal}), {k, other()});
        return add(OpKind::where, {test, value(), often(50) ? value() : number(-0.5)});
      }
      case 5: return add(any<OpKind>({OpKind::add, OpKind::mul}), {value(), cast_to(mod(k, 5), o_.floats)});
      case 6: {  // elements by an index that is computed
        Value* at = value_of_rank(ints_, 1, 2);
        Value* x = value_of_rank(1, 3);
        GatherAttrs a;
        a.axis = x ? below(x->type.rank()) : 0;
        const int64_t n = x ? length(x, static_cast<int>(a.axis)) : 0;
        return at && n ? add(OpKind::gather, {x, cast_to(mod(cast_to(at, DType::i32), n), often(50) ? DType::i32 : DType::i64)}, a) : nullptr;
      }
      default: {  // a float decides where nothing has been rounded yet
        Value* test = add(OpKind::greater, {any(float_inputs_), number(0.25)});
        return often(50) ? add(OpKind::where, {test, value(), value()}) : cast_to(test, integer_type());
      }
    }
  }

  RandomGraphOptions o_;
  std::mt19937_64 rng_;
  std::unique_ptr<Module> m_;
  Graph* g_;
  Builder b_;
  std::vector<Value*> values_, ints_, float_inputs_;
};

}  // namespace

std::unique_ptr<Module> random_graph(const RandomGraphOptions& o) { return RandomGraph(o).make(); }

int from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace weft::test
