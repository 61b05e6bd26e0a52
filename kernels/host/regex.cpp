// The pattern's parser emits the program while it reads (a fragment's instructions lie in a row; repeating one copies it),
// then Thompson's simulation runs it.
#include "kernels/host/regex.h"

#include <algorithm>
#include <string>

#include "kernels/host/strings.h"

namespace weft {

namespace {

using Kind = RegexInst::Kind;
using Ranges = std::vector<RegexRange>;
constexpr size_t kMaxProgram = 200000;
constexpr char32_t kLast = 0x10FFFF;

// Instructions with jumps relative to the fragment's first one, so that fragments can be copied.
using Fragment = std::vector<RegexInst>;

RegexInst jump(Kind k, int to, int other = 0) {
  RegexInst i;
  i.kind = k;
  i.to = to;
  i.other = other;
  return i;
}
void append(Fragment& to, const Fragment& from) {
  int base = static_cast<int>(to.size());
  for (RegexInst i : from) {
    i.to += base;
    i.other += base;
    to.push_back(std::move(i));
  }
}

struct Flags {
  bool fold = false, multi_line = false, dot_all = false;
};

Ranges complement(Ranges r) {
  std::sort(r.begin(), r.end(), [](auto& a, auto& b) { return a.lo < b.lo; });
  Ranges out;
  char32_t next = 0;
  for (const RegexRange& x : r) {
    if (x.lo > next) out.push_back({next, x.lo - 1});
    next = std::max<char32_t>(next, x.hi + 1);
  }
  if (next <= kLast) out.push_back({next, kLast});
  return out;
}
Ranges perl_class(char32_t c) {
  Ranges r;
  switch (c | 0x20) {
    case 'd': r = {{'0', '9'}}; break;
    case 's': r = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}; break;
    default: r = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; break;
  }
  return c & 0x20 ? r : complement(r);
}
struct NamedClass {
  const char* name;
  Ranges ranges;
};
const NamedClass* find_class(const std::string& name) {
  static const NamedClass kClasses[] = {{"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
      {"alpha", {{'A', 'Z'}, {'a', 'z'}}}, {"ascii", {{0, 0x7F}}}, {"blank", {{'\t', '\t'}, {' ', ' '}}},
      {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}}, {"digit", {{'0', '9'}}}, {"graph", {{'!', '~'}}}, {"lower", {{'a', 'z'}}},
      {"print", {{' ', '~'}}}, {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
      {"space", {{'\t', '\r'}, {' ', ' '}}}, {"upper", {{'A', 'Z'}}},
      {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}}, {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}};
  for (const NamedClass& c : kClasses)
    if (name == c.name) return &c;
  return nullptr;
}

class Parser {
 public:
  explicit Parser(std::string_view pattern) : p_(decode_utf8(pattern)) {}

  Result<Fragment> parse() {
    TRY_ASSIGN(Fragment code, alternatives(Flags()));
    if (at_ < p_.size()) return fail("`)` without `(`");
    code.push_back(jump(Kind::match, 0));
    return code;
  }

 private:
  Error fail(const std::string& what) const { return invalid("regular expression, character " + std::to_string(at_) + ": " + what); }
  bool more() const { return at_ < p_.size(); }
  bool is(char32_t c) const { return more() && p_[at_] == c; }
  bool accept(const char* text) {
    size_t i = at_;
    for (; *text; ++text, ++i)
      if (i >= p_.size() || p_[i] != static_cast<unsigned char>(*text)) return false;
    at_ = i;
    return true;
  }

  Result<Fragment> alternatives(Flags flags) {
    if (++depth_ > 500) return fail("nested too deeply");
    TRY_ASSIGN(Fragment code, sequence(flags));
    while (accept("|")) {
      TRY_ASSIGN(Fragment right, sequence(flags));
      Fragment both{jump(Kind::split, 1, static_cast<int>(code.size()) + 2)};
      append(both, code);
      both.push_back(jump(Kind::jump, static_cast<int>(both.size() + right.size()) + 1));
      append(both, right);
      code = std::move(both);
      if (code.size() > kMaxProgram) return resources("a regular expression that is too large");
    }
    --depth_;
    return code;
  }

