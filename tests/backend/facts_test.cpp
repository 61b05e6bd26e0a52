// What ops take for granted of dims that are symbols: an Error that names the node, the dims and their values where it does
// not hold, in the evaluator and in every plan; the right numbers where it does.
#include "tests/backend/support.h"

namespace weft::backend_test::facts {

namespace {

struct Row {
  const char* node;     // whose assumption fails
  const char* text;     // the graph
  SymbolValues right, wrong;
  const char* said = "differ";
};

const std::vector<Row>& rows() {
  static const std::vector<Row> list = {
      {"MatMul", R"((%x: f32[2,a], %y: f32[b,3]) -> (z = %z) {
  %z = contract(%x, %y) {spec="mk,kn->mn"} : f32[2,3] loc("MatMul")
})", {{"a", 7}, {"b", 7}}, {{"a", 7}, {"b", 5}}},
      {"MatMul", R"((%x: f32[a,2,5], %y: f32[b,5,3]) -> (z = %z) {
  %z = contract(%x, %y) {spec="bmk,bkn->bmn"} : f32[a,2,3] loc("MatMul")
})", {{"a", 4}, {"b", 4}}, {{"a", 4}, {"b", 2}}, "do not broadcast"},
      {"Gemm", R"((%x: f32[2,4], %y: f32[4,n], %c: f32[m]) -> (z = %z) {
  %z = contract(%x, %y, %c) {spec="mk,kn->mn"} : f32[2,n] loc("Gemm")
})", {{"n", 6}, {"m", 6}}, {{"n", 6}, {"m", 5}}, "do not broadcast"},
      {"Add", R"((%x: f32[a,3], %y: f32[b,3]) -> (z = %z) {
  %n = neg(%x) : f32[a,3] loc("Neg")
  %z = add(%n, %y) : f32[a,3] loc("Add")
})", {{"a", 4}, {"b", 4}}, {{"a", 4}, {"b", 3}}, "do not broadcast"},
      {"Where", R"((%c: bool[a], %x: f32[b], %y: f32[a]) -> (z = %z) {
  %z = where(%c, %x, %y) : f32[a] loc("Where")
})", {{"a", 5}, {"b", 5}}, {{"a", 5}, {"b", 9}}, "do not broadcast"},
      {"Concat", R"((%x: f32[a,2], %y: f32[b,3]) -> (z = %z) {
  %z = concat(%x, %y) {axis=1} : f32[a,5] loc("Concat")
})", {{"a", 4}, {"b", 4}}, {{"a", 2}, {"b", 4}}},
      {"Conv", R"((%x: f32[1,c,6,6], %w: f32[4,3,3,3]) -> (z = %z) {
  %z = conv(%x, %w) : f32[1,4,4,4] loc("Conv")
})", {{"c", 3}}, {{"c", 2}}},
      {"Conv", R"((%x: f32[1,3,6,6], %w: f32[m,3,3,3], %b: f32[k]) -> (z = %z) {
  %z = conv(%x, %w, %b) : f32[1,m,4,4] loc("Conv")
})", {{"m", 8}, {"k", 8}}, {{"m", 8}, {"k", 4}}},
      {"Reshape", R"((%x: f32[a,b]) -> (z = %z) {
  %to = constant @to : i64[2]
  %r = reshape(%x, %to) : f32[floordiv(a*b, 4),4] loc("Reshape")
  %z = neg(%r) : f32[floordiv(a*b, 4),4] loc("Neg")
})", {{"a", 2}, {"b", 6}}, {{"a", 3}, {"b", 5}}},
      {"Squeeze", R"((%x: f32[3,a]) -> (z = %z) {
  %axes = constant @one : i64[1]
  %s = squeeze(%x, %axes) : f32[3] loc("Squeeze")
  %z = neg(%s) : f32[3] loc("Neg")
})", {{"a", 1}}, {{"a", 2}}},
      {"LayerNorm", R"((%x: f32[2,a], %s: f32[b]) -> (z = %z) {
  %z = layer_normalization(%x, %s) : f32[2,a] loc("LayerNorm")
})", {{"a", 9}, {"b", 9}}, {{"a", 9}, {"b", 8}}, "do not broadcast"},
      {"GatherElements", R"((%x: f32[a,3], %i: i64[b,3]) -> (z = %z) {
  %z = gather_elements(%x, %i) {axis=1} : f32[b,3] loc("GatherElements")
})", {{"a", 4}, {"b", 2}}, {{"a", 2}, {"b", 4}}, "exceeds"},
      {"DepthToSpace", R"((%x: f32[1,c,2,2]) -> (z = %z) {
  %z = depth_to_space(%x) {blocksize=2} : f32[1,floordiv(c, 4),4,4] loc("DepthToSpace")
})", {{"c", 8}}, {{"c", 6}}, "does not divide"},
      {"Attention", R"((%q: f32[1,2,s,8], %k: f32[1,2,t,8], %v: f32[1,2,u,8]) -> (z = %z) {
  %z = attention(%q, %k, %v) : f32[1,2,s,8] loc("Attention")
})", {{"s", 3}, {"t", 5}, {"u", 5}}, {{"s", 3}, {"t", 5}, {"u", 4}}},
  };
  return list;
}

