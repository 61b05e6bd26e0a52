// A decode step whose past keys and values are states: what it computes over several steps, and that no step copies them.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>

#include "frontend/api/reference.h"
#include "ir/plan/plan.h"
#include "ir/text/parser.h"
#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

// One layer of grouped attention with rotary embedding, as exporters write it: the past goes in, the present comes out.
constexpr const char* kDecoder = R"(weft.module 1 "decoder"
symbol b = 1..4
symbol n = 1..16
symbol past = 0..256
const @wq : f32[8,16] = hex ")";
constexpr const char* kDecoderEnd = R"("
const @heads : i64[4] = [0, 0, 4, 4]
const @kv_heads : i64[4] = [0, 0, 2, 4]
const @flat : i64[3] = [0, 0, 16]
const @from : i64[1] = [0]
const @to : i64[1] = [8]
const @axis : i64[1] = [2]
graph @main(%x: f32[b,n,8], %cos: f32[b,n,2], %sin: f32[b,n,2], %past_k: f32[b,2,past,4], %past_v: f32[b,2,past,4])
    -> (y = %y, present_k = %present_k, present_v = %present_v) {
  %wq = constant @wq : f32[8,16]
  %heads = constant @heads : i64[4]
  %kv_heads = constant @kv_heads : i64[4]
  %flat = constant @flat : i64[3]
  %from = constant @from : i64[1]
  %to = constant @to : i64[1]
  %axis = constant @axis : i64[1]
  %q0 = contract(%x, %wq) {spec="bmk,kn->bmn"} loc("MatMul_0")
  %k0 = slice(%q0, %from, %to, %axis) loc("Slice_1")
  %q1 = reshape(%q0, %heads) loc("Reshape_2")
  %k1 = reshape(%k0, %kv_heads) loc("Reshape_3")
  %q2 = transpose(%q1) {perm=[0,2,1,3]} loc("Transpose_4")
  %k2 = transpose(%k1) {perm=[0,2,1,3]} loc("Transpose_5")
  %q = rotary_embedding(%q2, %cos, %sin) loc("RotaryEmbedding_6")
  %k = rotary_embedding(%k2, %cos, %sin) loc("RotaryEmbedding_7")
  %v = tanh(%k2) loc("Tanh_8")
  %a, %present_k, %present_v = attention(%q, %k, %v, _, %past_k, %past_v) {is_causal=true} loc("Attention_9")
  %a1 = transpose(%a) {perm=[0,2,1,3]} loc("Transpose_10")
  %y = reshape(%a1, %flat) loc("Reshape_11")
}
)";

// Numbers of about -0.5 .. 0.5 that differ.
std::vector<float> spread(int64_t count, int seed) {
  std::vector<float> v;
  for (int64_t i = 0; i < count; ++i) v.push_back(std::sin(static_cast<float>(i * 7 + seed * 13 + 1)) / 2);
  return v;
}
std::string decoder() {
  std::string hex;
  for (float f : spread(8 * 16, 3)) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(&f);
    char text[3];
    for (int k = 0; k < 4; ++k) hex += (std::snprintf(text, sizeof text, "%02x", bytes[k]), text);
  }
  return kDecoder + hex + kDecoderEnd;
}

api::Tensor tensor(const std::vector<float>& v, api::Tensor::Dims dims) { return *api::Tensor::view(v.data(), std::move(dims)).copy(); }

Result<Executable> compiled_text(const std::string& text, const CompileOptions& options) { return compile(std::as_bytes(std::span(text)), options); }

NamedTensors step_inputs(int64_t batch, int64_t rows, int step) {
  NamedTensors in;
  in.add("x", tensor(spread(batch * rows * 8, step), {batch, rows, 8}));
  in.add("cos", tensor(spread(batch * rows * 2, step + 40), {batch, rows, 2}));
  in.add("sin", tensor(spread(batch * rows * 2, step + 80), {batch, rows, 2}));
  return in;
}

