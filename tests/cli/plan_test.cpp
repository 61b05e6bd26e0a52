// weft plan: its JSON and tables, options that do not fit, and the verbs that take the mesh it chooses.
#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

// y = relu(x * w) * v, with an open batch.
std::string write_mlp(const std::string& folder) {
  const std::string path = folder + "/mlp.wir";
  std::ofstream(path) << R"(weft.module 1 "mlp"
const @w : f32[64,256] = splat(0.01)
const @v : f32[256,64] = splat(0.02)
graph @main(%x: f32[batch,64]) -> (y = %y) {
  %w = constant @w : f32[64,256]
  %v = constant @v : f32[256,64]
  %p = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch,256] loc("up")
  %q = relu(%p) : f32[batch,256] loc("act")
  %y = contract(%q, %v) {spec="mk,kn->mn"} : f32[batch,64] loc("down")
}
)";
  return path;
}

struct Plan : testing::Test {
  std::string folder = fresh_folder(), model = write_mlp(folder);
};

TEST_F(Plan, Json) {
  Outcome o = shell("weft plan " + model + " --devices 4 --device-table h100x8 --batch 8 --json");
  EXPECT_EQ(o.code, 0) << o.err;
  json j = o.parsed();
  ASSERT_FALSE(j.is_discarded()) << o.out;
  EXPECT_EQ(j["schema"], "weft.plan/1");
  EXPECT_EQ(j["device_table"], "h100x8");
  EXPECT_EQ(j["at"], json({{"batch", 8}}));
  EXPECT_TRUE(j["mesh"].is_string());
  ASSERT_EQ(j["candidates"].size(), 10u);  // products of dp, pp, ep and tp
  for (const char* key : {"greedy", "one_device"}) EXPECT_TRUE(j[key]["mesh"].is_object()) << key;
  double before = 0;
  int possible = 0;
  for (const json& c : j["candidates"]) {
    if (!c["possible"].get<bool>()) {
      EXPECT_TRUE(c["why"].is_string()) << c.dump();
      continue;
    }
    ++possible;
    EXPECT_TRUE(c["fits"].get<bool>());
    EXPECT_GE(c["seconds"].get<double>(), before);
    before = c["seconds"];
    auto seconds = [&](const char* what) { return c[what].get<double>(); };
    EXPECT_NEAR(seconds("seconds"), seconds("compute_s") + seconds("exchange_s") - seconds("hidden_s") + seconds("waves_s"), 1e-12);
    for (const char* part : {"bytes", "weights", "states", "activations"}) EXPECT_TRUE(c["memory"][part].is_number()) << part;
    double parts = 0;
    for (const json& p : c["compute"]) parts += p["seconds"].get<double>();
    EXPECT_NEAR(parts, c["compute_s"].get<double>(), 1e-12);
    const int64_t tp = c["mesh"].value("tp", 1);
    if (c["mesh"].value("pp", 1) > 1) continue;
    EXPECT_NEAR(c["memory"]["weights"].get<double>(), 4.0 * 2 * 64 * 256 / static_cast<double>(tp), 0.1) << c.dump();
  }
  EXPECT_GE(possible, 3);
}

TEST_F(Plan, Text) {
  Outcome o = shell("weft plan " + model + " --devices 8 --device-table h100x8 --batch 6 --explain");
  EXPECT_EQ(o.code, 0) << o.err;
  for (const char* part : {"devices   h100x8 (NVIDIA H100", "batch = 6", "dp=8 for a batch of 6", "the fastest that fits", "greedy: ", "one device",
                           "products", "all_reduce"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part << "\n" << o.out;
  EXPECT_NE(shell("weft plan --list-tables").out.find("h200x8-2hosts\n"), std::string::npos);
}

TEST_F(Plan, ATableOfOnesOwn) {
  std::ofstream(folder + "/tiny.json") << R"({"schema": "weft.device-table/1", "device": "tiny", "source": "none", "flops_per_s": {"f32": 1e9},
    "memory_bytes": 1000, "memory_bytes_per_s": 1e9, "launch_s": 0, "links": [{"name": "wire", "joins": 2, "start_s": 0, "step_s": 0, "bytes_per_s": 1e6}]})";
  Outcome o = shell("weft plan " + model + " --devices 2 --device-table " + folder + "/tiny.json --explain");
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_NE(o.out.find("does not fit: "), std::string::npos) << o.out;
  std::ofstream(folder + "/bad.json") << "{\"schema\": \"weft.device-table/9\"}";
  o = shell("weft plan " + model + " --devices 2 --device-table " + folder + "/bad.json");
  EXPECT_EQ(o.code, 2);
  EXPECT_NE(o.err.find("bad.json: schema must be"), std::string::npos) << o.err;
}

