// Which form of its weights an artefact holds, and that none is laid out at load then.
#include <algorithm>
#include <cstring>

#include "tests/support/cuda_kernels.h"
#include "tests/unit/artefact_support.h"

namespace weft::artefact_test {
namespace {

using api::Executable;
using Prepared = api::ArtefactOptions::Prepared;
using Weights = api::ArtefactOptions::Weights;

std::string numbers(int count, int seed) {
  std::string s = "[";
  for (int i = 0; i < count; ++i) s += (i ? ", " : "") + std::to_string((i * 37 + seed) % 101 - 50) + ".0";
  return s + "]";
}

// Two layers of 16 KiB of weights each; the first layer's are an output, too, where they are `shared`.
std::string two_layers(bool shared = false, int seed = 0) {
  return "weft.module 1 \"layers\"\nconst @w1 : f32[64,64] = " + numbers(4096, seed) + "\nconst @w2 : f32[64,64] = " + numbers(4096, seed + 5) +
         "\nconst @b : f32[64] = " + numbers(64, seed + 9) + R"(
graph @main(%x: f32[batch,64]) -> (y = %y)" + (shared ? ", z = %z" : "") + R"() {
  %w1 = constant @w1 : f32[64,64]
  %w2 = constant @w2 : f32[64,64]
  %b = constant @b : f32[64]
  %p = contract(%x, %w1) {spec="mk,kn->mn"} : f32[batch,64] loc("MatMul_0")
  %q = add(%p, %b) : f32[batch,64] loc("Add_1")
  %y = contract(%q, %w2) {spec="mk,kn->mn"} : f32[batch,64] loc("MatMul_2")
)" + (shared ? "  %z = add(%x, %w1) : f32[64,64] loc(\"Add_3\")\n" : "") + "}\n";
}

class ArtefactWeights : public ArtefactFolder {
 protected:
  uint64_t weight_bytes(const std::string& name) const {
    uint64_t n = 0;
    const auto artefact = Artefact::open(path(name)).value();
    for (const Artefact::Section& s : artefact->sections())
      if (s.kind == ArtefactSection::weights) n += s.bytes;
    return n;
  }
  std::string plan_text(const std::string& name, size_t target = 0) const { return Artefact::open(path(name)).value()->target(target, false).value().plan; }
  size_t kernels_of(const std::string& name) const { return Artefact::open(path(name)).value()->target(0, false).value().kernels.size(); }
  Executable load(const std::string& name, const std::string& target = "cpu") const {
    auto exe = Executable::load(path(name), {.target = target, .use_cache = false});
    EXPECT_TRUE(exe.ok()) << exe.error().to_string();
    return *exe;
  }
};

std::vector<float> results_of(const Executable& exe) {
  api::Context c = exe.context();
  std::vector<float> x(64 * 64), all;
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  auto out = c.run({{exe.inputs()[0].name, api::Tensor::view(x.data(), {64, 64})}});
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  for (const api::NamedTensor& t : *out) all.insert(all.end(), t.tensor.data_as<const float>(), t.tensor.data_as<const float>() + t.tensor.numel());
  return all;
}

constexpr uint64_t kLayer = 64 * 64 * 4, kBias = 64 * 4;

TEST_F(ArtefactWeights, PreparedOnesReplaceOthers) {
  write("model.wir", two_layers());
  compile_model({"cpu"}, "none.weft", {.prepared = Prepared::none});
  compile_model({"cpu"});
  EXPECT_EQ(weight_bytes("none.weft"), 2 * kLayer + kBias);
  EXPECT_EQ(weight_bytes("model.weft"), 2 * kLayer + kBias);
  EXPECT_LE(fs::file_size(path("model.weft")), fs::file_size(path("none.weft")));
  EXPECT_LT(kernels_of("model.weft"), kernels_of("none.weft")) << "those that prepare";
  EXPECT_NE(plan_text("none.weft").find("prepare {"), std::string::npos);
  EXPECT_EQ(plan_text("model.weft").find("prepare {"), std::string::npos);
  const Executable late = load("none.weft"), early = load("model.weft");
  EXPECT_EQ(late.stats().prepared_bytes, static_cast<int64_t>(2 * kLayer));
  EXPECT_EQ(early.stats().prepared_bytes, 0);
  EXPECT_EQ(results_of(early), results_of(late));
  for (Weights w : {Weights::external, Weights::embed}) {
    compile_model({"cpu"}, "model.weft", {.weights = w});
    compile_model({"cpu"}, "again.weft", {.weights = w});
    EXPECT_EQ(read("model.weft"), read("again.weft"));
    EXPECT_EQ(results_of(load("model.weft")), results_of(late));
  }
}

// What is read as it is, too, is not stored twice unless that is asked for.
TEST_F(ArtefactWeights, TheFileDoesNotGrow) {
  write("model.wir", two_layers(true));
  compile_model({"cpu"});
  compile_model({"cpu"}, "all.weft", {.prepared = Prepared::all});
  EXPECT_EQ(weight_bytes("model.weft"), 2 * kLayer + kBias);
  EXPECT_EQ(weight_bytes("all.weft"), 3 * kLayer + kBias);
  EXPECT_EQ(load("model.weft").stats().prepared_bytes, static_cast<int64_t>(kLayer));
  EXPECT_EQ(load("all.weft").stats().prepared_bytes, 0);
  EXPECT_EQ(results_of(load("model.weft")), results_of(load("all.weft")));
}

// Of several targets: forms of one that another does not have would stand beside the weights, or beside other forms.
TEST_F(ArtefactWeights, TargetsShareThem) {
  write("model.wir", two_layers());
  compile_model({"cpu:x86-64-v3", "cpu:x86-64-v3+avxvnni"}, "same.weft");
  EXPECT_EQ(weight_bytes("same.weft"), 2 * kLayer + kBias);
  EXPECT_EQ(plan_text("same.weft", 0).find("prepare {"), std::string::npos);
  EXPECT_EQ(plan_text("same.weft", 1).find("prepare {"), std::string::npos);
  compile_model({"cpu:x86-64-v2", "cpu:x86-64-v4"}, "others.weft");
  EXPECT_EQ(weight_bytes("others.weft"), 2 * kLayer + kBias);
  EXPECT_NE(plan_text("others.weft", 0).find("prepare {"), std::string::npos);
  compile_model({"cpu:x86-64-v2", "cpu:x86-64-v4"}, "all.weft", {.prepared = Prepared::all});
  EXPECT_EQ(weight_bytes("all.weft"), 4 * kLayer + kBias);
  EXPECT_EQ(results_of(load("all.weft", "cpu:x86-64-v2")), results_of(load("others.weft", "cpu:x86-64-v2")));
}

// Refitted, weights are laid out as they are there, whatever the file held.
TEST_F(ArtefactWeights, Refitted) {
  write("model.wir", two_layers(true));
  compile_model({"cpu"}, "stripped.weft", {.weights = Weights::strip});
  compile_model({"cpu"}, "all.weft", {.prepared = Prepared::all});
  compile_model({"cpu"}, "none.weft", {.prepared = Prepared::none});
  write("model.wir", two_layers(true, 3));
  const std::vector<float> expected = results_of(*api::compile(path("model.wir"), {.target = "cpu:x86-64-v3"}));
  for (auto [name, prepared] : {std::pair{"stripped.weft", kLayer}, {"all.weft", uint64_t{0}}, {"none.weft", 2 * kLayer}}) {
    compile_model({}, "new.weft", {.refit = path(name)});
    EXPECT_EQ(load("new.weft").stats().prepared_bytes, static_cast<int64_t>(prepared)) << name;
    EXPECT_EQ(results_of(load("new.weft")), expected) << name;
  }
  compile_model({}, "new.weft", {.refit = path("all.weft")});
  compile_model({"cpu"}, "fresh.weft", {.prepared = Prepared::all});
  EXPECT_EQ(read("new.weft"), read("fresh.weft"));
  write("model.wir", two_layers(false));
  auto other = api::compile_to_file(path("model.wir"), path("new.weft"), {}, {.use_cache = false}, {.refit = path("all.weft")});
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Code::kUsage);
}

// A GPU's weights are laid out by the processor.
TEST_F(ArtefactWeights, OfAGpuThatIsNotHere) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  write("model.wir", R"(weft.module 1 "convolution"
const @w : f32[64,64,3,3] = )" + numbers(64 * 64 * 9, 1) + R"(
const @s : f32[64,1,1] = )" + numbers(64, 2) + R"(
graph @main(%x: f32[batch,64,24,24]) -> (y = %y) {
  %w = constant @w : f32[64,64,3,3]
  %s = constant @s : f32[64,1,1]
  %p = conv(%x, %w) : f32[batch,64,22,22] loc("Conv_0")
  %y = mul(%p, %s) : f32[batch,64,22,22] loc("Mul_1")
}
)");
  compile_model({"cuda:sm_90a"}, "none.weft", {.prepared = Prepared::none});
  compile_model({"cuda:sm_90a"});
  ASSERT_NE(plan_text("none.weft").find("prepare {"), std::string::npos) << "the scale is folded";
  EXPECT_EQ(plan_text("model.weft").find("prepare {"), std::string::npos);
  EXPECT_EQ(weight_bytes("model.weft"), uint64_t{64 * 64 * 9 * 4});
  // w * s, in whatever order of axes.
  auto t = Artefact::open(path("model.weft")).value()->target(0).value();
  ASSERT_EQ(t.constants.size(), 1u);
  std::vector<float> found(64 * 64 * 9), expected;
  std::memcpy(found.data(), t.constants[0].data, found.size() * 4);
  for (int i = 0; i < 64 * 64 * 9; ++i)
    expected.push_back(static_cast<float>((i * 37 + 1) % 101 - 50) * static_cast<float>((i / 576 * 37 + 2) % 101 - 50));
  std::sort(found.begin(), found.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace weft::artefact_test
