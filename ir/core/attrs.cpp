#include "ir/core/attrs.h"

#include "ir/base/text.h"

namespace weft {

namespace {
struct TextVisitor : FieldVisitor {
  std::vector<AttrText> out;
  const std::vector<std::string>* names = nullptr;

  template <class T, class F>
  void list(const char* n, const std::vector<T>& v, F text) {
    std::string s;
    for (const T& x : v) s += (s.empty() ? "" : ",") + text(x);
    out.push_back({n, "[" + s + "]"});
  }
  void field(const char* n, int64_t& v) override { out.push_back({n, std::to_string(v)}); }
  void field(const char* n, bool& v) override { out.push_back({n, v ? "true" : "false"}); }
  void field(const char* n, double& v) override { out.push_back({n, number_text(v)}); }
  void field(const char* n, std::string& v) override { out.push_back({n, quote(v)}); }
  void field(const char* n, DType& v) override { out.push_back({n, dtype_name(v)}); }
  void field(const char* n, std::vector<int64_t>& v) override {
    list(n, v, [](int64_t x) { return std::to_string(x); });
  }
  void field(const char* n, std::vector<double>& v) override { list(n, v, number_text); }
  void field(const char* n, std::vector<std::string>& v) override {
    list(n, v, [](const std::string& x) { return quote(x); });
  }
  void field(const char* n, Shape& v) override {
    list(n, v, [](const Dim& x) { return x.to_string(); });
  }
  void field(const char* n, Type& v) override { out.push_back({n, v.to_string()}); }
  void field(const char* n, ConstantRef& v) override {
    bool known = names && v.id >= 0 && v.id < static_cast<int>(names->size());
    out.push_back({n, "@" + (known ? name_text((*names)[v.id]) : std::to_string(v.id))});
  }
};
}  // namespace

std::vector<AttrText> attr_texts(const Attrs& a, const std::vector<std::string>* names) {
  TextVisitor v;
  v.names = names;
  // visit() is non-const so that one field list serves readers and writers; a reader does not write.
  const_cast<Attrs&>(a).visit(v);
  return std::move(v.out);
}

bool attrs_equal(const Attrs& a, const Attrs& b) {
  auto x = attr_texts(a), y = attr_texts(b);
  if (x.size() != y.size()) return false;
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i].name != y[i].name || x[i].value != y[i].value) return false;
  return true;
}

}  // namespace weft
