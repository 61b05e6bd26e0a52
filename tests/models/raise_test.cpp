// What exporters spell out in simple ops is found again: attention with its mask and grouped heads, rotary embedding, norms.
#include <gtest/gtest.h>

#include "frontend/onnx/import.h"
#include "passes/pass_manager.h"

namespace weft {

namespace {

struct Spelled {
  const char* name;
  int attention, rotary, norms, gelu_or_swish;
};
void PrintTo(const Spelled& s, std::ostream* os) { *os << s.name; }

class Raised : public testing::TestWithParam<Spelled> {};
TEST_P(Raised, IsFound) {
  const Spelled& want = GetParam();
  auto m = import_onnx_file(std::string(WEFT_SOURCE_DIR) + "/tests/models/exports/" + want.name + "/model.onnx");
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  PassContext cx;
  cx.target = *parse_target("cpu:x86-64-v3");
  PipelineOptions o;
  o.stop_after = "partition";
  ASSERT_TRUE(run_pipeline(**m, cx, o).ok());
  std::map<OpKind, int> count;
  walk((*m)->main()[0], [&](Op* op) { ++count[op->kind]; });
  EXPECT_EQ(count[OpKind::attention], want.attention);
  EXPECT_EQ(count[OpKind::softmax], 0);
  EXPECT_EQ(count[OpKind::rotary_embedding], want.rotary);
  EXPECT_EQ(count[OpKind::layer_normalization] + count[OpKind::rms_normalization], want.norms);
  EXPECT_EQ(count[OpKind::gelu] + count[OpKind::swish], want.gelu_or_swish);
}
INSTANTIATE_TEST_SUITE_P(Exports, Raised,
                         testing::Values(Spelled{"llama", 2, 4, 5, 2}, Spelled{"bert", 2, 0, 5, 2}, Spelled{"vit", 2, 0, 5, 2},
                                         Spelled{"t5_encoder", 2, 0, 5, 0}, Spelled{"swin", 2, 0, 7, 2}, Spelled{"whisper_encoder", 2, 0, 5, 4}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace

}  // namespace weft
