// Every sharding rule: for dims drawn at random an op's factors are cut by every assignment of mesh axes to them, the
// partitioned graph runs on simulated ranks, and gives what the op gives as a whole.
#include <cstdio>
#include <random>

#include "ir/text/parser.h"
#include "ir/text/printer.h"
#include "passes/pass_manager.h"
#include "passes/shard/forms.h"
#include "tests/support/random_graph.h"
#include "tests/support/same_module.h"

namespace weft {

Result<bool> pass_partition(Module&, PassContext&);

namespace {

// Operands as "f32[a,b,12], f32[2b,c]": letters are drawn, one of them for all its places; a may stay a symbol; r is above all
// integers.
// The op over %x0, %x1, … with its attributes as its text has them: <a> is the letter's value, and calls of other ops may stand inside.
struct Case {
  const char* name;
  const char* inputs;
  const char* op;
  int results = 1;
};

const Case kCases[] = {
    {"add", "f32[a,b,c], f32[b,c]", "add(%x0, %x1)"},
    {"add_broadcast", "f32[a,1,c], f32[b,1]", "add(%x0, %x1)"},
    {"where", "bool[a,b], f32[b], f32[a,1]", "where(%x0, %x1, %x2)"},
    {"relu", "f32[a,b]", "relu(%x0)"},
    {"identity", "f32[a,b]", "identity(%x0)"},
    {"dropout", "f32[a,b]", "dropout(%x0)", 2},
    // contractions
    {"matmul", "f32[a,b,c], f32[c,d]", "contract(%x0, %x1) {spec=\"bmk,kn->bmn\"}"},
    {"matmul_bias", "f32[a,b], f32[b,c], f32[c]", "contract(%x0, %x1, %x2) {spec=\"mk,kn->mn\"}"},
    {"matmul_bias_row", "f32[a,b], f32[b,c], f32[a,c]", "contract(%x0, %x1, %x2) {spec=\"mk,kn->mn\", alpha=0.5}"},
    {"batch_matmul", "f32[a,b,2,c], f32[a,b,c,d]", "contract(%x0, %x1) {spec=\"bhmk,bhkn->bhmn\"}"},
    {"outer", "f32[a,b], f32[c]", "contract(%x0, %x1) {spec=\"ab,c->acb\"}"},
    {"two_sums", "f32[a,b,c], f32[b,c,2]", "contract(%x0, %x1) {spec=\"mab,abn->mn\"}"},
    {"conv", "f32[a,b,5,5], f32[c,b,3,3], f32[c]", "conv(%x0, %x1, %x2) {pads=[1,1,1,1]}"},
    {"conv_groups", "f32[a,2g,5], f32[4g,2,3], f32[4g]", "conv(%x0, %x1, %x2) {group=<g>}"},
    {"depthwise", "f32[2,g,5,5], f32[g,1,3,3]", "conv(%x0, %x1) {group=<g>}"},
    {"conv_transpose", "f32[a,b,4], f32[b,c,3], f32[c]", "conv_transpose(%x0, %x1, %x2) {strides=[2]}"},
    {"conv_transpose_groups", "f32[a,2g,3,3], f32[2g,2,2,2]", "conv_transpose(%x0, %x1) {group=<g>}"},
    {"deform_conv", "f32[a,2,5,5], f32[3,2,2,2], f32[a,8,4,4]", "deform_conv(%x0, %x1, %x2)"},
    {"det", "f32[a,b,3,3]", "det(%x0)"},
    // movement
    {"transpose", "f32[a,b,c]", "transpose(%x0) {perm=[2,0,1]}"},
    {"concat", "f32[a,b], f32[a,c]", "concat(%x0, %x1) {axis=1}"},
    {"split", "f32[a,2b,c]", "split(%x0) {axis=1}", 2},
    {"flatten", "f32[a,b,c]", "flatten(%x0) {axis=2}"},
    {"depth_to_space", "f32[a,4b,c,d]", "depth_to_space(%x0) {blocksize=2}"},
    {"depth_to_space_crd", "f32[a,4b,c,d]", "depth_to_space(%x0) {blocksize=2, mode=\"CRD\"}"},
    {"space_to_depth", "f32[a,b,2c,2d]", "space_to_depth(%x0) {blocksize=2}"},
    {"gather", "f32[r,b], i64[c]", "gather(%x0, %x1)"},
    {"gather_inner", "f32[a,r,b], i64[c,d]", "gather(%x0, %x1) {axis=1}"},
    {"gather_last", "i32[a,r], i32[b]", "gather(%x0, %x1) {axis=-1}"},
    {"gather_elements", "f32[a,r,b], i64[a,c,b]", "gather_elements(%x0, %x1) {axis=1}"},
    {"gather_elements_fewer", "f32[12,r], i64[b,c]", "gather_elements(%x0, %x1) {axis=1}"},
    {"gather_nd", "f32[r,12,b,c], i64[d,2]", "gather_nd(%x0, %x1)"},
    {"gather_nd_batch", "f32[a,r,b], i64[a,c,1]", "gather_nd(%x0, %x1) {batch_dims=1}"},
    {"scatter_elements", "f32[a,r,b], i64[a,c,b], f32[a,c,b]", "scatter_elements(%x0, %x1, %x2) {axis=1, reduction=\"add\"}"},
    {"scatter_elements_last", "i64[a,r], i64[a,1], i64[a,1]", "scatter_elements(%x0, %x1, %x2) {axis=1}"},
    {"scatter_nd", "f32[r,12,b,c], i64[d,2], f32[d,b,c]", "scatter_nd(%x0, %x1, %x2) {reduction=\"max\"}"},
    {"tensor_scatter", "f32[a,b,r,c], f32[a,b,1,c], i64[a]", "tensor_scatter(%x0, %x1, %x2)"},
    {"reverse_sequence", "f32[r,b,c], i64[b]", "reverse_sequence(%x0, %x1)"},
    {"trilu", "f32[a,b,c]", "trilu(%x0)"},
    {"trilu_lower", "f32[a,b,c], i64[]", "trilu(%x0, %x1) {upper=false}"},
    {"one_hot", "i64[a,b], i64[1], f32[2]", "one_hot(%x0, %k<r>, %x2) {axis=1}"},
    {"expand", "f32[a,1,c]", "expand(%x0, %k<d>,<a>,<b>,<c>)"},
    {"tile", "f32[a,b]", "tile(%x0, %k<c>,<d>)"},
    {"pad", "f32[a,b]", "pad(%x0, %k0,1,0,2)"},
    {"slice", "f32[a,b,6]", "slice(%x0, %k1, %k4, %k2)"},
    {"reshape", "f32[a,6b]", "reshape(%x0, %k<a>,6,<b>)"},
    {"col2im", "f32[a,4b,9]", "col2im(%x0, %k4,4, %k2,2)"},
    {"resize", "f32[a,b,3,3]", "resize(%x0, _, _, %k<a>,<b>,6,5)"},
    {"grid_sample", "f32[a,b,4,4], f32[a,c,d,2]", "grid_sample(%x0, %x1)"},
    {"affine_grid", "f32[a,2,3]", "affine_grid(%x0, %k<a>,1,3,4)"},
    {"roi_align", "f32[r,b,6,6], f32[c,4], i64[c]", "roi_align(%x0, %x1, %x2) {output_height=2, output_width=2}"},
    {"max_roi_pool", "f32[1,b,6,6], f32[c,5]", "max_roi_pool(%x0, sub(%x1, %x1)) {pooled_shape=[2,2]}"},
    // reductions
    {"reduce_sum", "f32[a,b,c]", "reduce_sum(%x0)"},
    {"reduce_mean", "f32[a,b,c]", "reduce_mean(%x0, %k1) {keepdims=false}"},
    {"reduce_max", "f32[a,b,c]", "reduce_max(%x0, %k1,2) {keepdims=false}"},
    {"reduce_min", "i32[a,b,c]", "reduce_min(%x0, %k0)"},
    {"reduce_prod", "f32[a,b]", "reduce_prod(%x0, %k1)"},
    {"reduce_l1", "f32[a,b]", "reduce_l1(%x0, %k0)"},
    {"reduce_l2", "f32[a,b,c]", "reduce_l2(%x0, %k0,1) {keepdims=false}"},
    {"reduce_l2_half", "f16[a,b]", "reduce_l2(%x0, %k1)"},
    {"reduce_log_sum", "f32[a,b]", "reduce_log_sum(abs(%x0), %k1)"},
    {"reduce_log_sum_exp", "f32[a,b,c]", "reduce_log_sum_exp(%x0, %k1) {keepdims=false}"},
    {"reduce_sum_square", "f32[a,b]", "reduce_sum_square(%x0)"},
    {"arg_max", "f32[a,b,c]", "arg_max(%x0) {axis=1}"},
    {"arg_min", "i32[a,b]", "arg_min(%x0) {axis=0, keepdims=false, select_last_index=true}"},
    {"top_k", "f32[a,r,b]", "top_k(%x0, %k2) {axis=1}", 2},
    {"top_k_smallest", "i32[a,r]", "top_k(%x0, %k<r>) {largest=false}", 2},
    {"cum_sum", "f32[a,b,c]", "cum_sum(%x0, %k1)"},
    {"cum_prod", "f32[a,b]", "cum_prod(%x0, %k0) {reverse=true}"},
    {"dft", "f32[a,b,c,1]", "dft(%x0, _, %k1)"},
    {"stft", "f32[a,12,1]", "stft(%x0, %k3, _, %k4)"},
    // normalisations
    {"softmax", "f32[a,b,c]", "softmax(%x0) {axis=1}"},
    {"softmax_half", "f16[a,b]", "softmax(%x0)"},
    {"log_softmax", "f32[a,b]", "log_softmax(%x0)"},
    {"hardmax", "f32[a,b]", "hardmax(%x0)"},
    {"lp_norm", "f32[a,b]", "lp_normalization(%x0) {axis=0}"},
    {"lp_norm_1", "f32[a,b]", "lp_normalization(%x0) {p=1}"},
    {"layer_norm", "f32[a,b,c], f32[c], f32[c]", "layer_normalization(%x0, %x1, %x2)"},
    {"layer_norm_statistics", "f32[a,b,c], f32[c]", "layer_normalization(%x0, %x1)", 3},
    {"layer_norm_two", "f32[a,b,c], f32[b,c]", "layer_normalization(%x0, %x1) {axis=1}"},
    {"rms_norm", "f32[a,b,c], f32[c]", "rms_normalization(%x0, %x1)"},
    {"skip_layer_norm", "f32[a,b,c], f32[a,b,c], f32[c], f32[c]", "skip_layer_normalization(%x0, %x1, %x2, %x3)", 4},
    {"batch_norm", "f32[a,b,2,c], f32[b], f32[b], f32[b], f32[b]", "batch_normalization(%x0, abs(%x1), %x2, %x3, abs(%x4))"},
    {"instance_norm", "f32[a,b,5], f32[b], f32[b]", "instance_normalization(%x0, %x1, %x2)"},
    {"group_norm", "f32[a,2g,5], f32[2g], f32[2g]", "group_normalization(%x0, %x1, %x2) {num_groups=<g>}"},
    {"lrn", "f32[a,4,c,3]", "lrn(%x0) {size=3}"},
    {"loss", "f32[a,r,b], i64[a,b]", "negative_log_likelihood_loss(%x0, %x1) {reduction=\"none\"}"},
    {"loss_mean", "f32[a,r,b], i64[a,b]", "softmax_cross_entropy_loss(%x0, %x1)"},
    {"loss_sum", "f32[a,r], i64[a], f32[r]", "softmax_cross_entropy_loss(%x0, %x1, %x2) {reduction=\"sum\"}"},
    // pools
    {"max_pool", "f32[a,b,6,6]", "max_pool(%x0) {kernel_shape=[2,2], strides=[2,2]}"},
    {"average_pool", "f32[a,b,6]", "average_pool(%x0) {kernel_shape=[3]}"},
    {"lp_pool", "f32[a,b,6]", "lp_pool(%x0) {kernel_shape=[3]}"},
    {"global_pool", "f32[a,b,3,3]", "global_average_pool(%x0)"},
    // attention and recurrence
    {"attention", "f32[a,b,4,6], f32[a,b,5,6], f32[a,b,5,3]", "attention(%x0, %x1, %x2)"},
    {"attention_groups", "f32[2,3h,4,6], f32[2,h,5,6], f32[2,h,5,3]", "attention(%x0, %x1, %x2)"},
    {"attention_causal", "f32[a,b,4,2], f32[a,b,4,2], f32[a,b,4,2]", "attention(%x0, %x1, %x2) {is_causal=true}"},
    {"attention_packed", "f32[a,4,4h], f32[a,6,2h], f32[a,6,3h]", "attention(%x0, %x1, %x2) {q_num_heads=<2h>, kv_num_heads=<h>}"},
    {"attention_mask", "f32[a,b,4,2], f32[a,b,c,2], f32[a,b,c,2], f32[a,1,4,c]", "attention(%x0, %x1, %x2, %x3)"},
    {"attention_past", "f32[a,b,4,2], f32[a,b,4,2], f32[a,b,4,2], f32[b,4,7], f32[a,b,3,2], f32[a,b,3,2]",
     "attention(%x0, %x1, %x2, %x3, %x4, %x5) {is_causal=true}", 3},
    {"rotary", "f32[a,b,c,6], f32[a,c,3], f32[a,c,3]", "rotary_embedding(%x0, %x1, %x2)"},
    {"rotary_packed", "f32[a,b,2h], f32[r,1], f32[r,1], i64[a,b]", "rotary_embedding(%x0, %x1, %x2, %x3) {num_heads=<h>}"},
    {"linear_attention", "f32[a,3,4h], f32[a,3,2h], f32[a,3,3h], f32[a,h,2,3], f32[a,3,h], f32[a,3,1]",
     "linear_attention(%x0, %x1, %x2, %x3, %x4, %x5) {q_num_heads=<2h>, kv_num_heads=<h>, update_rule=\"gated_delta\"}", 2},
    {"causal_conv", "f32[a,b,5], f32[b,1,3], f32[b], f32[a,b,2]", "causal_conv_with_state(%x0, %x1, %x2, %x3)", 2},
    {"lstm", "f32[3,b,2], f32[1,12,2], f32[1,12,3], f32[1,24], _, f32[1,b,3]", "lstm(%x0, %x1, %x2, %x3, _, %x5) {hidden_size=3}", 3},
    {"gru", "f32[3,b,2], f32[1,9,2], f32[1,9,3]", "gru(%x0, %x1, %x2) {hidden_size=3}", 2},
    {"rnn_batch_first", "f32[b,3,2], f32[1,3,2], f32[1,3,3]", "rnn(%x0, %x1, %x2) {hidden_size=3, layout=1}", 2},
    // quantisation
    {"quantize", "f32[a,b], f32[]", "quantize_linear(%x0, abs(%x1))"},
    {"quantize_axis", "f32[a,b], f32[b]", "quantize_linear(%x0, abs(%x1))"},
    {"dequantize_axis", "i8[a,b], f32[a], i8[a]", "dequantize_linear(%x0, %x1, %x2) {axis=0}"},
    {"dequantize_blocks", "i8[4b,a], f32[b,a]", "dequantize_linear(%x0, %x1) {axis=0, block_size=4}"},
    {"dynamic_quantize", "f32[a,b]", "dynamic_quantize_linear(%x0)", 3},
};

// --- a case's module ------------------------------------------------------------------------------------------------

class Drawn {
 public:
  explicit Drawn(uint64_t seed) {
    std::mt19937_64 random(seed);
    const int64_t sizes[] = {1, 2, 3, 4, 6, 8, 12}, rows[] = {2, 4, 6, 12};
    for (char l = 'a'; l <= 'z'; ++l) values_[l] = l == 'r' ? rows[random() % 4] : sizes[random() % 7];
    if (random() % 3 == 0) symbols_ = {{"a", values_.at('a')}};
  }
  const SymbolValues& symbols() const { return symbols_; }
  // "2a", "b", "12"
  int64_t value(const std::string& s) const {
    size_t letter = s.find_first_not_of("0123456789");
    int64_t n = letter == 0 ? 1 : std::stoll(s.substr(0, letter));
    return letter == std::string::npos ? n : n * values_.at(s[letter]);
  }
  std::string type(const std::string& text) const {
    std::string out = text.substr(0, text.find('[') + 1);
    for (size_t at = out.size(); text[at] != ']'; at += text[at] == ',') {
      size_t end = text.find_first_of(",]", at);
      out += (out.back() == '[' ? "" : ",") + dim(text.substr(at, end - at));
      at = end;
    }
    return out + "]";
  }
  std::string with_values(std::string s) const {
    for (size_t at; (at = s.find('<')) != std::string::npos;) {
      size_t end = s.find('>', at);
      s = s.substr(0, at) + dim(s.substr(at + 1, end - at - 1)) + s.substr(end + 1);
    }
    return s;
  }