std::unique_ptr<Module> module_of(const Row& row) {
  std::string text = std::string("weft.module 1 \"facts\"\nconst @to : i64[2] = [-1, 4]\nconst @one : i64[1] = [1]\ngraph @main") + row.text + "\n";
  auto m = parse_module(text);
  EXPECT_TRUE(m.ok()) << m.error().to_string() << "\n" << text;
  return m.ok() ? std::move(*m) : nullptr;
}
std::vector<Tensor> inputs_of(const Module& m, const SymbolValues& values) {
  std::vector<Tensor> out;
  for (auto& in : m.main()->inputs) {
    std::vector<int64_t> dims;
    for (const Dim& d : in->type.shape) dims.push_back(d.eval(values).value());
    // Indices must lie inside.
    DType t = in->type.dtype;
    out.push_back(is_int(t) ? std::move(Tensor::make(t, dims)).value() : random_tensor(t, dims, out.size() + 1));
  }
  return out;
}
void expect_said(const Error& e, const Row& row) {
  EXPECT_EQ(e.code, Code::kInvalidModel) << e.to_string();
  EXPECT_EQ(e.node, row.node) << e.to_string();
  EXPECT_NE(e.message.find(row.said), std::string::npos) << e.to_string();
  // Each symbol of the fact with its value; a row may have more symbols.
  int values = 0;
  for (const auto& [name, v] : row.wrong) values += e.message.find(name + " = " + std::to_string(v)) != std::string::npos;
  EXPECT_GE(values, std::min<int>(2, static_cast<int>(row.wrong.size()))) << e.to_string();
}

}  // namespace

TEST(BackendFacts, RightDimsRun) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.text);
    auto m = module_of(row);
    if (!m) continue;
    for (int level : {-1, 2}) check_module(m->clone(), inputs_of(*m, row.right), Bound::range(16), level);
  }
}

TEST(BackendFacts, WrongDimsAreErrors) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.text);
    auto m = module_of(row);
    if (!m) continue;
    std::vector<Tensor> in = inputs_of(*m, row.wrong);
    auto want = evaluate(*m->main(), std::vector<HostValue>(in.begin(), in.end()));
    ASSERT_FALSE(want.ok());
    // The node of the op itself is what an evaluator's error names.
    want.error().node = want.error().node.substr(want.error().node.find('`') + 1, std::string(row.node).size());
    expect_said(want.error(), row);
    for (int level : {-1, 2}) {
      auto exe = compile_for(m->clone(), "cpu", level);
      ASSERT_TRUE(exe.ok()) << exe.error().to_string();
      auto got = run_compiled(*exe, in);
      ASSERT_FALSE(got.ok());
      expect_said(got.error(), row);
    }
  }
}

TEST(BackendFacts, OneCheckForEachFactAndNoneForWhatIsKnown) {
  auto checks = [](const char* text) {
    Row row{"", text, {}, {}};
    auto exe = compile_for(module_of(row), "cpu", -1);
    EXPECT_TRUE(exe.ok());
    int n = 0;
    std::string plan = exe.ok() ? exe->plan_text() : "";
    for (size_t at = plan.find(" check "); at != std::string::npos; at = plan.find(" check ", at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(checks(R"((%x: f32[a,3], %y: f32[b,3]) -> (z = %w) {
  %s = add(%x, %y) : f32[a,3]
  %t = mul(%x, %y) : f32[a,3]
  %w = sub(%s, %t) : f32[a,3]
})"), 1);
  EXPECT_EQ(checks(R"((%x: f32[a,2*b], %y: f32[a,b]) -> (z = %w) {
  %s = concat(%y, %y) {axis=1} : f32[a,2*b]
  %w = add(%x, %s) : f32[a,2*b]
})"), 0);
}

// What the other branch would need does not matter.
TEST(BackendFacts, OnlyTheBranchThatRunsIsChecked) {
  auto m = parse_module(R"(weft.module 1 "branches"
graph @main(%c: bool[], %x: f32[a], %y: f32[b]) -> (z = %z) {
  %z = if_else(%c, %x, %y) then(%x: f32[a], %y: f32[b]) -> (%s) {
    %s = add(%x, %y) : f32[a] loc("Add")
  } else(%x: f32[a], %y: f32[b]) -> (%n) {
    %n = neg(%x) : f32[a] loc("Neg")
  } : f32[a] loc("If")
}
)");
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  auto with = [&](int64_t condition, int64_t b) {
    Tensor c = tensor_of_values<int64_t>(DType::b1, {}, {condition});
    return std::vector<Tensor>{c, random_tensor(DType::f32, {4}, 1), random_tensor(DType::f32, {b}, 2)};
  };
  check_module((*m)->clone(), with(1, 4), Bound::ulps(1));
  check_module((*m)->clone(), with(0, 3), Bound::ulps(1));
  for (int level : {-1, 2}) {
    auto exe = compile_for((*m)->clone(), "cpu", level);
    ASSERT_TRUE(exe.ok()) << exe.error().to_string();
    auto got = run_compiled(*exe, with(1, 3));
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().node, "Add") << got.error().to_string();
  }
}

// A batch that turns out to be 1 is broadcast.
TEST(BackendFacts, ADimThatTurnsOutToBeOne) {
  for (const Row& row : rows()) {
    if (row.said != std::string("do not broadcast") || !row.right.count("b")) continue;
    SCOPED_TRACE(row.text);
    auto m = module_of(row);
    SymbolValues values = row.right;
    values["b"] = 1;
    for (int level : {-1, 2}) check_module(m->clone(), inputs_of(*m, values), Bound::range(16), level);
  }
}

}  // namespace weft::backend_test::facts
