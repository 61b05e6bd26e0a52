// Every sharding rule: an op's factors are cut by every assignment of mesh axes to them, the partitioned graph runs on
// simulated ranks, and gives what the op gives as a whole.
#include <random>

#include "ir/text/parser.h"
#include "ir/text/printer.h"
#include "passes/pass_manager.h"
#include "passes/shard/forms.h"
#include "tests/support/same_module.h"

namespace weft {

Result<bool> pass_partition(Module&, PassContext&);

namespace {

// Operands as "f32[4,6,12], f32[6,4]", the op's attributes as its text has them, and results.
struct Case {
  const char* name;
  const char* inputs;
  const char* op;  // over %x0, %x1, …
  int results = 1;
};

void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

const Case kCases[] = {
    {"add", "f32[4,12,6], f32[12,6]", "add(%x0, %x1)"},
    {"add_broadcast", "f32[4,1,6], f32[12,1]", "add(%x0, %x1)"},
    {"where", "bool[4,12], f32[12], f32[4,1]", "where(%x0, %x1, %x2)"},
    {"relu", "f32[12,4]", "relu(%x0)"},
    {"identity", "f32[12,4]", "identity(%x0)"},
    {"matmul", "f32[12,4,6], f32[6,12]", "contract(%x0, %x1) {spec=\"bmk,kn->bmn\"}"},
    {"matmul_bias", "f32[12,6], f32[6,4], f32[4]", "contract(%x0, %x1, %x2) {spec=\"mk,kn->mn\"}"},
    {"matmul_bias_row", "f32[12,6], f32[6,4], f32[12,4]", "contract(%x0, %x1, %x2) {spec=\"mk,kn->mn\", alpha=0.5}"},
    {"batch_matmul", "f32[4,6,2,12], f32[4,6,12,2]", "contract(%x0, %x1) {spec=\"bhmk,bhkn->bhmn\"}"},
    {"outer", "f32[4,6], f32[12]", "contract(%x0, %x1) {spec=\"ab,c->acb\"}"},
    {"two_sums", "f32[4,6,12], f32[6,12,2]", "contract(%x0, %x1) {spec=\"mab,abn->mn\"}"},
    {"transpose", "f32[4,6,12]", "transpose(%x0) {perm=[2,0,1]}"},
    {"concat", "f32[4,6], f32[4,12]", "concat(%x0, %x1) {axis=1}"},
    {"split", "f32[12,6,4]", "split(%x0) {axis=1}", 2},
    {"flatten", "f32[4,6,12]", "flatten(%x0) {axis=2}"},
    {"softmax", "f32[4,6,12]", "softmax(%x0) {axis=1}"},
    {"log_softmax", "f32[4,12]", "log_softmax(%x0)"},
    {"layer_norm", "f32[4,12,6], f32[6], f32[6]", "layer_normalization(%x0, %x1, %x2)"},
    {"layer_norm_statistics", "f32[4,12,6], f32[6]", "layer_normalization(%x0, %x1)", 3},
    {"rms_norm", "f32[4,12,6], f32[6]", "rms_normalization(%x0, %x1)"},
    {"batch_norm", "f32[4,6,2,12], f32[6], f32[6], f32[6], f32[6]", "batch_normalization(%x0, abs(%x1), %x2, %x3, abs(%x4))"},
    {"instance_norm", "f32[4,6,5], f32[6], f32[6]", "instance_normalization(%x0, %x1, %x2)"},
    {"group_norm", "f32[12,4,5], f32[4], f32[4]", "group_normalization(%x0, %x1, %x2) {num_groups=2}"},
    {"lrn", "f32[12,4,3,3]", "lrn(%x0) {size=3}"},
    {"gather", "f32[12,6], i64[4]", "gather(%x0, %x1)"},
    {"gather_inner", "f32[4,12,6], i64[2,4]", "gather(%x0, %x1) {axis=1}"},
    {"gather_last", "i32[4,12], i32[6]", "gather(%x0, %x1) {axis=-1}"},
    {"reduce_all", "f32[4,6,12]", "reduce_sum(%x0)"},
    {"arg_max", "f32[4,6,12]", "arg_max(%x0) {axis=1}"},
    {"attention", "f32[2,12,4,6], f32[2,12,5,6], f32[2,12,5,3]", "attention(%x0, %x1, %x2)"},
    {"attention_groups", "f32[2,12,4,6], f32[2,4,5,6], f32[2,4,5,3]", "attention(%x0, %x1, %x2)"},
    {"attention_causal", "f32[4,6,4,2], f32[4,6,4,2], f32[4,6,4,2]", "attention(%x0, %x1, %x2) {is_causal=true}"},
    {"attention_packed", "f32[2,4,24], f32[2,6,12], f32[2,6,18]", "attention(%x0, %x1, %x2) {q_num_heads=12, kv_num_heads=6}"},
    {"attention_mask", "f32[2,6,4,2], f32[2,6,12,2], f32[2,6,12,2], f32[2,1,4,12]", "attention(%x0, %x1, %x2, %x3)"},
    {"attention_past", "f32[2,6,4,2], f32[2,6,4,2], f32[2,6,4,2], f32[6,4,7], f32[2,6,3,2], f32[2,6,3,2]",
     "attention(%x0, %x1, %x2, %x3, %x4, %x5) {is_causal=true}", 3},
    {"rotary", "f32[2,12,4,6], f32[2,4,3], f32[2,4,3]", "rotary_embedding(%x0, %x1, %x2)"},
    {"rotary_packed", "f32[4,6,24], f32[10,1], f32[10,1], i64[4,6]", "rotary_embedding(%x0, %x1, %x2, %x3) {num_heads=12}"},
    {"conv", "f32[4,6,5,5], f32[12,6,3,3], f32[12]", "conv(%x0, %x1, %x2) {pads=[1,1,1,1]}"},
    {"conv_groups", "f32[2,12,5], f32[24,2,3], f32[24]", "conv(%x0, %x1, %x2) {group=6}"},
    {"depthwise", "f32[2,12,5,5], f32[12,1,3,3]", "conv(%x0, %x1) {group=12}"},
    {"max_pool", "f32[4,6,6,6]", "max_pool(%x0) {kernel_shape=[2,2], strides=[2,2]}"},
    {"average_pool", "f32[4,12,6]", "average_pool(%x0) {kernel_shape=[3]}"},
    {"global_pool", "f32[4,12,3,3]", "global_average_pool(%x0)"},
    {"depth_to_space", "f32[12,4,3,3]", "depth_to_space(%x0) {blocksize=2}"},
};

std::unique_ptr<Module> module_of(const Case& c) {
  std::string inputs = c.inputs, params, body = c.op;
  int n = 0;
  for (size_t at = 0; at < inputs.size(); ++n) {
    size_t end = inputs.find("], ", at);
    end = end == std::string::npos ? inputs.size() : end + 1;
    params += (n ? ", %x" : "%x") + std::to_string(n) + ": " + inputs.substr(at, end - at);
    at = end + 2;
  }
  // Nested calls become lines of their own.
  std::string lines;
  for (size_t at; (at = body.find("abs(")) != std::string::npos;) {
    size_t end = body.find(')', at);
    lines += "  %a" + std::to_string(at) + " = " + body.substr(at, end + 1 - at) + "\n";
    body = body.substr(0, at) + "%a" + std::to_string(at) + body.substr(end + 1);
  }
  std::string results, outputs;
  for (int r = 0; r < c.results; ++r) {
    results += (r ? ", %y" : "%y") + std::to_string(r);
    outputs += (r ? ", y" : "y") + std::to_string(r) + " = %y" + std::to_string(r);
  }
  auto m = parse_module("weft.module 1 \"t\"\ngraph @main(" + params + ") -> (" + outputs + ") {\n" + lines + "  " + results + " = " + body + "\n}\n");
  EXPECT_TRUE(m.ok()) << c.name << ": " << (m.ok() ? "" : m.error().to_string());
  return m.ok() ? std::move(*m) : nullptr;
}

// The op's results cut as axis k is assigned to factor cuts[k] (-1: to none); false where that is not possible.
bool assign(Module& m, const std::vector<int>& cuts) {
  const Mesh& mesh = m.meshes[0];
  for (auto& op : m.main()->ops) {
    for (auto& r : op->results) r->sharding = whole(mesh, r->type.rank());
    if (op != m.main()->ops.back()) continue;
    ShardingRule rule = rule_of(*op);
    for (size_t k = 0; k < cuts.size(); ++k) {
      int f = cuts[k];
      if (f < 0) continue;
      auto& [axis, size] = mesh.axes[k];
      if (!can_cut(rule, f, size)) return false;
      bool sums = rule.factors[f].role == ShardingRule::Role::sum;
      for (int r = 0; r < op->num_results(); ++r) {
        Sharding& s = op->result(r)->sharding;
        if (int d = rule.dim_of(rule.results[r], f); d >= 0) s.dims[d].push_back(axis);
        else if (sums) s.partial.push_back(axis);
      }
      if (factor_of_axis(rule, *op, axis, size) != f) return false;  // a sharding of results does not say which one is summed
      rule.factors[f].size = floordiv(rule.factors[f].size, size);
    }
  }
  return true;
}

const std::vector<std::vector<std::pair<std::string, int64_t>>> kMeshes = {
    {{"a", 2}}, {{"a", 3}}, {{"a", 4}}, {{"a", 2}, {"b", 2}}, {{"a", 2}, {"b", 3}}};

class Rule : public testing::TestWithParam<Case> {};

TEST_P(Rule, EveryCutGivesTheSame) {
  auto whole_module = module_of(GetParam());
  ASSERT_TRUE(whole_module);
  int factors = static_cast<int>(rule_of(*whole_module->main()->ops.back()).factors.size()), cases = 0;
  ASSERT_GT(factors, 0);
  auto inputs = test::random_inputs(*whole_module, 7, {}, 4);
  ASSERT_TRUE(inputs.ok());
  auto want = test::run_main(*whole_module, *inputs);
  ASSERT_TRUE(want.ok()) << want.error().to_string();
  for (const auto& axes : kMeshes) {
    std::vector<int> cuts(axes.size(), -1);
    while (true) {
      auto m = whole_module->clone();
      m->meshes.push_back({"m", axes});
      if (assign(*m, cuts)) {
        ++cases;
        PassContext cx;
        auto changed = pass_partition(*m, cx);
        ASSERT_TRUE(changed.ok()) << changed.error().to_string();
        ASSERT_TRUE(infer_graph(*m->main()).ok());
        auto got = test::run_main(*m, *inputs);
        ASSERT_TRUE(got.ok()) << got.error().to_string() << "\n" << print_module(*m);
        ASSERT_EQ(test::difference(*got, *want, 1e-6), "") << print_module(*m);
        auto again = parse_module(print_module(*m));
        ASSERT_TRUE(again.ok()) << again.error().to_string() << print_module(*m);
      }
      size_t k = 0;
      while (k < cuts.size() && ++cuts[k] == factors) cuts[k++] = -1;
      if (k == cuts.size()) break;
    }
  }
  RecordProperty("cases", cases);
  EXPECT_GT(cases, static_cast<int>(kMeshes.size()));  // more than the assignments that cut nothing
}

INSTANTIATE_TEST_SUITE_P(Op, Rule, testing::ValuesIn(kCases), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace weft
