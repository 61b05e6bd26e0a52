// Models written to do harm: each must end in an Error, soon and without large allocations.
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

namespace fs = std::filesystem;

// A model with a bit of everything.
Message rich_model() {
  Message branch = graph({{node("Mul", {"t", "w"}, {"o"})}, {}, {value_info("o", kFloat, {})}});
  Message f =
      function({"Twice", {"a"}, {"b"}, {"k"}, {node("Constant", {}, {"f"}, {ref_attr("value_float", "k", 1)}), node("Mul", {"a", "f"}, {"b"})}});
  std::vector<Message> nodes = {node("Twice", {"x"}, {"t"}, {float_attr("k", 2)}, "local"),
                                node("ReduceMax", {"t"}, {"m"}, {int_attr("keepdims", 0)}), node("Cast", {"m"}, {"c"}, {int_attr("to", kBool)}),
                                node("If", {"c"}, {"y"}, {graph_attr("then_branch", branch), graph_attr("else_branch", branch)})};
  return model(graph({nodes, {value_info("x", kFloat, {"n", "4"})}, {value_info("y", kFloat, {"n", "4"})}, {floats("w", {4}, {1, 2, 3, 4})}}), {f});
}
Message nested(const std::string& type, int depth) {
  Message g;
  for (int k = 0; k < depth; ++k) {
    bool last = k == 0;
    if (type == "If") {
      std::vector<Message> attrs = {graph_attr("then_branch", g),
                                    graph_attr("else_branch", graph({{node("Neg", {"x"}, {"o"})}, {}, {value_info("o", kFloat, {})}}))};
      g = graph({{last ? node("Abs", {"x"}, {"o"}) : node("If", {"c"}, {"o"}, attrs)}, {}, {value_info("o", kFloat, {})}});
    } else {
      std::string v = "v" + std::to_string(k);
      Message inner = last ? node("Concat", {v, v}, {"o"}, {int_attr("axis", 0)}) : node("Loop", {"trips", "", v}, {"o"}, {graph_attr("body", g)});
      g = graph({{inner, node("Identity", {"cc"}, {"d"})}, {value_info("i", kInt64, {}), value_info("cc", kBool, {}), value_info(v, kFloat, {})},
                 {value_info("d", kBool, {}), value_info("o", kFloat, {})}});
    }
  }
  return g;
}
// A folder of its own, removed at the end.
struct Folder {
  fs::path path = fs::path(::testing::TempDir()) / ("weft-import-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path / "model"); }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return (path / name).string();
  }
};
Message reads(const std::string& location, int64_t elements = 4) {
  return model(graph(
      {{node("Add", {"x", "w"}, {"y"})}, {value_info("x", kFloat, {"1"})}, {value_info("y", kFloat, {})}, {external("w", elements, location)}}));
}

}  // namespace

TEST(ImportHostile, CutOffAnywhere) {
  Message m = rich_model();
  ASSERT_EQ(import_error(m).code, Code::kOk) << import_error(m).to_string();
  for (size_t n = 0; n < m.bytes.size(); ++n) {
    Error e = import_error(Message{m.bytes.substr(0, n)});
    EXPECT_TRUE(e.code == Code::kOk || !e.message.empty());
  }
}

TEST(ImportHostile, AnyByteChanged) {
  Message m = rich_model();
  for (size_t i = 0; i < m.bytes.size(); ++i)
    for (int bit : {0, 1, 3, 6, 7}) {
      Message other = m;
      other.bytes[i] = static_cast<char>(other.bytes[i] ^ 1 << bit);
      auto r = import_onnx_bytes(other.span(), "");
      EXPECT_TRUE(r.ok() || !r.error().message.empty());
    }
}

TEST(ImportHostile, NestingIsBounded) {
  auto deep = [](const Message& outermost) {
    Message g = graph({{node("ReduceSum", {"x"}, {"s"}, {int_attr("keepdims", 0)}), node("Cast", {"s"}, {"c"}, {int_attr("to", kBool)}), outermost},
                       {value_info("x", kFloat, {"n"})},
                       {value_info("y", kFloat, {})},
                       {ints("trips", {}, {2})}});
    return import_error(model(g)).code;
  };
  const std::clock_t begin = std::clock();  // of the processor: the machine may be busy
  auto if_node = [](int depth) {
    return node("If", {"c"}, {"y"}, {graph_attr("then_branch", nested("If", depth)), graph_attr("else_branch", nested("If", 1))});
  };
  auto loop = [](int depth) { return node("Loop", {"trips", "", "x"}, {"y"}, {graph_attr("body", nested("Loop", depth))}); };
  EXPECT_EQ(deep(if_node(8)), Code::kOk);
  EXPECT_EQ(deep(if_node(100)), Code::kResources);
  EXPECT_EQ(deep(if_node(23)), Code::kOk);
  EXPECT_EQ(deep(loop(3)), Code::kOk);
  EXPECT_NE(deep(loop(23)), Code::kInvalidModel);
  EXPECT_LT(std::clock() - begin, 60 * CLOCKS_PER_SEC);
}

