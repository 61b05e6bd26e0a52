// The planner: the search against all ways to share small graphs out, with the same prices; the memory limit; the enumeration.
#include <gtest/gtest.h>

#include <cmath>

#include "frontend/api/device_tables.h"
#include "ir/text/parser.h"
#include "passes/shard/forms.h"
#include "passes/shard/plan_mesh.h"
#include "passes/shard/repeats.h"

namespace weft::plan_mesh_test {
namespace {

std::unique_ptr<Module> module_of(const std::string& text) {
  auto m = parse_module("weft.module 1 \"m\"\n" + text);
  EXPECT_TRUE(m.ok()) << m.error().to_string();
  return std::move(*m);
}

// A model's layer, so small that all choices can be tried, at sizes where some choices pay.
std::string mlp(int tokens, int width, int layers = 1) {
  const std::string t = std::to_string(tokens), w = std::to_string(width), f = std::to_string(4 * width), row = "bf16[" + t + "," + w + "]";
  std::string constants, graph, x = "%x";
  for (int l = 0; l < layers; ++l) {
    const std::string k = std::to_string(l), at = "\"" + k + "\")\n";
    for (const std::string& c : {"w" + k + " : bf16[" + w + "," + f + "]", "v" + k + " : bf16[" + f + "," + w + "]", "s" + k + " : bf16[" + w + "]"}) {
      constants += "const @" + c + " = splat(0.0" + std::to_string(l + 1) + ")\n";
      graph += "  %" + c.substr(0, c.find(' ')) + " = constant @" + c + "\n";
    }
    graph += "  %n" + k + " = rms_normalization(" + x + ", %s" + k + ") loc(" + at + "  %u" + k + " = contract(%n" + k + ", %w" + k +
             ") {spec=\"mk,kn->mn\"} loc(" + at + "  %a" + k + " = relu(%u" + k + ") loc(" + at + "  %d" + k + " = contract(%a" + k + ", %v" + k +
             ") {spec=\"mk,kn->mn\"} loc(" + at + "  %y" + k + " = add(" + x + ", %d" + k + ") loc(" + at;
    x = "%y" + k;
  }
  return constants + "graph @main(%x: " + row + ") -> (y = " + x + ") {\n" + graph + "}\n";
}
// Three products in a row, of which the widths differ.
std::string chain(int rows, int a, int b, int c) {
  auto type = [](int m, int n) { return "f32[" + std::to_string(m) + "," + std::to_string(n) + "]"; };
  return "const @u : " + type(a, b) + " = splat(0.01)\nconst @v : " + type(b, c) + " = splat(0.01)\nconst @w : " + type(c, a) + " = splat(0.01)\n" +
         "graph @main(%x: " + type(rows, a) + ") -> (y = %3) {\n  %u = constant @u : " + type(a, b) + "\n  %v = constant @v : " + type(b, c) +
         "\n  %w = constant @w : " + type(c, a) + "\n  %0 = contract(%x, %u) {spec=\"mk,kn->mn\"} loc(\"0\")\n  %1 = tanh(%0) loc(\"1\")\n"
         "  %2 = contract(%1, %v) {spec=\"mk,kn->mn\"} loc(\"2\")\n  %3 = contract(%2, %w) {spec=\"mk,kn->mn\"} loc(\"3\")\n}\n";
}

std::string products(int rows, int a, int b) {
  auto type = [](int m, int n) { return "bf16[" + std::to_string(m) + "," + std::to_string(n) + "]"; };
  return "const @u : " + type(a, b) + " = splat(0.01)\nconst @v : " + type(b, a) + " = splat(0.01)\ngraph @main(%x: " + type(rows, a) +
         ") -> (y = %2) {\n  %u = constant @u : " + type(a, b) + "\n  %v = constant @v : " + type(b, a) +
         "\n  %0 = contract(%x, %u) {spec=\"mk,kn->mn\"} loc(\"0\")\n  %1 = tanh(%0) loc(\"1\")\n"
         "  %2 = contract(%1, %v) {spec=\"mk,kn->mn\"} loc(\"2\")\n}\n";
}

double predicted(Module& m, const DeviceTable& devices, const Mesh& mesh, std::vector<std::string> passes) {
  PassContext cx;
  cx.target = *parse_target("cpu:x86-64-v3");
  cx.mesh = mesh;
  cx.devices = devices;
  PipelineOptions o;
  o.passes = std::move(passes);
  Status s = run_pipeline(m, cx, o);
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  return predict(m, ShardingCosts(m, devices, mesh)).seconds();
}

// Every factor of every op for every axis, partitioned and priced.
class AllChoices {
 public:
  AllChoices(const Module& m, const DeviceTable& devices, const Mesh& mesh) : m_(m.clone()), devices_(devices), mesh_(mesh), chosen_(mesh.axes.size()) {
    m_->meshes.push_back(mesh);
    for (auto& op : m_->main()->ops) {
      for (auto& r : op->results) r->sharding = whole(mesh, r->type.rank());
      if (op->kind != OpKind::constant) ops_.push_back(op.get());
    }
    choose(0, 0);
  }
  double least = INFINITY;
  int tried = 0;

