// Movement: results must be exact, for any dtype, strided operands, symbolic dims and dims that only data decide.
#include "ir/ops/move.h"
#include "ir/ops/norm.h"
#include "ir/ops/pointwise.h"
#include "tests/backend/support.h"

namespace weft::backend_test {

static Tensor ints_of(std::vector<int64_t> v) {
  int64_t n = static_cast<int64_t>(v.size());
  return tensor_of_values<int64_t>(DType::i64, {n}, v);
}
static TransposeAttrs permuted_by(std::vector<int64_t> perm) {
  TransposeAttrs a;
  a.perm = std::move(perm);
  return a;
}
static PadAttrs pad_mode(const char* mode) {
  PadAttrs a;
  a.mode = mode;
  return a;
}
static GatherAttrs along(int64_t axis) {
  GatherAttrs a;
  a.axis = axis;
  return a;
}

TEST(BackendMove, ViewsOfEveryType) {
  for (DType t : {DType::f32, DType::f16, DType::f64, DType::i8, DType::u16, DType::i64, DType::b1, DType::i4,
           DType::u2, DType::f4e2m1, DType::c64, DType::c128}) {
    TestGraph g;
    Value* x = g.input(t, {3, 5, 7});
    Value* y = g.op(OpKind::transpose, {x}, permuted_by({2, 0, 1}));
    Value* z = g.op(OpKind::slice, {y, g.constant(ints_of({1, -1})), g.constant(ints_of({7, -6})),
                                       g.constant(ints_of({0, 2})), g.constant(ints_of({2, -2}))});
    g.check({y, z, g.op(OpKind::reshape, {y, g.constant(ints_of({7, -1}))}),
        g.op(OpKind::expand,
            {g.op(OpKind::unsqueeze, {x, g.constant(ints_of({1}))}), g.constant(ints_of({3, 2, 5, 7}))})});
  }
}

// Large enough for tiles in shared memory.
// A dim of 1 stands between two that are not beside each other in memory.
TEST(BackendMove, ReshapesOfTransposesWithADimOfOne) {
  TestGraph g;
  Value* x = g.input(DType::f32, {2, 6, 24, 1});
  Value* y = g.op(OpKind::transpose, {x}, permuted_by({0, 2, 3, 1}));
  g.check({g.op(OpKind::reshape, {y, g.constant(ints_of({2, 6, 24}))}), g.op(OpKind::reshape, {y, g.constant(ints_of({2, 24, 6}))})});
}

TEST(BackendMove, TransposesOfEveryWidth) {
  TestGraph g;
  g.bind("n", 192);
  std::vector<Value*> outputs;
  for (DType t : {DType::i8, DType::bf16, DType::f32, DType::f64, DType::i64, DType::c128})
    outputs.push_back(g.op(OpKind::transpose, {g.input(t, {Dim::symbol("n"), 192})}));
  g.check(outputs);
}

TEST(BackendMove, ComputedOverViews) {
  TestGraph g;
  g.bind("n", 5);
  Dim n = Dim::symbol("n");
  Value* x = g.input(DType::f32, {n, 4, 9});
  Value* t = g.op(OpKind::transpose, {x}, permuted_by({1, 2, 0}));
  Value* s = g.op(OpKind::slice, {t, g.constant(ints_of({1})), g.constant(ints_of({INT64_MAX})), g.constant(ints_of({1})), g.constant(ints_of({2}))});
  g.check({g.op(OpKind::relu, {s}), g.op(OpKind::add, {t, g.input(DType::f32, {n})}), g.op(OpKind::softmax, {s}, SoftmaxAttrs{})}, Bound::ulps(8));
}

TEST(BackendMove, SplitAndConcat) {
  TestGraph g;
  g.bind("n", 6);
  Dim n = Dim::symbol("n");
  Value* x = g.input(DType::f32, {n, 10, 3});
  SplitAttrs split;
  split.axis = 1;
  Op* parts = g.make(OpKind::split, {x, g.constant(ints_of({3, 0, 7}))}, split, 3);
  ConcatAttrs cat;
  cat.axis = 1;
  Value* relu = g.op(OpKind::relu, {parts->result(0)});
  Value* joined = g.op(OpKind::concat, {parts->result(2), relu, x, relu}, cat);
  ConcatAttrs outer;
  Value* twice = g.op(OpKind::concat, {joined, g.op(OpKind::neg, {joined})}, outer);
  g.check({joined, twice, parts->result(1), parts->result(2)});
}

TEST(BackendMove, Pads) {
  for (const char* mode : {"constant", "reflect", "edge", "wrap"})
    for (std::vector<int64_t> pads : {std::vector<int64_t>{0, 3, 1, 2}, {1, -1, 0, 4}, {0, 0, 0, 0}, {2, 5, 3, 0}}) {
      TestGraph g;
      g.bind("n", 4);
      Value* x = g.input(DType::f32, {Dim::symbol("n"), 5});
      g.check({g.op(OpKind::pad, {x, g.constant(ints_of(pads))}, pad_mode(mode))});
    }
}

TEST(BackendMove, PadsWithValues) {
  TestGraph g;
  Value* x = g.input(DType::i64, {2, 3});
  Value* big = g.constant(tensor_of_values<int64_t>(DType::i64, {}, {INT64_MAX}));
  Value* given = g.input(tensor_of_values<int64_t>(DType::i64, {}, {-7}));
  g.check({g.op(OpKind::pad, {x, g.constant(ints_of({1, 1, 1, 1})), big}, pad_mode("constant")),
           g.op(OpKind::pad, {x, g.input(ints_of({1, 2})), given, g.constant(ints_of({1}))}, pad_mode("constant"))});
}

TEST(BackendMove, Gathers) {
  for (DType index : {DType::i64, DType::i32}) {
    TestGraph g;
    Value* x = g.input(DType::f32, {5, 6, 3});
    Value* i = g.input(tensor_of_values<int64_t>(index, {2, 2}, {0, -1, 3, -5}));
    Value* e = g.input(tensor_of_values<int64_t>(index, {2, 6, 3}, std::vector<int64_t>(36, -2)));
    Value* nd = g.input(tensor_of_values<int64_t>(index, {2, 2}, {0, -1, 4, 2}));
    g.check({g.op(OpKind::gather, {x, i}, along(0)), g.op(OpKind::gather, {x, i}, along(1)), g.op(OpKind::gather_elements, {x, e}, along(0)),
             g.op(OpKind::gather_nd, {x, nd}, GatherNdAttrs{}), g.op(OpKind::relu, {g.op(OpKind::gather, {x, i}, along(0))})});
  }
}

TEST(BackendMove, IndicesOutOfRangeAreErrors) {
  for (int64_t bad : {5, -6, INT32_MAX}) {
    TestGraph g;
    Value* x = g.input(DType::f32, {5, 3});
    Value* i = g.input(ints_of({0, bad}));
    Error e = g.failure({g.op(OpKind::gather, {x, i}, along(0))});
    EXPECT_EQ(e.code, Code::kInvalidModel) << e.to_string();
  }
}

TEST(BackendMove, Scatters) {
  for (const char* reduction : {"none", "add", "mul", "min", "max"})
    for (DType t : {DType::f32, DType::f16, DType::i32}) {
      TestGraph g;
      Value* x = g.input(t, {4, 5});
      ScatterAttrs a;
      a.reduction = reduction;
      a.axis = 1;
      ScatterNdAttrs nd;
      nd.reduction = reduction;
      Value* i = g.input(tensor_of_values<int64_t>(DType::i64, {2, 3}, {0, 1, -1, 4, 4, 0}));
      Value* rows = g.input(tensor_of_values<int64_t>(DType::i64, {3, 1}, {0, -1, 0}));
      g.check({g.op(OpKind::scatter_elements, {x, i, g.input(t, {2, 3})}, a), g.op(OpKind::scatter_nd, {x, rows, g.input(t, {3, 5})}, nd)});
    }
}

TEST(BackendMove, BlocksSequencesDiagonals) {
  TestGraph g;
  Value* x = g.input(DType::f32, {2, 8, 4, 6});
  DepthToSpaceAttrs dcr, crd;
  dcr.blocksize = crd.blocksize = 2;
  crd.mode = "CRD";
  SpaceToDepthAttrs back;
  back.blocksize = 2;
  Value* lengths = g.input(ints_of({3, 1, 4}));
  Value* time = g.input(DType::f32, {4, 3, 2});
  TriluAttrs lower;
  lower.upper = false;
  Value* square = g.input(DType::f32, {2, 4, 5});
  Value* k = g.input(tensor_of_values<int64_t>(DType::i64, {}, {-1}));
  EyeLikeAttrs eye;
  eye.k = 1;
  g.check({g.op(OpKind::depth_to_space, {x}, dcr), g.op(OpKind::depth_to_space, {x}, crd), g.op(OpKind::space_to_depth, {x}, back),
           g.op(OpKind::reverse_sequence, {time, lengths}, ReverseSequenceAttrs{}), g.op(OpKind::trilu, {square}, TriluAttrs{}),
           g.op(OpKind::trilu, {square, k}, lower), g.op(OpKind::eye_like, {g.input(DType::f32, {3, 4})}, eye)});
}

TEST(BackendMove, OneHotAndTile) {
  TestGraph g;
  Value* i = g.input(ints_of({0, 3, -1, 9, -12}));
  OneHotAttrs first;
  first.axis = 0;
  Value* values = g.input(tensor_of_values<double>(DType::f32, {2}, {-1.5, 2.5}));
  Value* depth = g.input(tensor_of_values<double>(DType::f32, {}, {10}));
  Value* x = g.input(DType::u8, {2, 1, 3});
  g.check({g.op(OpKind::one_hot, {i, g.constant(ints_of({10})), values}, OneHotAttrs{}), g.op(OpKind::one_hot, {i, depth, values}, first),
           g.op(OpKind::tile, {x, g.constant(ints_of({2, 3, 2}))}), g.op(OpKind::tile, {x, g.input(ints_of({1, 2, 3}))})});
}

// --- dims that only data decide ---------------------------------------------------------------------------------------

TEST(BackendMove, ShapesGivenAtRunTime) {
  TestGraph g;
  Value* x = g.input(DType::f32, {4, 6});
  Value* r = g.op(OpKind::reshape, {x, g.input(ints_of({0, -1, 3}))});
  Value* e = g.op(OpKind::expand, {g.input(DType::f32, {3, 1}), g.input(ints_of({2, 1, 5}))});
  Value* c = g.op(OpKind::constant_of_shape, {g.input(ints_of({2, 3}))}, ConstantOfShapeAttrs{});
  Value* s = g.op(OpKind::slice, {x, g.input(ints_of({-3, 5})), g.input(ints_of({INT64_MAX, -100})),
                                     g.constant(ints_of({0, 1})), g.constant(ints_of({1, -2}))});
  Value* a = g.op(OpKind::range, {g.input(tensor_of_values<int64_t>(DType::i64, {}, {2})), g.input(tensor_of_values<int64_t>(DType::i64, {}, {11})),
                                  g.input(tensor_of_values<int64_t>(DType::i64, {}, {3}))}, RangeAttrs{});
  Value* f = g.op(OpKind::range, {g.input(tensor_of_values<double>(DType::f32, {}, {1})), g.input(tensor_of_values<double>(DType::f32, {}, {-1})),
                                  g.input(tensor_of_values<double>(DType::f32, {}, {-0.25}))}, RangeAttrs{});
  g.check({g.op(OpKind::relu, {r}), g.op(OpKind::neg, {e}), c, g.op(OpKind::relu, {s}), g.op(OpKind::neg, {a}), f});
}

TEST(BackendMove, AxesGivenAtRunTime) {
  TestGraph g;
  Value* x = g.input(DType::f32, {4, 1, 6, 1});
  Value* q = g.op(OpKind::squeeze, {x, g.input(ints_of({-1, 1}))});
  Value* u = g.op(OpKind::unsqueeze, {g.input(DType::f32, {4, 6}), g.input(ints_of({3, 0, -1}))});
  Value* s = g.op(OpKind::slice, {x, g.input(ints_of({5, 1})), g.input(ints_of({-100, 3})), g.input(ints_of({2, 0})), g.input(ints_of({-2, 1}))});
  Value* p = g.op(OpKind::pad, {x, g.input(ints_of({1, 2, 0, 3})), nullptr, g.input(ints_of({2, -4}))}, pad_mode("constant"));
  Value* r = g.op(OpKind::pad, {x, g.input(ints_of({2, 0, 3, 0, 1, 0, 5, 0}))}, pad_mode("reflect"));
  g.check({g.op(OpKind::neg, {q}), g.op(OpKind::neg, {u}), g.op(OpKind::neg, {s}), p, r});
}

TEST(BackendMove, AReshapeThatDoesNotFitIsAnError) {
  TestGraph g;
  Error e = g.failure({g.op(OpKind::reshape, {g.input(DType::f32, {4, 6}), g.input(ints_of({5, 5}))})});
  EXPECT_EQ(e.code, Code::kInvalidModel) << e.to_string();
}

TEST(BackendMove, SelectedElements) {
  TestGraph g;
  Value* x = g.input(tensor_of_values<double>(DType::f32, {2, 3}, {0, 1, 0, 2, 3, 0}));
  Value* found = g.op(OpKind::non_zero, {x});
  Value* count = g.op(OpKind::shape, {found});
  CompressAttrs a;
  a.has_axis = true;
  a.axis = 1;
  Value* kept = g.op(OpKind::compress, {x, g.input(tensor_of_values<int64_t>(DType::b1, {3}, {1, 0, 1}))}, a);
  Value* sum = g.op(OpKind::add, {kept, kept});
  g.check({found, count, kept, sum, g.op(OpKind::gather, {x, g.op(OpKind::reshape, {found, g.constant(ints_of({-1}))})}, along(1))});
}

TEST(BackendMove, OnlyTheNumberOfSelectedElementsIsRead) {
  TestGraph g;
  Value* x = g.input(tensor_of_values<double>(DType::f32, {5}, {0, 1, 0, 2, 3}));
  g.check({g.op(OpKind::shape, {g.op(OpKind::non_zero, {x})})});
}

}  // namespace weft::backend_test
