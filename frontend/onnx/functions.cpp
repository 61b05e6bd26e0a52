// Nodes that are defined by other nodes: the model's own functions, and bodies out of ONNX's operator schemas, some of
// which ONNX builds for the node's types and attributes. The body is imported in place of the node.
#include <algorithm>

#include "frontend/onnx/importer.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "onnx/defs/schema.h"
#pragma GCC diagnostic pop

namespace weft {

namespace {

std::string function_key(const std::string& domain, const std::string& name, const std::string& overload) {
  return plain_domain(domain) + ":" + name + ":" + overload;
}

const pb::OpSchema* schema_of(const Node& n) { return pb::OpSchemaRegistry::Schema(n.type(), n.version, n.domain()); }

// The node with its references to a function's attributes resolved.
pb::NodeProto resolved(Node& n) {
  pb::NodeProto out = n.proto;
  out.clear_attribute();
  for (const auto& a : n.proto.attribute()) {
    const pb::AttributeProto* value = n.attribute(a.name());
    if (!value) continue;
    pb::AttributeProto* copy = out.add_attribute();
    *copy = *value;
    copy->set_name(a.name());
  }
  return out;
}

// The body that ONNX builds for this node. ONNX reports its problems as exceptions.
Result<pb::FunctionProto> build_body(Node& n, const pb::OpSchema& schema) {
  std::vector<pb::TypeProto> types;
  for (const Value* v : n.inputs) types.push_back(v ? type_to_onnx(v->type) : pb::TypeProto());
  // Written for this opset, so its nodes mean what they meant in it.
  int opset = 0;
  for (int v : schema.context_dependent_function_opset_versions())
    if (v <= n.version) opset = std::max(opset, v);
  pb::FunctionProto body;
  pb::NodeProto node = resolved(n);  // the context keeps pointers into it
  try {
    pb::FunctionBodyBuildContextImpl context(node, types);
    if (opset && schema.BuildContextDependentFunction(context, body, opset)) return body;
  } catch (const std::exception& e) {
    return unsupported("no body of " + n.describe() + ": " + e.what());
  }
  return unsupported("ONNX has no body of " + n.describe() + " for these types and attributes");
}

Status check_call(const Node& n, const std::string& key) {
  const ImportLimits& limits = n.state.options.limits;
  const Frame& caller = *n.scope.frame;
  if (caller.depth >= limits.max_call_depth) return resources("functions call functions deeper than " + std::to_string(limits.max_call_depth));
  for (const Frame* f = &caller; f; f = f->caller)
    if (f->function == key) return invalid("function " + key + " calls itself");
  return {};
}

// Attributes of the call, else their defaults.
void bind_attributes(Node& n, const pb::FunctionProto& f, const pb::OpSchema* schema, Scope& body, Frame& frame) {
  auto given = [&](const std::string& name) {
    BoundAttribute b;
    b.proto = n.attribute(name, &b.home);
    if (b.proto) frame.attributes[name] = b;
    return b.proto != nullptr;
  };
  for (const std::string& name : f.attribute()) {
    if (given(name) || !schema) continue;
    auto it = schema->attributes().find(name);
    if (it != schema->attributes().end() && it->second.default_value.type() != pb::AttributeProto::UNDEFINED)
      frame.attributes[name] = {&it->second.default_value, &body};
  }
  for (const auto& a : f.attribute_proto())
    if (!given(a.name())) frame.attributes[a.name()] = {&a, &body};
}

Status bind_arguments(const Node& n, const pb::FunctionProto& f, Scope& body) {
  if (n.num_inputs() > f.input_size())
    return invalid(n.describe() + " has " + std::to_string(n.num_inputs()) + " inputs, its function takes " + std::to_string(f.input_size()));
  for (int i = 0; i < f.input_size(); ++i) TRY(define(body, f.input(i), {.value = n.in(i)}));
  return {};
}

Result<std::vector<Value*>> expand(Node& n, const pb::FunctionProto& f, const pb::OpSchema* schema) {
  std::string key = schema ? "" : function_key(f.domain(), f.name(), f.overload());
  TRY(check_call(n, schema ? "(schema)" : key));
  // Small functions with long lists must not be had for nothing.
  n.state.node_budget -= (f.input_size() + f.output_size() + f.attribute_size()) / 8;
  Frame frame;
  frame.caller = n.scope.frame;
  frame.function = key;
  frame.label = n.label;
  frame.schema = schema != nullptr || n.scope.frame->schema;
  frame.depth = n.scope.frame->depth + 1;
  for (const auto& o : f.opset_import()) frame.opsets[plain_domain(o.domain())] = static_cast<int>(std::min<int64_t>(o.version(), INT32_MAX));
  Scope body;
  body.frame = &frame;
  body.graph = n.scope.graph;
  body.owner = n.scope.owner ? n.scope.owner : &n.scope;
  body.inlined = n.scope.inlined;
  bind_attributes(n, f, schema, body, frame);
  TRY(n.all_read());
  TRY(bind_arguments(n, f, body));
  TRY(import_nodes(n.state, body, f.node()));
  std::vector<Value*> results;
  for (const std::string& name : f.output()) {
    TRY_ASSIGN(Value* v, look_up(n.state, body, name, &n.poisoned));
    results.push_back(v);
  }
  return results;
}

}  // namespace

const pb::FunctionProto* model_function(const ImportState& s, const pb::NodeProto& node) {
  if (s.functions.empty()) return nullptr;
  auto it = s.functions.find(function_key(node.domain(), node.op_type(), node.overload()));
  return it == s.functions.end() ? nullptr : it->second;
}

Status define_functions(ImportState& s) {
  for (const auto& f : s.model.functions()) {
    std::string key = function_key(f.domain(), f.name(), f.overload());
    if (f.name().empty()) return invalid("a function has no name");
    if (!s.functions.emplace(key, &f).second) return invalid("function " + key + " is defined twice");
  }
  return {};
}

bool has_function(const Node& n) {
  if (model_function(n.state, n.proto)) return true;
  const pb::OpSchema* schema = schema_of(n);
  return schema && (schema->HasFunction() || schema->HasContextDependentFunction());
}

Result<std::vector<Value*>> expand_function(Node& n) {
  if (const pb::FunctionProto* f = model_function(n.state, n.proto)) return expand(n, *f, nullptr);
  const pb::OpSchema* schema = schema_of(n);
  CHECK(schema);
  if (const pb::FunctionProto* f = schema->GetFunction(n.version)) return expand(n, *f, schema);
  TRY_ASSIGN(pb::FunctionProto built, build_body(n, *schema));
  return expand(n, built, schema);
}

}  // namespace weft
