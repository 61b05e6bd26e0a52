// compile(): from a path, bytes and a Module; what it says about the result; its errors.
#include <filesystem>

#include "tests/api/api_support.h"

namespace weft::api_test {
namespace {

const std::string kNodeCase = std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node/test_add/model.onnx";

std::string temporary(const std::string& name, const std::string& content) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

void expect_layer(const Executable& exe) {
  Context c = exe.context();
  float x[] = {1, 2, 3, -9, 0, 1};
  auto out = c.run({{"x", Tensor::view(x, {2, 3})}});
  ASSERT_TRUE(out.ok()) << out.error().to_string();
  EXPECT_EQ(floats((*out)["y"]), (std::vector<float>{4.5f, 0, 0, 0}));
  EXPECT_EQ(floats((*out)["sum"]), (std::vector<float>{4.5f, 0}));
}

TEST(Compile, FromATextFile) {
  auto exe = compile(temporary("layer.wir", layer_text()));
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  expect_layer(*exe);
}

TEST(Compile, FromBytesOfAText) { expect_layer(compiled(layer_text())); }

TEST(Compile, FromAModule) {
  auto module = parse_module(layer_text());
  ASSERT_TRUE(module.ok()) << module.error().to_string();
  auto exe = compile(std::move(*module));
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  expect_layer(*exe);
}

TEST(Compile, FromAnOnnxFileAndItsBytes) {
  auto from_file = compile(kNodeCase);
  ASSERT_TRUE(from_file.ok()) << from_file.error().to_string();
  std::string bytes = read_file(kNodeCase);
  auto from_bytes = compile(bytes_of(bytes));
  ASSERT_TRUE(from_bytes.ok()) << from_bytes.error().to_string();
  std::fill(bytes.begin(), bytes.end(), '\0');  // not needed any more
  for (const Executable& exe : {*from_file, *from_bytes}) {
    ASSERT_EQ(exe.inputs().size(), 2u);
    EXPECT_EQ(exe.inputs()[0].describe(), "x: f32[3,4,5]");
    Context c = exe.context();
    auto x = Tensor::of(std::vector<float>(60, 2), {3, 4, 5}), y = Tensor::of(std::vector<float>(60, 0.5f), {3, 4, 5});
    auto out = c.run({{"x", *x}, {"y", *y}});
    ASSERT_TRUE(out.ok()) << out.error().to_string();
    EXPECT_EQ(floats((*out)["sum"]), std::vector<float>(60, 2.5f));
  }
}

TEST(Compile, DescribesTheModel) {
  Executable exe = compiled(layer_text(), {.threads = 2});
  ASSERT_EQ(exe.inputs().size(), 1u);
  EXPECT_EQ(exe.inputs()[0].describe(), "x: f32[batch,3]");
  EXPECT_FALSE(exe.inputs()[0].dims[0].fixed());
  EXPECT_TRUE(exe.inputs()[0].dims[1].fixed());
  ASSERT_EQ(exe.outputs().size(), 2u);
  EXPECT_EQ(exe.outputs()[0].name, "y");
  EXPECT_EQ(exe.outputs()[1].describe(), "sum: f32[batch,1]");
  EXPECT_TRUE(exe.states().empty());
  EXPECT_EQ(exe.metadata().at("author"), "tests");
  EXPECT_EQ(exe.target().rfind("cpu:", 0), 0u);
  EXPECT_EQ(exe.threads(), 2);
  EXPECT_EQ(exe.plan_text().rfind("wplan 1", 0), 0u);
  const CompileStats& s = exe.stats();
  EXPECT_GT(s.kernels, 0);
  EXPECT_EQ(s.kernels, s.kernels_compiled + s.kernels_cached);
  EXPECT_GT(s.total_ms, 0);
  EXPECT_GE(s.commands, s.kernels);
  EXPECT_GT(s.code_bytes, 0);
  std::vector<std::string> stages;
  for (const auto& [stage, ms] : s.stage_ms) stages.push_back(stage);
  EXPECT_EQ(stages, (std::vector<std::string>{"import", "passes", "lower", "kernels", "load"}));
}

TEST(Compile, KernelsComeFromTheCacheTheSecondTime) {
  CompileOptions o{.cache_dir = testing::TempDir() + "weft-api-cache"};
  std::filesystem::remove_all(o.cache_dir);
  Executable first = compiled(layer_text(), o), second = compiled(layer_text(), o);
  EXPECT_EQ(first.stats().kernels_cached, 0);
  EXPECT_EQ(second.stats().kernels_compiled, 0);
  o.use_cache = false;
  EXPECT_EQ(compiled(layer_text(), o).stats().kernels_cached, 0);
}

// y = x * w, w large enough for its layout to be kept on disk.
Executable wide_layer(const CompileOptions& options, float last) {
  std::string values;
  for (int i = 0; i < 128 * 256 - 1; ++i) values += std::to_string(i % 7 - 3) + ".0, ";
  const std::string text = "weft.module 1 \"wide\"\nconst @w : f32[128,256] = [" + values + std::to_string(last) + "]\n" +
                           "graph @main(%x: f32[8,128]) -> (y = %y) {\n  %w = constant @w : f32[128,256]\n" +
                           "  %y = contract(%x, %w) {spec=\"mk,kn->mn\"} : f32[8,256]\n}\n";
  return compiled(text, options);
}

std::vector<float> of_ones(const Executable& exe) {
  Context c = exe.context();
  auto x = Tensor::of(std::vector<float>(8 * 128, 1), {8, 128});
  auto out = c.run({{"x", *x}});
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  return out.ok() ? floats((*out)["y"]) : std::vector<float>();
}

TEST(Compile, PreparedWeightsComeFromTheCacheTheSecondTime) {
  CompileOptions o{.cache_dir = testing::TempDir() + "weft-api-weights"};
  std::filesystem::remove_all(o.cache_dir);
  Executable first = wide_layer(o, 2), second = wide_layer(o, 2), other = wide_layer(o, 9);
  EXPECT_GT(first.stats().prepared_bytes, 128 * 256 * 4 - 1);
  EXPECT_EQ(first.stats().prepared_cached_bytes, 0);
  EXPECT_EQ(second.stats().prepared_bytes, 0);
  EXPECT_EQ(second.stats().prepared_cached_bytes, first.stats().prepared_bytes);
  EXPECT_EQ(other.stats().prepared_cached_bytes, 0);  // other contents
  EXPECT_EQ(of_ones(first), of_ones(second));
  EXPECT_EQ(of_ones(first).back() + 7, of_ones(other).back());
  // A changed byte is a miss, not other numbers.
  for (const auto& file : std::filesystem::directory_iterator(o.cache_dir + "/weights")) {
    std::fstream f(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(-3, std::ios::end);
    f.put('!');
  }
  Executable again = wide_layer(o, 2);
  EXPECT_EQ(again.stats().prepared_cached_bytes, 0);
  EXPECT_EQ(of_ones(first), of_ones(again));
  o.use_cache = false;
  EXPECT_EQ(wide_layer(o, 2).stats().prepared_cached_bytes, 0);
}

TEST(Compile, LowerLevelsComputeTheSame) {
  for (int level : {0, 1, 2, 3}) expect_layer(compiled(layer_text(), {.opt_level = level}));
  expect_layer(compiled(layer_text(), {.target = "cpu:x86-64-v2"}));
}

TEST(Compile, DumpsThePasses) {
  const std::string folder = testing::TempDir() + "weft-api-dump";
  std::filesystem::remove_all(folder);
  compiled(layer_text(), {.dump_ir = folder});
  EXPECT_TRUE(parse_module(read_file(folder + "/000_input.wir"), folder).ok());
}

TEST(Compile, ErrorsOfOptions) {
  EXPECT_ERROR(compile("no/such/file.onnx"), kUsage);
  EXPECT_ERROR(compile(temporary("x.weft", "weft")), kInvalidModel);
  auto bad_target = compile(bytes_of(layer_text()), {.target = "tpu"});
  EXPECT_ERROR(bad_target, kUsage);
  EXPECT_ERROR(compile(bytes_of(layer_text()), {.target = "eval"}), kUnsupported);
  // Types as the user knows them: the layouts that passes chose are ours.
  Result<Executable> strings = compile(bytes_of("weft.module 1 \"s\"\ngraph @main(%x: str[n]) -> (y = %y) {\n  %y = identity(%x) : str[n]\n}\n"));
  ASSERT_FALSE(strings.ok());
  EXPECT_EQ(strings.error().code, Code::kUnsupported);
  EXPECT_NE(strings.error().message.find("str[n]"), std::string::npos) << strings.error().message;
  EXPECT_EQ(strings.error().message.find('{'), std::string::npos) << strings.error().message;
  EXPECT_ERROR(compile(bytes_of(layer_text()), {.threads = 5000}), kUsage);
  auto pass = compile(bytes_of(layer_text()), {.disabled_passes = {"no-such-pass"}});
  EXPECT_ERROR(pass, kUsage);
  EXPECT_NE(pass.error().hint.find("--list-passes"), std::string::npos);
}

TEST(Compile, ErrorsOfModels) {
  EXPECT_ERROR(compile(bytes_of("this is no model")), kInvalidModel);
  EXPECT_ERROR(compile(bytes_of("")), kInvalidModel);
  auto text = compile(bytes_of("weft.module 1 \"x\"\ngraph @main(%x: f32[2]) -> (y = %z) {\n}\n"));
  EXPECT_ERROR(text, kInvalidModel);
  EXPECT_GE(text.error().offset, 0);
  std::string cut = read_file(kNodeCase);
  cut.resize(cut.size() - 7);
  EXPECT_ERROR(compile(bytes_of(cut)), kInvalidModel);
}

TEST(Compile, AnUnwritableCacheIsAWarning) {
  std::vector<std::string> lines;
  CompileOptions o{.cache_dir = "/proc/weft-cannot-be-made"};
  o.log = [&](LogLevel level, const std::string& text) {
    if (level == LogLevel::warning) lines.push_back(text);
  };
  expect_layer(compiled(layer_text(), o));
  EXPECT_EQ(lines.size(), 1u);
}

}  // namespace
}  // namespace weft::api_test
