// Attributes: one plain struct per op with one field list, from which print, parse, import, hash and equality derive.
//
//   struct ConcatAttrs : AttrsOf<ConcatAttrs> {
//     int64_t axis = 0;
//     void fields(FieldVisitor& v) { v.field("axis", axis); }
//   };
//
// Field names are ONNX's attribute names where ONNX has the attribute, so the importer fills them by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ir/base/dim.h"
#include "ir/base/dtype.h"
#include "ir/base/layout.h"
#include "ir/core/type.h"

namespace weft {

// Index of a constant-pool entry; prints as @name.
struct ConstantRef {
  int id = -1;
  bool operator==(const ConstantRef&) const = default;
};

// The closed set of field types. A visitor reads or writes each field in turn.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  virtual void field(const char* name, int64_t& v) = 0;
  virtual void field(const char* name, bool& v) = 0;
  virtual void field(const char* name, double& v) = 0;
  virtual void field(const char* name, std::string& v) = 0;
  virtual void field(const char* name, DType& v) = 0;
  virtual void field(const char* name, std::vector<int64_t>& v) = 0;
  virtual void field(const char* name, std::vector<double>& v) = 0;
  virtual void field(const char* name, std::vector<std::string>& v) = 0;
  virtual void field(const char* name, Shape& v) = 0;  // symbolic dims
  virtual void field(const char* name, Type& v) = 0;
  virtual void field(const char* name, ConstantRef& v) = 0;
};

// For visitors of a few kinds of fields: passes over the rest. Who overrides some says `using SomeFields::field`.
struct SomeFields : FieldVisitor {
  void field(const char*, int64_t&) override {}
  void field(const char*, bool&) override {}
  void field(const char*, double&) override {}
  void field(const char*, std::string&) override {}
  void field(const char*, DType&) override {}
  void field(const char*, std::vector<int64_t>&) override {}
  void field(const char*, std::vector<double>&) override {}
  void field(const char*, std::vector<std::string>&) override {}
  void field(const char*, Shape&) override {}
  void field(const char*, Type&) override {}
  void field(const char*, ConstantRef&) override {}
};

struct Attrs {
  virtual ~Attrs() = default;
  virtual std::unique_ptr<Attrs> clone() const = 0;
  virtual void visit(FieldVisitor& v) = 0;
};

template <class T>
struct AttrsOf : Attrs {
  std::unique_ptr<Attrs> clone() const override { return std::make_unique<T>(static_cast<const T&>(*this)); }
  void visit(FieldVisitor& v) override { static_cast<T*>(this)->fields(v); }
};

struct NoAttrs : AttrsOf<NoAttrs> {
  void fields(FieldVisitor&) {}
};

template <class T>
std::unique_ptr<Attrs> make_attrs() {
  return std::make_unique<T>();
}

// Every field as a (name, value) text, in field order; ConstantRefs print by name where names are given.
struct AttrText {
  std::string name, value;
};
std::vector<AttrText> attr_texts(const Attrs& a, const std::vector<std::string>* constant_names = nullptr);
bool attrs_equal(const Attrs& a, const Attrs& b);

}  // namespace weft
