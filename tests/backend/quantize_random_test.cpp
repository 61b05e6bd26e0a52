// Random chains of quantising, dequantising, moving and multiplying, on every target against the evaluator, before and after all
// passes. Scales are powers of two and sums small, so that each result is one exact number, however it is computed.
#include "ir/ops/conv.h"
#include "ir/ops/move.h"
#include "ir/ops/pool.h"
#include "ir/ops/quantize.h"
#include "ir/ops/resample.h"
#include "tests/backend/support.h"
#include "tests/support/random_graph.h"

namespace weft::backend_test::quantize_random {

namespace {

// A value [N, C, H, W]; exact: numbers of 8 bits times a scale, which may be summed.
struct Item {
  Value* v;
  bool exact;
};

class Chain {
 public:
  explicit Chain(uint64_t seed) : rng_(seed), scale_(std::vector<double>{0.25, 0.5, 1}[seed % 3]) {
    items_.push_back({g_.input(DType::f32, {2, 4, 6, 6}, -40, 40), false});
    for (int i = 0; i < 14; ++i) step();
  }

  void check(int opt_level) {
    std::vector<Value*> outputs;
    for (const Item& i : items_)
      if (i.v->uses.empty()) outputs.push_back(i.v);
    g_.check(outputs, Bound::exact(), opt_level);
  }

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_() % static_cast<uint64_t>(n)); }
  bool often(int percent) { return below(100) < percent; }
  Value* number(DType t, double x) { return g_.builder().scalar(t, x); }

  // The zero points: half of the time the least number.
  Value* zero(DType t) { return number(t, often(50) ? static_cast<double>(int_min(t)) : 3); }
  // Mostly the grid of the last pair, so that pairs meet.
  void choose_grid() {
    if (type_ && often(70)) return;
    type_ = std::vector<DType>{DType::u8, DType::i8, DType::i16}[static_cast<size_t>(below(3))];
    zero_ = zero(*type_);
  }

  void step() {
    const Item x = items_[static_cast<size_t>(often(75) ? static_cast<int64_t>(items_.size()) - 1 : below(static_cast<int64_t>(items_.size())))];
    const bool quantised = is_int(x.v->type.dtype);
    if (quantised && x.v->type.dtype == type_ && often(60)) {
      items_.push_back({g_.op(OpKind::dequantize_linear, {x.v, number(DType::f32, scale_), zero_}, DequantizeAttrs()), byte_size(*type_) == 1});
    } else if (!quantised && often(40)) {
      choose_grid();
      items_.push_back({g_.op(OpKind::quantize_linear, {x.v, number(DType::f32, scale_), zero_}, QuantizeAttrs()), false});
    } else if (!quantised && often(30)) {
      items_.push_back({bounded(x), x.exact});
    } else if (x.exact && often(30)) {
      items_.push_back({convolved(x.v), false});
    } else if (Value* y = moved(x.v)) {
      items_.push_back({y, x.exact});
    }
  }
  Value* bounded(const Item& x) {
    if (often(60)) return g_.op(OpKind::relu, {x.v});
    return g_.op(OpKind::clip, {x.v, number(DType::f32, often(50) ? -1 : -5000), number(DType::f32, often(50) ? 10 : 5000)});
  }
  Value* convolved(Value* x) {
    const int64_t channels = x->type.shape[1].value();
    Value* w = g_.op(OpKind::dequantize_linear, {g_.constant(random_tensor(DType::i8, {5, channels, 1, 1}, rng_())),
                                                 g_.constant(tensor_of_values<double>(DType::f32, {5}, {1, 0.5, 0.25, 2, 1}))},
                     [] {
                       DequantizeAttrs a;
                       a.axis = 0;
                       return a;
                     }());
    ConvAttrs a;
    if (often(50)) a.pads = {1, 0, 0, 1};
    return g_.op(OpKind::conv, {x, w}, a);
  }
  Value* moved(Value* x) {
    const Shape& dims = x->type.shape;
    const int64_t axis = below(4), n = dims[static_cast<size_t>(axis)].value();
    const bool large = numel(dims).value() > 2000;
    switch (below(7)) {
      case 0: {
        TransposeAttrs t;
        t.perm = {0, 1, 2, 3};
        std::shuffle(t.perm.begin(), t.perm.end(), rng_);
        return g_.op(OpKind::transpose, {x}, t);
      }
      case 1: return n < 2 ? nullptr : g_.op(OpKind::slice, {x, g_.builder().ints({1}), g_.builder().ints({n}), g_.builder().ints({axis})});
      case 2: {
        ConcatAttrs c;
        c.axis = axis;
        return large ? nullptr : g_.op(OpKind::concat, {x, x}, c);
      }
      case 3: return large ? nullptr : g_.op(OpKind::pad, {x, g_.builder().ints({0, 0, 1, 0, 0, 1, 0, 0})}, PadAttrs());
      case 4: return g_.op(OpKind::reshape, {x, g_.builder().ints({0, -1, dims[2].value() * dims[1].value(), 1})}, ReshapeAttrs());
      case 5: {
        ResizeAttrs r;
        r.coordinate_transformation_mode = "asymmetric";
        r.nearest_mode = "floor";
        Value* scales = g_.constant(tensor_of_values<double>(DType::f32, {4}, {1, 1, 2, 1}));
        return large ? nullptr : g_.op(OpKind::resize, {x, nullptr, scales}, r);
      }
      default: {
        if (x->type.dtype == DType::i16 || dims[2].value() < 2 || dims[3].value() < 2) return nullptr;
        MaxPoolAttrs p;
        p.kernel_shape = {2, 2};
        return g_.op(OpKind::max_pool, {x}, p);
      }
    }
  }

  TestGraph g_;
  std::mt19937_64 rng_;
  double scale_;
  std::optional<DType> type_;
  Value* zero_ = nullptr;
  std::vector<Item> items_;
};

}  // namespace

TEST(QuantizeRandom, ChainsAreExact) {
  const int first = test::from_environment("WEFT_RANDOM_SEED", 1), count = test::from_environment("WEFT_RANDOM_GRAPHS", 12);
  for (int seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("WEFT_RANDOM_SEED=" + std::to_string(seed));
    for (int level : {-1, 2}) Chain(static_cast<uint64_t>(seed)).check(level);
  }
}

}  // namespace weft::backend_test::quantize_random
