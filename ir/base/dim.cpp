#include "ir/base/dim.h"

#include <algorithm>
#include <set>

#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

namespace {
bool add_ok(int64_t a, int64_t b, int64_t* r) { return !__builtin_add_overflow(a, b, r); }
bool mul_ok(int64_t a, int64_t b, int64_t* r) { return !__builtin_mul_overflow(a, b, r); }

int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? q - 1 : q;
}

// Expressions beyond these are poison: text may be hostile, and a product of sums grows without bound.
constexpr size_t kMaxTerms = 4096, kMaxText = 1 << 16;

std::string term_text(const DimTerm& t) {
  if (t.coef == 1) return t.key;
  if (t.coef == -1) return "-" + t.key;
  return std::to_string(t.coef) + "*" + t.key;
}
}  // namespace

// Builds canonical expressions: the only place that makes a DimExpr.
struct DimBuild {
  static Dim make(int64_t constant, std::vector<DimTerm> terms) {
    std::sort(terms.begin(), terms.end(), [](auto& a, auto& b) { return a.key < b.key; });
    std::vector<DimTerm> out;
    for (DimTerm& t : terms) {
      if (!out.empty() && out.back().key == t.key) {
        if (!add_ok(out.back().coef, t.coef, &out.back().coef)) return Dim::overflow();
      } else {
        if (!out.empty() && out.back().coef == 0) out.pop_back();
        out.push_back(std::move(t));
      }
    }
    if (!out.empty() && out.back().coef == 0) out.pop_back();
    if (out.empty()) return Dim(constant);
    size_t length = 0;
    for (const DimTerm& t : out) length += t.key.size();
    if (out.size() > kMaxTerms || length > kMaxText) return Dim::overflow();
    auto e = std::make_shared<DimExpr>();
    e->constant = constant;
    e->terms = std::move(out);
    for (const DimTerm& t : e->terms) {
      std::string s = term_text(t);
      if (!e->text.empty() && s[0] != '-') e->text += '+';
      e->text += s;
    }
    if (constant > 0) e->text += '+';
    if (constant != 0) e->text += std::to_string(constant);
    Dim d;
    d.expr_ = std::move(e);
    return d;
  }

  static Dim atom(DimAtom a) {
    DimTerm t{1, {}, a.text};
    t.atoms.push_back(std::move(a));
    std::vector<DimTerm> terms;
    terms.push_back(std::move(t));
    return make(0, std::move(terms));
  }

  static Dim function(DimFn fn, const char* name, const Dim& a, const Dim& b) {
    DimAtom at;
    at.fn = fn;
    at.args = {a, b};
    at.text = std::string(name) + "(" + a.to_string() + "," + b.to_string() + ")";
    return atom(std::move(at));
  }

  static int64_t constant(const Dim& d) { return d.expr_ ? d.expr_->constant : d.const_; }
  static std::vector<DimTerm> terms(const Dim& d) { return d.expr_ ? d.expr_->terms : std::vector<DimTerm>{}; }

  static Dim poison() {
    static const std::shared_ptr<const DimExpr> p = [] {
      auto e = std::make_shared<DimExpr>();
      e->poison = true;
      e->text = "overflow";
      return e;
    }();
    Dim d;
    d.expr_ = p;
    return d;
  }

  // False on overflow of the coefficient.
  static bool product(const DimTerm& a, const DimTerm& b, DimTerm* t) {
    if (!mul_ok(a.coef, b.coef, &t->coef)) return false;
    t->atoms = a.atoms;
    t->atoms.insert(t->atoms.end(), b.atoms.begin(), b.atoms.end());
    std::sort(t->atoms.begin(), t->atoms.end(), [](auto& x, auto& y) { return x.text < y.text; });
    for (const DimAtom& x : t->atoms) t->key += (t->key.empty() ? "" : "*") + x.text;
    return true;
  }

  static Dim scale(const Dim& d, int64_t k) {
    if (k == 0) return Dim(0);
    int64_t c;
    if (!mul_ok(constant(d), k, &c)) return Dim::overflow();
    std::vector<DimTerm> ts = terms(d);
    for (DimTerm& t : ts)
      if (!mul_ok(t.coef, k, &t.coef)) return Dim::overflow();
    return make(c, std::move(ts));
  }

