// Reductions, arg-reductions and cumulative ops: axes given in every way, empty sets, integers, NaN; inferred shapes.
#include "ir/ops/reduce.h"

#include "ir/ops/sort.h"
#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

Tensor cube() {
  std::vector<double> v(24);
  for (size_t k = 0; k < 24; ++k) v[k] = static_cast<double>(k);
  return f32({2, 3, 4}, v);
}
ReduceAttrs no_keep() {
  ReduceAttrs a;
  a.keepdims = false;
  return a;
}

TEST(EvalReduce, AxesConstantDynamicNegativeAndAbsent) {
  EXPECT_EQ(doubles(run_op(OpKind::reduce_sum, {cube(), fixed(i64({1}, {-2}))})), (Doubles{12, 15, 18, 21, 48, 51, 54, 57}));
  auto dynamic = run_op(OpKind::reduce_sum, {cube(), i64({2}, {2, 0})}, no_keep());
  EXPECT_EQ(result_of(dynamic).dims, Ints{3});
  EXPECT_EQ(doubles(dynamic), (Doubles{60, 92, 124}));
  auto all = run_op(OpKind::reduce_sum, {cube()});
  EXPECT_EQ(result_of(all).dims, (Ints{1, 1, 1}));
  EXPECT_EQ(doubles(all), Doubles{276});
  ReduceAttrs noop;
  noop.noop_with_empty_axes = true;
  EXPECT_EQ(doubles(run_op(OpKind::reduce_sum_square, {f32({2}, {2, 3}), fixed(i64({0}, {}))}, noop)), (Doubles{4, 9}));
  EXPECT_FALSE(run_op(OpKind::reduce_sum, {cube(), fixed(i64({1}, {3}))}).ok());
  EXPECT_FALSE(run_op(OpKind::reduce_sum, {cube(), fixed(i64({2}, {0, -3}))}).ok());
}

TEST(EvalReduce, EveryKind) {
  Tensor x = f32({2, 2}, {1, -2, 3, 4});
  Operand last = fixed(i64({1}, {1}));
  expect_near(doubles(run_op(OpKind::reduce_mean, {x, last})), {-0.5, 3.5});
  expect_near(doubles(run_op(OpKind::reduce_max, {x, last})), {1, 4});
  expect_near(doubles(run_op(OpKind::reduce_min, {x, last})), {-2, 3});
  expect_near(doubles(run_op(OpKind::reduce_prod, {x, last})), {-2, 12});
  expect_near(doubles(run_op(OpKind::reduce_l1, {x, last})), {3, 7});
  expect_near(doubles(run_op(OpKind::reduce_l2, {x, last})), {std::sqrt(5.0), 5});
  expect_near(doubles(run_op(OpKind::reduce_log_sum, {x, last})), {NAN, std::log(7.0)});
  expect_near(doubles(run_op(OpKind::reduce_log_sum_exp, {x, last})),
      {std::log(std::exp(1.0) + std::exp(-2.0)), std::log(std::exp(3.0) + std::exp(4.0))});
}

TEST(EvalReduce, LogSumExpDoesNotOverflow) {
  expect_near(doubles(run_op(OpKind::reduce_log_sum_exp, {floats(DType::f64, {2}, {1e4, 1e4})})), {1e4 + std::log(2.0)});
  expect_near(doubles(run_op(OpKind::reduce_log_sum_exp, {f32({2}, {kInf, 1})})), {kInf});
  expect_near(doubles(run_op(OpKind::reduce_log_sum_exp, {f32({2}, {-kInf, -kInf})})), {-kInf});
  expect_near(doubles(run_op(OpKind::reduce_log_sum_exp, {f32({2}, {NAN, 1})})), {NAN});
}

TEST(EvalReduce, EmptySets) {
  Tensor none = f32({2, 0}, {});
  Operand last = fixed(i64({1}, {1}));
  expect_near(doubles(run_op(OpKind::reduce_sum, {none, last})), {0, 0});
  expect_near(doubles(run_op(OpKind::reduce_prod, {none, last})), {1, 1});
  expect_near(doubles(run_op(OpKind::reduce_max, {none, last})), {-kInf, -kInf});
  expect_near(doubles(run_op(OpKind::reduce_min, {none, last})), {kInf, kInf});
  expect_near(doubles(run_op(OpKind::reduce_mean, {none, last})), {NAN, NAN});
  expect_near(doubles(run_op(OpKind::reduce_log_sum_exp, {none, last})), {-kInf, -kInf});
  EXPECT_EQ(integers(run_op(OpKind::reduce_max, {ints(DType::i8, {0}, {})})), Ints{-128});
  EXPECT_EQ(result_of(run_op(OpKind::reduce_sum, {none, fixed(i64({1}, {0}))})).dims, (Ints{1, 0}));
}

