// ONNX's multi-device annotations: what each feature of the two proposals becomes, that the model gives on simulated ranks what it
// gives on one, and that wrong ones are Errors.
#include "ir/text/parser.h"
#include "ir/text/printer.h"
#include "passes/pass_manager.h"
#include "tests/support/same_module.h"
#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

struct Dim1 {
  int64_t axis, shards;
};
struct Group {
  int64_t key;
  std::vector<int64_t> devices;
};
Message spec(const std::string& tensor, const std::vector<int64_t>& devices, const std::vector<Dim1>& dims = {}, const std::vector<Group>& groups = {}) {
  Message m;
  m.text(1, tensor);
  for (int64_t d : devices) m.num(2, d);
  for (const Group& g : groups) {
    Message entry;
    entry.num(1, g.key);
    for (int64_t d : g.devices) entry.num(2, d);
    m.add(3, entry);
  }
  for (const Dim1& d : dims) m.add(4, Message().num(1, d.axis).add(2, Message().num(3, d.shards)));
  return m;
}
Message with(Message node, const std::vector<Message>& specs, int stage = -1, const std::string& configuration = "c") {
  Message c;
  c.text(1, configuration);
  for (const Message& s : specs) c.add(2, s);
  if (stage >= 0) c.num(3, stage);
  return node.add(10, c);
}
Message configuration(const std::string& name, int64_t devices) { return Message().text(1, name).num(2, devices); }

// y = relu(x w) v, with what is said of the nodes.
Message mlp(const std::vector<Message>& up, const std::vector<Message>& act, const std::vector<Message>& down, int64_t devices = 2,
            const std::vector<int>& stages = {-1, -1, -1}) {
  std::vector<float> w(8 * 16), v(16 * 4);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 7) - 3;
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 5) - 2;
  const std::vector<Message> nodes = {with(node("MatMul", {"x", "w"}, {"h"}, {}, "", "up"), up, stages[0]),
                                      with(node("Relu", {"h"}, {"a"}, {}, "", "act"), act, stages[1]),
                                      with(node("MatMul", {"a", "v"}, {"y"}, {}, "", "down"), down, stages[2])};
  const std::vector<Message> weights = {floats("w", {8, 16}, w), floats("v", {16, 4}, v)};
  const Message g = graph({nodes, {value_info("x", kFloat, {"4", "8"})}, {value_info("y", kFloat, {"4", "4"})}, weights});
  return model(g, {}, 11).add(26, configuration("c", devices));
}

