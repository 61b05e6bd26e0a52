// What verbs write and read besides JSON: files, texts that can be fed back, help.
#include <sys/resource.h>

#include <regex>
#include <sstream>

#include "runtime/artefact/artefact.h"
#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

struct Verbs : testing::Test {
  std::string folder = fresh_folder(), model = write_layer(folder);
  Outcome weft(const std::string& line) { return shell("weft " + line, folder); }
};

TEST_F(Verbs, FilesThereAndBack) {
  ASSERT_EQ(weft("run layer.wir --shapes x=2x3 --seed 5 --output y=@y.npy --save-outputs all.npz").code, 0);
  // y is an input of another model.
  std::ofstream(folder + "/negate.wir")
      << "weft.module 1 \"negate\"\ngraph @main(%y: f32[2,2]) -> (z = %z) {\n  %z = neg(%y) : f32[2,2] loc(\"Neg_0\")\n}\n";
  json a = weft("run negate.wir --input y=@y.npy --json").parsed(), b = weft("run negate.wir --input y=@all.npz:y --json").parsed();
  EXPECT_EQ(a["outputs"], b["outputs"]);
  ASSERT_EQ(weft("run negate.wir --input y=@y.npy --output z=@z.pb").code, 0);
  std::ofstream(folder + "/same.wir")
      << "weft.module 1 \"same\"\ngraph @main(%z: f32[2,2]) -> (y = %y) {\n  %y = neg(%z) : f32[2,2] loc(\"Neg_0\")\n}\n";
  ASSERT_EQ(weft("run same.wir --input z=@z.pb --output y=@back.npy").code, 0);
  EXPECT_EQ(read_text(folder + "/back.npy"), read_text(folder + "/y.npy"));
}

TEST_F(Verbs, TheSameSeedGivesTheSameNumbers) {
  std::string a = weft("run layer.wir --seed 5").out, b = weft("run layer.wir --seed 5").out, c = weft("run layer.wir --seed 6").out;
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST_F(Verbs, RunPrintsValuesAndSummaries) {
  Outcome few = weft("run layer.wir --input 'x=[[1,2,3]]'"), many = weft("run layer.wir --shapes x=100x3");
  EXPECT_NE(few.out.find("y: f32[1,2]"), std::string::npos) << few.out;
  EXPECT_NE(few.out.find("[[4, 0]]"), std::string::npos) << few.out;
  EXPECT_NE(many.out.find("mean"), std::string::npos) << many.out;
}

TEST_F(Verbs, CompileWritesTexts) {
  EXPECT_EQ(weft("compile layer.wir --emit wir").out.rfind("weft.module 1", 0), 0u);
  EXPECT_EQ(weft("compile layer.wir --emit wplan").out.rfind("wplan 1", 0), 0u);
  EXPECT_NE(weft("compile layer.wir --emit wkernel").out.find("kernel"), std::string::npos);
  ASSERT_EQ(weft("compile layer.wir -o texts").code, 0);
  EXPECT_TRUE(fs::exists(folder + "/texts/layer.wir"));
  EXPECT_TRUE(fs::exists(folder + "/texts/layer.wplan"));
  EXPECT_FALSE(fs::is_empty(folder + "/texts/kernels"));
  // The module after the passes compiles to the same numbers.
  EXPECT_EQ(weft("run texts/layer.wir --seed 3").out, weft("run layer.wir --seed 3").out);
  ASSERT_EQ(weft("compile layer.wir -o one.wplan").code, 0);
  EXPECT_EQ(read_text(folder + "/one.wplan"), read_text(folder + "/texts/layer.wplan"));
  Outcome stats = weft("compile layer.wir --stats");
  for (const char* word : {"import", "kernels", "arena", "alive", "commands"}) EXPECT_NE(stats.out.find(word), std::string::npos) << word;
}

// The module comes back out of a compiled model: its weights are in the file, or named as they lie beside the model.
TEST_F(Verbs, ModulesOfArtefacts) {
  std::string numbers;
  for (int i = 0; i < 64 * 64; ++i) numbers += (i ? ", " : "") + std::to_string(i % 13 - 6) + ".0";
  std::ofstream(folder + "/wide.wir") << "weft.module 1 \"wide\"\nconst @w : f32[64,64] = [" + numbers + R"(]
graph @main(%x: f32[batch,64]) -> (y = %y) {
  %w = constant @w : f32[64,64]
  %y = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch,64] loc("MatMul_0")
}
)";
  ASSERT_EQ(shell("mkdir sub && weft opt wide.wir --passes=eliminate-identity -o sub/wide.wir", folder).code, 0);  // weights in a file
  const std::string expected = weft("run wide.wir --seed 3 --target cpu").out, parts = "parts/cpu_x86-64-v3/model.wir";
  for (const char* how : {"--prepared none", "--prepared none --weights external", "--prepared all"}) {
    const bool beside = std::string(how) == "--prepared all";
    ASSERT_EQ(weft("compile sub/wide.wir --target cpu -o " + std::string(beside ? "sub/" : "") + "wide.weft " + how).code, 0);
    const json extracted = weft("extract " + std::string(beside ? "sub/" : "") + "wide.weft -o parts --json").parsed();
    EXPECT_EQ(extracted["weights_elsewhere"], json::array()) << how;
    const Outcome run = weft("run " + parts + " --seed 3 --target cpu");
    EXPECT_EQ(run.out, expected) << how << run.err;
  }
  // Away from the model's files.
  ASSERT_EQ(shell("mv sub/wide.weft alone.weft", folder).code, 0);
  EXPECT_EQ(weft("extract alone.weft -o parts --json").parsed()["weights_elsewhere"], json::array({"w"}));
  EXPECT_NE(weft("extract alone.weft -o parts").err.find("1 weights, w first"), std::string::npos);
  EXPECT_NE(weft("run " + parts).code, 0);
  const Outcome shown = weft("inspect alone.weft --module");
  EXPECT_EQ(shown.out.rfind("// cpu:x86-64-v3\nweft.module 1 \"wide\"", 0), 0u) << shown.out;
  EXPECT_NE(shown.out.find("file \"wide.weights\" offset 0 size 16384"), std::string::npos) << shown.out;
  EXPECT_NE(weft("inspect alone.weft").out.find("module: 1"), std::string::npos);
  EXPECT_EQ(weft("inspect wide.wir --module").code, 2);
  // Weights of a model that lie in no file are named by their hash.
  ASSERT_EQ(weft("compile wide.wir --target cpu -o wide.weft").code, 0);
  EXPECT_NE(weft("inspect wide.weft --module").out.find("const @w : f32[64,64] = hash \""), std::string::npos);
}