 private:
  std::string dim(const std::string& s) const { return s == "a" && !symbols_.empty() ? s : std::to_string(value(s)); }
  std::map<char, int64_t> values_;
  SymbolValues symbols_;
};

std::unique_ptr<Module> module_of(const Case& c, const Drawn& drawn) {
  std::string inputs = c.inputs, params, body = drawn.with_values(c.op), lines;
  int n = 0;
  for (size_t at = 0; at < inputs.size(); ++n) {
    size_t end = std::min(inputs.find(", ", at), inputs.size());
    std::string type = inputs.substr(at, end - at), name = "%x" + std::to_string(n);
    if (type != "_") params += (params.empty() ? "" : ", ") + name + ": " + drawn.type(type);
    at = end + 2;
  }
  // Nested calls, and %k1,2,3: lists of integers, become lines of their own.
  for (size_t at; (at = body.find('(', body.find('(') + 1)) != std::string::npos;) {
    size_t end = body.find(')', at);
    at = body.find_last_of(" (", at - 1) + 1;
    std::string name = "%v" + std::to_string(at);
    lines += "  " + name + " = " + body.substr(at, end + 1 - at) + "\n";
    body = body.substr(0, at) + name + body.substr(end + 1);
  }
  std::string pool;
  for (size_t at; (at = body.find("%k")) != std::string::npos;) {
    size_t end = at + 2;
    while (isalnum(body[end]) || (body[end] == ',' && isalnum(body[end + 1]))) ++end;
    std::string list = body.substr(at + 2, end - at - 2), name = "c" + std::to_string(pool.size());
    lines += "  %" + name + " = dims() {values=[" + list + "]}\n";
    pool += ' ';
    body = body.substr(0, at) + "%" + name + body.substr(end);
  }
  std::string results, outputs;
  for (int r = 0; r < c.results; ++r) {
    results += (r ? ", %y" : "%y") + std::to_string(r);
    outputs += (r ? ", y" : "y") + std::to_string(r) + " = %y" + std::to_string(r);
  }
  std::string text = "weft.module 1 \"t\"\ngraph @main(" + params + ") -> (" + outputs + ") {\n" + lines + "  " + results + " = " + body + "\n}\n";
  auto m = parse_module(text);
  EXPECT_TRUE(m.ok()) << c.name << ": " << (m.ok() ? "" : m.error().to_string()) << "\n" << text;
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
      note_cut(*op, rule, f, axis);
      if (factor_of_axis(rule, *op, axis, size) != f) return false;  // a sharding of results does not say which one is reduced
      cut(rule, f, size);
    }
  }
  return true;
}

