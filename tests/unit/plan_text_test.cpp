// The .wplan text: every construct prints, parses back and prints the same; hostile text is an Error, never a crash.
#include <gtest/gtest.h>

#include <random>

#include "ir/plan/plan.h"

namespace weft::plan_text_test {
namespace {

// A plan's text is its identity: printing what was parsed must give the text back.
void expect_round_trip(const std::string& text) {
  Result<Plan> p = parse_plan(text);
  ASSERT_TRUE(p.ok()) << p.error().to_string();
  EXPECT_EQ(print_plan(*p), text);
}
std::string parse_error(const std::string& text) {
  Result<Plan> p = parse_plan(text);
  return p.ok() ? "" : p.error().message;
}

const char* const kMlp = R"(wplan 1 name "mlp" target "cpu:x86-64-v3" arena 4096
symbol batch 1 .. 32 opt 8
symbol n
symbol offset -5 ..
constant w f32[768,128] hash "000102030405060708090a0b0c0d0e0f"
constant "layer/1:bias" f32[128]
kernel @gemm_0 hash "f0e0d0c0b0a090807060504030201000" object 0 flops 196608*batch bytes 3584*batch+393216 nodes ["MatMul_0", "Add_1"]
kernel @relu
buffer #x input 0 bytes 3072*batch
buffer #w constant 0 bytes 393216
buffer #h arena bytes 512*batch align 128 offset 0 live 0 .. 1
buffer #pack prepared bytes 393216
buffer #tmp arena prepare bytes 64 live 0 .. 0
buffer #y output 0 bytes 512*batch
tensor %x f32[batch,768] #x
tensor %x_t f32[768,batch] #x strides [1,768]
tensor %w f32[768,128] #w
tensor %h f32[batch,128] #h
tensor %"out/y" f32[batch,128] #y
tensor %packed i4[3,5] #pack
tensor %half f32[batch,64] #h offset 256 strides [128,1]
input x %x
output "out/y" %"out/y"
prepare {
  launch @relu(%w, out %packed) tasks 4 scratch 1024
}
main {
  launch @gemm_0(%x, %w, out %h, batch, 768, scalar(0.5), scalar(-inf)) tasks batch scratch 64*batch nodes ["MatMul_0"]
  launch @relu(inout %h, out %"out/y", min(8,batch), -n) tasks floordiv(batch+7,8)
}
)";

const char* const kDecode = R"(wplan 1 name "decode"
symbol past 0 .. 2048
symbol room 1 .. 2048
symbol seq 1 .. 2048 opt 1
kernel @append
kernel @attention
buffer #q input 0 bytes 256*seq
buffer #k state 0 bytes 256*room
buffer #v state 1 bytes 256*room
buffer #o output 0 bytes 256*seq
tensor %q f32[seq,64] #q
tensor %k0 f32[past,64] #k
tensor %k1 f32[past+seq,64] #k
tensor %v0 f32[past,64] #v
tensor %v1 f32[past+seq,64] #v
tensor %o f32[seq,64] #o
input q %q
output o %o
state past_key %k0 -> %k1 append 0 length past capacity room
state past_value %v0 -> %v1 append 0 length past capacity room
main {
  launch @append(%q, inout %k1, inout %v1, past) tasks seq
  launch @attention(%q, %k1, %v1, out %o, past+seq) tasks seq
}
)";

const char* const kSharded = R"(wplan 1 name "sharded" target "cuda:sm_90a"
symbol rank.tp 0 .. 3
constant w f16[4096,4096]
kernel @matmul object 2
group tp axes ["tp"]
buffer #x input 0 device bytes 8192
buffer #w constant 0 device bytes 33554432
buffer #partial arena device bytes 8192 live 0 .. 3
buffer #y output 0 device bytes 8192
buffer #ws arena device bytes 65536 align 4096 live 0 .. 0
tensor %x f16[1,4096] #x
tensor %w_shard f16[1024,4096] #w offset 8388608*rank.tp
tensor %partial f16[1,4096] #partial
tensor %y f16[1,4096] #y
tensor %ws u8[65536] #ws
input x %x
output y %y
main {
  launch @matmul(map(%x), map(%w_shard), out %partial, 1024, workspace(out %ws), peers(%partial)) grid [32,1,1] cluster [2,1,1] shared 196608 dependent stream 1
  record 0 stream 1
  wait 0
  collective all_reduce(%partial -> %y) group tp "sum" event 7
  wait_collective 7
}
)";