double largest_difference(const api::Tensor& got, const api::Tensor& want) {
  if (got.dims() != want.dims()) return std::numeric_limits<double>::infinity();
  std::vector<double> a = load_all<double>(*to_host_tensor(got)), b = load_all<double>(*to_host_tensor(want));
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

// Against the evaluator, which gets its own presents as the next pasts.
void expect_steps(const CompileOptions& options, int64_t batch) {
  auto exe_or = compiled_text(decoder(), options);
  ASSERT_TRUE(exe_or.ok()) << exe_or.error().to_string();
  const Executable& exe = *exe_or;
  ASSERT_EQ(exe.states().size(), 2u);
  ASSERT_EQ(exe.inputs().size(), 3u);
  ASSERT_EQ(exe.outputs().size(), 1u);
  auto m = parse_module(decoder());
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  Context c = exe.context();
  api::Tensor past_k = *api::Tensor::make(DType::f32, {batch, 2, 0, 4}), past_v = past_k;
  int step = 0;
  for (int64_t rows : {5, 1, 1, 16, 1, 16, 16, 16, 1, 1}) {  // more than the 64 for which there is room at first
    NamedTensors in = step_inputs(batch, rows, ++step), all = in;
    auto got = c.run(in);
    ASSERT_TRUE(got.ok()) << got.error().to_string();
    all.add("past_k", past_k);
    all.add("past_v", past_v);
    auto want = evaluate_module(**m, all);
    ASSERT_TRUE(want.ok()) << want.error().to_string();
    EXPECT_LE(largest_difference((*got)["y"], (*want)["y"]), 2e-6) << "step " << step;
    past_k = (*want)["present_k"];
    past_v = (*want)["present_v"];
    EXPECT_LE(largest_difference(*c.state("past_k"), past_k), 1e-6) << "step " << step;
    EXPECT_LE(largest_difference(*c.state("past_v"), past_v), 1e-6) << "step " << step;
  }
}

TEST(Decode, StepsAreWhatTheEvaluatorGives) {
  expect_steps({.states = {"auto"}}, 1);
  expect_steps({.states = {"past_k=present_k", "past_v=present_v"}}, 3);
  expect_steps({.states = {"auto"}, .opt_level = 0}, 2);
}

struct SnapshotFolder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("weft_snapshots_" + std::to_string(::getpid()));
  SnapshotFolder() { std::filesystem::create_directories(path); }
  ~SnapshotFolder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
};

std::string bits_of(const Result<NamedTensors>& out) {
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  if (!out.ok()) return "";
  const api::Tensor& y = (*out)["y"];
  return std::string(static_cast<const char*>(y.data()), static_cast<size_t>(y.bytes()));
}

// Another context goes on from what was saved after any step, with the same bits.
TEST(Decode, SnapshotsGoOnWithTheSameBits) {
  const SnapshotFolder folder;
  for (const char* mesh : {"", "tp=2"}) {
    auto exe = compiled_text(decoder(), {.states = {"auto"}, .mesh = mesh});
    ASSERT_TRUE(exe.ok()) << exe.error().to_string();
    const std::string file = folder.file(std::string("s") + mesh), on_disk = *mesh ? file + ".rank1" : file;
    Context c = exe->context();
    ASSERT_TRUE(c.save(file).ok());  // before the first run
    std::vector<std::string> want;
    std::vector<uintmax_t> sizes{std::filesystem::file_size(on_disk)};
    const int64_t rows[] = {5, 1, 16, 16, 16, 16, 1, 3};
    for (size_t step = 0; step < std::size(rows); ++step) {
      want.push_back(bits_of(c.run(step_inputs(2, rows[step], static_cast<int>(step)))));
      if (step >= 6) continue;
      const Status s = c.save(file);
      ASSERT_TRUE(s.ok()) << s.error().to_string();
      sizes.push_back(std::filesystem::file_size(on_disk));
    }
    // What was added, not the whole: two states of f32[2,2,rows,4].
    EXPECT_LT(sizes[3] - sizes[2], 2 * 2 * 2 * 16 * 4 * 4 + 400);
    EXPECT_NEAR(static_cast<double>(sizes[6] - sizes[5]), static_cast<double>(sizes[5] - sizes[4]), 1);
    auto go_on = [&](size_t from) {
      Context other = exe->context();
      const Status s = other.restore(file);
      ASSERT_TRUE(s.ok()) << s.error().to_string();
      for (size_t step = from; step < std::size(rows); ++step)
        EXPECT_TRUE(bits_of(other.run(step_inputs(2, rows[step], static_cast<int>(step)))) == want[step]) << mesh << step;
    };
    go_on(6);
    // One rank's last record was cut short by a crash: all go back to the one before.
    std::filesystem::resize_file(on_disk, sizes[6] - 1);
    go_on(5);
    // What goes on from there is written whole, not behind the half of a record.
    Context after = exe->context();
    ASSERT_TRUE(after.restore(file).ok());
    EXPECT_TRUE(bits_of(after.run(step_inputs(2, rows[5], 5))) == want[5]);
    ASSERT_TRUE(after.save(file).ok());
    go_on(6);
    // A context that was reset writes everything anew.
    ASSERT_TRUE(c.reset_states().ok());
    EXPECT_TRUE(bits_of(c.run(step_inputs(2, 5, 0))) == want[0]);
    ASSERT_TRUE(c.save(file).ok());
    EXPECT_LT(std::filesystem::file_size(on_disk), sizes[2]);
    go_on(1);
  }
}

