#include "ir/text/attr_parser.h"

#include <set>

namespace weft {

Result<int> parse_constant_ref(Lexer& lx, const ConstantIds& constants) {
  TRY(lx.expect("@"));
  Error unknown = lx.fail("no constant of this name is declared");
  TRY_ASSIGN(std::string name, lx.name());
  auto it = constants.find(name);
  if (it == constants.end()) return unknown;
  return it->second;
}

namespace {

// Reads the value of the field called `want`, and the names of all.
class FieldParser : public FieldVisitor {
 public:
  FieldParser(Lexer& lx, std::string want, const ConstantIds& constants) : lx_(lx), want_(std::move(want)), constants_(constants) {}
  Status status;
  bool found = false;
  std::string names;

  void field(const char* n, int64_t& v) override { read(n, v, [&] { return lx_.integer(); }); }
  void field(const char* n, double& v) override { read(n, v, [&] { return lx_.number(); }); }
  void field(const char* n, std::string& v) override { read(n, v, [&] { return lx_.quoted(); }); }
  void field(const char* n, Type& v) override { read(n, v, [&] { return Type::parse(lx_); }); }
  void field(const char* n, bool& v) override {
    read(n, v, [&]() -> Result<bool> {
      if (lx_.accept("true")) return true;
      TRY(lx_.expect("false"));
      return false;
    });
  }
  void field(const char* n, DType& v) override {
    read(n, v, [&]() -> Result<DType> {
      auto t = dtype_from_name(lx_.peek().text);
      if (!t) return lx_.fail("expected an element type");
      lx_.next();
      return *t;
    });
  }
  void field(const char* n, ConstantRef& v) override {
    read(n, v, [&]() -> Result<ConstantRef> {
      TRY_ASSIGN(int id, parse_constant_ref(lx_, constants_));
      return ConstantRef{id};
    });
  }
  void field(const char* n, std::vector<int64_t>& v) override { list(n, v, [&] { return lx_.integer(); }); }
  void field(const char* n, std::vector<double>& v) override { list(n, v, [&] { return lx_.number(); }); }
  void field(const char* n, std::vector<std::string>& v) override { list(n, v, [&] { return lx_.quoted(); }); }
  void field(const char* n, Shape& v) override { list(n, v, [&] { return parse_dim(lx_); }); }

 private:
  template <class T, class F>
  void read(const char* n, T& v, F parse) {
    names += (names.empty() ? "" : ", ") + std::string(n);
    if (want_ != n || !status.ok()) return;
    found = true;
    auto r = parse();
    if (r.ok()) v = std::move(r).value();
    else status = std::move(r.error());
  }
  template <class T, class F>
  void list(const char* n, std::vector<T>& v, F parse) {
    read(n, v, [&]() -> Result<std::vector<T>> {
      std::vector<T> out;
      TRY(lx_.expect("["));
      while (!lx_.at("]")) {
        TRY_ASSIGN(T x, parse());
        out.push_back(std::move(x));
        if (!lx_.accept(",")) break;
      }
      TRY(lx_.expect("]"));
      return out;
    });
  }

  Lexer& lx_;
  const std::string want_;
  const ConstantIds& constants_;
};

}  // namespace

Status parse_attrs(Lexer& lx, Attrs& attrs, const ConstantIds& constants) {
  TRY(lx.expect("{"));
  std::set<std::string> seen;
  while (!lx.at("}")) {
    Error here = lx.fail("no such attribute, or given twice");
    TRY_ASSIGN(std::string name, lx.identifier());
    TRY(lx.expect("="));
    FieldParser p(lx, name, constants);
    attrs.visit(p);
    if (!p.status.ok()) return std::move(p.status);
    if (!p.found || !seen.insert(name).second) return here.with_hint(p.names.empty() ? "the op has no attributes" : "the op has " + p.names);
    if (!lx.accept(",")) break;
  }
  return lx.expect("}");
}

}  // namespace weft