 private:
  void choose(size_t axis, size_t i) {
    if (axis == mesh_.axes.size()) {
      ++tried;
      least = std::min(least, predicted(*m_->clone(), devices_, mesh_, {"partition"}));
      return;
    }
    if (i == ops_.size()) return choose(axis + 1, 0);
    const auto& [name, size] = mesh_.axes[axis];
    ShardingRule rule = rule_of(*ops_[i]);
    for (size_t a = 0; a < axis; ++a)
      if (int f = chosen_[a][i]; f >= 0) rule.factors[f].size = floordiv(rule.factors[f].size, mesh_.axes[a].second);
    Sharding& form = ops_[i]->result()->sharding;
    const Sharding before = form;
    for (int f = -1; f < static_cast<int>(rule.factors.size()); ++f) {
      const bool sums = f >= 0 && rule.factors[f].role == ShardingRule::Role::sum;
      if (f >= 0 && (!can_cut(rule, f, size) || (sums && !before.partial.empty()))) continue;
      if (sums) form.partial.push_back(name);
      else if (f >= 0) form.dims[rule.dim_of(rule.results[0], f)].push_back(name);
      chosen_[axis].push_back(f);
      choose(axis, i + 1);
      chosen_[axis].pop_back();
      form = before;
    }
  }

  std::unique_ptr<Module> m_;
  const DeviceTable& devices_;
  const Mesh& mesh_;
  std::vector<std::vector<int>> chosen_;
  std::vector<Op*> ops_;
};

TEST(PlanMesh, IsAsGoodAsTheBestOfAllChoices) {
  struct Case {
    std::string mesh, text;
  };
  int tried = 0, faster = 0, graphs = 0;
  for (const char* table : {"h100x8", "h20x2-pcie-x8", "a100x8-pcie", "cpu"})
    for (const auto& [axes, text] : {Case{"any=2", mlp(8, 256)}, Case{"any=2", mlp(1, 8192)}, Case{"any=2", mlp(4096, 4096)},
                                     Case{"any=2", chain(64, 256, 8192, 512)}, Case{"any=2", chain(8192, 512, 1024, 8192)},
                                     Case{"a=2,b=2", products(1, 8192, 8192)}, Case{"a=2,b=2", products(8192, 1024, 2048)}}) {
      const DeviceTable devices = *api::find_device_table(table);
      const Mesh mesh = *parse_mesh(axes);
      auto m = module_of(text);
      const AllChoices all(*m, devices, mesh);
      const double alone = predicted(*m->clone(), devices, {}, {}), found = predicted(*m, devices, mesh, {"shard", "partition"});
      EXPECT_LE(found, all.least * 1.03) << table << "\n" << text;
      EXPECT_GE(found, all.least * 0.9999);
      tried += all.tried;
      faster += found < alone * 0.95;
      ++graphs;
    }
  std::printf("%d graphs, %d ways to share them out, %d are faster on several devices\n", graphs, tried, faster);
  EXPECT_GT(tried, 10000);
  EXPECT_GT(faster, 5);
  EXPECT_LT(faster, graphs);
}

std::vector<ShardNode> nodes_of(const Module& m) {
  std::vector<ShardNode> nodes;
  for (auto& op : m.main()->ops)
    if (op->kind != OpKind::constant) nodes.push_back({op.get(), rule_of(*op), {-1}, {0.0}});
  return nodes;
}

TEST(PlanMesh, LayersThatRepeatAreFound) {
  auto m = module_of(mlp(8, 256, 6));
  // The first layer reads the input, the last one gives the output.
  EXPECT_EQ(find_repeats(nodes_of(*m), {}), (Repeats{5, 5, 4}));
  EXPECT_EQ(find_repeats(nodes_of(*module_of(mlp(8, 256, 2))), {}).count, 0u);
  EXPECT_EQ(find_repeats(nodes_of(*module_of(chain(64, 256, 8192, 512))), {}).count, 0u);
}

// Layers decide alike, and no worse than each by itself.
TEST(PlanMesh, LayersShareADecision) {
  for (const char* table : {"h100x8", "a100x8-pcie"})
    for (auto [tokens, width] : {std::pair(1, 8192), {4096, 4096}, {64, 2048}}) {
      const DeviceTable devices = *api::find_device_table(table);
      const Mesh mesh = *parse_mesh("any=2");
      auto m = module_of(mlp(tokens, width, 8));
      const double least = AllChoices(*module_of(mlp(tokens, width)), devices, mesh).least;
      EXPECT_LE(predicted(*m->clone(), devices, mesh, {"shard", "partition"}), least * 8 * 1.001) << table << " " << tokens;
      predicted(*m, devices, mesh, {"shard"});
      std::vector<std::string> forms;
      for (auto& op : m->main()->ops)
        if (op->kind != OpKind::constant) forms.push_back(op->result()->sharding.to_string());
      ASSERT_EQ(forms.size(), 40u);
      for (size_t i = 5; i < 30; ++i) EXPECT_EQ(forms[i], forms[i + 5]) << i;
    }
}

MeshPlan plan_of(const std::string& text, const DeviceTable& devices, int64_t n) {
  PassContext cx;
  cx.target = *parse_target("cuda:sm_90a");
  cx.devices = devices;
  auto plan = plan_mesh(*module_of(text), cx, n);
  EXPECT_TRUE(plan.ok()) << plan.error().to_string();
  return std::move(*plan);
}

TEST(PlanMesh, WhatDoesNotFitIsNotChosen) {
  DeviceTable devices = *api::find_device_table("h100x8");
  // Many tokens, so that dp, which exchanges the result alone, is the fastest.
  const std::string text = mlp(65536, 1024);
  MeshPlan free = plan_of(text, devices, 8);
  ASSERT_NE(free.best(), nullptr);
  EXPECT_EQ(free.candidates.size(), 20u);
  EXPECT_EQ(free.best()->mesh.axes_text(), "dp=8");
  EXPECT_EQ(free.greedy.mesh.size(), 8);
  EXPECT_GE(free.greedy.prediction.seconds(), free.best()->prediction.seconds());
  const double whole = free.best()->prediction.weight_bytes;
  EXPECT_NEAR(whole, 2.0 * 2 * 4 * 1024 * 1024, 2048);
  devices.memory_bytes = free.best()->prediction.bytes() - 1;
  MeshPlan tight = plan_of(text, devices, 8);
  int too_large = 0;
  for (const MeshCandidate& c : tight.candidates) {
    EXPECT_EQ(c.fits, c.prediction.bytes() <= devices.memory_bytes) << c.mesh.axes_text();
    too_large += !c.fits;
  }
  EXPECT_GE(too_large, 1);
  devices.memory_bytes = 1000;
  EXPECT_EQ(plan_of(text, devices, 8).best(), nullptr);
}

const MeshCandidate* find(const MeshPlan& plan, const std::string& axes) {
  for (const MeshCandidate& c : plan.candidates)
    if (c.mesh.axes_text() == axes) return &c;
  return nullptr;
}

// Layers so small that exchanging costs more than computing.
TEST(PlanMesh, StagesHoldTheirPartOfTheLayers) {
  MeshPlan plan = plan_of(mlp(1, 64, 4), *api::find_device_table("cpu"), 2);
  const MeshCandidate *stages = find(plan, "pp=2"), *parts = find(plan, "tp=2");
  ASSERT_TRUE(stages && parts);
  EXPECT_EQ(stages->impossible, "");
  EXPECT_EQ(plan.best(), stages);
  // The second stage also waits for the first one's result, and has fewer layers.
  EXPECT_LT(stages->prediction.weight_bytes, plan.one.prediction.weight_bytes);
  EXPECT_GE(stages->prediction.weight_bytes, plan.one.prediction.weight_bytes / 2);
  ASSERT_EQ(stages->prediction.exchanges.size(), 1u);
  EXPECT_EQ(stages->prediction.exchanges[0].what, "recv pp");
  EXPECT_LT(stages->prediction.seconds(), parts->prediction.seconds());
}

TEST(PlanMesh, WhatCannotWinIsNotPriced) {
  MeshPlan plan = plan_of(mlp(65536, 1024, 4), *api::find_device_table("h100x8"), 8);
  ASSERT_TRUE(find(plan, "pp=8"));
  EXPECT_EQ(find(plan, "pp=8")->impossible.substr(0, 8), "slower: ");
  ASSERT_NE(plan.best(), nullptr);
  EXPECT_EQ(plan.best()->mesh.axis_size("pp"), 0);
}

// Eight experts, as a batch of products.
const char* const kExperts = R"(const @w : bf16[8,4096,4096] = splat(0.01)
graph @main(%x: bf16[8,1,4096]) -> (y = %y) {
  %w = constant @w : bf16[8,4096,4096]
  %y = contract(%x, %w) {spec="ech,ehf->ecf"} loc("experts")
}
)";
TEST(PlanMesh, ExpertsAreSharedOut) {
  const DeviceTable devices = *api::find_device_table("a100-cluster");
  const MeshPlan plan = plan_of(kExperts, devices, 4);
  ASSERT_TRUE(find(plan, "ep=4"));
  EXPECT_EQ(find(plan, "ep=4")->impossible, "");
  EXPECT_NEAR(find(plan, "ep=4")->prediction.weight_bytes, plan.one.prediction.weight_bytes / 4, 1);
  EXPECT_EQ(find(plan_of(kExperts, devices, 3), "ep=3")->impossible, "ep=3 does not divide 8 experts");
  EXPECT_EQ(find(plan_of(mlp(8, 256), devices, 4), "ep=4")->impossible, "there are no experts for ep");
}

// Of meshes, those that can do what is asked of tensors.
TEST(PlanMesh, WhatIsAskedOfTensorsHolds) {
  MeshPlan plan = plan_of("given \"w0\" : [_,tp] by \"--shard w0=1:tp\"\n" + mlp(4096, 1024), *api::find_device_table("h100x8"), 2);
  ASSERT_NE(plan.best(), nullptr);
  EXPECT_EQ(plan.best()->mesh.axes_text(), "tp=2");
  EXPECT_NE(find(plan, "dp=2")->impossible.find("--shard w0=1:tp"), std::string::npos) << find(plan, "dp=2")->impossible;
}

TEST(PlanMesh, AxesThatCannotBeSaySo) {
  MeshPlan plan = plan_of(mlp(6, 256), *api::find_device_table("a100-cluster"), 8);
  int impossible = 0;
  for (const MeshCandidate& c : plan.candidates) impossible += c.impossible == "dp=8 for a batch of 6";
  EXPECT_EQ(impossible, 1);
  ASSERT_NE(plan.best(), nullptr);
  PassContext cx;
  cx.target = *parse_target("cuda:sm_90a");
  cx.devices = *api::find_device_table("h100x8");
  EXPECT_EQ(plan_mesh(*module_of(mlp(6, 256)), cx, 16).error().message, "16 devices of 8 that h100x8 has");
}

}  // namespace
}  // namespace weft::plan_mesh_test