TEST(EvalReduce, IntegersWrapAndTruncate) {
  EXPECT_EQ(integers(run_op(OpKind::reduce_sum, {ints(DType::i8, {2}, {100, 100})})), Ints{-56});
  EXPECT_EQ(integers(run_op(OpKind::reduce_mean, {i64({2}, {-3, 0})})), Ints{-1});
  EXPECT_EQ(integers(run_op(OpKind::reduce_l2, {i64({2}, {3, 4})})), Ints{5});
  EXPECT_EQ(integers(run_op(OpKind::reduce_max, {ints(DType::b1, {2}, {0, 1})})), Ints{1});
  EXPECT_EQ(load_all<uint64_t>(result_of(run_op(OpKind::reduce_max, {ints(DType::u64, {2}, {-1, 1})}))), std::vector<uint64_t>{UINT64_MAX});
  EXPECT_FALSE(run_op(OpKind::reduce_sum, {ints(DType::b1, {1}, {1})}).ok());
}

TEST(EvalReduce, MaxPropagatesNaN) {
  expect_near(doubles(run_op(OpKind::reduce_max, {f32({3}, {1, NAN, 2})})), {NAN});
  expect_near(doubles(run_op(OpKind::reduce_max, {f32({}, {2})})), {2});
}

TEST(EvalReduce, ArgExtremes) {
  Tensor x = f32({2, 3}, {1, 3, 3, 5, NAN, 2});
  ArgReduceAttrs a;
  a.axis = 1;
  EXPECT_EQ(integers(run_op(OpKind::arg_max, {x}, a)), (Ints{1, 1}));
  EXPECT_EQ(integers(run_op(OpKind::arg_min, {x}, a)), (Ints{0, 1}));
  a.select_last_index = true;
  a.keepdims = false;
  EXPECT_EQ(integers(run_op(OpKind::arg_max, {x}, a)), (Ints{2, 1}));
  a.axis = 0;
  EXPECT_EQ(integers(run_op(OpKind::arg_max, {f32({2, 2}, {1, 4, 1, 0})}, a)), (Ints{1, 0}));
  a.axis = 1;
  EXPECT_FALSE(run_op(OpKind::arg_max, {f32({2, 0}, {})}, a).ok());
}

TEST(InferReduce, ShapesAndContents) {
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  Dim n = Dim::symbol("n");
  Value* x = g->add_input(Type::tensor(DType::f32, {n, 3, n + 1}), "x");
  EXPECT_EQ(b.create(OpKind::reduce_max, {x, b.ints({1, -1})}).value()->result()->type, Type::tensor(DType::f32, {n, 1, 1}));
  Value* axes = g->add_input(Type::tensor(DType::i64, {2}), "axes");
  EXPECT_EQ(b.op(OpKind::reduce_max, {x, axes}, no_keep())->type.rank(), 1);
  EXPECT_EQ(b.op(OpKind::reduce_max, {x, axes})->type.rank(), 3);
  EXPECT_EQ(const_ints(b.op(OpKind::reduce_prod, {b.ints({2, 3, 7})}, no_keep())), Ints{42});
  EXPECT_EQ(const_ints(b.op(OpKind::reduce_min, {b.ints({2, -3, 7})})), Ints{-3});
}

TEST(EvalCumulative, ExclusiveReverseAndWrap) {
  Tensor x = f32({2, 3}, {1, 2, 3, 4, 5, 6});
  CumulativeAttrs a;
  EXPECT_EQ(doubles(run_op(OpKind::cum_sum, {x, i64({}, {1})}, a)), (Doubles{1, 3, 6, 4, 9, 15}));
  EXPECT_EQ(doubles(run_op(OpKind::cum_prod, {x, i64({}, {-2})}, a)), (Doubles{1, 2, 3, 4, 10, 18}));
  a.exclusive = true;
  EXPECT_EQ(doubles(run_op(OpKind::cum_sum, {x, fixed(i64({}, {1}))}, a)), (Doubles{0, 1, 3, 0, 4, 9}));
  a.reverse = true;
  EXPECT_EQ(doubles(run_op(OpKind::cum_prod, {x, i64({}, {1})}, a)), (Doubles{6, 3, 1, 30, 6, 1}));
  EXPECT_EQ(integers(run_op(OpKind::cum_prod, {ints(DType::u8, {3}, {20, 20, 2}), i64({}, {0})})), (Ints{20, 144, 32}));
  EXPECT_FALSE(run_op(OpKind::cum_sum, {x, fixed(i64({}, {2}))}).ok());
}

}  // namespace
}  // namespace weft::eval_test
