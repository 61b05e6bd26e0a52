// model.weft: what is compiled ahead of time gives what is compiled in memory; damaged files are refused.
#include "runtime/artefact/artefact.h"

#include <algorithm>
#include <random>

#include "ir/core/constant.h"
#include "runtime/cpu/thread_pool.h"
#include "tests/support/cuda_kernels.h"
#include "tests/unit/artefact_support.h"

namespace weft::artefact_test {
namespace {

using api::Executable;

constexpr const char* kModel = R"(weft.module 1 "layer"
metadata "author" = "tests"
const @w : f32[3,2] = [1.0, 0.0, 0.0, 1.0, 1.0, -1.0]
const @b : f32[2] = [0.5, -0.5]
graph @main(%x: f32[batch,3]) -> (y = %y) {
  %w = constant @w : f32[3,2]
  %b = constant @b : f32[2]
  %p = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch,2] loc("MatMul_0")
  %q = add(%p, %b) : f32[batch,2] loc("Add_1")
  %y = relu(%q) : f32[batch,2] loc("Relu_2")
}
)";

class ArtefactTest : public ArtefactFolder {
 protected:
  void SetUp() override {
    ArtefactFolder::SetUp();
    write("model.wir", kModel);
  }
  // Whether the file can be opened and all that its first target runs is accepted, as by who loads it.
  static bool accepts(const std::string& file) {
    auto a = Artefact::open(file);
    if (!a.ok()) return false;
    auto t = (*a)->target(0);
    if (!t.ok()) return false;
    for (const ConstantBytes& c : t->constants)
      if (!c.check->check(0, static_cast<int64_t>(c.size)).ok()) return false;
    return true;
  }
};

std::vector<float> outputs_of(const Executable& exe) {
  api::Context c = exe.context();
  std::vector<float> x(12, 0.5f);
  x[3] = -1;
  auto out = c.run({{exe.inputs()[0].name, api::Tensor::view(x.data(), {4, 3})}});
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  std::vector<float> all;
  for (const api::NamedTensor& t : *out) all.insert(all.end(), t.tensor.data_as<const float>(), t.tensor.data_as<const float>() + t.tensor.numel());
  return all;
}

TEST_F(ArtefactTest, RunsAsWhatIsCompiledInMemory) {
  compile_model({"cpu", "cpu:x86-64-v2"});
  auto exe = Executable::load(path("model.weft"));
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  EXPECT_EQ(exe->target(), "cpu:x86-64-v3");
  auto fresh = api::compile(path("model.wir"), {.target = "cpu:x86-64-v3"});
  ASSERT_TRUE(fresh.ok());
  EXPECT_EQ(outputs_of(*exe), outputs_of(*fresh));
  auto older = Executable::load(path("model.weft"), {.target = "cpu:x86-64-v2"});
  ASSERT_TRUE(older.ok()) << older.error().to_string();
  EXPECT_EQ(older->target(), "cpu:x86-64-v2");
  auto a = Artefact::open(path("model.weft"));
  ASSERT_TRUE(a.ok());
  EXPECT_TRUE((*a)->check().ok());
  EXPECT_EQ((*a)->targets(), (std::vector<std::string>{"cpu:x86-64-v3", "cpu:x86-64-v2"}));
  // What was lowered, once for both.
  const std::string module = (*a)->target(1)->module;
  EXPECT_EQ(module.rfind("weft.module 1 \"layer\"", 0), 0u) << module;
  EXPECT_EQ((*a)->target(0)->module, module);
  auto is_module = [](const Artefact::Section& s) { return s.kind == ArtefactSection::module; };
  EXPECT_EQ(std::count_if((*a)->sections().begin(), (*a)->sections().end(), is_module), 1);
  auto read_back = api::compile(std::as_bytes(std::span(module)), {.target = "cpu:x86-64-v3"});
  ASSERT_TRUE(read_back.ok()) << read_back.error().to_string();
  EXPECT_EQ(outputs_of(*read_back), outputs_of(*fresh));
}

TEST_F(ArtefactTest, TheSameBytesEveryTime) {
  compile_model({"cpu", "cpu:x86-64-v4"});
  compile_model({"cpu", "cpu:x86-64-v4"}, "again.weft");
  EXPECT_EQ(read("model.weft"), read("again.weft"));
}

