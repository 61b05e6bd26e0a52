// Einsum of any number of operands: diagonals, sums over what one operand alone has, then contractions from left to right.
#include <algorithm>
#include <limits>
#include <set>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/contract.h"

namespace weft {

namespace {

// A value and a letter for each of its dims.
struct Labelled {
  Value* value = nullptr;
  std::string dims;
};

struct Equation {
  std::vector<Labelled> terms;
  std::string result;
};

bool holds(const std::string& s, char c) { return s.find(c) != std::string::npos; }

Result<std::vector<std::string>> split_equation(std::string text, size_t operands, bool* explicit_result) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  size_t arrow = text.find("->");
  *explicit_result = arrow != std::string::npos;
  std::vector<std::string> parts(1);
  for (char c : text.substr(0, arrow)) {
    if (c == ',') parts.emplace_back();
    else parts.back() += c;
  }
  if (parts.size() != operands)
    return invalid("the equation `" + text + "` has " + std::to_string(parts.size()) + " terms for " + std::to_string(operands) + " operands");
  parts.push_back(*explicit_result ? text.substr(arrow + 2) : "");
  for (const std::string& p : parts) {
    std::string letters = p;
    if (size_t dots = letters.find("..."); dots != std::string::npos) letters.erase(dots, 3);
    for (char c : letters)
      if (!std::isalpha(static_cast<unsigned char>(c))) return invalid("the equation `" + text + "` is not one of letters");
  }
  return parts;
}

// Letters that no term has, for the dims that `...` stands for.
std::string spare_letters(const std::vector<std::string>& parts) {
  std::string spare;
  for (char c : std::string("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    if (std::none_of(parts.begin(), parts.end(), [&](const std::string& p) { return holds(p, c); })) spare += c;
  return spare;
}

Result<Equation> read_equation(Node& n) {
  bool explicit_result = false;
  TRY_ASSIGN(std::vector<std::string> parts, split_equation(n.text_attr("equation", ""), n.inputs.size(), &explicit_result));
  std::string spare = spare_letters(parts), dots;
  Equation e;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    int rank = n.rank(n.need(static_cast<int>(i)));
    std::string p = parts[i];
    size_t at = p.find("...");
    if (at != std::string::npos) {
      int more = rank - static_cast<int>(p.size() - 3);
      if (more > static_cast<int>(spare.size())) return unsupported("Einsum of more dims than there are letters");
      if (more < 0) return invalid("Einsum's term `" + p + "` has more letters than its operand has dims");
      p.replace(at, 3, spare.substr(spare.size() - more));
      dots = std::max(dots, spare.substr(spare.size() - more), [](auto& a, auto& b) { return a.size() < b.size(); });
    }
    if (static_cast<int>(p.size()) != rank)
      return invalid("Einsum's term `" + parts[i] + "` does not fit an operand of rank " + std::to_string(rank));
    e.terms.push_back({n.inputs[i], p});
  }
  e.result = parts.back();
  if (!explicit_result) {
    std::string all;
    for (size_t i = 0; i + 1 < parts.size(); ++i) all += parts[i];
    std::sort(all.begin(), all.end());
    e.result = "...";
    for (char c : all)
      if (c != '.' && std::count(all.begin(), all.end(), c) == 1) e.result += c;
  }
  if (size_t at = e.result.find("..."); at != std::string::npos) e.result.replace(at, 3, dots);
  for (char c : e.result) {
    bool known = std::any_of(e.terms.begin(), e.terms.end(), [&](const Labelled& t) { return holds(t.dims, c); });
    if (!known || std::count(e.result.begin(), e.result.end(), c) != 1) return invalid(std::string("Einsum's result has a wrong letter `") + c + "`");
  }
  return e;
}

// Keeps the elements whose indices along two dims of one letter are equal; the dim comes last.
void take_diagonal(Node& n, Labelled& t, int first, int second) {
  if (n.failed()) return;
  const Dim &a = n.type_of(t.value).dim(first), &b = n.type_of(t.value).dim(second);
  if (a.is_const() && b.is_const() && !(a == b))
    n.fail(invalid(std::string("Einsum's dims of `") + t.dims[first] + "` differ: " + a.to_string() + ", " + b.to_string()));
  int rank = static_cast<int>(t.dims.size());
  std::vector<int64_t> perm;
  std::string dims;
  for (int i = 0; i < rank; ++i) {
    if (i == first || i == second) continue;
    perm.push_back(i);
    dims += t.dims[i];
  }
  perm.insert(perm.end(), {first, second});
  dims += t.dims[first];
  Value* v = n.transpose(t.value, perm);
  Value* flat = n.reshape_to(v, n.concat({n.slice(n.shape_of(v), 0, 0, rank - 2), n.mul(n.dim_of(v, rank - 1), n.dim_of(v, rank - 2))}, 0), true);
  Value* step = n.add(n.dim_of(v, rank - 1), n.ints({1}));
  t.value = n.op(OpKind::slice, {flat, n.ints({0}), n.ints({std::numeric_limits<int64_t>::max()}), n.ints({rank - 2}), step});
  t.dims = dims;
}

void take_diagonals(Node& n, Labelled& t) {
  for (size_t i = 0; i < t.dims.size() && !n.failed();) {
    size_t second = t.dims.find(t.dims[i], i + 1);
    if (second == std::string::npos) {
      ++i;
      continue;
    }
    take_diagonal(n, t, static_cast<int>(i), static_cast<int>(second));
    i = 0;
  }
}

// Sums over the dims whose letter is not in `keep`.
void sum_others(Node& n, Labelled& t, const std::string& keep) {
  std::vector<int64_t> axes;
  std::string dims;
  for (size_t i = 0; i < t.dims.size(); ++i) {
    if (holds(keep, t.dims[i])) dims += t.dims[i];
    else axes.push_back(static_cast<int64_t>(i));
  }
  if (axes.empty()) return;
  t.value = n.reduce_sum(t.value, axes, false);
  t.dims = dims;
}

Labelled contract_pair(Node& n, Labelled a, Labelled b, const std::string& keep, const std::string* order) {
  sum_others(n, a, keep + b.dims);
  sum_others(n, b, keep + a.dims);
  std::string dims;
  for (char c : order ? *order : a.dims + b.dims)
    if (holds(keep, c) && !holds(dims, c)) dims += c;
  ContractAttrs attrs;
  attrs.spec = a.dims + "," + b.dims + "->" + dims;
  return {n.op(OpKind::contract, {a.value, b.value}, attrs), dims};
}

}  // namespace

Values rule_einsum(Node& n) {
  auto equation = read_equation(n);
  if (!equation.ok()) return std::move(equation.error());
  std::vector<Labelled>& terms = equation->terms;
  const std::string& result = equation->result;
  if (terms.empty()) return invalid("Einsum without operands");
  if (n.failed()) return n.done(nullptr);
  for (Labelled& t : terms) take_diagonals(n, t);
  Labelled all = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    std::string keep = result;
    for (size_t k = i + 1; k < terms.size(); ++k) keep += terms[k].dims;
    all = contract_pair(n, all, terms[i], keep, i + 1 == terms.size() ? &result : nullptr);
  }
  sum_others(n, all, result);
  std::vector<int64_t> perm;
  for (char c : result) perm.push_back(static_cast<int64_t>(all.dims.find(c)));
  return n.done({std::is_sorted(perm.begin(), perm.end()) ? all.value : n.transpose(all.value, perm)});
}

}  // namespace weft