TEST(ImportHostile, SizesThatOverflow) {
  auto input = [](const std::vector<std::string>& dims) {
    return import_error(model(graph({{node("Neg", {"x"}, {"y"})}, {value_info("x", kFloat, dims)}, {value_info("y", kFloat, {})}}))).code;
  };
  EXPECT_EQ(input({"4611686018427387904", "4611686018427387904"}), Code::kResources);
  EXPECT_EQ(input(std::vector<std::string>(65, "1")), Code::kResources);
  auto weight = [](const Message& t) { return import_error(simple({node("Add", {"x", "w"}, {"y"})}, {t})).code; };
  EXPECT_EQ(weight(floats("w", {int64_t{1} << 62, 16}, {1})), Code::kResources);
  EXPECT_EQ(weight(floats("w", {int64_t{1} << 40}, {1})), Code::kInvalidModel);
  EXPECT_EQ(weight(floats("w", {-1}, {})), Code::kInvalidModel);
  EXPECT_EQ(weight(floats("w", {3}, {1, 2})), Code::kInvalidModel);
  EXPECT_EQ(weight(floats("w", {1}, {1}).num(2, 999)), Code::kInvalidModel);
}

TEST(ImportHostile, CostsGrowWithTheFile) {
  constexpr int kMany = 20'000;
  const std::clock_t begin = std::clock();
  // Constants of one name, operands of one op, operands of an op that is refused, results.
  std::vector<Message> constants;
  for (int k = 0; k < kMany; ++k)
    constants.push_back(node("Constant", {}, {"c" + std::to_string(k)}, {tensor_attr("value", floats("value", {1}, {static_cast<float>(k)}))}));
  constants.push_back(node("Neg", {"x"}, {"y"}));
  EXPECT_EQ(import_error(simple(constants)).code, Code::kOk);
  Names many(kMany, "x");
  EXPECT_EQ(import_error(simple({node("Sum", many, {"y"})})).code, Code::kResources);
  EXPECT_EQ(import_error(simple({node("Concat", many, {"y"}, {int_attr("axis", 1)})})).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(simple({node("Concat", many, {"y"}, {int_attr("axis", 0)})})).code, Code::kOk);
  EXPECT_LT(std::clock() - begin, 30 * CLOCKS_PER_SEC);
}

TEST(ImportHostile, LimitsCountWhatTheFileHolds) {
  ImportOptions o;
  o.limits.max_nodes = 3;
  EXPECT_EQ(import_error(rich_model(), o).code, Code::kResources);
  o = {};
  o.limits.max_messages = 20;
  EXPECT_EQ(import_error(rich_model(), o).code, Code::kResources);
  o = {};
  o.limits.max_file_bytes = 100;
  EXPECT_EQ(import_error(rich_model(), o).code, Code::kResources);
}

TEST(ImportHostile, ExternalDataStaysInTheModelsFolder) {
  Folder folder;
  std::string data(16, '\0');
  folder.write("secret.bin", data);
  folder.write("model/ok.bin", data);
  fs::create_symlink(folder.path / "secret.bin", folder.path / "model/link.bin");
  auto code = [&](const std::string& location, const ImportOptions& o = {}, int64_t elements = 4) {
    auto r = import_onnx_file(folder.write("model/m.onnx", reads(location, elements).bytes), o);
    return r.ok() ? Code::kOk : r.error().code;
  };
  EXPECT_EQ(code("ok.bin"), Code::kOk);
  for (const char* bad : {"../secret.bin", "model/../../secret.bin", "", "link.bin", "/etc/passwd"}) EXPECT_EQ(code(bad), Code::kInvalidModel) << bad;
  EXPECT_EQ(code((folder.path / "secret.bin").string()), Code::kInvalidModel);
  EXPECT_EQ(code("absent.bin"), Code::kResources);
  EXPECT_EQ(code("ok.bin", {}, 5), Code::kInvalidModel);
  EXPECT_EQ(code("."), Code::kResources);
  ImportOptions root;
  root.external_data_root = folder.path.string();
  EXPECT_EQ(code("link.bin", root), Code::kOk);
  // Bytes without a folder have no external data.
  EXPECT_EQ(import_error(reads("ok.bin")).code, Code::kInvalidModel);
}

// For planning: types and dims of large weights, and nothing of their files.
TEST(ImportHostile, ShapesOnlyLeaveExternalDataAlone) {
  Folder folder;
  ImportOptions o;
  o.shapes_only = true;
  auto import_of = [&](int64_t elements) { return import_onnx_file(folder.write("model/m.onnx", reads("absent.bin", elements).bytes), o); };
  auto m = import_of(1000);
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  ASSERT_EQ((*m)->constants.size(), 1);
  EXPECT_EQ((*m)->constants[0].source, Constant::Source::absent);
  EXPECT_EQ((*m)->main()->outputs[0]->type.to_string(), "f32[1000]");
  auto out = evaluate(*(*m)->main(), {HostValue(eval_test::f32({1}, {1}))});
  ASSERT_FALSE(out.ok());
  EXPECT_NE(out.error().message.find("weight w was left out"), std::string::npos) << out.error().message;
  EXPECT_EQ(import_of(4).error().code, Code::kResources);  // small ones are read
}

}  // namespace weft::import_test
