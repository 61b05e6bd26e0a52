// Reductions, arg-reductions, softmax and normalisations against the reference evaluator.
#include "ir/ops/loss.h"
#include "ir/ops/norm.h"
#include "ir/ops/reduce.h"
#include "ir/ops/sort.h"
#include "tests/backend/support.h"

namespace weft::backend_test {

static Tensor axes_of(std::vector<int64_t> v) {
  int64_t n = static_cast<int64_t>(v.size());
  return tensor_of_values<int64_t>(DType::i64, {n}, v);
}

// Of the range of the output: sums of n terms in another order differ by that much.
TEST(BackendReduce, AlongAnyAxes) {
  struct Row {
    OpKind kind;
    double units;
    double lo = -2, hi = 2;
  };
  for (Row row : {Row{OpKind::reduce_sum, 8}, {OpKind::reduce_mean, 4}, {OpKind::reduce_max, 0},
           {OpKind::reduce_min, 0}, {OpKind::reduce_prod, 8, 0.9, 1.1}, {OpKind::reduce_l1, 4}, {OpKind::reduce_l2, 4},
           {OpKind::reduce_log_sum, 8, 0.1, 2}, {OpKind::reduce_log_sum_exp, 8}, {OpKind::reduce_sum_square, 8}})
    for (std::vector<int64_t> axes : {std::vector<int64_t>{-1}, {0}, {1}, {0, 2}, {0, 1, 2}})
      for (bool keep : {true, false}) {
        TestGraph g;
        g.bind("n", 3);
        ReduceAttrs a;
        a.keepdims = keep;
        Value* x = g.input(DType::f32, {Dim::symbol("n"), 5, 35}, row.lo, row.hi);
        SCOPED_TRACE(op_name(row.kind));
        g.check({g.op(row.kind, {x, g.constant(axes_of(axes))}, a)}, Bound::range(row.units));
      }
}

TEST(BackendReduce, AxesGivenAtRunTime) {
  for (std::vector<int64_t> axes : {std::vector<int64_t>{1}, {-1, 0}, {0, 1, 2}, {}}) {
    TestGraph g;
    ReduceAttrs a;
    Value *x = g.input(DType::f32, {3, 5, 7}), *given = g.input(axes_of(axes));
    Value* sum = g.op(OpKind::reduce_sum, {x, given}, a);
    g.check({sum, g.op(OpKind::reduce_log_sum_exp, {x, given}, a), g.op(OpKind::reduce_mean, {x, given}, a),
                g.op(OpKind::neg, {sum})},
        Bound::range(8));
  }
  TestGraph g;
  g.check(
      {g.op(OpKind::cum_sum, {g.input(DType::f32, {3, 5}), g.input(tensor_of_values<int64_t>(DType::i64, {}, {-2}))},
          CumulativeAttrs{})},
      Bound::ulps(1));
}

TEST(BackendReduce, TypesAndExtremes) {
  for (DType t : {DType::f16, DType::bf16, DType::f64, DType::i32, DType::i64, DType::u8, DType::i8, DType::u64}) {
    TestGraph g;
    Value* x = g.input(t, {7, 9});
    ArgReduceAttrs first, last;
    last.select_last_index = true;
    last.axis = 1;
    g.check({g.op(OpKind::reduce_max, {x, g.constant(axes_of({1}))}, ReduceAttrs{}),
        g.op(OpKind::reduce_min, {x, g.constant(axes_of({0}))}, ReduceAttrs{}), g.op(OpKind::arg_max, {x}, first),
        g.op(OpKind::arg_min, {x}, last)});
  }
}

// On GPUs the rows are split between blocks, and a second kernel joins the parts.
TEST(BackendReduce, LongRowsToFewResults) {
  TestGraph g;
  g.bind("n", 2);
  ReduceAttrs all;
  ArgReduceAttrs last;
  last.axis = 1;
  last.select_last_index = true;
  Value *x = g.input(DType::f32, {Dim::symbol("n"), 98304}, 0.5, 2), *i = g.input(DType::i32, {3, 65536}), *row = g.constant(axes_of({1}));
  g.check({g.op(OpKind::reduce_mean, {x, row}, all), g.op(OpKind::reduce_log_sum_exp, {x}, all), g.op(OpKind::reduce_max, {x}, all),
           g.op(OpKind::arg_max, {i}, last), g.op(OpKind::reduce_sum, {i, row}, all)},
          Bound::range(8));
}

// Rows that nothing is left of: one point has several sums.
// Rows that blocks of a cluster share on GPUs that have clusters.
TEST(BackendReduce, RowsOfMoreThanABlock) {
  for (auto [type, length] : {std::pair{DType::f32, 70004}, std::pair{DType::f32, 131072}, std::pair{DType::f16, 140008}}) {
    TestGraph g;
    g.bind("n", 3);
    Value* x = g.input(type, {Dim::symbol("n"), length});
    Value* scale = g.input(type, {length});
    g.check({g.op(OpKind::softmax, {x}, SoftmaxAttrs{}), g.op(OpKind::layer_normalization, {x, scale}, LayerNormAttrs{})}, Bound::range(64));
  }
}

TEST(BackendReduce, RowsOfOneElement) {
  TestGraph g;
  g.bind("n", 3);
  SoftmaxAttrs middle;
  middle.axis = 1;
  Value* x = g.input(DType::f32, {Dim::symbol("n"), 1, 8});
  g.check({g.op(OpKind::softmax, {x}, middle), g.op(OpKind::log_softmax, {x}, middle), g.op(OpKind::softmax, {g.input(DType::f64, {3, 1, 8})}, middle)},
      Bound::range(16));
}

TEST(BackendReduce, Normalisations) {
  TestGraph g;
  g.bind("n", 3);
  Dim n = Dim::symbol("n");
  Value *x = g.input(DType::f32, {n, 6, 11}), *scale = g.input(DType::f32, {11}), *bias = g.input(DType::f32, {11});
  Value *channels = g.input(DType::f32, {6}), *shift = g.input(DType::f32, {6});
  GroupNormAttrs groups;
  groups.num_groups = 2;
  SoftmaxAttrs middle;
  middle.axis = 1;
  LpNormAttrs lp;
  lp.axis = 1;
  LrnAttrs lrn;
  lrn.size = 3;
  Op* layer = g.make(OpKind::layer_normalization, {x, scale, bias}, LayerNormAttrs{}, 3);
  g.check({layer->result(0), layer->result(1), layer->result(2),
              g.op(OpKind::rms_normalization, {x, scale}, LayerNormAttrs{}),
              g.op(OpKind::group_normalization, {x, channels, shift}, groups),
              g.op(OpKind::instance_normalization, {x, channels, shift}, InstanceNormAttrs{}),
              g.op(OpKind::softmax, {x}, middle), g.op(OpKind::softmax, {x}, SoftmaxAttrs{}),
              g.op(OpKind::log_softmax, {x}, middle), g.op(OpKind::hardmax, {x}, middle),
              g.op(OpKind::hardmax, {x}, SoftmaxAttrs{}), g.op(OpKind::lp_normalization, {x}, lp),
              g.op(OpKind::lrn, {x}, lrn)},
      Bound::range(16));
}

TEST(BackendReduce, Losses) {
  for (const char* reduction : {"none", "sum", "mean"})
    for (bool ignore : {false, true}) {
      TestGraph g;
      Value* x = g.input(DType::f32, {3, 5, 4});
      Value* target = g.input(tensor_of_values<int64_t>(DType::i64, {3, 4}, {0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 4}));
      Value* weight = g.input(DType::f32, {5}, 0.5, 2);
      LossAttrs a;
      a.reduction = reduction;
      a.has_ignore_index = ignore;
      a.ignore_index = 2;
      Op* cross = g.make(OpKind::softmax_cross_entropy_loss, {x, target}, a, 2);
      g.check({g.op(OpKind::negative_log_likelihood_loss, {x, target, weight}, a), cross->result(0), cross->result(1)}, Bound::range(16));
    }
}

TEST(BackendReduce, RunningSumsAndSorting) {
  TestGraph g;
  Value* x = g.input(DType::f32, {4, 7});
  CumulativeAttrs a;
  a.exclusive = true;
  a.reverse = true;
  TopKAttrs smallest;
  smallest.largest = false;
  smallest.axis = 0;
  Op* top = g.make(OpKind::top_k, {x, g.constant(axes_of({3}))}, TopKAttrs{}, 2);
  Op* low = g.make(OpKind::top_k, {x, g.input(axes_of({2}))}, smallest, 2);
  Op* unique = g.make(OpKind::unique, {g.input(DType::i32, {20})}, UniqueAttrs{}, 4);
  g.check({g.op(OpKind::cum_sum, {x, g.constant(tensor_of_values<int64_t>(DType::i64, {}, {1}))}, CumulativeAttrs{}),
              g.op(OpKind::cum_sum, {x, g.constant(tensor_of_values<int64_t>(DType::i64, {}, {0}))}, a), top->result(0),
              top->result(1), low->result(0), low->result(1), unique->result(0), unique->result(1), unique->result(2),
              unique->result(3), g.op(OpKind::neg, {unique->result(0)})},
      Bound::ulps(2));
}

}  // namespace weft::backend_test