TEST_F(ArtefactTest, ForAGpuThatIsNotHere) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  compile_model({"cuda:sm_90a"});
  auto a = Artefact::open(path("model.weft"));
  ASSERT_TRUE(a.ok()) << a.error().to_string();
  auto t = (*a)->target(0);
  ASSERT_TRUE(t.ok()) << t.error().to_string();
  EXPECT_FALSE(t->kernels.empty());
  auto exe = Executable::load(path("model.weft"), {.target = "cpu"});
  ASSERT_FALSE(exe.ok());
  EXPECT_EQ(exe.error().code, Code::kUnsupported);
  EXPECT_NE(exe.error().message.find("cuda:sm_90a"), std::string::npos) << exe.error().message;
}

// Machine code for one architecture, and for all others text that a driver translates, with the tensor cores that all have.
TEST_F(ArtefactTest, PortableCodeForGpus) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  for (const char* type : {"f16", "bf16"}) {
    const std::string dense = R"(weft.module 1 "dense"
graph @main(%x: f16[m,256], %w: f16[256,128]) -> (y = %y) {
  %y = contract(%x, %w) {spec="mk,kn->mn"} : f16[m,128] loc("MatMul_0")
}
)";
    std::string text = dense;
    for (size_t at; (at = text.find(": f16")) != std::string::npos;) text.replace(at, 5, std::string(":  ") + type);
    write("model.wir", text);
    compile_model({"cuda:sm_90a", "cuda:compute_80"});
    auto a = Artefact::open(path("model.weft"));
    ASSERT_TRUE(a.ok()) << a.error().to_string();
    auto own = (*a)->target(0), portable = (*a)->target(1);
    ASSERT_TRUE(own.ok() && portable.ok());
    ASSERT_EQ(portable->kernels.size(), 1u);
    EXPECT_EQ(own->kernels[0].code.substr(0, 4), "\x7f" "ELF");
    const std::string& ptx = portable->kernels[0].code;
    EXPECT_NE(ptx.find(".target sm_80\n"), std::string::npos) << ptx.substr(0, 300);
    EXPECT_NE(ptx.find(std::string("mma.sync.aligned.m16n8k16.row.col.f32.") + type), std::string::npos);
    EXPECT_EQ(ptx.find("wgmma"), std::string::npos);
    EXPECT_EQ(ptx.find('\0'), std::string::npos);
    // PTX needs a driver that knows its version; machine code any of the major one.
    EXPECT_GE(portable->least_driver, own->least_driver);
    EXPECT_LE(portable->kernels[0].shared_bytes, 99 << 10);  // what the smallest of them has for a block
  }
}

TEST_F(ArtefactTest, EveryTruncationIsRefused) {
  compile_model({"cpu"});
  const std::string bytes = read("model.weft");
  for (size_t n = 0; n < bytes.size(); n += n < 4096 ? 1 : 61) {
    write("cut.weft", bytes.substr(0, n));
    ASSERT_FALSE(accepts(path("cut.weft"))) << n;
  }
  write("cut.weft", bytes + '\0');
  EXPECT_FALSE(accepts(path("cut.weft")));
}

