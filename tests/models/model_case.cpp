#include "tests/models/model_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "frontend/api/reference.h"
#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor_io.h"
#include "ir/core/builder.h"

namespace weft::model_test {

namespace fs = std::filesystem;

Model runnable(Executable exe) {
  auto context = std::make_shared<Context>(exe.context());
  return {exe.inputs(), exe.outputs(), [context](const NamedTensors& in) { return context->run(in); }};
}

Result<Model> compiled(const std::string& path, const CompileOptions& options) {
  CompileOptions with_threads = options;
  with_threads.threads = 2;
  TRY_ASSIGN(Executable exe, compile(path, with_threads));
  return runnable(std::move(exe));
}

Result<Model> evaluated(const std::string& path) {
  TRY_ASSIGN(std::shared_ptr<Module> module, import_onnx_file(path));
  TRY_ASSIGN(std::vector<PortInfo> inputs, describe_inputs(*module));
  return Model{std::move(inputs), describe_outputs(*module), [module](const NamedTensors& in) { return evaluate_module(*module, in); }};
}

namespace {

// Makes doubles of all floats: inputs, constants and what attributes name.
struct Widen : SomeFields {
  using SomeFields::field;
  Module& m;
  Status status;
  explicit Widen(Module& module) : m(module) {}
  void field(const char*, DType& t) override {
    if (t == DType::f32) t = DType::f64;
  }
  void field(const char* name, Type& t) override { field(name, t.dtype); }
  void field(const char*, ConstantRef& c) override {
    if (c.id < 0 || m.constants[c.id].dtype != DType::f32) return;
    auto narrow = tensor_of(m.constants[c.id]);
    auto wide = narrow.ok() ? store_all(DType::f64, narrow->dims, load_all<double>(*narrow)) : std::move(narrow);
    if (!wide.ok()) return status = std::move(wide.error()), void();
    std::vector<std::byte> bytes(wide->data.get(), wide->data.get() + wide->bytes());
    c.id = m.constants.add_bytes(m.constants[c.id].name, DType::f64, wide->dims, std::move(bytes));
  }
  Status graph(Graph& g) {
    for (auto& in : g.inputs) field("", in->type);
    for (auto& op : g.ops) {
      op->attrs->visit(*this);
      for (auto& sub : op->graphs) TRY(graph(*sub));
    }
    return status;
  }
};

Result<NamedTensors> converted(const NamedTensors& values, DType from, DType to) {
  NamedTensors out;
  for (const NamedTensor& v : values) {
    TRY_ASSIGN(weft::Tensor t, to_host_tensor(v.tensor));
    if (t.dtype == from) {
      TRY_ASSIGN(t, store_all(to, t.dims, load_all<double>(t)));
    }
    TRY_ASSIGN(api::Tensor same, from_host_value(t));
    out.add(v.name, std::move(same));
  }
  return out;
}

}  // namespace

Result<Model> evaluated_in_double(const std::string& path) {
  TRY_ASSIGN(std::shared_ptr<Module> module, import_onnx_file(path));
  TRY_ASSIGN(std::vector<PortInfo> inputs, describe_inputs(*module));
  std::vector<PortInfo> outputs = describe_outputs(*module);
  TRY(Widen(*module).graph(*module->main()));
  TRY(infer_graph(*module->main()));
  auto run = [module](const NamedTensors& in) -> Result<NamedTensors> {
    TRY_ASSIGN(NamedTensors wide, converted(in, DType::f32, DType::f64));
    TRY_ASSIGN(NamedTensors out, evaluate_module(*module, wide));
    return converted(out, DType::f64, DType::f32);
  };
  return Model{std::move(inputs), std::move(outputs), run};
}

static Result<NamedTensors> read_values(const fs::path& folder, const std::string& kind, const std::vector<PortInfo>& ports) {
  NamedTensors out;
  for (size_t i = 0; i < ports.size(); ++i) {
    fs::path file = folder / (kind + "_" + std::to_string(i) + ".pb");
    TRY_ASSIGN(HostValue value, read_value_file(file.string(), Type::unranked(ports[i].dtype)));
    TRY_ASSIGN(api::Tensor tensor, from_host_value(value));
    out.add(ports[i].name, std::move(tensor));
  }
  return out;
}

Result<std::vector<DataSet>> read_sets(const std::string& folder, const Model& m) {
  std::vector<DataSet> sets;
  for (int k = 0;; ++k) {
    fs::path set = fs::path(folder) / ("test_data_set_" + std::to_string(k));
    if (!fs::exists(set)) break;
    TRY_ASSIGN(NamedTensors inputs, read_values(set, "input", m.inputs));
    TRY_ASSIGN(NamedTensors outputs, read_values(set, "output", m.outputs));
    sets.push_back({std::move(inputs), std::move(outputs)});
  }
  if (sets.empty()) return usage(folder + " holds no data sets");
  return sets;
}

static std::vector<double> numbers(const api::Tensor& t) {
  Result<weft::Tensor> host = to_host_tensor(t);
  return host.ok() ? load_all<double>(*host) : std::vector<double>();
}

// Of all outputs, the largest of what `in_units(error, low, high)` makes of an output's largest error and its range.
template <class F>
static double worst_of(const std::vector<DataSet>& want, const std::vector<NamedTensors>& got, F in_units) {
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  double worst = 0;
  for (const NamedTensor& port : want[0].outputs) {
    double low = 0, high = 0, error = 0;
    for (size_t k = 0; k < want.size(); ++k) {
      const api::Tensor& w = want[k].outputs[port.name];
      const api::Tensor& g = got[k][port.name];
      if (w.dtype() != g.dtype() || w.dims() != g.dims()) return kWrong;
      std::vector<double> a = numbers(w), b = numbers(g);
      for (size_t i = 0; i < a.size(); ++i) {
        if (!std::isfinite(b[i])) return kWrong;
        low = std::min(low, a[i]);
        high = std::max(high, a[i]);
        error = std::max(error, std::fabs(a[i] - b[i]));
      }
    }
    if (error > 0) worst = std::max(worst, in_units(error, low, high));
  }
  return worst;
}
double worst_error(const std::vector<DataSet>& want, const std::vector<NamedTensors>& got) {
  return worst_of(want, got, [](double error, double low, double high) { return error / (high - low); });
}
double worst_difference(const std::vector<DataSet>& want, const std::vector<NamedTensors>& got) {
  return worst_of(want, got, [](double error, double, double) { return error; });
}

std::vector<NamedTensors> outputs_of(const Model& m, const std::vector<DataSet>& sets) {
  std::vector<NamedTensors> got;
  for (const DataSet& set : sets) {
    Result<NamedTensors> out = m.run(set.inputs);
    EXPECT_TRUE(out.ok()) << out.error().to_string();
    if (!out.ok()) break;
    got.push_back(*out);
  }
  return got;
}

void expect_recorded(const Result<Model>& m, const std::string& folder, double tolerance) {
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  Result<std::vector<DataSet>> sets = read_sets(folder, *m);
  ASSERT_TRUE(sets.ok()) << sets.error().to_string();
  std::vector<NamedTensors> got = outputs_of(*m, *sets);
  ASSERT_EQ(got.size(), sets->size());
  double worst = worst_error(*sets, got);
  EXPECT_LE(worst, tolerance) << folder << ": the largest error is " << worst << " of an output's range";
  std::printf("%zu sets, largest error %.2g of an output's range\n", sets->size(), worst);
}

std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return "cannot be started: " + command;
  std::string text;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe)) text += buffer;
  EXPECT_EQ(pclose(pipe), 0) << command << "\n" << text;
  return text;
}

std::string prepared(const std::string& script) {
  std::string text, command = std::string(WEFT_SOURCE_DIR) + "/tools/bench/" + script;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return "";
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe)) text = buffer;
  int status = pclose(pipe);
  EXPECT_EQ(status, 0) << command << " failed";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace weft::model_test