const char* const kControl = R"(wplan 1
symbol i
symbol m 0 .. 4096
symbol n 0 .. 100
buffer #c input 0 bytes 1
buffer #a arena bytes 16 live 0 .. 20
buffer #b arena bytes 16 live 0 .. 20
buffer #d dynamic bytes 8*n
buffer #y output 0 bytes 16
tensor %c bool[] #c
tensor %a f32[4] #a
tensor %b f32[4] #b
tensor %count i64[1] #a
tensor %found i64[1,n] #d
tensor %y f32[4] #y
input c %c
output y %y
main {
  fill %a 0.0
  fill %b -1.5e-07
  copy %a -> %b
  set m = 4*m+1
  read n = %count[0]
  check n-3 "at least four\nare \"needed\""
  check m
  select [m,n] {
    case [0 .. 16, 0 .. n] {
      copy %a -> %y
    }
    case [17 .. 128, 0 .. 1] {
    }
    case [] {
      fill %y nan
    }
  }
  if %c {
    swap %a, %b
  }
  if %c nodes ["If_0"] {
  } else {
    loop overflow count i while %c {
      call non_zero(%a -> %found) "axis=1" sets [n] stream 3
      loop 2*n {
        call random(-> %a)
        call print(%a)
      }
    }
  }
  alloc %found
  free %found
}
)";

TEST(PlanText, RoundTrips) {
  expect_round_trip(kMlp);
  expect_round_trip(kDecode);
  expect_round_trip(kSharded);
  expect_round_trip(kControl);
}

TEST(PlanText, MeansWhatItSays) {
  Plan p = std::move(parse_plan(kMlp)).value();
  EXPECT_EQ(p.name, "mlp");
  EXPECT_EQ(p.symbols.at("batch").opt, 8);
  EXPECT_EQ(p.symbols.at("offset").lo, -5);
  EXPECT_EQ(p.symbols.at("offset").hi, INT64_MAX);
  EXPECT_EQ(p.buffers[2].alignment, 128);
  EXPECT_EQ(p.buffers[2].last, 1);
  EXPECT_TRUE(p.buffers[4].prepare);
  EXPECT_EQ(p.tensors[1].strides, (std::vector<Dim>{1, 768}));
  EXPECT_EQ(p.tensors[5].strides, (std::vector<Dim>{6, 1}));  // rows of i4 padded to whole bytes
  const Command& c = p.main.commands[0];
  ASSERT_EQ(c.params.size(), 7u);
  EXPECT_EQ(c.params[2].access, Access::write);
  EXPECT_EQ(c.params[3].dim, Dim::symbol("batch"));
  EXPECT_EQ(c.params[5].kind, Param::Kind::scalar);
  EXPECT_EQ(c.params[5].scalar, 0.5);
  Plan q = std::move(parse_plan(kControl)).value();
  const Command& call = q.main.commands[9].regions[1]->commands[0].regions[0]->commands[0];
  EXPECT_EQ(call.kind, CommandKind::host_call);
  EXPECT_EQ(call.index, 1);
  EXPECT_EQ(call.sets, std::vector<std::string>{"n"});
  EXPECT_TRUE(q.main.commands[9].regions[1]->commands[0].tasks.is_overflow());
}

// Tables with missing and equal names are referred to by number.
TEST(PlanText, AwkwardNames) {
  Plan p;
  p.name = "a \"quoted\"\tname\x01";
  for (const char* name : {"", "same", "same", "12", "a b", "out"}) {
    PlanBuffer b;
    b.name = name;
    b.bytes = 4;
    PlanTensor t;
    t.name = name;
    t.buffer = p.add_buffer(b);
    p.add_tensor(t);
    PlanKernel k;
    k.name = name;
    p.kernels.push_back(k);
  }
  for (int i = 0; i < 6; ++i) {
    Command c;
    c.kernel = i;
    for (Access a : {Access::read, Access::write, Access::update}) {
      Param q;
      q.tensor = 5 - i;
      q.access = a;
      c.params.push_back(q);
    }
    for (const char* s : {"out", "inout", "scalar", "map", "workspace", "tasks"}) {
      Param q;
      q.kind = Param::Kind::dim;
      q.dim = Dim::symbol(s);
      c.params.push_back(q);
    }
    c.nodes = {"node/1:0", ""};
    p.main.commands.push_back(std::move(c));
  }
  p.symbols["tasks"] = {};
  std::string text = print_plan(p);
  Result<Plan> q = parse_plan(text);
  ASSERT_TRUE(q.ok()) << q.error().to_string() << "\n" << text;
  EXPECT_EQ(print_plan(*q), text);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(q->tensors[i].name, p.tensors[i].name);
    EXPECT_EQ(q->buffers[i].name, p.buffers[i].name);
    EXPECT_EQ(q->main.commands[i].kernel, i);
    EXPECT_EQ(q->main.commands[i].params[1].tensor, 5 - i);
    EXPECT_EQ(q->main.commands[i].params[4].dim, Dim::symbol("inout"));
  }
}

