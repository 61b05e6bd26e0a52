// The shape of each verb's JSON. A field that goes or changes its type needs a new schema number.
#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

json run_json(const std::string& command, const std::string& folder = WEFT_SOURCE_DIR) {
  Outcome o = shell(command, folder);
  json j = o.parsed();
  EXPECT_FALSE(j.is_discarded()) << command << "\n" << o.out << o.err;
  return j.is_discarded() ? json::object() : j;
}

void expect_numbers(const json& j, std::initializer_list<const char*> keys) {
  for (const char* k : keys) {
    ASSERT_TRUE(j.contains(k)) << k << " is missing in " << j.dump();
    EXPECT_TRUE(j[k].is_number()) << k << " = " << j[k];
  }
}

struct JsonOf : testing::Test {
  std::string folder = fresh_folder(), model = write_layer(folder);
};

TEST_F(JsonOf, Run) {
  json j = run_json("weft run " + model + " --json --input 'x=[[1,2,3]]'");
  EXPECT_EQ(j["schema"], "weft.run/1");
  EXPECT_EQ(j["target"].get<std::string>().rfind("cpu:", 0), 0u);
  expect_numbers(j, {"compile_ms", "run_ms"});
  ASSERT_EQ(j["outputs"].size(), 1u);
  const json& y = j["outputs"][0];
  EXPECT_EQ(y["name"], "y");
  EXPECT_EQ(y["dtype"], "f32");
  EXPECT_EQ(y["dims"], json({1, 2}));
  EXPECT_EQ(y["values"], json({4.0, 0.0}));
  EXPECT_EQ(run_json("weft run " + model + " --json --target eval --input 'x=[[1,2,3]]'")["outputs"], j["outputs"]);
}

TEST_F(JsonOf, Bench) {
  json j = run_json("weft bench " + model + " --json --iterations 20 --warmup 2 --profile --threads 1");
  EXPECT_EQ(j["schema"], "weft.bench/1");
  expect_numbers(j["latency_ms"], {"min", "mean", "median", "p90", "p99", "max"});
  expect_numbers(j, {"throughput_per_s", "compile_ms", "threads", "iterations", "warmup", "concurrency", "duration_s"});
  EXPECT_EQ(j["iterations"], 20);
  EXPECT_EQ(j["threads"], 1);
  EXPECT_LE(j["latency_ms"]["min"], j["latency_ms"]["median"]);
  EXPECT_LE(j["latency_ms"]["median"], j["latency_ms"]["p99"]);
  EXPECT_GT(j["profile"]["roof"]["flops_per_s"], 1e8);
  ASSERT_FALSE(j["profile"]["kernels"].empty());
  expect_numbers(j["profile"]["kernels"][0], {"calls", "total_ms", "share", "flops", "bytes"});
}

TEST_F(JsonOf, BenchOfSeveralWorkersAndTheEvaluator) {
  json j = run_json("weft bench " + model + " --json --iterations 20 --concurrency 3 --threads 1");
  EXPECT_EQ(j["iterations"], 60);
  EXPECT_EQ(j["concurrency"], 3);
  json n = run_json("weft bench " + model + " --json --iterations 5 --threads 1 --no-transfers");
  expect_numbers(n, {"queued_ms", "calling_ms"});
  EXPECT_GT(n["queued_ms"].get<double>(), 0);
  EXPECT_FALSE(j.contains("queued_ms"));
  EXPECT_EQ(shell("weft bench " + model + " --no-transfers --target eval").code, 2);
  json e = run_json("weft bench " + model + " --json --iterations 5 --target eval");
  EXPECT_EQ(e["target"], "eval");
  EXPECT_EQ(e["iterations"], 5);
}

TEST_F(JsonOf, Trace) {
  EXPECT_EQ(shell("weft bench " + model + " --iterations 3 --trace " + folder + "/trace.json").code, 0);
  json j = json::parse(read_text(folder + "/trace.json"), nullptr, false);
  ASSERT_FALSE(j.is_discarded());
  ASSERT_FALSE(j["traceEvents"].empty());
  for (const json& e : j["traceEvents"]) {
    EXPECT_EQ(e["ph"], "X");
    expect_numbers(e, {"ts", "dur", "pid", "tid"});
    EXPECT_GE(e["dur"], 0);
  }
}

TEST_F(JsonOf, Compile) {
  json j = run_json("weft compile " + model + " --json --shapes x=4x3");
  EXPECT_EQ(j["schema"], "weft.compile/1");
  EXPECT_EQ(j["inputs"][0]["dims"], json({4, 3}));
  expect_numbers(j["stats"], {"total_ms", "kernels", "kernels_compiled", "kernels_cached", "commands", "code_bytes", "constant_bytes", "arena_bytes",
                              "max_live_bytes"});
  for (const char* stage : {"import", "passes", "lower", "kernels", "load"}) EXPECT_TRUE(j["stats"]["stage_ms"].contains(stage)) << stage;
}