TEST_F(Plan, WhatIsAskedOfTensorsHolds) {
  Outcome o = shell("weft plan " + model + " --devices 2 --device-table h100x8 --batch 512 --shard w=1:tp --explain");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("mesh      tp=2\n"), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("--shard w=1:tp"), std::string::npos) << o.out;  // why dp=2 is out
}

TEST_F(Plan, OptionsThatDoNotFit) {
  EXPECT_EQ(shell("weft plan " + model).code, 2);
  EXPECT_EQ(shell("weft plan " + model + " --devices 2 --tp 2").code, 2);
  EXPECT_EQ(shell("weft plan " + model + " --devices 2 --at nobody=3").code, 2);
  EXPECT_EQ(shell("weft plan " + model + " --devices 2 --at batch").code, 2);
  EXPECT_EQ(shell("weft plan " + model + " --devices 9 --device-table h100x8").code, 2);
  EXPECT_EQ(shell("weft run " + model + " --devices 2").code, 2);
}

// 141 GB and 1.3 TB of weights, which are not there.
TEST_F(Plan, LargeModelsAreSoonPlanned) {
  struct Case {
    std::string name, options;
    int64_t devices;
  };
  for (const Case& c : {Case{"llama-70b", "--device-table h100x8 --batch 16", 8}, Case{"deepseek-671b", "--device-table h200x8-2hosts --batch 32", 16}}) {
    Outcome made = shell("tools/bench/make_models " + c.name + " " + folder + "/large.onnx --batch batch --no-weights");
    ASSERT_EQ(made.code, 0) << made.err;
    Outcome o = shell("weft plan " + folder + "/large.onnx --state auto --target cuda:sm_90a --at past=2048,sequence=1 --json --devices " +
                      std::to_string(c.devices) + " " + c.options);
    ASSERT_EQ(o.code, 0) << o.err;
    json j = o.parsed();
    int64_t ranks = 1;
    for (const json& size : j["candidates"][0]["mesh"]) ranks *= size.get<int64_t>();
    EXPECT_EQ(ranks, c.devices);
    EXPECT_LE(j["candidates"][0]["memory"]["bytes"], j["device_bytes"]);
    EXPECT_FALSE(j["one_device"]["fits"].get<bool>());
    EXPECT_LT(j["planning_s"].get<double>(), 30) << c.name;  // a second or two where nothing else runs
  }
}

// What a rank takes without the others, and what is expected of all of them.
TEST_F(Plan, ARankAlone) {
  const std::string bench = "weft bench " + model + " --alone --shapes x=4x64 --threads 1 --iterations 5 --target cpu ";
  Outcome o = shell(bench + "--tp 4 --json");
  ASSERT_EQ(o.code, 0) << o.err;
  const json a = o.parsed()["alone"];
  EXPECT_GT(a["exchange_ms"].get<double>(), 0);
  EXPECT_EQ(a["hidden_ms"], 0);  // not on a CPU
  EXPECT_DOUBLE_EQ(a["together_ms"].get<double>(), o.parsed()["latency_ms"]["median"].get<double>() + a["exchange_ms"].get<double>());
  EXPECT_GT(a["predicted_ms"].get<double>(), a["exchange_ms"].get<double>());
  o = shell(bench + "--pp 2");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("the planner expects"), std::string::npos) << o.out;
  EXPECT_EQ(shell(bench).code, 2);
  ASSERT_EQ(shell("weft compile " + model + " --tp 2 -o " + folder + "/two.weft").code, 0);
  o = shell("weft bench " + folder + "/two.weft --alone");
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_NE(o.err.find("not what was compiled of it"), std::string::npos) << o.err;
}

TEST_F(Plan, VerbsTakeTheMesh) {
  Outcome o = shell("weft verify " + model + " --parallel auto --devices 2 --shapes x=4x64 --threads 2");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("mesh "), std::string::npos) << o.err;
  o = shell("weft opt " + model + " --parallel auto --devices 2 --device-table h20x2-pcie-x8 --batch 64 --json -o " + folder + "/out.wir");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(read_text(folder + "/out.wir").find("mesh @mesh = "), std::string::npos);
}

}  // namespace
}  // namespace weft::cli_test
