// Writes ONNX models as bytes, for tests that must not see protobuf: a message is a string of fields, and the functions
// below know the field numbers of onnx.proto.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace weft::onnx_test {

struct Message {
  std::string bytes;

  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) bytes += static_cast<char>(v | 0x80);
    bytes += static_cast<char>(v);
  }
  Message& num(int field, int64_t v) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(v));
    return *this;
  }
  Message& real(int field, float v) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    bytes.append(reinterpret_cast<const char*>(&v), 4);
    return *this;
  }
  Message& text(int field, const std::string& v) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(v.size());
    bytes += v;
    return *this;
  }
  Message& add(int field, const Message& m) { return text(field, m.bytes); }
  std::span<const std::byte> span() const { return {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}; }
};

constexpr int kFloat = 1, kInt64 = 7, kBool = 9;  // TensorProto.DataType

// --- types and tensors ------------------------------------------------------------------------------------------------

// A dim: a number, a name, or nothing ("").
inline Message tensor_type(int dtype, const std::vector<std::string>& dims) {
  Message shape;
  for (const std::string& d : dims) {
    Message dim;
    bool number = !d.empty() && d.find_first_not_of("-0123456789") == std::string::npos;
    if (number) dim.num(1, std::stoll(d));
    else if (!d.empty()) dim.text(2, d);
    shape.add(1, dim);
  }
  return Message().add(1, Message().num(1, dtype).add(2, shape));
}
inline Message value_info(const std::string& name, int dtype, const std::vector<std::string>& dims) {
  return Message().text(1, name).add(2, tensor_type(dtype, dims));
}
template <class T>
Message tensor(const std::string& name, int dtype, const std::vector<int64_t>& dims, const std::vector<T>& values) {
  Message m;
  for (int64_t d : dims) m.num(1, d);
  return m.num(2, dtype).text(8, name).text(9, std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
}
inline Message floats(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& v) {
  return tensor(name, kFloat, dims, v);
}
inline Message ints(const std::string& name, const std::vector<int64_t>& dims, const std::vector<int64_t>& v) {
  return tensor(name, kInt64, dims, v);
}
// Elements in a file beside the model.
inline Message external(const std::string& name, int64_t elements, const std::string& location) {
  return Message().num(1, elements).num(2, kFloat).text(8, name).add(13, Message().text(1, "location").text(2, location)).num(14, 1);
}

// --- attributes and nodes ---------------------------------------------------------------------------------------------

inline Message int_attr(const std::string& name, int64_t v) { return Message().text(1, name).num(3, v).num(20, 2); }
inline Message float_attr(const std::string& name, float v) { return Message().text(1, name).real(2, v).num(20, 1); }
inline Message tensor_attr(const std::string& name, const Message& t) { return Message().text(1, name).add(5, t).num(20, 4); }
inline Message graph_attr(const std::string& name, const Message& g) { return Message().text(1, name).add(6, g).num(20, 5); }
// type: AttributeProto's, 1 float, 2 int
inline Message ref_attr(const std::string& name, const std::string& of_function, int type) {
  return Message().text(1, name).num(20, type).text(21, of_function);
}

using Names = std::vector<std::string>;
inline Message node(const std::string& type, const Names& in, const Names& out, const std::vector<Message>& attrs = {},
                    const std::string& domain = "", const std::string& name = "") {
  Message m;
  for (const std::string& n : in) m.text(1, n);
  for (const std::string& n : out) m.text(2, n);
  if (!name.empty()) m.text(3, name);
  m.text(4, type);
  for (const Message& a : attrs) m.add(5, a);
  if (!domain.empty()) m.text(7, domain);
  return m;
}

// --- graphs, functions, models ----------------------------------------------------------------------------------------

struct GraphParts {
  std::vector<Message> nodes, inputs, outputs, initializers;
};
inline Message graph(const GraphParts& p) {
  Message g;
  for (const Message& n : p.nodes) g.add(1, n);
  g.text(2, "g");
  for (const Message& t : p.initializers) g.add(5, t);
  for (const Message& i : p.inputs) g.add(11, i);
  for (const Message& o : p.outputs) g.add(12, o);
  return g;
}
inline Message opset(const std::string& domain, int64_t version) {
  Message m;
  if (!domain.empty()) m.text(1, domain);
  return m.num(2, version);
}
struct FunctionParts {
  std::string name;
  Names inputs, outputs, attributes;
  std::vector<Message> nodes, defaults;
  std::string domain = "local";
};
inline Message function(const FunctionParts& p) {
  Message m;
  m.text(1, p.name);
  for (const std::string& n : p.inputs) m.text(4, n);
  for (const std::string& n : p.outputs) m.text(5, n);
  for (const std::string& n : p.attributes) m.text(6, n);
  for (const Message& n : p.nodes) m.add(7, n);
  m.add(9, opset("", 17)).add(9, opset("local", 1)).text(10, p.domain);
  for (const Message& a : p.defaults) m.add(11, a);
  return m;
}
inline Message model(const Message& graph, const std::vector<Message>& functions = {}, int ir = 8,
                     const std::vector<Message>& opsets = {opset("", 17), opset("local", 1)}) {
  Message m;
  m.num(1, ir).text(2, "test").add(7, graph);
  for (const Message& o : opsets) m.add(8, o);
  for (const Message& f : functions) m.add(25, f);
  return m;
}

// A model of f32[n] -> f32[n] with these nodes between "x" and "y".
inline Message simple(const std::vector<Message>& nodes, const std::vector<Message>& initializers = {}, const std::vector<Message>& functions = {}) {
  return model(graph({nodes, {value_info("x", kFloat, {"n"})}, {value_info("y", kFloat, {"n"})}, initializers}), functions);
}

}  // namespace weft::onnx_test