TEST(Decode, SnapshotsOfSomethingElse) {
  const SnapshotFolder folder;
  auto exe = compiled_text(decoder(), {.states = {"auto"}});
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  Context c = exe->context();
  (void)bits_of(c.run(step_inputs(1, 4, 1)));
  EXPECT_EQ(c.save(folder.file("no/such/folder")).error().code, Code::kResources);
  EXPECT_EQ(c.restore(folder.file("nothing")).error().code, Code::kUsage);
  ASSERT_TRUE(c.save(folder.file("s")).ok());
  auto other = compiled_text(decoder(), {.states = {"auto"}, .opt_level = 0});
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->context().restore(folder.file("s")).error().code, Code::kUsage);
  // Any cut and any flipped byte: the snapshot is not there, or as it was.
  std::string bytes;
  {
    std::ifstream f(folder.file("s"), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(f), {});
  }
  const std::string want = bits_of(c.run(step_inputs(1, 1, 2)));
  for (size_t at = 0; at < bytes.size(); at += 7)
    for (bool cut : {true, false}) {
      std::string damaged = cut ? bytes.substr(0, at) : bytes;
      if (!cut) damaged[at] ^= 0x10;
      std::ofstream(folder.file("d"), std::ios::binary) << damaged;
      Context again = exe->context();
      const Status s = again.restore(folder.file("d"));
      EXPECT_FALSE(s.ok()) << at;
    }
  Context again = exe->context();
  ASSERT_TRUE(again.restore(folder.file("s")).ok());
  EXPECT_TRUE(bits_of(again.run(step_inputs(1, 1, 2))) == want);
}

// Whatever has as many rows as the past lies in a state's buffer: keys and values are read there, and only new rows are
// written. The scores alone are as long.
TEST(Decode, NoStepCopiesThePast) {
  auto exe = compiled_text(decoder(), {.states = {"auto"}});
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  auto plan = parse_plan(exe->plan_text());
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  for (const PlanTensor& t : plan->tensors) {
    bool rows_of_past = t.dims.size() == 4 && t.dims[2].contains("past") && t.dims[3].is(4);
    EXPECT_TRUE(!rows_of_past || plan->buffers[t.buffer].storage == Storage::state) << t.name;
  }
  int number = 0, stored = 0;
  for_each_command(
      plan->main,
      [&](const Command& command, int) {
        for_each_access(command, [&](int tensor, Access access) {
          const PlanTensor& t = plan->tensors[tensor];
          if (access == Access::read || plan->buffers[t.buffer].storage != Storage::state) return;
          EXPECT_FALSE(numel(t.dims).contains("past")) << t.name;
          ++stored;
        });
      },
      number);
  EXPECT_GT(stored, 0);
}

TEST(Decode, WhatCannotBeAState) {
  auto code_of = [](std::vector<std::string> states, std::vector<std::string> shapes = {}) {
    CompileOptions options;
    options.states = std::move(states);
    options.shapes = std::move(shapes);
    auto exe = compiled_text(decoder(), options);
    return exe.ok() ? Code::kOk : exe.error().code;
  };
  EXPECT_EQ(code_of({"past_k"}), Code::kUsage);
  EXPECT_EQ(code_of({"past_k=nothing"}), Code::kUsage);
  EXPECT_EQ(code_of({"x=y"}), Code::kUsage);  // other dims
  EXPECT_EQ(code_of({"past_k=present_k", "past_k=present_v"}), Code::kUsage);
  EXPECT_EQ(code_of({"past_k=present_k"}, {"past_k=1x2x3x4"}), Code::kUsage);     // a fixed length cannot grow
  EXPECT_EQ(code_of({"past_k=present_k"}, {"past_k=1x2x1..8x4"}), Code::kUsage);  // nor begin with nothing
  EXPECT_EQ(code_of({"auto", "past_k=present_k"}), Code::kOk);
}

// Those who bind the past and read the present go on doing so, and are told what there is.
TEST(Decode, NothingBecomesAStateUnasked) {
  auto exe = compiled_text(decoder(), {});
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  EXPECT_EQ(exe->states().size(), 0u);
  EXPECT_EQ(exe->inputs().size(), 5u);
  EXPECT_EQ(exe->outputs().size(), 3u);
  bool told = false;
  for (const std::string& note : exe->stats().notes) told = told || note.find("past_k, past_v") != std::string::npos;
  EXPECT_TRUE(told);
}

}  // namespace

}  // namespace weft::model_test