  // Flags set in the middle hold up to the end of the group.
  Result<Fragment> sequence(Flags& flags) {
    Fragment code;
    while (more() && !is('|') && !is(')')) {
      if (accept("\\Q")) {
        while (more() && !accept("\\E")) code.push_back(literal(p_[at_++], flags));
        continue;
      }
      TRY_ASSIGN(Fragment one, atom(flags));
      TRY_ASSIGN(one, repeated(std::move(one)));
      append(code, one);
      if (code.size() > kMaxProgram) return resources("a regular expression that is too large");
    }
    return code;
  }

  static RegexInst set(Ranges r, Flags flags, bool negated = false) {
    RegexInst i;
    i.kind = Kind::set;
    i.ranges = std::move(r);
    i.fold = flags.fold;
    i.negated = negated;
    return i;
  }
  static RegexInst literal(char32_t c, Flags flags) { return set({{c, c}}, flags); }

  Result<Fragment> atom(Flags& flags) {
    char32_t c = p_[at_];
    if (c == '(') return group(flags);
    if (c == '[') return bracket(flags);
    if (c == '\\') return escape(flags);
    if (c == '*' || c == '+' || c == '?') return fail("nothing to repeat");
    ++at_;
    if (c == '.') return Fragment{set(flags.dot_all ? Ranges{} : Ranges{{'\n', '\n'}}, Flags(), true)};
    if (c == '^') return Fragment{jump(flags.multi_line ? Kind::line_start : Kind::text_start, 0)};
    if (c == '$') return Fragment{jump(flags.multi_line ? Kind::line_end : Kind::text_end, 0)};
    return Fragment{literal(c, flags)};
  }

  Result<Fragment> group(Flags& flags) {
    ++at_;
    Flags inner = flags;
    if (accept("?P<") || accept("?<")) {
      while (more() && !is('>')) ++at_;
      if (!accept(">")) return fail("a group's name without end");
    } else if (accept("?")) {
      TRY(read_flags(inner));
      if (accept(")")) {
        flags = inner;
        return Fragment();
      }
      if (!accept(":")) return fail("`:` or `)` expected");
    }
    TRY_ASSIGN(Fragment code, alternatives(inner));
    if (!accept(")")) return fail("`(` without `)`");
    return code;
  }
  Status read_flags(Flags& f) {
    bool on = true;
    for (; more() && !is(':') && !is(')'); ++at_) {
      switch (p_[at_]) {
        case '-': on = false; break;
        case 'i': f.fold = on; break;
        case 'm': f.multi_line = on; break;
        case 's': f.dot_all = on; break;
        case 'U': break;  // greed does not matter to a whole match
        default: return fail("an unknown flag");
      }
    }
    return {};
  }