  // Splits d = k * multiple + rest, where rest holds what is not divisible by k.
  static void split(const Dim& d, int64_t k, Dim* multiple, Dim* rest) {
    std::vector<DimTerm> m, r;
    for (DimTerm& t : terms(d)) {
      if (t.coef % k == 0) {
        t.coef /= k;
        m.push_back(std::move(t));
      } else {
        r.push_back(std::move(t));
      }
    }
    int64_t c = constant(d), q = floor_div(c, k);
    // The constant is split only as far as it leaves 0 <= rest constant < k.
    *multiple = make(q, std::move(m));
    *rest = make(c - q * k, std::move(r));
  }
};

Dim Dim::overflow() { return DimBuild::poison(); }
Dim Dim::symbol(std::string_view name) {
  DimAtom a;
  a.name = a.text = std::string(name);
  return DimBuild::atom(std::move(a));
}
int64_t Dim::value() const {
  CHECK(!expr_);
  return const_;
}
bool Dim::is_overflow() const { return expr_ && expr_->poison; }
bool Dim::is_symbol() const {
  return expr_ && !expr_->poison && expr_->constant == 0 && expr_->terms.size() == 1 && expr_->terms[0].coef == 1 &&
         expr_->terms[0].atoms.size() == 1 && expr_->terms[0].atoms[0].fn == DimFn::symbol;
}
std::string Dim::symbol_name() const {
  CHECK(is_symbol());
  return expr_->text;
}
std::string Dim::to_string() const { return expr_ ? expr_->text : std::to_string(const_); }
bool Dim::operator==(const Dim& o) const {
  if (!expr_ && !o.expr_) return const_ == o.const_;
  if (!expr_ || !o.expr_) return false;
  return expr_ == o.expr_ || expr_->text == o.expr_->text;
}
bool Dim::operator<(const Dim& o) const {
  if (!expr_ && !o.expr_) return const_ < o.const_;
  if (!expr_ || !o.expr_) return !expr_;
  return expr_->text < o.expr_->text;
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_overflow() || b.is_overflow()) return Dim::overflow();
  int64_t c;
  if (!add_ok(DimBuild::constant(a), DimBuild::constant(b), &c)) return Dim::overflow();
  if (!a.expr_ && !b.expr_) return Dim(c);
  std::vector<DimTerm> t = DimBuild::terms(a), u = DimBuild::terms(b);
  t.insert(t.end(), std::make_move_iterator(u.begin()), std::make_move_iterator(u.end()));
  return DimBuild::make(c, std::move(t));
}
Dim operator-(const Dim& a, const Dim& b) {
  if (b.is_overflow()) return b;
  return a + DimBuild::scale(b, -1);
}
Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_overflow() || b.is_overflow()) return Dim::overflow();
  if (a.is_const()) {
    int64_t c;
    if (b.is_const()) return mul_ok(a.const_, b.const_, &c) ? Dim(c) : Dim::overflow();
    return DimBuild::scale(b, a.const_);
  }
  if (b.is_const()) return DimBuild::scale(a, b.const_);
  if (a.expr_->terms.size() * b.expr_->terms.size() > kMaxTerms) return Dim::overflow();
  Dim rest = DimBuild::scale(a, b.expr_->constant);
  std::vector<DimTerm> terms;
  for (const DimTerm& t : b.expr_->terms) {
    if (a.expr_->constant != 0) {
      terms.push_back(t);
      if (!mul_ok(t.coef, a.expr_->constant, &terms.back().coef)) return Dim::overflow();
    }
    for (const DimTerm& s : a.expr_->terms)
      if (!DimBuild::product(s, t, &terms.emplace_back())) return Dim::overflow();
  }
  return rest + DimBuild::make(0, std::move(terms));
}

