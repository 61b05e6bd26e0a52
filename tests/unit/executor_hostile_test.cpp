// Plans changed at random (numbers, words, lines) that still load must run or fail, and never touch memory that is not
// theirs: the sanitizer builds are what makes this test sharp. Launches are left out: what a kernel does is not checked.
#include "tests/unit/executor_support.h"

#include <atomic>
#include <random>
#include <thread>

namespace weft::executor_test {
namespace {

const char* const kPlans[] = {
    R"(wplan 1 arena 256
symbol n 1 .. 8
symbol i 0 .. 8
symbol m 0 .. 8
symbol u 0 .. 8
constant w f32[4,2]
constant q i4[3,3]
buffer #x input 0 bytes 32
buffer #k input 1 bytes 16
buffer #w constant 0 bytes 32
buffer #q constant 1 bytes 6
buffer #p prepared bytes 32
buffer #t arena prepare bytes 32 live 0 .. 1
buffer #a arena bytes 32 offset 0 live 0 .. 30
buffer #b arena bytes 32 offset 64 live 0 .. 30
buffer #c arena bytes 1 offset 128 live 0 .. 30
buffer #d dynamic bytes 8*m+8
buffer #y output 0 bytes 32
buffer #z output 1 bytes 16*u
tensor %x f32[4,2] #x
tensor %xt f32[2,4] #x strides [1,2]
tensor %back f32[4,2] #x offset 28 strides [-2,-1]
tensor %row f32[2] #x offset 8*i
tensor %k i64[2] #k
tensor %w f32[4,2] #w
tensor %q i4[3,3] #q
tensor %q2 i4[3,3] #a offset 4
tensor %t f32[4,2] #t
tensor %p f32[4,2] #p
tensor %a f32[4,2] #a
tensor %at f32[2,4] #a
tensor %arow f32[2] #a offset 8*i
tensor %b f32[4,2] #b
tensor %c bool[] #c
tensor %d f32[m] #d offset 4
tensor %part f32[m] #b offset 4
tensor %y f32[4,2] #y
tensor %z i64[2,u] #z
input x %x
input k %k
output y %y
output z %z
output x2 %xt
prepare {
  copy %w -> %t
  copy %t -> %p
}
main {
  copy %xt -> %at
  fill %c 1.0
  read m = %k[1]
  check m+1 "positive"
  loop 4 count i while %c {
    copy %row -> %arow
    alloc %d
    fill %d 2.0
    copy %d -> %part
    free %d
    swap %a, %b
  }
  if %c {
    copy %back -> %b
  } else {
    fill %b 0.0
  }
  select [m] {
    case [0 .. 4] {
      set n = m*2
    }
    case [] {
      copy %q -> %q2
    }
  }
  call non_zero(%b -> %z) sets [u]
  copy %b -> %y
}
)",
    R"(wplan 1
symbol past 0 .. 40
symbol room 1 .. 40
symbol rows 1 .. 8
symbol n 0 .. 9
buffer #x input 0 bytes 8*rows
buffer #s state 0 bytes 8*room
buffer #t state 1 bytes 8*room
buffer #o state 2 bytes 8
buffer #p state 2 bytes 8
buffer #a arena bytes 8*past+8*rows live 0 .. 9
buffer #y output 0 bytes 8*past+8*rows
buffer #v output 1 bytes 8
buffer #i output 2 bytes 16
tensor %x f32[rows,2] #x
tensor %s0 f32[past,2] #s
tensor %new f32[rows,2] #s offset 8*past
tensor %s1 f32[past+rows,2] #s
tensor %t0 f32[2,past] #t strides [room,1]
tensor %xt f32[2,rows] #x strides [1,2]
tensor %tnew f32[2,rows] #t offset 4*past strides [room,1]
tensor %t1 f32[2,past+rows] #t strides [room,1]
tensor %o f32[2] #o
tensor %p f32[2] #p
tensor %x0 f32[2] #x
tensor %a f32[past+rows,2] #a
tensor %a2 f32[2,past+rows] #a strides [1,2]
tensor %y f32[past+rows,2] #y
tensor %v f32[2,1] #v
tensor %i i64[2,1] #i
input x %x
output y %y
output v %v
output i %i
output all %t1
state s %s0 -> %s1 append 0 length past capacity room
state t %t0 -> %t1 append 1 length past capacity room
state o %o -> %p
main {
  copy %x -> %new
  copy %xt -> %tnew
  copy %s1 -> %a
  copy %t1 -> %a2
  call top_k(%a2 -> %v, %i) "axis=1 largest=1"
  copy %x0 -> %p
  swap %o, %p
  copy %a -> %y
}
)"};

// Replaces a number or word by another of the plan, or drops or doubles a line.
std::string change(std::string s, std::mt19937& random) {
  auto word_at = [&](size_t at) {
    auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '%' || c == '#' || c == '_'; };
    while (at < s.size() && !is_word(s[at])) ++at;
    size_t from = at;
    while (from > 0 && is_word(s[from - 1])) --from;
    while (at < s.size() && is_word(s[at])) ++at;
    return std::pair(from, at - from);
  };
  size_t start = random() % s.size();
  if (random() % 4) start = std::min(s.find_first_of("0123456789", start), s.size() - 1);  // numbers mostly
  auto [at, n] = word_at(start);
  if (n == 0) return s;
  if (random() % 8 == 0) {
    size_t from = s.rfind('\n', at) + 1, to = s.find('\n', at);
    if (to == std::string::npos) return s;
    std::string line = s.substr(from, to - from + 1);
    return random() % 2 ? s.erase(from, line.size()) : s.insert(from, line);
  }
  static const char* const numbers[] = {"0", "1", "2", "3", "4", "5", "8", "12", "31", "32", "33", "64", "m", "past", "rows"};
  if (std::isdigit(static_cast<unsigned char>(s[at]))) return s.replace(at, n, numbers[random() % 15]);
  auto [other, length] = word_at(random() % s.size());
  return s.replace(at, n, s.substr(other, length));
}