  Result<Fragment> escape(Flags flags) {
    if (accept("\\A")) return Fragment{jump(Kind::text_start, 0)};
    if (accept("\\z")) return Fragment{jump(Kind::text_end, 0)};
    if (accept("\\b")) return Fragment{jump(Kind::word_edge, 0)};
    if (accept("\\B")) return Fragment{jump(Kind::no_word_edge, 0)};
    ++at_;
    TRY_ASSIGN(Ranges r, escaped());
    return Fragment{set(std::move(r), flags)};
  }
  // What a backslash, already read, and the next characters stand for.
  Result<Ranges> escaped() {
    if (!more()) return fail("a backslash at the end");
    char32_t c = p_[at_++];
    auto one = [](char32_t v) { return Ranges{{v, v}}; };
    switch (c) {
      case 'd': case 'D': case 's': case 'S': case 'w': case 'W': return perl_class(c);
      case 'a': return one(7);
      case 't': return one('\t');
      case 'n': return one('\n');
      case 'v': return one('\v');
      case 'f': return one('\f');
      case 'r': return one('\r');
      case 'x': {
        TRY_ASSIGN(char32_t v, hex());
        return one(v);
      }
      case 'p': case 'P': case 'C': return unsupported(std::string("a regular expression with \\") + static_cast<char>(c));
      default: break;
    }
    if (c >= '0' && c <= '7' && (c == '0' || (more() && p_[at_] >= '0' && p_[at_] <= '7'))) {
      char32_t v = c - '0';
      for (int k = 0; k < 2 && more() && p_[at_] >= '0' && p_[at_] <= '7'; ++k) v = v * 8 + (p_[at_++] - '0');
      return one(v);
    }
    bool word = c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (c < 0x80 && word) return fail("an unknown escape");
    return one(c);
  }
  Result<char32_t> hex() {
    bool braces = accept("{");
    char32_t v = 0;
    int digits = 0;
    for (; more() && digits < (braces ? 8 : 2); ++digits, ++at_) {
      char32_t c = p_[at_], d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 16;
      if (d == 16) break;
      v = v * 16 + d;
    }
    if (digits == 0 || (!braces && digits < 2) || (braces && !accept("}")) || v > kLast) return fail("a bad \\x");
    return v;
  }

  Result<Fragment> bracket(Flags flags) {
    ++at_;
    bool negated = accept("^");
    Ranges r;
    for (bool first = true; first || !is(']'); first = false) {
      if (!more()) return fail("`[` without `]`");
      if (accept("[:")) {
        TRY(named_class(r));
        continue;
      }
      TRY_ASSIGN(Ranges lo, bracket_item());
      bool range = at_ + 1 < p_.size() && is('-') && p_[at_ + 1] != ']';
      if (range) {
        ++at_;
        TRY_ASSIGN(Ranges hi, bracket_item());
        bool single = lo.size() == 1 && hi.size() == 1 && lo[0].lo == lo[0].hi && hi[0].lo == hi[0].hi && lo[0].lo <= hi[0].lo;
        if (!single) return fail("a bad range");
        lo[0].hi = hi[0].hi;
      }
      r.insert(r.end(), lo.begin(), lo.end());
    }
    ++at_;
    return Fragment{set(std::move(r), flags, negated)};
  }
  Result<Ranges> bracket_item() {
    if (!more()) return fail("`[` without `]`");
    char32_t c = p_[at_++];
    if (c == '\\') return escaped();
    return Ranges{{c, c}};
  }
  Status named_class(Ranges& r) {
    bool negated = accept("^");
    std::string name;
    while (more() && p_[at_] >= 'a' && p_[at_] <= 'z') name += static_cast<char>(p_[at_++]);
    const NamedClass* c = find_class(name);
    if (!c || !accept(":]")) return fail("an unknown class [:" + name);
    Ranges add = negated ? complement(c->ranges) : c->ranges;
    r.insert(r.end(), add.begin(), add.end());
    return {};
  }

  Result<Fragment> repeated(Fragment one) {
    bool again = false;
    while (more()) {
      int least = 0, most = -1;
      size_t start = at_;
      if (accept("*")) {
      } else if (accept("+")) {
        least = 1;
      } else if (accept("?")) {
        most = 1;
      } else if (!counts(least, most)) {
        at_ = start;
        return one;
      }
      if (again) return fail("a repetition of a repetition");
      if (least > 1000 || most > 1000 || (most >= 0 && most < least)) return fail("a bad count");
      again = true;
      accept("?");
      TRY_ASSIGN(one, repeat(one, least, most));
    }
    return one;
  }
  // {n} {n,} {n,m}; anything else is literal text.
  bool counts(int& least, int& most) {
    if (!accept("{") || !number(least)) return false;
    most = least;
    if (accept(",")) {
      most = -1;
      if (!is('}') && !number(most)) return false;
    }
    return accept("}");
  }
  bool number(int& v) {
    size_t start = at_;
    for (v = 0; more() && p_[at_] >= '0' && p_[at_] <= '9'; ++at_) v = std::min(v * 10 + static_cast<int>(p_[at_] - '0'), 100000);
    return at_ > start;
  }
  static Result<Fragment> repeat(const Fragment& one, int least, int most) {
    int n = static_cast<int>(one.size());
    if ((one.size() + 2) * static_cast<size_t>(std::max({least, most, 1})) > kMaxProgram) return resources("a regular expression that is too large");
    Fragment out;
    for (int k = 0; k < least; ++k) append(out, one);
    if (most < 0) {
      Fragment star{jump(Kind::split, 1, n + 2)};
      append(star, one);
      star.push_back(jump(Kind::jump, 0));
      append(out, star);
    }
    for (int k = least; k < most; ++k) {
      Fragment maybe{jump(Kind::split, 1, n + 1)};
      append(maybe, one);
      append(out, maybe);
    }
    return out;
  }