std::string given_of(const Message& m, const ImportOptions& options = {}) {
  auto module = must_import(m, options);
  if (!module) return "";
  auto again = parse_module(print_module(*module));
  EXPECT_TRUE(again.ok() && (*again)->given == module->given) << print_module(*module);
  return module->given.to_string();
}
// The module as `shard` leaves it. Its ranks compute what one does.
std::string shared_out(const Message& m) {
  auto whole = must_import(m), module = must_import(m);
  if (!module) return "";
  PassContext cx;
  cx.target = *parse_target("cpu:x86-64-v3");
  cx.mesh = module->given.mesh;
  PipelineOptions o;
  o.passes = {"assign-stages", "shard"};
  Status s = run_pipeline(*module, cx, o);
  if (!s.ok()) return s.error().to_string();
  std::string text = print_module(*module);
  o.passes = {"partition"};
  s = run_pipeline(*module, cx, o);
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  auto inputs = test::random_inputs(*whole, 1);
  auto expected = test::run_main(*whole, *inputs), result = test::run_main(*module, *inputs);
  EXPECT_TRUE(result.ok()) << result.error().to_string();
  EXPECT_EQ(result.ok() ? test::difference(*result, *expected, 1e-5) : "", "");
  return text;
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
#define EXPECT_IN(text, part) EXPECT_TRUE(contains(text, part)) << (text)

TEST(Annotations, OneSplitAxis) {
  Message m = mlp({spec("w", {0, 1}, {{1, 2}}), spec("h", {0, 1}, {{-1, 2}})}, {},
                  {spec("a", {0, 1}, {{1, 2}}), spec("v", {0, 1}, {{0, 2}}), spec("y", {-1}, {}, {{-1, {0, 1}}})});
  EXPECT_EQ(given_of(m),
            "given mesh @c = d0:2\n"
            "given \"w\" of \"up\" : [_,d0] by \"annotation of node \\\"up\\\"\"\n"
            "given \"h\" : [_,d0] by \"annotation of node \\\"up\\\"\"\n"
            "given \"a\" of \"down\" : [_,d0] by \"annotation of node \\\"down\\\"\"\n"
            "given \"v\" of \"down\" : [d0,_] by \"annotation of node \\\"down\\\"\"\n"
            "given \"y\" : [_,_] whole=[d0] by \"annotation of node \\\"down\\\"\"\n");
  std::string text = shared_out(m);
  EXPECT_IN(text, "%h = contract(%x, %w) {spec=\"mk,kn->mn\"} : f32[4,16] shard(c:[_,d0])");
  EXPECT_IN(text, "partial=[d0]");
}

TEST(Annotations, TwoAxesAndGroupsThatReplicate) {
  // Broadcast composition: x is cut in rows over the outer pairs, w in columns over the inner ones, h in both.
  Message m = mlp({spec("x", {-1, -2}, {{0, 2}}, {{-1, {0, 1}}, {-2, {2, 3}}}), spec("w", {7, 8}, {{1, 2}}, {{7, {0, 2}}, {8, {1, 3}}}),
                   spec("h", {0, 1, 2, 3}, {{0, 2}, {1, 2}})},
                  {}, {}, 4);
  EXPECT_IN(given_of(m), "given mesh @c = d0:2,d1:2\ngiven \"x\" of \"up\" : [d0,_] whole=[d1]");
  std::string text = shared_out(m);
  EXPECT_IN(text, "%h = contract(%x, %w) {spec=\"mk,kn->mn\"} : f32[4,16] shard(c:[d0,d1])");
}

TEST(Annotations, SeveralAxesOfOneDimAndFusedDims) {
  // Four parts along one dim, two along another: the four are two axes.
  Message m = mlp({spec("h", {0, 1, 2, 3}, {{1, 4}})}, {spec("a", {-1, -2}, {{0, 2}}, {{-1, {0, 2}}, {-2, {1, 3}}})}, {}, 4);
  EXPECT_IN(given_of(m), "given \"h\" : [_,d0*d1]");
  EXPECT_IN(given_of(m), "given \"a\" : [d1,_] whole=[d0]");
  shared_out(m);
  // A dim that was 2 x 8 in ONNX: only where the outer one is cut to the end may the inner one be cut.
  auto fused = [](int64_t outer, int64_t inner) {
    Message dim = Message().num(1, 1).add(2, Message().num(1, 2).num(3, outer)).add(2, Message().num(1, 8).num(3, inner));
    return Message().text(1, "h").num(2, 0).num(2, 1).num(2, 2).num(2, 3).add(4, dim);
  };
  EXPECT_IN(given_of(mlp({fused(2, 2)}, {}, {}, 4)), "[_,d0]");
  EXPECT_EQ(import_error(mlp({fused(1, 4)}, {}, {}, 4)).code, Code::kUnsupported);
}

TEST(Annotations, AnOutputInAnotherFormThanTheInputsGive) {
  std::string text = shared_out(mlp({}, {spec("h", {0, 1}, {{1, 2}}), spec("a", {0, 1}, {{0, 2}})}, {}));
  EXPECT_IN(text, "%a = identity");
  EXPECT_IN(text, "shard(c:[d0,_])");
}

TEST(Annotations, ASymbolicDim) {
  const std::vector<Message> nodes = {with(node("Relu", {"x"}, {"a"}, {}, "", "act"), {spec("x", {0, 1}, {{0, 2}}), spec("a", {0, 1}, {{0, 2}})}),
                                      with(node("Neg", {"a"}, {"y"}, {}, "", "neg"), {})};
  const Message g = graph({nodes, {value_info("x", kFloat, {"n", "3"})}, {value_info("y", kFloat, {"n", "3"})}, {}});
  EXPECT_IN(shared_out(model(g, {}, 11).add(26, configuration("c", 2))), "%a = relu(%x) : f32[n,3] shard(c:[d0,_])");
}

TEST(Annotations, PipelineStages) {
  Message m = mlp({}, {}, {}, 2, {1, 1, 2});  // any numbers
  EXPECT_EQ(given_of(m), "given mesh @c = pp:2\ngiven stage \"act\" = 0\ngiven stage \"down\" = 1\ngiven stage \"up\" = 0\n");
  std::string text = shared_out(m);
  EXPECT_IN(text, "stage(0) loc(\"act\")");
  EXPECT_IN(text, "stage(1) loc(\"down\")");
  // Each stage on devices of its own, and cut among them.
  m = mlp({spec("w", {0, 2}, {{1, 2}})}, {}, {spec("v", {1, 3}, {{0, 2}})}, 4, {0, 0, 1});
  EXPECT_IN(given_of(m), "given mesh @c = pp:2,d0:2\n");
  text = shared_out(m);
  EXPECT_IN(text, "stage(1)");
  EXPECT_IN(text, "partial=[d0]");
  EXPECT_IN(shared_out(mlp({}, {}, {}, 2, {0, 1, 0})), "it reads what stage 1 computes");
}

TEST(Annotations, OfTheMeshThatTheUserNames) {
  Message m = mlp({spec("h", {0, 1, 2, 3}, {{1, 4}}), spec("w", {0, 1, 2, 3}, {{1, 4}})}, {}, {}, 4);
  ImportOptions o;
  o.mesh = *parse_mesh("dp=2,tp=2");
  EXPECT_IN(given_of(m, o), "given \"h\" : [_,dp*tp]");
  o.mesh = *parse_mesh("tp=2");
  EXPECT_EQ(given_of(m, o), "");  // of other devices
  o.configuration = "c";
  EXPECT_IN(import_error(m, o).message, "has 4 devices, the mesh tp=2 has 2");
}

TEST(Annotations, AConfigurationIsChosen) {
  Message m = mlp({spec("w", {0, 1}, {{1, 2}})}, {}, {}).add(26, configuration("d", 4));
  EXPECT_IN(import_error(m).message, "several configurations: \"c\" (2 devices), \"d\" (4 devices)");
  ImportOptions o;
  o.configuration = "d";
  EXPECT_EQ(given_of(m, o), "given mesh @d = d0:4\n");
  o.configuration = "none";
  EXPECT_EQ(given_of(m, o), "");
  o.configuration = "e";
  EXPECT_IN(import_error(m, o).message, "no configuration \"e\"");
}

TEST(Annotations, WrongOnesAreErrors) {
  auto code = [](const std::vector<Message>& specs, int64_t devices = 2) { return import_error(mlp(specs, {}, {}, devices)).code; };
  EXPECT_EQ(code({spec("w", {0, 1}, {{1, 2}})}), Code::kOk);
  EXPECT_EQ(code({spec("w", {}, {{1, 2}})}), Code::kOk);  // onnx-ir leaves the devices out
  for (const Message& wrong : {
           spec("w", {0, 2}, {{1, 2}}),                             // no such device
           spec("w", {0, -1}, {{1, 2}}),                            // no such group
           spec("w", {0, 0}, {{1, 2}}),                             // twice
           spec("w", {}, {}),                                       // no devices, and not as many shards as there are
           spec("w", {-1, 1}, {{1, 2}}, {{-1, {}}}),                // an empty group
           spec("w", {-1, 1}, {{1, 2}}, {{-1, {0}}, {-1, {0}}}),    // a group twice
           spec("w", {0, 1}, {{2, 2}}),                             // no such dim
           spec("w", {0, 1}, {{1, 2}, {-1, 1}}),                    // a dim twice
           spec("w", {0, 1}, {{1, 0}}),                             // no shards
           spec("w", {0, 1}, {{1, INT64_MAX}}),                     // too many
           spec("w", {0, 1}, {{0, 2}, {1, 2}}),                     // more than devices
           spec("w", {0}, {{1, 2}}),                                // fewer devices than shards
           spec("z", {0, 1}, {{0, 2}}),                             // not the node's
           Message().text(1, "w").num(2, 0).add(4, Message().num(1, 0)),
       })
    EXPECT_EQ(code({wrong}), Code::kInvalidModel) << wrong.bytes;
  EXPECT_EQ(code({spec("w", {0, 1}, {{1, 2}}), spec("w", {0, 1}, {{1, 2}})}), Code::kInvalidModel);
  for (int64_t devices : {int64_t{0}, int64_t{-1}, int64_t{1} << 30}) EXPECT_EQ(code({}, devices), Code::kInvalidModel);
  EXPECT_EQ(import_error(mlp({}, {}, {}).add(26, configuration("c", 2))).code, Code::kInvalidModel);
  const Message other = graph({{with(node("Relu", {"x"}, {"y"}), {}, -1, "other")}, {value_info("x", kFloat, {"4"})}, {value_info("y", kFloat, {"4"})}, {}});
  EXPECT_EQ(import_error(model(other).add(26, configuration("c", 2))).code, Code::kInvalidModel);
}

TEST(Annotations, FewBytesMayNotMeanMuchMemory) {
  std::vector<Message> nodes;
  for (int i = 0; i < 1100; ++i) {
    auto name = [](int k) { return k == 0 ? std::string("x") : "v" + std::to_string(k); };
    nodes.push_back(with(node("Relu", {name(i)}, {name(i + 1)}), {spec(name(i), {}, {{0, 1 << 16}})}));
  }
  const Message g = graph({nodes, {value_info("x", kFloat, {"65536"})}, {value_info("v1100", kFloat, {"65536"})}, {}});
  EXPECT_EQ(import_error(model(g, {}, 11).add(26, configuration("c", 1 << 16))).code, Code::kResources);
}

TEST(Annotations, WhatNoMeshHasIsUnsupported) {
  // w's parts go to devices in another order than h's.
  EXPECT_EQ(import_error(mlp({spec("h", {0, 1}, {{1, 2}}), spec("w", {1, 0}, {{1, 2}})}, {}, {})).code, Code::kUnsupported);
  // All in the same other order: ranks are the devices in it.
  EXPECT_IN(given_of(mlp({spec("h", {1, 0}, {{1, 2}}), spec("w", {1, 0}, {{1, 2}})}, {}, {})), "given \"w\" of \"up\" : [_,d0]");
  EXPECT_EQ(import_error(mlp({spec("h", {0, 1}, {{1, 2}})}, {}, {}, 4)).code, Code::kUnsupported);
  EXPECT_EQ(import_error(mlp({spec("h", {-1, 2}, {{1, 2}}, {{-1, {0, 1}}})}, {}, {}, 3)).code, Code::kUnsupported);
}

TEST(Annotations, WhatCannotBeKeptSaysWhy) {
  const std::string text = shared_out(mlp({spec("x", {0, 1}, {{0, 2}}), spec("w", {0, 1}, {{1, 2}})}, {}, {}));
  EXPECT_IN(text, "it cannot keep the sharding [_,d0] of \"w\" in node \"up\"");
}
TEST(Annotations, PartsMayBeUneven) { EXPECT_IN(shared_out(mlp({spec("x", {0, 1, 2}, {{0, 3}})}, {}, {}, 3)), "[d0,_]"); }

}  // namespace

}  // namespace weft::import_test