TEST(PlanText, Errors) {
  EXPECT_NE(parse_error("").find("expected `wplan`"), std::string::npos);
  EXPECT_NE(parse_error("wplan 2 main {}").find("version 2"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1").find("expected `main"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 main {} main {}").find("already"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 tensor %t f32[] #b main {}").find("there is no buffer b"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 buffer #b arena buffer #b arena main {}").find("declared twice"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 buffer #7 arena main {}").find("this is number 0"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 buffer #b heap main {}").find("storage"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 tensor %t f32[1] main { jump %t }").find("expected a command"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 tensor %t f32[1] main { fill %t 1.0 colour 3 }").find("unknown field"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 tensor %t f33[1] main {}").find("element type"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 input x %0 main {}").find("no tensor 0"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 kernel @k hash \"12\" main {}").find("hex"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 buffer #b arena live 99999999999 .. 3 main {}").find("out of range"), std::string::npos);
  Result<Plan> p = parse_plan("wplan 1\nmain {\n  fill\n}\n");
  ASSERT_FALSE(p.ok());
  EXPECT_NE(p.error().message.find("line 4, column 1"), std::string::npos) << p.error().message;
}

TEST(PlanText, LimitsHold) {
  std::string deep = "wplan 1 tensor %c bool[] main ";
  for (int i = 0; i < 100000; ++i) deep += "{ if %c ";
  EXPECT_NE(parse_error(deep).find("deep"), std::string::npos);
  std::string dims = "wplan 1 tensor %t f32[";
  for (int i = 0; i < 100; ++i) dims += "1,";
  EXPECT_NE(parse_error(dims + "1] main {}").find("dims"), std::string::npos);
  EXPECT_NE(parse_error("wplan 1 main { set n = " + std::string(100000, '(') + " }").find("deeply"), std::string::npos);
  std::string product = "wplan 1 main { check (a";
  for (int i = 0; i < 60; ++i) product += "+b" + std::to_string(i);
  product += ")";
  std::string square = product.substr(product.find('('));
  for (int i = 0; i < 12; ++i) product += "*" + square;
  Result<Plan> p = parse_plan(product + " }");
  ASSERT_TRUE(p.ok());
  EXPECT_TRUE(p->main.commands[0].dim.is_overflow());
}

// Every prefix, and texts with bytes changed, deleted or doubled, parse or fail; what parses round-trips and verifies or
// fails to.
TEST(PlanText, HostileText) {
  std::mt19937 random(7);
  for (const char* text : {kMlp, kDecode, kSharded, kControl}) {
    std::string good = text;
    for (size_t n = 0; n < good.size(); n += 3) (void)parse_plan(good.substr(0, n));
    for (int round = 0; round < 1500; ++round) {
      std::string bad = good;
      for (int k = 1 + static_cast<int>(random() % 3); k > 0; --k) {
        size_t at = random() % bad.size(), n = 1 + random() % 4;
        switch (random() % 4) {
          case 0: bad[at] = static_cast<char>(random()); break;
          case 1: bad.erase(at, n); break;
          case 2: bad.insert(at, bad.substr(random() % bad.size(), n * 3)); break;
          default: bad[at] = "0123456789-#%@[]{}\"."[random() % 20]; break;
        }
        if (bad.empty()) bad = " ";
      }
      Result<Plan> p = parse_plan(bad);
      if (!p.ok()) continue;
      (void)verify_plan(*p);
      std::string printed = print_plan(*p);
      Result<Plan> again = parse_plan(printed);
      ASSERT_TRUE(again.ok()) << again.error().to_string() << "\n" << printed;
      EXPECT_EQ(print_plan(*again), printed);
    }
  }
}

}  // namespace
}  // namespace weft::plan_text_test