Dim floordiv(const Dim& a, const Dim& b) {
  if (a.is_overflow() || b.is_overflow() || b.is(0)) return Dim::overflow();
  if (a.is_const() && b.is_const()) return (a.const_ == INT64_MIN && b.const_ == -1) ? Dim::overflow() : Dim(floor_div(a.const_, b.const_));
  if (b.is(1)) return a;
  if (b.is(-1)) return Dim(0) - a;
  if (a == b) return Dim(1);
  if (b.is_const() && b.const_ > 0) {
    Dim m, r;
    DimBuild::split(a, b.const_, &m, &r);
    if (r.is_const()) return m;  // 0 <= r < b
    if (!m.is(0)) return m + floordiv(r, b);
    // floordiv(floordiv(x, p), q) == floordiv(x, p*q) for positive p, q
    if (r.expr_->constant == 0 && r.expr_->terms.size() == 1 && r.expr_->terms[0].coef == 1 &&
        r.expr_->terms[0].atoms.size() == 1 && r.expr_->terms[0].atoms[0].fn == DimFn::floordiv) {
      const DimAtom& at = r.expr_->terms[0].atoms[0];
      if (at.args[1].is_const() && at.args[1].const_ > 0) return floordiv(at.args[0], at.args[1] * b);
    }
    return DimBuild::function(DimFn::floordiv, "floordiv", r, b);
  }
  // Exact cancellation: every term of a holds b's single product.
  if (b.expr_ && b.expr_->constant == 0 && b.expr_->terms.size() == 1 && a.expr_ && a.expr_->constant == 0) {
    const DimTerm& d = b.expr_->terms[0];
    std::vector<DimTerm> out;
    int64_t constant = 0;
    bool exact = true;
    for (DimTerm t : a.expr_->terms) {
      if (t.coef % d.coef != 0) { exact = false; break; }
      t.coef /= d.coef;
      for (const DimAtom& x : d.atoms) {
        auto it = std::find_if(t.atoms.begin(), t.atoms.end(), [&](auto& y) { return y.text == x.text; });
        if (it == t.atoms.end()) { exact = false; break; }
        t.atoms.erase(it);
      }
      if (!exact) break;
      t.key.clear();
      for (const DimAtom& x : t.atoms) t.key += (t.key.empty() ? "" : "*") + x.text;
      if (t.atoms.empty()) constant += t.coef; else out.push_back(std::move(t));
    }
    if (exact) return DimBuild::make(constant, std::move(out));
  }
  return DimBuild::function(DimFn::floordiv, "floordiv", a, b);
}
Dim mod(const Dim& a, const Dim& b) {
  if (a.is_overflow() || b.is_overflow() || b.is(0)) return Dim::overflow();
  if (a.is_const() && b.is_const()) return b.const_ == -1 ? Dim(0) : Dim(a.const_ - floor_div(a.const_, b.const_) * b.const_);
  if (b.is(1) || b.is(-1) || a == b) return Dim(0);
  if (b.is_const() && b.const_ > 0) {
    Dim m, r;
    DimBuild::split(a, b.const_, &m, &r);
    if (r.is_const()) return r;
    return DimBuild::function(DimFn::mod, "mod", r, b);
  }
  Dim q = floordiv(a, b);
  if (q * b == a) return Dim(0);
  return DimBuild::function(DimFn::mod, "mod", a, b);
}
static Dim min_max(const Dim& a, const Dim& b, bool is_min) {
  if (a.is_overflow() || b.is_overflow()) return Dim::overflow();
  Dim diff = a - b;
  if (diff.is_const()) return (diff.value() <= 0) == is_min ? a : b;
  const Dim &x = b < a ? b : a, &y = b < a ? a : b;
  return DimBuild::function(is_min ? DimFn::min : DimFn::max, is_min ? "min" : "max", x, y);
}
Dim min(const Dim& a, const Dim& b) { return min_max(a, b, true); }
Dim max(const Dim& a, const Dim& b) { return min_max(a, b, false); }
Dim ceildiv(const Dim& a, const Dim& b) { return floordiv(a + b - Dim(1), b); }

static Dim apply(DimFn fn, const Dim& a, const Dim& b) {
  switch (fn) {
    case DimFn::floordiv: return floordiv(a, b);
    case DimFn::mod: return mod(a, b);
    case DimFn::min: return min(a, b);
    case DimFn::max: return max(a, b);
    case DimFn::symbol: break;
  }
  UNREACHABLE();
}

Dim Dim::substitute(const std::function<std::optional<Dim>(const std::string&)>& f) const {
  if (!expr_ || expr_->poison) return *this;
  Dim sum(expr_->constant);
  for (const DimTerm& t : expr_->terms) {
    Dim p(t.coef);
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol) {
        std::optional<Dim> d = f(a.name);
        p *= d ? *d : symbol(a.name);
      } else {
        p *= apply(a.fn, a.args[0].substitute(f), a.args[1].substitute(f));
      }
    }
    sum += p;
  }
  return sum;
}