const std::vector<std::vector<std::pair<std::string, int64_t>>> kMeshes = {
    {{"a", 2}}, {{"a", 3}}, {{"a", 4}}, {{"a", 2}, {"b", 2}}, {{"a", 2}, {"b", 3}}};

// Of the module on these ranks: how many assignments there are that cut something, each of which gives `want`.
int every_cut(const Module& whole_module, const std::vector<std::pair<std::string, int64_t>>& axes, const std::vector<HostValue>& inputs,
              const std::vector<HostValue>& want) {
  const int factors = static_cast<int>(rule_of(*whole_module.main()->ops.back()).factors.size());
  int cases = 0;
  std::vector<int> cuts(axes.size(), -1);
  while (true) {
    size_t k = 0;
    while (k < cuts.size() && ++cuts[k] == factors) cuts[k++] = -1;
    if (k == cuts.size()) return cases;
    auto m = whole_module.clone();
    m->meshes.push_back({"m", axes});
    if (!assign(*m, cuts)) continue;
    ++cases;
    PassContext cx;
    auto changed = pass_partition(*m, cx);
    EXPECT_TRUE(changed.ok()) << changed.error().to_string() << print_module(whole_module);
    if (!changed.ok()) return cases;
    EXPECT_TRUE(infer_graph(*m->main()).ok());
    auto got = test::run_main(*m, inputs);
    EXPECT_TRUE(got.ok()) << got.error().to_string() << "\n" << print_module(*m);
    if (!got.ok()) return cases;
    std::string differs = test::difference(*got, want, 3e-6);
    EXPECT_EQ(differs, "") << print_module(*m);
    if (!differs.empty()) return cases;
    if (cases > 1) continue;
    auto again = parse_module(print_module(*m));
    EXPECT_TRUE(again.ok()) << again.error().to_string() << print_module(*m);
  }
}