TEST(ExecutorHostile, ChangedPlans) {
  std::mt19937 random(9);
  std::atomic<bool> cancel{false}, stop{false};
  std::thread watchdog([&] {  // loops may have lost their ends
    while (!stop) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      cancel = true;
    }
  });
  auto pool = pool_of(2);
  int loaded = 0, ran = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = kPlans[round % 2];
    for (int k = round < 2 ? 0 : 1 + static_cast<int>(random() % 2); k > 0; --k) text = change(text, random);
    Result<Plan> plan = parse_plan(text);
    if (!plan.ok()) continue;
    ExecutableParts parts;
    parts.plan = std::move(*plan);
    parts.pool = pool;
    for (const PlanConstant& c : parts.plan.constants)
      parts.constants.push_back(
          c.dtype == DType::i4 ? bytes_of(std::vector<int8_t>(9, 3)) : bytes_of(F{1, 2, 3, 4, 5, 6, 7, 8}));
    size_t inputs = parts.plan.inputs.size(), outputs = parts.plan.outputs.size();
    auto exe = make_executable(std::move(parts));
    if (round < 2) {
      EXPECT_TRUE(exe.ok()) << (exe.ok() ? "" : exe.error().to_string());
    }
    if (!exe.ok()) continue;
    ++loaded;
    Context c(*exe);
    std::vector<TensorView> out(outputs);
    for (int64_t rows : {4, 1, 4}) {
      Floats x(round % 2 ? I{rows, 2} : I{4, 2});
      Ints k({2}, {7, rows});
      std::vector<TensorView> in;
      for (size_t i = 0; i < inputs; ++i)
        in.push_back(plan_of(**exe).tensors[plan_of(**exe).inputs[i].tensor].dtype == DType::i64 ? k.view() : x.view());
      RunOptions options;
      options.cancel = &cancel;
      cancel = false;
      Status s = c.run(in, out, options);
      if (round < 2) {
        EXPECT_TRUE(s.ok()) << (s.ok() ? "" : s.error().to_string());
      }
      ran += s.ok();
    }
  }
  stop = true;
  watchdog.join();
  EXPECT_GT(loaded, 300);
  EXPECT_GT(ran, 300);
}

}  // namespace
}  // namespace weft::executor_test