static void collect(const Dim& d, std::set<std::string>* out) {
  if (!d.expr()) return;
  for (const DimTerm& t : d.expr()->terms)
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol) out->insert(a.name);
      for (const Dim& x : a.args) collect(x, out);
    }
}
std::vector<std::string> Dim::symbols() const {
  std::set<std::string> s;
  collect(*this, &s);
  return {s.begin(), s.end()};
}
bool Dim::contains(std::string_view name) const {
  std::set<std::string> s;
  collect(*this, &s);
  return s.count(std::string(name)) != 0;
}

std::optional<int64_t> Dim::eval(const SymbolValues& values) const {
  if (!expr_) return const_;
  if (expr_->poison) return std::nullopt;
  int64_t sum = expr_->constant;
  for (const DimTerm& t : expr_->terms) {
    int64_t p = t.coef;
    for (const DimAtom& a : t.atoms) {
      int64_t v;
      if (a.fn == DimFn::symbol) {
        auto it = values.find(a.name);
        if (it == values.end()) return std::nullopt;
        v = it->second;
      } else {
        auto x = a.args[0].eval(values), y = a.args[1].eval(values);
        if (!x || !y) return std::nullopt;
        Dim r = apply(a.fn, Dim(*x), Dim(*y));
        if (!r.is_const()) return std::nullopt;
        v = r.value();
      }
      if (!mul_ok(p, v, &p)) return std::nullopt;
    }
    if (!add_ok(sum, p, &sum)) return std::nullopt;
  }
  return sum;
}

std::optional<Dim> Dim::coefficient(std::string_view name, Dim* rest) const {
  Dim coef(0), other(expr_ ? expr_->constant : const_);
  if (expr_) {
    for (const DimTerm& t : expr_->terms) {
      Dim p(t.coef);
      int hits = 0;
      for (const DimAtom& a : t.atoms) {
        if (a.fn == DimFn::symbol && a.name == name) { ++hits; continue; }
        for (const Dim& x : a.args)
          if (x.contains(name)) return std::nullopt;
        p *= DimBuild::atom(a);
      }
      if (hits > 1) return std::nullopt;
      (hits ? coef : other) += p;
    }
  }
  if (rest) *rest = other;
  return coef;
}

namespace {
constexpr int64_t kInf = INT64_MAX, kNegInf = INT64_MIN;
int64_t sat(__int128 v) { return v > kInf ? kInf : v < kNegInf ? kNegInf : static_cast<int64_t>(v); }
int64_t sat_mul(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  if (a == kInf || a == kNegInf || b == kInf || b == kNegInf) return (a < 0) == (b < 0) ? kInf : kNegInf;
  return sat(static_cast<__int128>(a) * b);
}
int64_t sat_add(int64_t a, int64_t b) {
  if (a == kInf || b == kInf) return kInf;
  if (a == kNegInf || b == kNegInf) return kNegInf;
  return sat(static_cast<__int128>(a) + b);
}
Interval mul(Interval a, Interval b) {
  int64_t p[] = {sat_mul(a.lo, b.lo), sat_mul(a.lo, b.hi), sat_mul(a.hi, b.lo), sat_mul(a.hi, b.hi)};
  return {*std::min_element(p, p + 4), *std::max_element(p, p + 4)};
}
Interval atom_range(const DimAtom& a, const SymbolTable& symbols) {
  if (a.fn == DimFn::symbol) {
    auto it = symbols.find(a.name);
    return it == symbols.end() ? Interval{0, kInf} : Interval{it->second.lo, it->second.hi};
  }
  Interval x = range_of(a.args[0], symbols), y = range_of(a.args[1], symbols);
  switch (a.fn) {
    case DimFn::min: return {std::min(x.lo, y.lo), std::min(x.hi, y.hi)};
    case DimFn::max: return {std::max(x.lo, y.lo), std::max(x.hi, y.hi)};
    case DimFn::mod:
      if (y.lo > 0) return {0, x.lo >= 0 && x.hi < y.hi ? x.hi : y.hi - (y.hi == kInf ? 0 : 1)};
      return {kNegInf, kInf};
    case DimFn::floordiv: {
      if (y.lo <= 0) return {kNegInf, kInf};
      auto div = [](int64_t n, int64_t d) { return n == kInf || n == kNegInf ? n : floor_div(n, d); };
      return {x.lo >= 0 ? div(x.lo, y.hi == kInf ? kInf : y.hi) : div(x.lo, y.lo), x.hi >= 0 ? div(x.hi, y.lo) : div(x.hi, y.hi)};
    }
    case DimFn::symbol: break;
  }
  UNREACHABLE();
}
}  // namespace