TEST(Rules, EveryCutOfEveryOpGivesTheSame) {
  constexpr int kLeastOfEach = 100;
  const int first = test::from_environment("WEFT_RANDOM_SEED", 1), draws = test::from_environment("WEFT_RANDOM_GRAPHS", 60);
  int cases = 0, shapes = 0;
  for (const Case& c : kCases) {
    int mine = 0;
    for (int seed = first; seed < first + draws && mine < kLeastOfEach; ++seed, ++shapes) {
      SCOPED_TRACE(std::string(c.name) + ", seed " + std::to_string(seed));
      const Drawn drawn(static_cast<uint64_t>(seed));
      auto m = module_of(c, drawn);
      ASSERT_TRUE(m);
      auto inputs = test::random_inputs(*m, static_cast<uint64_t>(seed), drawn.symbols(), drawn.value("r"));
      ASSERT_TRUE(inputs.ok());
      auto want = test::run_main(*m, *inputs);
      ASSERT_TRUE(want.ok()) << want.error().to_string() << print_module(*m);
      for (const auto& axes : kMeshes) mine += every_cut(*m, axes, *inputs, *want);
      if (HasFailure()) break;
    }
    EXPECT_GT(mine, 0) << c.name << " is never cut";
    cases += mine;
  }
  std::printf("sharding rules: %d cases of %zu ops in %d shapes\n", cases, std::size(kCases), shapes);
  EXPECT_GE(cases, 10000);
}