// Names in a file from a stranger are no paths, and no words for a terminal.
TEST_F(Verbs, NamesOfAHostileArtefact) {
  ArtefactTarget t;
  t.target = "cpu:x86-64-v3";
  t.module = "weft.module 1 \"\x1b[2J\"\n";
  t.plan = "wplan 1\nkernel @\"../../../k\" object 0\nmain { }\n";
  t.kernels.push_back({"code", "spec", 0});
  ArtefactContent content;
  content.targets.push_back(t);
  ASSERT_TRUE(write_artefact(folder + "/kernel.weft", content).ok());
  const Outcome kernel = weft("extract kernel.weft -o parts");
  EXPECT_EQ(kernel.code, 3) << kernel.err;
  EXPECT_NE(kernel.err.find("a kernel's name is no file's"), std::string::npos) << kernel.err;
  EXPECT_EQ(weft("inspect kernel.weft --module").out, "// cpu:x86-64-v3\nweft.module 1 \"?[2J\"\n");
  content.targets[0].target = "..";
  ASSERT_TRUE(write_artefact(folder + "/target.weft", content).ok());
  EXPECT_EQ(weft("extract target.weft -o parts").code, 2);
  EXPECT_FALSE(fs::exists(folder + "/model.wplan"));
}

TEST_F(Verbs, OptPrintsModules) {
  Outcome unchanged = weft("opt layer.wir --passes=");
  EXPECT_EQ(unchanged.code, 0);
  std::ofstream(folder + "/again.wir") << unchanged.out;
  EXPECT_EQ(weft("opt again.wir --passes=").out, unchanged.out);
  EXPECT_EQ(weft("opt layer.wir --dump-ir=ir --quiet").code, 0);
  ASSERT_TRUE(fs::exists(folder + "/ir/000_input.wir"));
  for (const auto& e : fs::directory_iterator(folder + "/ir")) {
    if (e.path().extension() != ".wir") continue;
    Outcome o = weft("opt --passes= --quiet " + e.path().string());
    EXPECT_EQ(o.code, 0) << e.path() << o.err;
    EXPECT_EQ(o.out, read_text(e.path())) << e.path();
  }
  EXPECT_NE(weft("opt --list-passes").out.find("eliminate-dead"), std::string::npos);
  Outcome stats = weft("opt layer.wir");
  EXPECT_NE(stats.err.find("ops before"), std::string::npos) << stats.err;
}