Interval range_of(const Dim& d, const SymbolTable& symbols) {
  if (!d.expr()) return {d.value(), d.value()};
  if (d.is_overflow()) return {kNegInf, kInf};
  Interval r{d.expr()->constant, d.expr()->constant};
  for (const DimTerm& t : d.expr()->terms) {
    Interval p{t.coef, t.coef};
    for (const DimAtom& a : t.atoms) p = mul(p, atom_range(a, symbols));
    r = {sat_add(r.lo, p.lo), sat_add(r.hi, p.hi)};
  }
  return r;
}
bool known_ge(const Dim& a, const Dim& b, const SymbolTable& symbols) { return range_of(a - b, symbols).lo >= 0; }

Dim numel(const Shape& s) {
  Dim n(1);
  for (const Dim& d : s) n *= d;
  return n;
}
bool is_static(const Shape& s) {
  return std::all_of(s.begin(), s.end(), [](const Dim& d) { return d.is_const(); });
}
std::vector<int64_t> static_dims(const Shape& s) {
  std::vector<int64_t> out;
  for (const Dim& d : s) out.push_back(d.value());
  return out;
}
Shape to_shape(const std::vector<int64_t>& dims) { return Shape(dims.begin(), dims.end()); }
std::string shape_text(const Shape& s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) out += (i ? "," : "") + s[i].to_string();
  return out;
}

namespace {
// Recursive descent over the Lexer; depth is bounded because text may be hostile.
struct DimParser {
  Lexer& lx;
  int depth = 0;
  Result<Dim> sum() {
    if (++depth > 64) return lx.fail("expression nested too deeply");
    TRY_ASSIGN(Dim v, product());
    while (true) {
      bool plus = lx.accept("+");
      if (!plus && !lx.accept("-")) break;
      TRY_ASSIGN(Dim w, product());
      v = plus ? v + w : v - w;
    }
    --depth;
    return v;
  }
  Result<Dim> product() {
    TRY_ASSIGN(Dim v, factor());
    while (lx.accept("*")) {
      TRY_ASSIGN(Dim w, factor());
      v = v * w;
    }
    return v;
  }
  Result<Dim> factor() {
    bool negative = false;
    while (lx.accept("-")) negative = !negative;
    TRY_ASSIGN(Dim v, atom());
    return Dim(negative ? -1 : 1) * v;
  }
  Result<Dim> atom() {
    if (lx.accept("(")) {
      TRY_ASSIGN(Dim v, sum());
      TRY(lx.expect(")"));
      return v;
    }
    if (lx.peek().kind == Token::integer) {
      TRY_ASSIGN(int64_t v, lx.integer());
      return Dim(v);
    }
    TRY_ASSIGN(std::string name, lx.identifier());
    if (name == "overflow") return Dim::overflow();
    for (DimFn fn : {DimFn::floordiv, DimFn::mod, DimFn::min, DimFn::max}) {
      static const char* names[] = {"", "floordiv", "mod", "min", "max"};
      if (name == names[static_cast<int>(fn)] && lx.accept("(")) {
        TRY_ASSIGN(Dim a, sum());
        TRY(lx.expect(","));
        TRY_ASSIGN(Dim b, sum());
        TRY(lx.expect(")"));
        return apply(fn, a, b);
      }
    }
    return Dim::symbol(name);
  }
};
}  // namespace

Result<Dim> parse_dim(Lexer& lx) { return DimParser{lx}.sum(); }

Result<Dim> Dim::parse(std::string_view text) {
  Lexer lx(text);
  TRY_ASSIGN(Dim d, parse_dim(lx));
  if (lx.peek().kind != Token::end) return lx.fail("text after the expression");
  return d;
}

}  // namespace weft