// Random graphs: whatever the search decides on, ranks give what one gives.
TEST(Rules, RandomGraphsGiveTheSame) {
  const char* const meshes[] = {"tp=2", "dp=2", "any=3", "dp=2,tp=2", "x=2,y=3"};
  const int first = test::from_environment("WEFT_RANDOM_SEED", 1), graphs = test::from_environment("WEFT_RANDOM_GRAPHS", 60);
  int shared = 0;
  for (int seed = first; seed < first + graphs && !HasFailure(); ++seed) {
    auto m = test::random_graph({.seed = static_cast<uint64_t>(seed), .integers = seed % 2 == 0});
    auto inputs = test::random_inputs(*m, static_cast<uint64_t>(seed));
    ASSERT_TRUE(inputs.ok());
    auto want = test::run_main(*m, *inputs);
    if (!want.ok()) continue;
    for (const char* mesh : meshes) {
      auto ranks = m->clone();
      PassContext cx;
      cx.target = *parse_target("cpu:x86-64-v3");
      cx.mesh = *parse_mesh(mesh);
      PipelineOptions o;
      o.passes = {"shard", "partition"};
      o.check_types = true;
      Status s = run_pipeline(*ranks, cx, o);
      ASSERT_TRUE(s.ok()) << "seed " << seed << ", " << mesh << ": " << s.error().to_string();
      auto got = test::run_main(*ranks, *inputs);
      ASSERT_TRUE(got.ok()) << "seed " << seed << ", " << mesh << ": " << got.error().to_string() << print_module(*ranks);
      ASSERT_EQ(test::difference(*got, *want, 2e-4), "") << "seed " << seed << ", " << mesh << print_module(*m) << print_module(*ranks);
      shared += print_module(*ranks).find("rank.") != std::string::npos;
    }
  }
  EXPECT_GT(shared, graphs);
}

TEST(Rules, AnOpWithoutOneIsReported) {
  auto m = parse_module(R"(weft.module 1 "t"
graph @main(%x: f32[8,8]) -> (a = %a, b = %b) {
  %y = add(%x, %x) loc("sum")
  %a = non_zero(%x) loc("first")
  %b = non_zero(%y) loc("second")
}
)");
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  PassContext cx;
  cx.mesh = *parse_mesh("tp=2");
  PipelineOptions o;
  o.passes = {"shard"};
  ASSERT_TRUE(run_pipeline(**m, cx, o).ok());
  EXPECT_EQ(cx.notes, std::vector<std::string>{"every rank computes all of non_zero (node \"first\", 2 in all): no rule shares it out"});
}

}  // namespace
}  // namespace weft
