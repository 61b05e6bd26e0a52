// Dim: an exact integer or a symbolic integer expression over named symbols (`batch`, `past+1`, `floordiv(n+1,2)`).
// Kept in one canonical form (a sum of integer multiples of products of atoms), so equal expressions compare equal by
// text. Arithmetic is exact; an overflow of int64 gives the poison value `overflow`, which every consumer rejects.
// Also used for index maps of kernels, where the symbols are iteration axes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/result.h"

namespace weft {

struct DimExpr;

// What is known of a symbol: lo <= s <= hi; opt is the value to optimise for (0: none given).
struct SymbolInfo {
  int64_t lo = 0;
  int64_t hi = INT64_MAX;
  int64_t opt = 0;
  bool operator==(const SymbolInfo&) const = default;
};
using SymbolTable = std::map<std::string, SymbolInfo, std::less<>>;
using SymbolValues = std::map<std::string, int64_t, std::less<>>;

class Dim {
 public:
  Dim() = default;
  Dim(int64_t v) : const_(v) {}
  Dim(int v) : const_(v) {}
  static Dim symbol(std::string_view name);  // name: [A-Za-z_$][A-Za-z0-9_.$]*
  static Dim overflow();
  // Grammar of to_string(): + - *, integers, names, floordiv(a,b) mod(a,b) min(a,b) max(a,b), parentheses.
  static Result<Dim> parse(std::string_view text);

  bool is_const() const { return !expr_; }
  bool is(int64_t v) const { return !expr_ && const_ == v; }
  int64_t value() const;  // CHECKs is_const()
  bool is_overflow() const;
  bool is_symbol() const;  // exactly one symbol
  std::string symbol_name() const;
  std::string to_string() const;

  bool operator==(const Dim& o) const;
  bool operator<(const Dim& o) const;  // any total order, for containers

  // Names of all symbols, sorted, without duplicates.
  std::vector<std::string> symbols() const;
  bool contains(std::string_view symbol) const;
  // Replaces symbols; the function returns nullopt to keep one.
  Dim substitute(const std::function<std::optional<Dim>(const std::string&)>& f) const;
  // nullopt when a symbol has no value, or on overflow or division by zero.
  std::optional<int64_t> eval(const SymbolValues& values) const;

  // The value as c0 + c * s + rest: when the expression is affine in `symbol` with an s-free coefficient returns the
  // coefficient and stores the rest (the expression at s = 0); nullopt otherwise.
  std::optional<Dim> coefficient(std::string_view symbol, Dim* rest = nullptr) const;

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend Dim floordiv(const Dim& a, const Dim& b);  // rounds to minus infinity; b == 0 const gives overflow
  friend Dim mod(const Dim& a, const Dim& b);       // sign of b; a == floordiv(a,b)*b + mod(a,b)
  friend Dim min(const Dim& a, const Dim& b);
  friend Dim max(const Dim& a, const Dim& b);
  friend Dim ceildiv(const Dim& a, const Dim& b);
  Dim& operator+=(const Dim& o) { return *this = *this + o; }
  Dim& operator*=(const Dim& o) { return *this = *this * o; }

  // The canonical expression, null for a constant: for emitters that turn it into code.
  const DimExpr* expr() const { return expr_.get(); }

 private:
  friend struct DimBuild;
  int64_t const_ = 0;
  std::shared_ptr<const DimExpr> expr_;
};

enum class DimFn : uint8_t { symbol, floordiv, mod, min, max };

// One factor of a product: a symbol, or a function of two Dims.
struct DimAtom {
  DimFn fn = DimFn::symbol;
  std::string name;  // symbol
  std::vector<Dim> args;
  std::string text;  // canonical, the sort key
};
struct DimTerm {
  int64_t coef = 0;
  std::vector<DimAtom> atoms;  // sorted by text, never empty
  std::string key;             // atoms' texts joined
};
struct DimExpr {
  int64_t constant = 0;
  std::vector<DimTerm> terms;  // sorted by key
  bool poison = false;
  std::string text;
};

// Interval of a Dim given the symbols' ranges; saturating. Unknown symbols count as [0, INT64_MAX].
struct Interval {
  int64_t lo, hi;
};
Interval range_of(const Dim& d, const SymbolTable& symbols);
// Proved facts; false means "not proved".
bool known_ge(const Dim& a, const Dim& b, const SymbolTable& symbols);
inline bool known_le(const Dim& a, const Dim& b, const SymbolTable& s) { return known_ge(b, a, s); }

using Shape = std::vector<Dim>;
Dim numel(const Shape& s);
bool is_static(const Shape& s);
std::vector<int64_t> static_dims(const Shape& s);  // CHECKs is_static
Shape to_shape(const std::vector<int64_t>& dims);
std::string shape_text(const Shape& s);  // "batch,3,224,224"

}  // namespace weft
