// Movement ops: symbolic shapes and contents through inference, elements through the evaluator.
#include "ir/ops/move.h"

#include "ir/ops/pointwise.h"
#include "ir/ops/structure.h"
#include "tests/unit/infer_support.h"

namespace weft::eval_test {
namespace {

using Ints = std::vector<int64_t>;
using Doubles = std::vector<double>;

template <class A>
A with_axis(int64_t axis) {
  A a;
  a.axis = axis;
  return a;
}
GatherAttrs gather_axis(int64_t axis) { return with_axis<GatherAttrs>(axis); }
ConcatAttrs concat_axis(int64_t axis) { return with_axis<ConcatAttrs>(axis); }
Tensor count(std::vector<int64_t> dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  std::vector<int64_t> v(n);
  for (int64_t k = 0; k < n; ++k) v[k] = k;
  return i64(std::move(dims), v);
}

// --- shape arithmetic ---------------------------------------------------------------------------------------------------

TEST(InferMove, ShapeGatherConcatReshapeIsExact) {
  Net n;
  Value* x = n.input("f32[batch,seq,768]");
  Value* shape = n.op(OpKind::shape, {x});
  EXPECT_EQ(known_text(shape), "[batch,seq,768]");
  Value* batch = n.op(OpKind::gather, {shape, n.scalar(0)}, gather_axis(0));
  EXPECT_EQ(text_of(batch), "i64[]");
  EXPECT_EQ(known_text(batch), "[batch]");
  Value* b1 = n.op(OpKind::unsqueeze, {batch, n.ints({0})});
  Value* s1 = n.op(OpKind::slice, {shape, n.ints({1}), n.ints({2})});
  EXPECT_EQ(known_text(s1), "[seq]");
  Value* to = n.op(OpKind::concat, {b1, s1, n.ints({12, -1})}, concat_axis(0));
  EXPECT_EQ(known_text(to), "[batch,seq,12,-1]");
  Value* heads = n.op(OpKind::reshape, {x, to});
  EXPECT_EQ(text_of(heads), "f32[batch,seq,12,64]");
  TransposeAttrs perm;
  perm.perm = {0, 2, 1, 3};
  Value* t = n.op(OpKind::transpose, {heads}, perm);
  EXPECT_EQ(text_of(t), "f32[batch,12,seq,64]");
}

TEST(InferMove, ReshapeSolvesTheHole) {
  Net n;
  auto reshaped_to = [&](const std::string& from, Ints to) { return text_of(n.op(OpKind::reshape, {n.input(from), n.ints(to)})); };
  EXPECT_EQ(reshaped_to("f32[n,c,h,w]", {0, 0, -1}), "f32[n,c,h*w]");
  EXPECT_EQ(reshaped_to("f32[n,4,h]", {-1}), "f32[4*h*n]");
  EXPECT_EQ(reshaped_to("f32[n,6]", {-1, 4}), "f32[floordiv(6*n,4),4]");
  EXPECT_EQ(reshaped_to("f32[n,8]", {-1, 4}), "f32[2*n,4]");
  EXPECT_EQ(reshaped_to("f32[past+1,8]", {-1, 4}), "f32[2*past+2,4]");
  EXPECT_EQ(reshaped_to("f32[b,past+1,8]", {0, -1}), "f32[b,8*past+8]");
  EXPECT_EQ(reshaped_to("f32[0,3]", {0, -1}), "f32[0,3]");
  ReshapeAttrs zero;
  zero.allowzero = true;
  EXPECT_EQ(text_of(n.op(OpKind::reshape, {n.input("f32[0,3]"), n.ints({3, 0})}, zero)), "f32[3,0]");
  EXPECT_FALSE(n.try_op(OpKind::reshape, {n.input("f32[0,3]"), n.ints({0, -1})}, zero).ok());
  EXPECT_FALSE(n.try_op(OpKind::reshape, {n.input("f32[2,3]"), n.ints({4})}).ok());
  EXPECT_FALSE(n.try_op(OpKind::reshape, {n.input("f32[2,3]"), n.ints({-1, -1})}).ok());
  EXPECT_FALSE(n.try_op(OpKind::reshape, {n.input("f32[2,3]"), n.ints({-1, 4})}).ok());
  EXPECT_FALSE(n.try_op(OpKind::reshape, {n.input("f32[2,3]"), n.ints({-2, 3})}).ok());
  // A quotient whose divisor is a sum.
  Value* x = n.input("f32[b,past+1,12,64]");
  Value* rows = n.op(OpKind::mul, {n.op(OpKind::slice, {n.op(OpKind::shape, {x}), n.ints({0}), n.ints({1})}),
                                      n.op(OpKind::slice, {n.op(OpKind::shape, {x}), n.ints({1}), n.ints({2})})});
  EXPECT_EQ(known_text(rows), "[b+b*past]");
  Value* to = n.op(OpKind::concat, {rows, n.ints({-1})}, concat_axis(0));
  EXPECT_EQ(text_of(n.op(OpKind::reshape, {x, to})), "f32[b+b*past,768]");
}

TEST(InferMove, UnknownShapesKeepWhatTheyCan) {
  Net n;
  Value* to = n.input("i64[3]");
  Value* r = n.op(OpKind::reshape, {n.input("f32[n]"), to});
  EXPECT_EQ(r->type.rank(), 3);
  std::string before = text_of(r);
  ASSERT_TRUE(infer_op(*r->def, n.module).ok());
  EXPECT_EQ(text_of(r), before) << "inferring again must not make new symbols";
  EXPECT_EQ(text_of(n.op(OpKind::reshape, {n.input("f32[n]"), n.input("i64[k]")})), "f32[..]");
  Value* e = n.op(OpKind::expand, {n.input("f32[1,5]"), n.input("i64[3]")});
  EXPECT_EQ(e->type.rank(), 3);
  EXPECT_TRUE(e->type.dim(2).is(5));
  Value* s = n.op(OpKind::slice, {n.input("f32[a,b,c]"), n.input("i64[1]"), n.ints({5}), n.ints({1})});
  EXPECT_TRUE(s->type.dim(0) == Dim::symbol("a") && s->type.dim(2) == Dim::symbol("c"));
  EXPECT_FALSE(s->type.dim(1) == Dim::symbol("b"));
  EXPECT_EQ(text_of(n.op(OpKind::transpose, {n.input("f32[..]")})), "f32[..]");
}

TEST(InferMove, SlicesAreExactWhereProvable) {
  Net n;
  n.module.symbols["n"] = {};
  n.module.symbols["p"] = {1, INT64_MAX, 0};
  auto slice = [&](const std::string& from, int64_t start, int64_t end, int64_t step = 1) {
    return text_of(n.op(OpKind::slice, {n.input(from), n.ints({start}), n.ints({end}), n.ints({0}), n.ints({step})}));
  };
  EXPECT_EQ(slice("f32[n]", 0, INT64_MAX), "f32[n]");
  EXPECT_EQ(slice("f32[n]", 0, INT32_MAX), "f32[n]");
  EXPECT_EQ(slice("f32[n]", 1, INT64_MAX), "f32[max(0,n-1)]");
  EXPECT_EQ(slice("f32[p]", 1, INT64_MAX), "f32[p-1]");
  EXPECT_EQ(slice("f32[p]", 0, -1), "f32[p-1]");
  EXPECT_EQ(slice("f32[p]", -1, INT64_MAX), "f32[1]");
  EXPECT_EQ(slice("f32[n]", -3, INT64_MAX), "f32[min(3,n)]");
  EXPECT_EQ(slice("f32[n]", 0, 5), "f32[min(5,n)]");
  EXPECT_EQ(slice("f32[n+5]", 0, 5), "f32[5]");
  EXPECT_EQ(slice("f32[n]", 0, INT64_MAX, 2), "f32[floordiv(n+1,2)]");
  EXPECT_EQ(slice("f32[n]", -1, INT64_MIN, -1), "f32[n]");
  EXPECT_EQ(slice("f32[n]", INT64_MAX, INT64_MIN + 1, -1), "f32[n]");
  EXPECT_EQ(slice("f32[10]", 8, 1, -3), "f32[3]");
  EXPECT_EQ(slice("f32[10]", -100, 100), "f32[10]");
  EXPECT_EQ(slice("f32[10]", 7, 3), "f32[0]");
  EXPECT_EQ(slice("f32[n]", INT64_MAX, INT64_MAX), "f32[0]");
  EXPECT_FALSE(n.try_op(OpKind::slice, {n.input("f32[n]"), n.ints({0}), n.ints({1}), n.ints({0}), n.ints({0})}).ok());
  EXPECT_FALSE(n.try_op(OpKind::slice, {n.input("f32[n]"), n.ints({0}), n.ints({1}), n.ints({1})}).ok());
  EXPECT_FALSE(n.try_op(OpKind::slice, {n.input("f32[n]"), n.ints({0, 1}), n.ints({1}), n.ints({0})}).ok());
}

TEST(InferMove, SlicesWithSymbolicBounds) {
  Net n;
  n.module.symbols["past"] = {};
  n.module.symbols["cur"] = {};
  n.module.symbols["m"] = {};
  Value* past = n.op(OpKind::shape, {n.input("f32[past]")});
  Value* total = n.op(OpKind::shape, {n.input("f32[past+cur]")});
  Value* m = n.op(OpKind::shape, {n.input("f32[m]")});
  EXPECT_EQ(text_of(n.op(OpKind::slice, {n.input("f32[past+cur,4]"), past, total})), "f32[cur,4]");
  EXPECT_EQ(text_of(n.op(OpKind::slice, {n.input("f32[m,4]"), n.ints({0}), past})), "f32[min(m,past),4]");
  EXPECT_EQ(text_of(n.op(OpKind::slice, {n.input("f32[m,4]"), n.ints({0}), m})), "f32[m,4]");
  // m - past may be negative, which would count from the end: not exact.
  Value* open = n.op(OpKind::sub, {m, past});
  Value* s = n.op(OpKind::slice, {n.input("f32[m,4]"), n.ints({0}), open});
  EXPECT_TRUE(s->type.dim(0).is_symbol());
  EXPECT_FALSE(s->type.dim(0) == Dim::symbol("m"));
  auto ranges = slice_ranges(*n.op(OpKind::slice, {n.input("f32[past+cur,4]"), past, total})->def, n.module.symbols);
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ((*ranges)[0].start.to_string(), "past");
  EXPECT_FALSE(slice_ranges(*s->def, n.module.symbols).ok());
}

TEST(InferMove, ContentsThroughEveryMover) {
  Net n;
  Value* shape = n.op(OpKind::shape, {n.input("f32[a,b,c]")});
  EXPECT_EQ(known_text(n.op(OpKind::tile, {shape, n.ints({2})})), "[a,b,c,a,b,c]");
  EXPECT_EQ(known_text(n.op(OpKind::slice, {shape, n.ints({-1}), n.ints({INT64_MIN}), n.ints({0}), n.ints({-1})})), "[c,b,a]");
  EXPECT_EQ(known_text(n.op(OpKind::pad, {shape, n.ints({1, 0})})), "[0,a,b,c]");
  EXPECT_EQ(known_text(n.op(OpKind::pad, {shape, n.ints({0, 1}), n.scalar(7)})), "[a,b,c,7]");
  EXPECT_EQ(known_text(n.op(OpKind::gather, {shape, n.ints({2, -3})}, gather_axis(0))), "[c,a]");
  EXPECT_EQ(known_text(n.op(OpKind::gather_elements, {shape, n.ints({1, 1})}, gather_axis(0))), "[b,b]");
  Value* grid = n.op(OpKind::reshape, {n.op(OpKind::concat, {shape, n.ints({9})}, concat_axis(0)), n.ints({2, 2})});
  EXPECT_EQ(known_text(grid), "[a,b,c,9]");
  EXPECT_EQ(known_text(n.op(OpKind::transpose, {grid})), "[a,c,b,9]");
  EXPECT_EQ(known_text(n.op(OpKind::flatten, {grid})), "[a,b,c,9]");
  EXPECT_EQ(known_text(n.op(OpKind::gather_nd, {grid, n.op(OpKind::reshape, {n.ints({1, 0}), n.ints({1, 2})})})), "[c]");
  auto parts = n.try_op(OpKind::split, {shape, n.ints({1, 2})}, SplitAttrs(), 2);
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(known_text((*parts)->result(1)), "[b,c]");
  EXPECT_EQ(known_text(n.op(OpKind::scatter_elements, {shape, n.ints({1}), n.ints({5})}, ScatterAttrs())), "[a,5,c]");
  EXPECT_EQ(known_text(n.op(OpKind::expand, {n.ints({3}), n.ints({2})})), "[3,3]");
  EXPECT_EQ(known_text(n.op(OpKind::squeeze, {n.op(OpKind::unsqueeze, {shape, n.ints({0})}), n.ints({0})})), "[a,b,c]");
  EXPECT_EQ(known_text(n.op(OpKind::size, {n.input("f32[a,b,3]")})), "[3*a*b]");
  ShapeAttrs tail;
  tail.start = -2;
  EXPECT_EQ(known_text(n.op(OpKind::shape, {n.input("f32[a,b,c]")}, tail)), "[b,c]");
}

TEST(InferMove, GeneratedTensors) {
  Net n;
  n.module.symbols["n"] = {};
  Value* len = n.op(OpKind::gather, {n.op(OpKind::shape, {n.input("f32[n,4]")}), n.scalar(0)}, gather_axis(0));
  EXPECT_EQ(text_of(n.op(OpKind::range, {n.scalar(0), len, n.scalar(1)})), "i64[n]");
  EXPECT_EQ(text_of(n.op(OpKind::range, {n.scalar(0), len, n.scalar(2)})), "i64[floordiv(n+1,2)]");
  EXPECT_EQ(text_of(n.op(OpKind::range, {len, n.scalar(0), n.scalar(-1)})), "i64[n]");
  EXPECT_EQ(text_of(n.op(OpKind::range, {n.scalar(3), len, n.scalar(1)})), "i64[max(0,n-3)]");
  EXPECT_EQ(known_text(n.op(OpKind::range, {n.scalar(2), n.scalar(5), n.scalar(1)})), "[2,3,4]");
  EXPECT_EQ(text_of(n.op(OpKind::range, {n.b.scalar(DType::f32, 0), n.b.scalar(DType::f32, 1), n.b.scalar(DType::f32, 0.1)})), "f32[10]");
  EXPECT_EQ(text_of(n.op(OpKind::constant_of_shape, {n.op(OpKind::shape, {n.input("f32[n,4]")})})), "f32[n,4]");
  ConstantOfShapeAttrs ones;
  int64_t one = 1;
  ones.value.id = n.module.constants.add_splat("", DType::i64, {1}, &one);
  EXPECT_EQ(known_text(n.op(OpKind::constant_of_shape, {n.ints({3})}, ones)), "[1,1,1]");
  // The mask of an expand that exporters write: where(equal(shape, -1), ones, shape).
  Value* shape = n.op(OpKind::concat, {n.op(OpKind::unsqueeze, {len, n.ints({0})}), n.ints({-1})}, concat_axis(0));
  EXPECT_EQ(known_text(n.op(OpKind::where, {n.op(OpKind::equal, {n.ints({4, -1}), n.ints({-1, -1})}),
                                               n.op(OpKind::constant_of_shape, {n.ints({2})}, ones), shape})),
      "[n,1]");
  EXPECT_EQ(text_of(n.op(OpKind::one_hot, {n.input("i64[n]"), n.scalar(10), n.b.splat(DType::f32, {2}, 0)})), "f32[n,10]");
  EXPECT_EQ(text_of(n.op(OpKind::one_hot, {n.input("i64[n]"), len, n.b.splat(DType::f32, {2}, 0)}, with_axis<OneHotAttrs>(0))), "f32[n,n]");
  EXPECT_FALSE(n.try_op(OpKind::range, {n.scalar(0), n.scalar(1), n.scalar(0)}).ok());
}

TEST(InferMove, ShapesOfTheRest) {
  Net n;
  EXPECT_EQ(text_of(n.op(OpKind::concat, {n.input("f32[b,past,64]"), n.input("f32[b,1,64]")}, concat_axis(1))), "f32[b,past+1,64]");
  EXPECT_EQ(text_of(n.op(OpKind::concat, {n.input("f32[b,3]"), n.input("f32[2,3]")}, concat_axis(-1))), "f32[2,6]");
  EXPECT_FALSE(n.try_op(OpKind::concat, {n.input("f32[4,3]"), n.input("f32[2,3]")}, concat_axis(1)).ok());
  EXPECT_FALSE(n.try_op(OpKind::concat, {n.input("f32[2]"), n.input("i64[2]")}, concat_axis(0)).ok());
  EXPECT_EQ(text_of(n.op(OpKind::pad, {n.input("f32[n,h]"), n.ints({0, 1, 0, 2})})), "f32[n,h+3]");
  EXPECT_EQ(text_of(n.op(OpKind::pad, {n.input("f32[n,h]"), n.ints({1, 2}), nullptr, n.ints({-1})})), "f32[n,h+3]");
  EXPECT_EQ(text_of(n.op(OpKind::tile, {n.input("f32[n,h]"), n.ints({3, 1})})), "f32[3*n,h]");
  EXPECT_EQ(text_of(n.op(OpKind::expand, {n.input("f32[n,1]"), n.ints({2, 1, 7})})), "f32[2,n,7]");
  EXPECT_EQ(text_of(n.op(OpKind::gather, {n.input("f32[v,d]"), n.input("i64[b,s]")}, gather_axis(0))), "f32[b,s,d]");
  EXPECT_EQ(text_of(n.op(OpKind::gather_nd, {n.input("f32[a,b,c]"), n.input("i64[n,2]")})), "f32[n,c]");
  GatherNdAttrs batch;
  batch.batch_dims = 1;
  EXPECT_EQ(text_of(n.op(OpKind::gather_nd, {n.input("f32[2,b,c]"), n.input("i64[2,1]")}, batch)), "f32[2,c]");
  DepthToSpaceAttrs d2s;
  d2s.blocksize = 2;
  EXPECT_EQ(text_of(n.op(OpKind::depth_to_space, {n.input("f32[n,8,h,w]")}, d2s)), "f32[n,2,2*h,2*w]");
  SpaceToDepthAttrs s2d;
  s2d.blocksize = 2;
  EXPECT_EQ(text_of(n.op(OpKind::space_to_depth, {n.input("f32[n,3,2*h,w]")}, s2d)), "f32[n,12,h,floordiv(w,2)]");
  EXPECT_EQ(text_of(n.op(OpKind::flatten, {n.input("f32[n,c,h,4]")})), "f32[n,4*c*h]");
  EXPECT_EQ(text_of(n.op(OpKind::squeeze, {n.input("f32[1,n,1]"), n.ints({0, -1})})), "f32[n]");
  EXPECT_EQ(text_of(n.op(OpKind::squeeze, {n.input("f32[1,n,1]")})), "f32[..]");
  EXPECT_EQ(text_of(n.op(OpKind::squeeze, {n.input("f32[1,4,1]")})), "f32[4]");
  EXPECT_FALSE(n.try_op(OpKind::squeeze, {n.input("f32[2]"), n.ints({0})}).ok());
  EXPECT_FALSE(n.try_op(OpKind::unsqueeze, {n.input("f32[2]"), n.ints({0, -3})}).ok());
  auto parts = n.try_op(OpKind::split, {n.input("f32[3*n,4]")}, SplitAttrs(), 3);
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(text_of((*parts)->result(2)), "f32[n,4]");
  Value* nz = n.op(OpKind::non_zero, {n.input("f32[a,b]")});
  EXPECT_TRUE(nz->type.dim(0).is(2) && nz->type.dim(1).is_symbol());
  EXPECT_EQ(text_of(n.op(OpKind::compress, {n.input("f32[a,4]"), n.b.splat(DType::b1, {4}, 1)}, [] {
              CompressAttrs a;
              a.has_axis = true;
              a.axis = 1;
              return a;
            }())), "f32[a,4]");
  EXPECT_EQ(text_of(n.op(OpKind::col2im, {n.input("f32[n,45,l]"), n.ints({5, 5}), n.ints({1, 5})})), "f32[n,9,5,5]");
}

// --- elements -----------------------------------------------------------------------------------------------------------

TEST(EvalMove, SliceAndPad) {
  auto slice = [](Tensor x, Ints s, Ints e, Ints a, Ints k) {
    int64_t n = static_cast<int64_t>(s.size());
    return integers(run_op(OpKind::slice, {x, i64({n}, s), i64({n}, e), i64({n}, a), i64({n}, k)}));
  };
  EXPECT_EQ(slice(count({3, 4}), {0, 3}, {2, INT64_MIN}, {0, 1}, {1, -2}), (Ints{3, 1, 7, 5}));
  EXPECT_EQ(slice(count({6}), {-3}, {INT64_MAX}, {0}, {1}), (Ints{3, 4, 5}));
  EXPECT_EQ(slice(count({6}), {0}, {6}, {0}, {INT64_MAX}), (Ints{0}));
  EXPECT_EQ(slice(count({6}), {5}, {-100}, {-1}, {INT64_MIN}), (Ints{5}));
  EXPECT_EQ(slice(count({6}), {100}, {200}, {0}, {1}), Ints{});
  auto pad = [](const char* mode, Ints pads) {
    PadAttrs a;
    a.mode = mode;
    int64_t n = static_cast<int64_t>(pads.size());
    return integers(run_op(OpKind::pad, {count({4}), i64({n}, pads)}, a));
  };
  EXPECT_EQ(pad("constant", {1, 2}), (Ints{0, 0, 1, 2, 3, 0, 0}));
  EXPECT_EQ(pad("reflect", {2, 3}), (Ints{2, 1, 0, 1, 2, 3, 2, 1, 0}));
  EXPECT_EQ(pad("reflect", {0, 7}), (Ints{0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2}));
  EXPECT_EQ(pad("edge", {1, 2}), (Ints{0, 0, 1, 2, 3, 3, 3}));
  EXPECT_EQ(pad("wrap", {2, 1}), (Ints{2, 3, 0, 1, 2, 3, 0}));
  EXPECT_EQ(pad("constant", {-1, 1}), (Ints{1, 2, 3, 0}));
  EXPECT_EQ(pad("constant", {-5, 2}), (Ints{0}));
  EXPECT_EQ(pad("reflect", {-1, 2}), (Ints{1, 2, 3, 2, 1}));
  EXPECT_EQ(integers(run_op(OpKind::pad, {count({2, 2}), i64({2}, {1, 0}), i64({}, {9}), i64({1}, {-2})})), (Ints{9, 9, 0, 1, 2, 3}));
}

TEST(EvalMove, EveryElementSizeMoves) {
  TransposeAttrs perm;
  perm.perm = {1, 0};
  for (DType t : {DType::i2, DType::i8, DType::i16, DType::i32, DType::i64})
    EXPECT_EQ(integers(run_op(OpKind::transpose, {ints(t, {2, 3}, {0, 1, 0, 1, -1, -2})}, perm)), (Ints{0, 1, 1, -1, 0, -2}));
  auto r = run_op(OpKind::transpose, {strings({2, 2}, {"a", "b", "c", "d"})}, perm);
  EXPECT_EQ(*result_of(r).strings, (std::vector<std::string>{"a", "c", "b", "d"}));
  std::vector<std::complex<double>> c{{1, 2}, {3, 4}};
  auto z = store_all(DType::c128, {2}, c);
  EXPECT_EQ(load_all<std::complex<double>>(result_of(run_op(OpKind::tile, {*z, i64({1}, {2})}))),
      (std::vector<std::complex<double>>{{1, 2}, {3, 4}, {1, 2}, {3, 4}}));
  EXPECT_EQ(*result_of(run_op(OpKind::pad, {strings({1}, {"x"}), i64({2}, {1, 0})})).strings, (std::vector<std::string>{"", "x"}));
}

TEST(EvalMove, GatherAndScatter) {
  EXPECT_EQ(integers(run_op(OpKind::gather, {count({2, 3}), i64({2}, {2, -3})}, gather_axis(1))), (Ints{2, 0, 5, 3}));
  EXPECT_FALSE(run_op(OpKind::gather, {count({3}), i64({1}, {3})}).ok());
  EXPECT_EQ(integers(run_op(OpKind::gather_elements, {count({2, 2}), i64({2, 2}, {0, 0, 1, 0})}, gather_axis(1))), (Ints{0, 0, 3, 2}));
  EXPECT_EQ(integers(run_op(OpKind::gather_nd, {count({2, 2, 2}), i64({2, 2}, {0, 1, 1, 0})})), (Ints{2, 3, 4, 5}));
  ScatterAttrs add;
  add.reduction = "add";
  add.axis = 0;
  expect_near(doubles(run_op(OpKind::scatter_elements, {f32({3}, {1, 2, 3}), i64({3}, {0, 0, -1}), f32({3}, {10, 20, 30})}, add)), {31, 2, 33});
  add.reduction = "max";
  expect_near(doubles(run_op(OpKind::scatter_elements, {f32({2}, {1, 2}), i64({2}, {0, 1}), f32({2}, {NAN, 1})}, add)), {NAN, 2});
  EXPECT_EQ(integers(run_op(OpKind::scatter_elements, {count({3}), i64({2}, {1, 1}), i64({2}, {7, 8})})), (Ints{0, 8, 2}));
  ScatterNdAttrs mul;
  mul.reduction = "mul";
  EXPECT_EQ(integers(run_op(OpKind::scatter_nd, {count({2, 2}), i64({2, 1}, {1, 1}), i64({2, 2}, {2, 3, 4, 5})}, mul)), (Ints{0, 1, 16, 45}));
  EXPECT_FALSE(run_op(OpKind::scatter_nd, {count({2, 2}), i64({1, 1}, {1}), i64({1, 3}, {2, 3, 4})}).ok());
  TensorScatterAttrs ring;
  ring.mode = "circular";
  EXPECT_EQ(integers(run_op(
                OpKind::tensor_scatter, {count({2, 3, 1}), i64({2, 2, 1}, {10, 11, 12, 13}), i64({2}, {2, 0})}, ring)),
      (Ints{11, 1, 10, 12, 13, 5}));
  EXPECT_FALSE(run_op(OpKind::tensor_scatter, {count({2, 3, 1}), i64({2, 2, 1}, {10, 11, 12, 13}), i64({2}, {2, 0})}).ok());
}

TEST(EvalMove, ChoosersAndGenerators) {
  EXPECT_EQ(integers(run_op(OpKind::non_zero, {f32({2, 2}, {0, NAN, -0.0, 3})})), (Ints{0, 1, 1, 1}));
  EXPECT_EQ(result_of(run_op(OpKind::non_zero, {f32({}, {3})})).dims, (Ints{0, 1}));
  EXPECT_EQ(integers(run_op(OpKind::compress, {count({2, 2}), ints(DType::b1, {3}, {0, 1, 1})})), (Ints{1, 2}));
  TriluAttrs lower;
  lower.upper = false;
  EXPECT_EQ(integers(run_op(OpKind::trilu, {i64({2, 3}, {1, 2, 3, 4, 5, 6}), i64({}, {1})})), (Ints{0, 2, 3, 0, 0, 6}));
  EXPECT_EQ(integers(run_op(OpKind::trilu, {i64({2, 3}, {1, 2, 3, 4, 5, 6}), i64({}, {-1})}, lower)), (Ints{0, 0, 0, 4, 0, 0}));
  EXPECT_EQ(integers(run_op(OpKind::trilu, {i64({1, 2}, {1, 2}), i64({}, {INT64_MIN})})), (Ints{1, 2}));
  EXPECT_EQ(integers(run_op(OpKind::reverse_sequence, {count({3, 2}), i64({2}, {2, 3})})), (Ints{2, 5, 0, 3, 4, 1}));
  EXPECT_EQ(doubles(run_op(OpKind::one_hot, {f32({3}, {1, -1, 7}), i64({}, {2}), f32({2}, {0, 5})})), (Doubles{0, 5, 0, 5, 0, 0}));
  EXPECT_EQ(integers(run_op(OpKind::range, {i64({}, {INT64_MIN}), i64({}, {INT64_MAX}), i64({}, {INT64_MAX})})),
      (Ints{INT64_MIN, -1, INT64_MAX - 1}));
  EXPECT_FALSE(run_op(OpKind::range, {i64({}, {INT64_MIN}), i64({}, {INT64_MAX}), i64({}, {1})}).ok());
  EyeLikeAttrs eye;
  eye.k = 1;
  EXPECT_EQ(doubles(run_op(OpKind::eye_like, {f32({2, 3}, {1, 1, 1, 1, 1, 1})}, eye)), (Doubles{0, 1, 0, 0, 0, 1}));
  Col2ImAttrs plain;
  EXPECT_EQ(doubles(run_op(OpKind::col2im,
                {f32({1, 2, 4}, {1, 2, 3, 4, 10, 20, 30, 40}), i64({2}, {1, 5}), i64({2}, {1, 2})}, plain)),
      (Doubles{1, 12, 23, 34, 40}));
  EXPECT_EQ(integers(run_op(OpKind::split, {count({5}), Operand()}, SplitAttrs(), 2), 1), (Ints{3, 4}));
}

}  // namespace
}  // namespace weft::eval_test