TEST_F(Verbs, VerifySaysWhatIsMissing) {
  std::ofstream(folder + "/gather.wir")
      << "weft.module 1 \"g\"\ngraph @main(%x: f32[3], %i: i64[2]) -> (y = %y) {\n  %y = gather(%x, %i) : f32[2] loc(\"Gather_0\")\n}\n";
  Outcome fine = weft("verify gather.wir"), bad = weft("verify gather.wir --range i=5..9");
  EXPECT_NE(fine.out.find("1 passed"), std::string::npos) << fine.out << fine.err;
  EXPECT_EQ(bad.code, 0);
  EXPECT_NE(bad.out.find("1 skipped"), std::string::npos) << bad.out << bad.err;
  EXPECT_NE(bad.out.find("--range"), std::string::npos) << bad.out;
}

TEST_F(Verbs, VerifySaysWhatAPrecisionTrades) {
  std::ofstream(folder + "/product.wir") << "weft.module 1 \"p\"\ngraph @main(%a: f32[8,64], %b: f32[64,8]) -> (y = %y) {\n"
                                            "  %y = contract(%a, %b) {spec=\"mk,kn->mn\"} : f32[8,8] loc(\"MatMul_0\")\n}\n";
  for (const auto& [precision, share] : {std::pair("tf32", "0.0078"), std::pair("f16", "0.0078"), std::pair("bf16", "0.0625")}) {
    const std::string line = std::string("verify product.wir --target cpu --precision ") + precision;
    Outcome wide = weft(line), narrow = weft(line + " --range-tolerance 1e-6");
    EXPECT_EQ(wide.code, 0) << wide.out;
    EXPECT_NE(wide.err.find(std::string("computed in ") + precision + ": differences up to " + share), std::string::npos) << wide.err;
    EXPECT_EQ(narrow.code, 1) << precision << " is not computed in";
  }
  EXPECT_EQ(weft("verify product.wir --target cpu --precision tf32 --keep-f32 MatMul_0 --range-tolerance 1e-6").code, 0);
}

TEST_F(Verbs, VerifyOfAFolderGoesOnAfterFailures) {
  fs::create_directories(folder + "/cases");
  for (const char* name : {"test_add", "test_sub", "test_mul"}) fs::copy(node_case(name), folder + "/cases/" + name, fs::copy_options::recursive);
  std::ofstream(folder + "/cases/test_add/model.onnx") << "noise";
  Outcome o = weft("verify cases --jobs 2");
  EXPECT_EQ(o.code, 1);
  EXPECT_NE(o.out.find("2 passed, 1 failed, 0 unsupported, 0 skipped"), std::string::npos) << o.out << o.err;
  EXPECT_NE(weft("verify cases --filter sub").out.find("1 passed, 0 failed"), std::string::npos);
}

// A copy of weft beside which libweft-llvm.so is missing.
TEST_F(Verbs, WithoutTheLlvmCodeGenerator) {
  fs::create_directories(folder + "/lib");
  fs::copy_file(WEFT_BINARY, folder + "/weft");
  for (const auto& e : fs::directory_iterator(std::string(WEFT_BUILD_DIR) + "/lib"))
    if (e.path().filename().string().find("llvm") == std::string::npos)
      fs::copy(e.path(), folder + "/lib/" + e.path().filename().string(), fs::copy_options::copy_symlinks);
  auto bare = [&](const std::string& line) { return shell("./weft " + line, folder); };
  EXPECT_EQ(bare("--version").code, 0);
  EXPECT_EQ(bare("inspect layer.wir").code, 0);
  EXPECT_EQ(bare("opt layer.wir").code, 0);
  EXPECT_EQ(bare("compile layer.wir -o texts").code, 0);
  EXPECT_EQ(bare("run layer.wir --target eval").code, 0);
  Outcome run = bare("run layer.wir --no-cache");
  EXPECT_EQ(run.code, 4);
  EXPECT_NE(run.err.find("libweft-llvm.so"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("install"), std::string::npos) << run.err;
  // A GPU's weights are prepared at load then.
  std::string numbers = "1.0", scale = "1.0";
  for (int i = 1; i < 64; ++i) scale += ", " + std::to_string(i % 11) + ".0";
  for (int i = 1; i < 64 * 64 * 9; ++i) numbers += ", " + std::to_string(i % 13) + ".0";
  std::ofstream(folder + "/conv.wir") << "weft.module 1 \"conv\"\nconst @w : f32[64,64,3,3] = [" + numbers + R"(]
const @s : f32[64,1,1] = [)" + scale + R"(]
graph @main(%x: f32[1,64,9,9]) -> (y = %y) {
  %w = constant @w : f32[64,64,3,3]
  %s = constant @s : f32[64,1,1]
  %p = conv(%x, %w) : f32[1,64,7,7] loc("Conv_0")
  %y = mul(%p, %s) : f32[1,64,7,7] loc("Mul_1")
}
)";
  const Outcome gpu = bare("compile conv.wir --target cuda:sm_90a -o conv.weft");
  if (gpu.err.find("NVRTC") == std::string::npos) {
    EXPECT_EQ(gpu.code, 0) << gpu.err;
    EXPECT_NE(gpu.err.find("the weights of cuda:sm_90a are prepared at load: "), std::string::npos) << gpu.err;
    EXPECT_EQ(bare("inspect conv.weft --check").code, 0);
  }
  Outcome doctor = bare("doctor");
  EXPECT_EQ(doctor.code, 0);
  EXPECT_NE(doctor.out.find("libweft-llvm.so is not there"), std::string::npos) << doctor.out;
}