TEST_F(JsonOf, Inspect) {
  json j = run_json("weft inspect " + model + " --json");
  EXPECT_EQ(j["schema"], "weft.inspect/1");
  EXPECT_EQ(j["inputs"][0]["dims"], json({"batch", 3}));
  EXPECT_EQ(j["ops"]["relu"], 1);
  EXPECT_EQ(j["parameters"]["elements"], 6);
  EXPECT_EQ(j["parameters"]["bytes"], 24);
  EXPECT_NE(j["flops"]["expression"].get<std::string>().find("batch"), std::string::npos);
  EXPECT_EQ(j["flops"]["at"]["batch"], 1);
  expect_numbers(j["flops"], {"value"});
  EXPECT_EQ(j["metadata"]["author"], "tests");
  json onnx = run_json("weft inspect " + node_case("test_add") + "/model.onnx --json");
  EXPECT_EQ(onnx["operators"]["Add"], 1);
  EXPECT_TRUE(onnx["opsets"]["ai.onnx"].is_number());
  expect_numbers(onnx, {"ir_version", "functions"});
}

TEST_F(JsonOf, Verify) {
  const std::string sub = node_case("test_sub"), add = node_case("test_add");
  json j = run_json("weft verify --json " + add + " " + sub + " " + model);
  EXPECT_EQ(j["schema"], "weft.verify/1");
  EXPECT_EQ(j["summary"], json({{"passed", 3}, {"failed", 0}, {"unsupported", 0}, {"skipped", 0}}));
  ASSERT_EQ(j["cases"].size(), 3u);
  EXPECT_EQ(j["cases"][0]["name"], "test_add");
  EXPECT_EQ(j["cases"][2]["name"], "layer.wir");
  for (const json& c : j["cases"]) {
    EXPECT_EQ(c["status"], "passed") << c["reason"];
    expect_numbers(c, {"max_abs", "max_rel", "ms"});
  }
}

TEST_F(JsonOf, Opt) {
  json j = run_json("weft opt " + model + " --json -o " + folder + "/out.wir");
  EXPECT_EQ(j["schema"], "weft.opt/1");
  ASSERT_FALSE(j["runs"].empty());
  expect_numbers(j["runs"][0], {"ms", "ops_before", "ops_after"});
  json passes = run_json("weft opt --list-passes --json");
  ASSERT_FALSE(passes["passes"].empty());
  EXPECT_TRUE(passes["passes"][0]["name"].is_string());
}

TEST_F(JsonOf, Cache) {
  const std::string at = " --cache-dir " + folder + "/cache";
  EXPECT_EQ(run_json("weft cache --json" + at)["kernels"]["entries"], 0);
  EXPECT_EQ(shell("weft run " + model + at).code, 0);
  json j = run_json("weft cache --json" + at);
  EXPECT_EQ(j["schema"], "weft.cache/1");
  for (const char* section : {"kernels", "weights"}) expect_numbers(j[section], {"entries", "bytes", "limit_bytes"});
  EXPECT_GT(j["kernels"]["entries"], 0);
  json list = run_json("weft cache list --json" + at);
  ASSERT_EQ(list["entries"].size(), j["kernels"]["entries"].get<size_t>() + j["weights"]["entries"].get<size_t>());
  json show = run_json("weft cache show " + list["entries"][0]["entry"].get<std::string>() + " --json" + at);
  EXPECT_FALSE(show["parts"].empty());
  EXPECT_EQ(run_json("weft cache clear --json" + at)["kernels"]["removed_entries"], j["kernels"]["entries"]);
}

TEST_F(JsonOf, Doctor) {
  json j = run_json("weft doctor --json");
  EXPECT_EQ(j["schema"], "weft.doctor/1");
  for (const char* key : {"weft", "cpu", "target", "auto", "memory", "llvm", "cache", "onnx", "protobuf", "cuda", "nvrtc", "nccl", "mpi"})
    EXPECT_TRUE(j["findings"][key].contains("ok")) << key;
  EXPECT_EQ(j["findings"]["onnx"]["value"].get<std::string>().rfind("1.22", 0), 0u);
  for (const char* key : {"cuda", "nvrtc", "nccl", "mpi"})
    EXPECT_TRUE(j["findings"][key]["ok"] == true || j["findings"][key].contains("fix")) << key;
}

TEST_F(JsonOf, Errors) {
  Outcome o = shell("weft run " + model + " --json --input z=1");
  EXPECT_EQ(o.code, 2);
  json j = o.parsed();
  ASSERT_FALSE(j.is_discarded()) << o.out;
  EXPECT_EQ(j["schema"], "weft.run/1");
  EXPECT_EQ(j["error"]["exit_code"], 2);
  for (const char* key : {"code", "message", "hint"}) EXPECT_TRUE(j["error"][key].is_string()) << key;
}

TEST_F(JsonOf, IntoAFile) {
  Outcome o = shell("weft inspect " + model + " --json=" + folder + "/facts.json");
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(o.out.empty());
  EXPECT_EQ(json::parse(read_text(folder + "/facts.json"))["schema"], "weft.inspect/1");
}

}  // namespace
}  // namespace weft::cli_test
