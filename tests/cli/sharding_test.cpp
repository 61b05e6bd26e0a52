// --shard and --shardings: what they do to a model, and what is said of wrong ones.
#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

struct Shard : testing::Test {
  std::string folder = fresh_folder(), model = folder + "/mlp.wir";
  Shard() {
    std::ofstream(model) << R"(weft.module 1 "mlp"
const @w : f32[64,256] = splat(0.01)
const @v : f32[256,64] = splat(0.02)
graph @main(%x: f32[4,64]) -> (y = %y) {
  %up.weight = constant @w : f32[64,256]
  %down.weight = constant @v : f32[256,64]
  %p = contract(%x, %up.weight) {spec="mk,kn->mn"} : f32[4,256] loc("up")
  %q = relu(%p) : f32[4,256] loc("act")
  %y = contract(%q, %down.weight) {spec="mk,kn->mn"} : f32[4,64] loc("down")
}
)";
  }
  Outcome opt(const std::string& options) { return shell("weft opt " + model + " --quiet --stop-after shard " + options); }
  std::string error(const std::string& options) {
    Outcome o = opt(options);
    EXPECT_EQ(o.code, 2) << o.out << o.err;
    return o.err;
  }
};
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(Shard, CutsWhatThePatternMatches) {
  for (const std::string cut : {"'*.weight=0:tp'", "'up.*=-2:tp' --shard 'down*=0:tp'"}) {
    Outcome o = opt("--tp 2 --shard " + cut);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(has(o.out, ": f32[4,256] shard(mesh:[_,_],partial=[tp]) loc(\"up\"")) << o.out;
  }
  std::ofstream(folder + "/s.json") << R"({"schema": "weft.shardings/1", "shardings": {"*.weight": "0:tp"}})";
  Outcome o = opt("--tp 2 --shardings " + folder + "/s.json");
  EXPECT_TRUE(has(o.out, "partial=[tp]) loc(\"up\"")) << o.out << o.err;
  o = shell("weft run " + model + " --tp 2 --seed 3 --shard '*.weight=0:tp' --target cpu --json");
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(Shard, WrongOnesAreErrors) {
  EXPECT_TRUE(has(error("--shard '*.weight=0:tp'"), "there is none"));  // no mesh
  EXPECT_TRUE(has(error("--tp 2 --shard 'nothing*=0:tp'"), "no tensor is called \"nothing*\""));
  EXPECT_TRUE(has(error("--tp 2 --shard 'q=2:tp'"), "\"q\" has no dim 2, it is f32[4,256]"));
  EXPECT_TRUE(has(error("--tp 2 --shard 'q=0:ep'"), "names axis ep; the mesh is tp=2"));
  EXPECT_TRUE(has(error("--tp 2 --shard 'q=0:tp,1:tp'"), "names axis tp twice"));
  for (const char* wrong : {"q", "=0:tp", "q=", "q=tp", "q=0:", "q=0:tp,", "q=1.5:tp"})
    EXPECT_TRUE(has(error("--tp 2 --shard '" + std::string(wrong) + "'"), "DIM:AXIS"));
  const std::string both = error("--tp 2 --shard 'up.weight=0:tp' --shard '*.weight=1:tp'");
  EXPECT_TRUE(has(both, "(--shard up.weight=0:tp) contradicts") && has(both, "(--shard *.weight=1:tp)")) << both;
  for (const char* text : {"[]", "{}", R"({"schema": "weft.shardings/2"})", R"({"schema": "weft.shardings/1", "shardings": {"q": 1}})",
                           R"({"schema": "weft.shardings/1", "shardings": {}, "more": 1})"}) {
    std::ofstream(folder + "/s.json") << text;
    EXPECT_TRUE(has(error("--tp 2 --shardings " + folder + "/s.json"), folder + "/s.json")) << text;
  }
}

TEST_F(Shard, UnevenPartsAreKept) {
  Outcome o = opt("--tp 3 --shard 'x=0:tp'");  // four rows on three ranks
  EXPECT_EQ(o.code, 0) << o.err;
}

// The graph behind `shard`, which may have other annotations, notes and mesh names above it.
std::string graph_of(const std::string& command) {
  Outcome o = shell("weft opt " + command + " --stop-after shard --quiet");
  EXPECT_EQ(o.code, 0) << o.err;
  const size_t at = o.out.find("graph @main");
  return at == std::string::npos ? "" : o.out.substr(at);
}
class WriteOnnx : public testing::TestWithParam<const char*> {};
TEST_P(WriteOnnx, IsReadBackToTheSame) {
  const std::string folder = fresh_folder(), source = WEFT_SOURCE_DIR "/tests/models/shared/" + std::string(GetParam()) + "/", model = source + "model.onnx";
  fs::copy(source, folder, fs::copy_options::recursive);
  for (const std::string mesh : {"--tp 2", "--dp 2", "--mesh dp=2,tp=2", "--mesh a=2,b=2", "--pp 2", "--mesh pp=2,tp=2"}) {
    Outcome o = shell("weft plan " + folder + "/model.onnx " + mesh + " --write-onnx " + folder + "/annotated.onnx --json");
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(o.parsed()["shardings"].is_array()) << o.out;
    const std::string text = graph_of(model + " " + mesh);
    EXPECT_TRUE(has(text, "shard("));
    EXPECT_EQ(graph_of(folder + "/annotated.onnx"), text) << mesh;
  }
  fs::rename(folder + "/annotated.onnx", folder + "/model.onnx");
  Outcome o = shell("weft verify " + folder + " --target cpu");
  EXPECT_EQ(o.code, 0) << o.out << o.err;
  EXPECT_TRUE(has(o.err, "mesh pp=2,tp=2, of the model's annotations")) << o.err;
}
INSTANTIATE_TEST_SUITE_P(Shared, WriteOnnx, testing::Values("bert_ts17", "llama_dynamo23", "vit_tiny_dynamo"),
                         [](const auto& info) { return std::string(info.param); });

TEST(WriteOnnxFile, OfAPlannedMeshAndWhereItMayLie) {
  const std::string folder = fresh_folder(), model = WEFT_SOURCE_DIR "/tests/models/shared/bert_ts17/model.onnx", out = folder + "/a.onnx";
  Outcome o = shell("weft plan " + model + " --devices 4 --device-table h100x8 --batch 8 --write-onnx " + out);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(has(o.out, "the fastest that fits"));
  o = shell("weft plan " + out);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(has(o.out, "mesh  dp=4\n")) << o.out;
  // Said in the axes of another mesh of four.
  o = shell("weft plan " + out + " --mesh a=2,b=2 --json");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(has(o.out, "\"a\"")) << o.out;
  o = shell("weft plan " + model + " --tp 2 --write-onnx " + folder + "/none/a.onnx");
  EXPECT_EQ(o.code, 5) << o.err;
}

TEST(OnnxIr, AnnotatedModelsRun) {
  const std::string verify = "weft verify " WEFT_SOURCE_DIR "/tests/models/annotated/mlp --target cpu";
  for (const std::string name : {"grid", "line", "none"}) {
    Outcome o = shell(verify + " --configuration " + name);
    EXPECT_EQ(o.code, 0) << o.out << o.err;
    EXPECT_EQ(has(o.err, "of the model's annotations"), name != "none") << o.err;
  }
  Outcome o = shell("weft opt " WEFT_SOURCE_DIR "/tests/models/annotated/mlp/model.onnx --tp 2 --configuration line");
  EXPECT_EQ(o.code, 2) << o.err;
  o = shell(verify);
  EXPECT_EQ(o.code, 2) << o.out << o.err;
  EXPECT_TRUE(has(o.out + o.err, "\"grid\" (4 devices), \"line\" (2 devices)")) << o.err;
}

}  // namespace
}  // namespace weft::cli_test