// Processor time, which other load on the machine changes little.
TEST_F(Verbs, VersionIsQuick) {
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    pid_t pid = fork();
    if (pid == 0) {
      std::freopen("/dev/null", "w", stdout) ? execl(WEFT_BINARY, "weft", "--version", nullptr) : 0;
      _exit(1);
    }
    int status = 0;
    rusage used{};
    ASSERT_EQ(wait4(pid, &status, 0, &used), pid);
    ASSERT_EQ(status, 0);
    best = std::min(best, static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-3 +
                              static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3);
  }
  EXPECT_LE(best, 10);
}

TEST(Help, OfEachVerbSaysWhatItsOptionsTake) {
  for (const char* verb : {"compile", "run", "bench", "verify", "inspect", "opt", "cache", "doctor"}) {
    Outcome o = shell(std::string("weft ") + verb + " --help");
    EXPECT_EQ(o.code, 0);
    for (const char* option : {"--json", "--log-level", "--quiet", "--progress"}) EXPECT_NE(o.out.find(option), std::string::npos) << verb << option;
    // Every option has a description: some words behind its type.
    std::istringstream lines(o.out);
    std::string line, before;
    int bare = 0;
    while (std::getline(lines, line)) {
      if (std::regex_match(before, std::regex("  (-[^ ]*,)?--?[a-zA-Z][^ ]*( [A-Z:{][^ ]*)*")) && line.rfind("      ", 0) != 0) ++bare;
      before = line;
    }
    EXPECT_EQ(bare, 0) << o.out;
  }
  struct Unit {
    const char *verb, *text;
  };
  for (const Unit& u : {Unit{"bench", "seconds to measure"}, Unit{"bench", "in ms"}, Unit{"compile", "times in ms"},
                        Unit{"cache", "bytes that may remain"}, Unit{"verify", "Times are in ms"}})
    EXPECT_NE(std::regex_replace(shell(std::string("weft ") + u.verb + " --help").out, std::regex("\\s+"), " ").find(u.text), std::string::npos)
        << u.verb << ": " << u.text;
}

// Rows seen so far, and their sum.
TEST_F(Verbs, StatesAreKeptFromRunToRun) {
  std::ofstream(folder + "/history.wir") << R"(weft.module 1 "history"
symbol past = 0..100
const @axes : i64[1] = [0]
graph @main(%x: f32[1,2], %seen: f32[past,2], %count: f32[]) -> (all = %all, sum = %sum, counted = %counted) {
  %axes = constant @axes : i64[1]
  %all = concat(%seen, %x) {axis=0} loc("Concat_0")
  %sum = reduce_sum(%all, %axes) {keepdims=false} loc("Sum_1")
  %one = reduce_max(%x) {keepdims=false} loc("Max_2")
  %counted = add(%count, %one) loc("Add_3")
}
)";
  const std::string states = "history.wir --state auto --state count=counted --input 'x=[[1,2]]'";
  Outcome run = weft("run " + states + " --repeat 3");
  EXPECT_NE(run.out.find("[3, 6]"), std::string::npos) << run.out << run.err;
  EXPECT_EQ(run.out.find("all"), std::string::npos) << run.out;
  EXPECT_EQ(weft("verify " + states).code, 0);
  EXPECT_EQ(weft("bench " + states + " --iterations 250").code, 0);  // the state is full after 100
  EXPECT_EQ(weft("run history.wir --state auto --target eval").code, 2);
  EXPECT_EQ(weft("run history.wir --state seen").code, 2);
  Outcome told = weft("compile history.wir --stats");
  EXPECT_NE((told.out + told.err).find("--state auto"), std::string::npos) << told.out << told.err;
}

}  // namespace
}  // namespace weft::cli_test
