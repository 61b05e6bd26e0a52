// The exit code of every class of Error, and what is said on stderr.
#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

TEST(ExitCodes, Ok) {
  EXPECT_EQ(shell("weft --version").code, 0);
  EXPECT_EQ(shell("weft --version").out.rfind("weft ", 0), 0u);
  EXPECT_EQ(shell("weft --help").code, 0);
  EXPECT_EQ(shell("weft run " + write_layer(fresh_folder())).code, 0);
}

TEST(ExitCodes, CheckFailed) {
  // The recorded output of Add, against Sub.
  const std::string folder = fresh_folder();
  fs::copy(node_case("test_sub"), folder + "/case", fs::copy_options::recursive);
  fs::copy_file(node_case("test_add") + "/test_data_set_0/output_0.pb", folder + "/case/test_data_set_0/output_0.pb",
                fs::copy_options::overwrite_existing);
  for (const char* target : {"cpu", "eval"}) {
    Outcome o = shell("weft verify case --target " + std::string(target), folder);
    EXPECT_EQ(o.code, 1) << o.out << o.err;
    EXPECT_NE(o.out.find("0 passed, 1 failed"), std::string::npos) << o.out;
  }
}

TEST(ExitCodes, Usage) {
  const std::string model = write_layer(fresh_folder());
  for (const char* line :
       {"weft", "weft fly", "weft run", "weft run no-such-file.onnx", "weft run MODEL --no-such-option", "weft run MODEL --target tpu",
        "weft run MODEL --input z=1", "weft run MODEL --input x=1,2", "weft run MODEL --shapes x=1x4", "weft run MODEL --output z=@z.npy",
        "weft run MODEL --print many", "weft bench MODEL --concurrency 0", "weft opt MODEL --passes=no-such-pass", "weft opt",
        "weft verify no-such-folder", "weft verify MODEL --shapes z=1x3", "weft verify MODEL --shapes x=1x3x1",
        "weft verify MODEL --shapes x=1x4", "weft cache show zz", "weft run MODEL --log-level loud", "weft compile MODEL --emit elf",
        "weft run MODEL --target cpu --deterministic 1", "weft run MODEL --target eval --deterministic 1"}) {
    std::string command = line;
    if (size_t at = command.find("MODEL"); at != std::string::npos) command.replace(at, 5, model);
    Outcome o = shell(command);
    EXPECT_EQ(o.code, 2) << line << "\n" << o.err;
    EXPECT_FALSE(o.err.empty()) << line;
  }
}

TEST(ExitCodes, InvalidModel) {
  const std::string folder = fresh_folder();
  std::ofstream(folder + "/noise.onnx") << "this is no model";
  std::ofstream(folder + "/wrong.wir") << "weft.module 1 \"x\"\ngraph @main(%x: f32[2]) -> (y = %z) {\n}\n";
  for (const char* verb : {"compile", "run", "bench", "inspect", "opt"})
    for (const char* file : {"noise.onnx", "wrong.wir"}) {
      Outcome o = shell(std::string("weft ") + verb + " " + file, folder);
      EXPECT_EQ(o.code, 3) << verb << " " << file << ": " << o.err;
    }
}

TEST(ExitCodes, Unsupported) {
  const std::string folder = fresh_folder();
  write_layer(folder);
  EXPECT_EQ(shell("weft compile layer.wir -o layer.weft", folder).code, 0);
  EXPECT_EQ(shell("weft run layer.weft --target cuda:sm_75", folder).code, 4);
  EXPECT_EQ(shell("weft compile layer.wir --target eval", folder).code, 4);
  EXPECT_EQ(shell("weft compile layer.wir --target cuda:sm_90a --deterministic 2 -o gpu.weft", folder).code, 4);
}

TEST(ExitCodes, Resources) {
  const std::string folder = fresh_folder();
  write_layer(folder);
  EXPECT_EQ(shell("weft run layer.wir --output y=@/no/such/folder/y.npy", folder).code, 5);
  EXPECT_EQ(shell("weft compile layer.wir -o /proc/texts", folder).code, 5);
  EXPECT_EQ(shell("weft inspect layer.wir --json=/no/such/folder/x.json", folder).code, 5);
}

TEST(ExitCodes, Cancelled) {
  const std::string folder = fresh_folder();
  write_layer(folder);
  Outcome o = shell("weft bench layer.wir --duration 60 --quiet & pid=$!; sleep 1; kill -INT $pid; wait $pid", folder);
  EXPECT_EQ(o.code, 7) << o.err;
}

TEST(Messages, ErrorsHaveHintsAndGoToStderr) {
  const std::string model = write_layer(fresh_folder());
  Outcome o = shell("weft run " + model + " --input z=1");
  EXPECT_TRUE(o.out.empty()) << o.out;
  EXPECT_NE(o.err.find("inputs: x"), std::string::npos) << o.err;
  EXPECT_NE(shell("weft opt " + model + " --passes=nothing").err.find("--list-passes"), std::string::npos);
}

TEST(Messages, QuietIsQuiet) {
  const std::string model = write_layer(fresh_folder());
  EXPECT_NE(shell("weft run " + model).err.find("batch = 1"), std::string::npos);
  EXPECT_TRUE(shell("weft run --quiet " + model).err.empty());
  EXPECT_TRUE(shell("weft run --log-level off " + model).err.empty());
}

}  // namespace
}  // namespace weft::cli_test