TEST_F(ArtefactTest, EveryFlippedBitIsRefused) {
  compile_model({"cpu"});
  std::string bytes = read("model.weft");
  ASSERT_LT(bytes.size(), size_t{1} << 20);
  std::mt19937_64 random(7);
  for (int i = 0; i < 10000; ++i) {
    const size_t bit = i < 8 * 1024 ? static_cast<size_t>(i) : random() % (8 * bytes.size());
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
    write("flipped.weft", bytes);
    ASSERT_FALSE(accepts(path("flipped.weft"))) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
}

// Weights of three chunks: who reads a chunk first finds what is wrong with it, and nobody before.
TEST_F(ArtefactTest, ChunksAreCheckedByWhoReadsThem) {
  constexpr int64_t kRows = 700, kColumns = 4096;  // 11 MB
  std::vector<std::byte> bytes(static_cast<size_t>(kRows * kColumns * 4));
  for (size_t i = 0; i < bytes.size(); i += 4) bytes[i + 3] = std::byte{0x3f}, bytes[i] = static_cast<std::byte>(i / 4 % 251);
  write("big.bin", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  ConstantPool pool;
  const std::string hash = pool[pool.add_bytes("w", DType::f32, {kRows, kColumns}, bytes)].hash.hex();
  std::ofstream(path("model.wir")) << R"(weft.module 1 "big"
const @w : f32[700,4096] = file "big.bin" offset 0 size 11468800 hash ")" << hash << R"("
graph @main(%x: f32[batch,4096]) -> (y = %y) {
  %w = constant @w : f32[700,4096]
  %y = add(%x, %w) : f32[700,4096] loc("Add_0")
}
)";
  compile_model({"cpu"});
  const std::string file = read("model.weft");
  auto a = Artefact::open(path("model.weft"));
  ASSERT_TRUE(a.ok()) << a.error().to_string();
  ASSERT_TRUE(Executable::load(path("model.weft")).ok());
  auto weights = std::find_if((*a)->sections().begin(), (*a)->sections().end(), [](auto& s) { return s.bytes == 11468800; });
  ASSERT_NE(weights, (*a)->sections().end());
  auto pool_of = [](int n) { return ThreadPool::create(n).value(); };
  for (int64_t at : {int64_t{0}, (int64_t{4} << 20) - 1, int64_t{4} << 20, int64_t{9} << 20, int64_t{11468799}}) {
    std::string changed = file;
    changed[weights->offset + static_cast<uint64_t>(at)] ^= 1;
    write("changed.weft", changed);
    auto opened = Artefact::open(path("changed.weft"));
    ASSERT_TRUE(opened.ok());
    auto t = (*opened)->target(0);
    ASSERT_TRUE(t.ok()) << "nothing has read the weights yet: " << t.error().to_string();
    const auto found = std::find_if(t->constants.begin(), t->constants.end(), [](auto& c) { return c.size == 11468800; });
    ASSERT_NE(found, t->constants.end());
    const int64_t chunk = at >> 22;
    EXPECT_TRUE(found->check->check(((chunk + 1) % 3) << 22, (((chunk + 1) % 3) << 22) + 1).ok()) << "another chunk";
    const std::string what = "the hash of chunk " + std::to_string(chunk) + " is another one";
    for (int again = 0; again < 2; ++again) {
      const Status s = found->check->check(at, at + 1);
      ASSERT_FALSE(s.ok());
      EXPECT_EQ(s.error().code, Code::kInvalidModel);
      EXPECT_NE(s.error().message.find(what), std::string::npos) << s.error().message;
    }
    for (int threads : {1, 3}) {
      auto exe = Executable::load(path("changed.weft"), {.threads = threads, .use_cache = false});
      ASSERT_FALSE(exe.ok());
      EXPECT_EQ(exe.error().code, Code::kInvalidModel);
      EXPECT_NE(exe.error().message.find(what), std::string::npos) << exe.error().message;
      const Status s = (*opened)->check(pool_of(threads).get());
      ASSERT_FALSE(s.ok());
      EXPECT_NE(s.error().message.find(what), std::string::npos) << s.error().message;
    }
  }
}

// The module's text names a file elsewhere without its folder: the same model gives the same bytes wherever it lies.
TEST_F(ArtefactTest, TheFolderIsNotInTheFile) {
  ConstantPool pool;
  const std::vector<std::byte> bytes(400, std::byte{0x3c});
  const std::string hash = pool[pool.add_bytes("w", DType::f32, {100}, bytes)].hash.hex();
  for (const char* folder : {"here", "there"}) {
    fs::create_directories(path(folder) + "/data");
    for (const char* file : {"/data/inside.bin", ".bin"}) {
      write(std::string(folder) + file, std::string(400, 0x3c));
      const std::string name = file[0] == '.' ? path(folder) + file : file + 1;
      write(std::string(folder) + "/model.wir", "weft.module 1 \"m\"\nconst @w : f32[100] = file \"" + name + "\" offset 0 size 400 hash \"" + hash +
                                                    "\"\ngraph @main(%x: f32[batch,100]) -> (y = %y) {\n  %w = constant @w : f32[100]\n" +
                                                    "  %y = add(%x, %w) : f32[batch,100] loc(\"Add_0\")\n}\n");
      const std::string out = path(folder) + (file[0] == '.' ? "/outside.weft" : "/inside.weft");
      ASSERT_TRUE(api::compile_to_file(path(folder) + "/model.wir", out, {"cpu"}, {.use_cache = false}).ok());
    }
  }
  EXPECT_EQ(read("here/inside.weft"), read("there/inside.weft"));
  EXPECT_NE(read("here/inside.weft").find("= file \"data/inside.bin\" offset"), std::string::npos);
  EXPECT_NE(read("here/outside.weft").find("= file \"here.bin\" offset"), std::string::npos);
}

TEST_F(ArtefactTest, WeightsBeside) {
  using Weights = api::ArtefactOptions::Weights;
  compile_model({"cpu"}, "inside.weft");
  compile_model({"cpu"}, "model.weft", {.weights = Weights::external});
  auto exe = Executable::load(path("model.weft"));
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  EXPECT_EQ(outputs_of(*exe), outputs_of(*Executable::load(path("inside.weft"))));
  const std::string weights = read("model.weft.weights");
  ASSERT_FALSE(weights.empty());
  for (size_t i = 0; i < weights.size(); ++i) {
    std::string flipped = weights;
    flipped[i] = static_cast<char>(flipped[i] ^ 16);
    write("model.weft.weights", flipped);
    auto a = Artefact::open(path("model.weft"));
    EXPECT_FALSE(a.ok() && (*a)->check().ok()) << "byte " << i;
  }
  write("model.weft.weights", weights.substr(1));
  EXPECT_FALSE(Artefact::open(path("model.weft")).ok());
  write("elsewhere", weights);
  fs::remove(path("model.weft.weights"));
  EXPECT_EQ(Artefact::open(path("model.weft")).error().code, Code::kUsage);
  fs::create_symlink(path("elsewhere"), path("model.weft.weights"));
  EXPECT_EQ(Artefact::open(path("model.weft")).error().code, Code::kUsage) << "a link";
  compile_model({"cpu"}, "model.weft");  // embedded now: what lay beside it is gone
  EXPECT_FALSE(fs::exists(path("model.weft.weights")));
}

TEST_F(ArtefactTest, RefittedWeights) {
  using Weights = api::ArtefactOptions::Weights;
  std::vector<std::string> targets{"cpu"}, names{"cpu:x86-64-v3"};
  if (test::nvrtc_missing().empty()) {
    targets.push_back("cuda:sm_90a");
    names.push_back("cuda:sm_90a");
  }
  compile_model(targets, "stripped.weft", {.weights = Weights::strip});
  const auto refused = Executable::load(path("stripped.weft"), {.target = "cpu"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kUsage);
  EXPECT_NE(refused.error().hint.find("--refit"), std::string::npos);
  EXPECT_TRUE((*Artefact::open(path("stripped.weft")))->check().ok());
  // Twice the weights.
  std::string text = kModel;
  const size_t at = text.find("[1.0, 0.0, 0.0, 1.0, 1.0, -1.0]");
  text.replace(at, 31, "[2.0, 0.0, 0.0, 2.0, 2.0, -2.0]");
  std::ofstream(path("new.wir")) << text;
  auto bytes = api::compile_to_file(path("new.wir"), path("new.weft"), {}, {.use_cache = false}, {.refit = path("stripped.weft")});
  ASSERT_TRUE(bytes.ok()) << bytes.error().to_string();
  EXPECT_EQ((*Artefact::open(path("new.weft")))->targets(), names);
  auto exe = Executable::load(path("new.weft"), {.target = "cpu"});
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  EXPECT_EQ(outputs_of(*exe), outputs_of(*api::compile(path("new.wir"), {.target = "cpu:x86-64-v3"})));
  auto error_of = [&](const std::vector<std::pair<std::string, std::string>>& changes) {
    std::string other = kModel;
    for (const auto& [from, to] : changes)
      for (size_t i; (i = other.find(from)) != std::string::npos;) other.replace(i, from.size(), to);
    std::ofstream(path("other.wir")) << other;
    auto r = api::compile_to_file(path("other.wir"), path("other.weft"), {}, {.use_cache = false}, {.refit = path("stripped.weft")});
    return r.ok() ? "" : r.error().to_string();
  };
  const std::string shape = error_of({{"@b : f32[2]", "@b : f32[1]"}, {"[0.5, -0.5]", "[0.5]"}});
  EXPECT_NE(shape.find("b is f32[1], the other's f32[2]"), std::string::npos) << shape;
  const std::string ops = error_of({{"relu", "tanh"}});
  EXPECT_NE(ops.find("kernels or commands are others"), std::string::npos) << ops;
}

// Keys as openssl writes them: RFC 8032's first and second test.
constexpr const char* kKeys[] = {"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
                                 "MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7"};

TEST_F(ArtefactTest, Signatures) {
  if (auto s = SignedBytes::start(); !s.ok()) GTEST_SKIP() << s.error().message;
  auto pem = [&](const std::string& name, const std::string& kind, const std::string& base64) {
    std::ofstream(path(name)) << "-----BEGIN " << kind << "-----\n" << base64 << "\n-----END " << kind << "-----\n";
  };
  pem("a.pem", "PRIVATE KEY", kKeys[0]);
  pem("b.pem", "PRIVATE KEY", kKeys[1]);
  pem("a.pub", "PUBLIC KEY", "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
  pem("b.pub", "PUBLIC KEY", "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=");
  using Weights = api::ArtefactOptions::Weights;
  for (Weights w : {Weights::embed, Weights::external}) {
    compile_model({"cpu"}, "model.weft", {.weights = w, .sign_key = path("a.pem")});
    const std::string file = read("model.weft");
    auto loads = [&](const std::string& key, bool required = false) {
      auto exe = Executable::load(path("model.weft"), {.verify_key = key.empty() ? "" : path(key), .require_signature = required});
      return exe.ok() ? "" : exe.error().to_string();
    };
    EXPECT_EQ(loads(""), "");
    EXPECT_EQ(loads("a.pub"), "");
    EXPECT_EQ(loads("", true), "");
    EXPECT_NE(loads("b.pub").find("is signed with the key d75a9801"), std::string::npos) << loads("b.pub");
    EXPECT_NE(loads("a.pem").find("holds no Ed25519 public key"), std::string::npos);
    EXPECT_NE(loads("model.wir").find("holds no Ed25519 public key"), std::string::npos);
    // A changed byte, wherever it is, is refused by hashes or by the signature.
    for (size_t i = 0; i < file.size(); i += i < file.size() - kSignatureBytes ? 97 : 1) {
      std::string changed = file;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      write("model.weft", changed);
      EXPECT_NE(loads("a.pub"), "") << "byte " << i;
    }
    // Signed anew by somebody else.
    compile_model({"cpu"}, "model.weft", {.weights = w, .sign_key = path("b.pem")});
    EXPECT_NE(loads("a.pub"), "");
    EXPECT_EQ(loads("b.pub"), "");
    // Another file's signature.
    compile_model({"cpu", "cpu:x86-64-v2"}, "model.weft", {.weights = w});
    EXPECT_NE(loads("a.pub").find("is not signed"), std::string::npos);
    EXPECT_NE(loads("", true).find("is not signed"), std::string::npos);
    write("model.weft", read("model.weft") + file.substr(file.size() - kSignatureBytes));
    EXPECT_NE(loads("a.pub").find("has been changed since it was signed"), std::string::npos) << loads("a.pub");
    EXPECT_EQ(loads(""), "");
  }
  EXPECT_FALSE(api::compile_to_file(path("model.wir"), path("x.weft"), {"cpu"}, {}, {.sign_key = path("a.pub")}).ok());
  EXPECT_FALSE(fs::exists(path("x.weft")));
}

TEST_F(ArtefactTest, SaysWhatIsWrong) {
  compile_model({"cpu"});
  const std::string bytes = read("model.weft");
  auto message = [&](std::string changed, Code code) {
    write("other.weft", changed);
    auto a = Artefact::open(path("other.weft"));
    EXPECT_FALSE(a.ok());
    if (a.ok()) return std::string();
    EXPECT_EQ(a.error().code, code) << a.error().message;
    return a.error().message;
  };
  std::string newer = bytes;
  newer[8] = 7;
  EXPECT_NE(message(newer, Code::kUsage).find("format version 7; this weft reads version 3"), std::string::npos);
  EXPECT_NE(message("not a model", Code::kUsage).find("no compiled model"), std::string::npos);
  EXPECT_NE(message(bytes.substr(0, 40), Code::kInvalidModel).find("ends within its header"), std::string::npos);
  std::string padded = bytes;
  padded[padded.size() - 1] ^= 1;
  EXPECT_FALSE(accepts(path("missing.weft")));
  auto compiled_again = api::compile(path("model.weft"));
  ASSERT_FALSE(compiled_again.ok());
  EXPECT_EQ(compiled_again.error().code, Code::kUsage);
  auto twice = api::compile_to_file(path("model.wir"), path("twice.weft"), {"cpu", "cpu:x86-64-v3"});
  EXPECT_FALSE(twice.ok());
  EXPECT_FALSE(fs::exists(path("twice.weft")));
  auto nowhere = api::compile_to_file(path("model.wir"), path("no/such/folder.weft"), {"cpu"});
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code, Code::kResources);
}

}  // namespace
}  // namespace weft::artefact_test
