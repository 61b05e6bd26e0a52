// Indices that point outside are errors that name the node, in the evaluator and in every plan, wherever the indices come
// from: given, constant, or computed in the same fused region. Those that point inside, from either end, give what they should.
#include "tests/backend/support.h"

namespace weft::backend_test::indices {

namespace {

struct Row {
  const char* node;
  const char* text;                     // %i are the indices
  std::vector<int64_t> dims;            // of %i
  std::vector<int64_t> inside;
  std::vector<std::vector<int64_t>> outside;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> list = {
      {"Gather", R"((%x: f32[5,3], %i: i64[2]) -> (y = %y) {
  %y = gather(%x, %i) : f32[2,3] loc("Gather")
})", {2}, {4, -5}, {{5, 0}, {0, -6}, {INT64_MAX, 0}, {INT64_MIN, 0}}},
      {"GatherElements", R"((%x: f32[5,3], %i: i64[2,3]) -> (y = %y) {
  %y = gather_elements(%x, %i) : f32[2,3] loc("GatherElements")
})", {2, 3}, {0, 1, 2, -1, 4, -5}, {{0, 1, 2, 3, 4, 5}, {0, -6, 0, 0, 0, 0}}},
      {"GatherND", R"((%x: f32[5,3], %i: i64[2,2]) -> (y = %y) {
  %y = gather_nd(%x, %i) : f32[2] loc("GatherND")
})", {2, 2}, {4, 2, -5, -3}, {{4, 3, 0, 0}, {5, 0, 0, 0}, {0, 0, 0, -4}}},
      {"ScatterElements", R"((%x: f32[5,3], %i: i64[2,3], %u: f32[2,3]) -> (y = %y) {
  %y = scatter_elements(%x, %i, %u) : f32[5,3] loc("ScatterElements")
})", {2, 3}, {0, 1, 2, -1, 3, -5}, {{0, 1, 2, 3, 4, 5}, {0, -6, 0, 0, 0, 0}}},
      {"ScatterND", R"((%x: f32[5,3], %i: i64[2,1], %u: f32[2,3]) -> (y = %y) {
  %y = scatter_nd(%x, %i, %u) : f32[5,3] loc("ScatterND")
})", {2, 1}, {0, -1}, {{0, 5}, {-6, 0}}},
      {"ReverseSequence", R"((%x: f32[4,3,2], %i: i64[3]) -> (y = %y) {
  %y = reverse_sequence(%x, %i) {batch_axis=1, time_axis=0} : f32[4,3,2] loc("ReverseSequence")
})", {3}, {0, 4, 2}, {{5, 1, 1}, {1, -1, 1}}},
      {"RotaryEmbedding", R"((%x: f32[1,1,2,4], %c: f32[6,2], %s: f32[6,2], %i: i64[1,2]) -> (y = %y) {
  %y = rotary_embedding(%x, %c, %s, %i) : f32[1,1,2,4] loc("RotaryEmbedding")
})", {1, 2}, {5, -6}, {{6, 0}, {0, -7}}},
      {"Loss", R"((%x: f32[2,4], %i: i64[2]) -> (y = %y) {
  %y = negative_log_likelihood_loss(%x, %i) : f32[] loc("Loss")
})", {2}, {0, 3}, {{4, 0}, {0, -1}}},
      // The region's own sum is the index.
      {"Gather", R"((%x: f32[5,3], %i: i64[2]) -> (y = %y) {
  %y = fused(%x, %i) {family="move"} body(%x: f32[5,3], %i: i64[2]) -> (%z) {
    %j = add(%i, %i) : i64[2] loc("Add")
    %g = gather(%x, %j) : f32[2,3] loc("Gather")
    %z = neg(%g) : f32[2,3] loc("Neg")
  } : f32[2,3] loc("Add", "Gather", "Neg")
})", {2}, {2, -2}, {{3, 0}, {0, -3}}},
      {"GatherND", R"((%x: f32[5,3], %i: i64[2,1]) -> (y = %y) {
  %y = fused(%x, %i) {family="move"} body(%x: f32[5,3], %i: i64[2,1]) -> (%g) {
    %j = neg(%i) : i64[2,1] loc("Neg")
    %g = gather_nd(%x, %j) : f32[2,3] loc("GatherND")
  } : f32[2,3] loc("Neg", "GatherND")
})", {2, 1}, {-4, 5}, {{-5, 0}, {0, 6}}},
      {"ReverseSequence", R"((%x: f32[4,3,2], %i: i64[3]) -> (y = %y) {
  %y = fused(%x, %i) {family="move"} body(%x: f32[4,3,2], %i: i64[3]) -> (%g) {
    %j = add(%i, %i) : i64[3] loc("Add")
    %g = reverse_sequence(%x, %j) {batch_axis=1, time_axis=0} : f32[4,3,2] loc("ReverseSequence")
  } : f32[4,3,2] loc("Add", "ReverseSequence")
})", {3}, {2, 1, 0}, {{3, 0, 0}, {0, -1, 0}}},
  };
  return list;
}

std::unique_ptr<Module> module_of(const Row& row) {
  auto m = parse_module(std::string("weft.module 1 \"indices\"\ngraph @main") + row.text + "\n");
  EXPECT_TRUE(m.ok()) << m.error().to_string();
  return m.ok() ? std::move(*m) : nullptr;
}
std::vector<Tensor> inputs_of(const Module& m, const Row& row, const std::vector<int64_t>& given) {
  std::vector<Tensor> out;
  for (auto& in : m.main()->inputs) {
    if (in->name == "i") out.push_back(tensor_of_values<int64_t>(DType::i64, row.dims, given));
    else out.push_back(random_tensor(DType::f32, static_dims(in->type.shape), out.size() + 1));
  }
  return out;
}
std::string last_node(const std::string& described) {
  size_t at = described.find('`');
  return at == std::string::npos ? described : described.substr(at + 1, described.find('`', at + 1) - at - 1);
}

}  // namespace

TEST(BackendIndices, InsideFromEitherEnd) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.text);
    auto m = module_of(row);
    for (int level : {-1, 2}) check_module(m->clone(), inputs_of(*m, row, row.inside), Bound::range(4), level);
  }
}

TEST(BackendIndices, OutsideIsAnErrorThatNamesTheNode) {
  for (const Row& row : rows())
    for (const std::vector<int64_t>& given : row.outside) {
      SCOPED_TRACE(row.text);
      auto m = module_of(row);
      std::vector<Tensor> in = inputs_of(*m, row, given);
      auto want = evaluate(*m->main(), std::vector<HostValue>(in.begin(), in.end()));
      ASSERT_FALSE(want.ok());
      EXPECT_EQ(last_node(want.error().node), row.node) << want.error().to_string();
      for (int level : {-1, 2}) {
        auto exe = compile_for(m->clone(), "cpu", level);
        ASSERT_TRUE(exe.ok()) << exe.error().to_string();
        auto got = run_compiled(*exe, in);
        ASSERT_FALSE(got.ok());
        EXPECT_EQ(got.error().code, Code::kInvalidModel);
        EXPECT_EQ(got.error().node, row.node) << got.error().to_string();
      }
    }
}

}  // namespace weft::backend_test::indices