  std::vector<char32_t> p_;
  size_t at_ = 0;
  int depth_ = 0;
};

bool in_ranges(const Ranges& r, char32_t c) {
  return std::any_of(r.begin(), r.end(), [c](const RegexRange& x) { return c >= x.lo && c <= x.hi; });
}
bool accepts(const RegexInst& i, char32_t c) {
  bool in = in_ranges(i.ranges, c) || (i.fold && (in_ranges(i.ranges, lower_case(c)) || in_ranges(i.ranges, upper_case(c))));
  return in != i.negated;
}
bool is_word(char32_t c) { return c == '_' || (c >= '0' && c <= '9') || (c < 0x80 && (c | 0x20) >= 'a' && (c | 0x20) <= 'z'); }

// The states that are alive between two characters.
struct States {
  std::vector<int> list;
  std::vector<uint32_t> mark;  // the round in which a state was added
  uint32_t round = 0;
};

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern) {
  TRY_ASSIGN(Fragment code, Parser(pattern).parse());
  return Regex{std::move(code)};
}

// Adds a state and all that it leads to without reading, where the assertions hold at position `at`.
static void add_state(const std::vector<RegexInst>& program, States& s, int from, const std::vector<char32_t>& text, size_t at) {
  std::vector<int> stack{from};
  bool before = at > 0 && is_word(text[at - 1]), after = at < text.size() && is_word(text[at]);
  while (!stack.empty()) {
    int pc = stack.back();
    stack.pop_back();
    if (s.mark[pc] == s.round) continue;
    s.mark[pc] = s.round;
    const RegexInst& i = program[pc];
    bool holds = true;
    switch (i.kind) {
      case Kind::set: case Kind::match: s.list.push_back(pc); continue;
      case Kind::jump: stack.push_back(i.to); continue;
      case Kind::split:
        stack.push_back(i.to);
        stack.push_back(i.other);
        continue;
      case Kind::text_start: holds = at == 0; break;
      case Kind::text_end: holds = at == text.size(); break;
      case Kind::line_start: holds = at == 0 || text[at - 1] == '\n'; break;
      case Kind::line_end: holds = at == text.size() || text[at] == '\n'; break;
      case Kind::word_edge: holds = before != after; break;
      case Kind::no_word_edge: holds = before == after; break;
    }
    if (holds) stack.push_back(pc + 1);
  }
}

bool Regex::matches(std::string_view bytes) const {
  std::vector<char32_t> text = decode_utf8(bytes);
  States now, next;
  now.mark.assign(program.size(), 0);
  next.mark.assign(program.size(), 0);
  now.round = 1;
  add_state(program, now, 0, text, 0);
  for (size_t at = 0; at < text.size() && !now.list.empty(); ++at) {
    next.list.clear();
    next.round = now.round + 1;
    for (int pc : now.list)
      if (program[pc].kind == Kind::set && accepts(program[pc], text[at])) add_state(program, next, pc + 1, text, at + 1);
    std::swap(now, next);
  }
  return std::any_of(now.list.begin(), now.list.end(), [&](int pc) { return program[pc].kind == Kind::match; });
}

}  // namespace weft
