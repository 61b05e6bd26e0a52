#include "frontend/api/device_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "ir/base/embedded_text.h"
#include "ir/base/mapped_file.h"
#include "ir/base/text.h"
#include "runtime/cuda/device.h"

namespace weft::api {

namespace {

using json = nlohmann::json;
constexpr const char* kTableSchema = "weft.device-table/1";

// An object of the file, and where it stands in it. What is read of it is remembered: other members are an Error.
class Section {
 public:
  Section(const json& j, std::string path, const std::string& file) : j_(j), path_(std::move(path)), file_(file) {}

  Error wrong(const std::string& key, const std::string& must) const { return usage(file_ + ": " + place(key) + " must " + must); }
  std::string place(const std::string& key) const { return path_ + (path_.empty() || key.empty() ? "" : ".") + key; }
  const json* find(const std::string& key) {
    seen_.insert(key);
    auto it = j_.find(key);
    return it == j_.end() ? nullptr : &*it;
  }
  Result<std::string> text(const std::string& key) {
    const json* v = find(key);
    if (!v || !v->is_string()) return wrong(key, "be a text");
    return v->get<std::string>();
  }
  // Of a field that may be left out the default is given.
  Result<double> number(const std::string& key, double least, double most, std::optional<double> absent = {}) {
    const json* v = find(key);
    if (!v && absent) return *absent;
    if (v && v->is_number())
      if (const double d = v->get<double>(); d >= least && d <= most) return d;
    return wrong(key, std::isinf(most) ? "be a number above 0" : "be a number from " + shortest(least) + " to " + shortest(most));
  }
  Result<int64_t> count(const std::string& key, int64_t most) {
    const json* v = find(key);
    if (v && v->is_number_integer())
      if (const auto n = v->get<int64_t>(); n >= 1 && n <= most) return n;
    return wrong(key, "be a whole number from 1 to " + std::to_string(most));
  }
  Status done() const {
    for (auto it = j_.begin(); it != j_.end(); ++it)
      if (!seen_.count(it.key()))
        return usage(file_ + ": " + place(it.key()) + " is not known").with_hint("known here: " + join({seen_.begin(), seen_.end()}, ", "));
    return {};
  }

 private:
  static std::string shortest(double v) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", v);
    return text;
  }
  const json& j_;
  std::string path_;
  const std::string& file_;
  std::set<std::string> seen_;
};

constexpr double kLeast = std::numeric_limits<double>::min(), kMost = std::numeric_limits<double>::infinity();

Result<std::vector<DeviceTable::Rate>> read_rates(Section& link, const std::string& file) {
  const json* v = link.find("bytes_per_s");
  if (!v || !v->is_array()) {
    TRY_ASSIGN(double rate, link.number("bytes_per_s", kLeast, kMost));
    return std::vector<DeviceTable::Rate>{{0, rate}};
  }
  if (v->empty()) return link.wrong("bytes_per_s", "be a number, or a list with a rate for each size of messages");
  std::vector<DeviceTable::Rate> out;
  for (size_t i = 0; i < v->size(); ++i) {
    const std::string path = link.place("bytes_per_s") + "[" + std::to_string(i) + "]";
    if (!(*v)[i].is_object()) return usage(file + ": " + path + " must be an object");
    Section s((*v)[i], path, file);
    DeviceTable::Rate r;
    const bool last = i + 1 == v->size();
    TRY_ASSIGN(r.up_to_bytes, s.number("up_to_bytes", kLeast, kMost, last ? std::optional<double>(0) : std::nullopt));
    TRY_ASSIGN(r.bytes_per_s, s.number("rate", kLeast, kMost));
    TRY(s.done());
    if (i && !last && r.up_to_bytes <= out.back().up_to_bytes) return s.wrong("up_to_bytes", "be larger than that of the entry before");
    out.push_back(r);
  }
  return out;
}

Result<std::vector<DeviceTable::Tier>> read_links(Section& table, const std::string& file) {
  const json* v = table.find("links");
  if (!v || !v->is_array() || v->empty()) return table.wrong("links", "be a list of tiers, the one between neighbours first");
  std::vector<DeviceTable::Tier> out;
  int64_t devices = 1;
  for (size_t i = 0; i < v->size(); ++i) {
    const std::string path = "links[" + std::to_string(i) + "]";
    if (!(*v)[i].is_object()) return usage(file + ": " + path + " must be an object");
    Section s((*v)[i], path, file);
    DeviceTable::Tier t;
    TRY_ASSIGN(t.name, s.text("name"));
    TRY_ASSIGN(t.joins, s.count("joins", 65536));
    TRY_ASSIGN(t.start_s, s.number("start_s", 0, 10));
    TRY_ASSIGN(t.step_s, s.number("step_s", 0, 10));
    TRY_ASSIGN(t.rates, read_rates(s, file));
    TRY(s.done());
    devices *= t.joins;
    if (devices > 65536) return s.wrong("joins", "not make more than 65536 devices in all");
    out.push_back(std::move(t));
  }
  return out;
}

Status read_flops(Section& table, DeviceTable& t, const std::string& file) {
  const json* v = table.find("flops_per_s");
  if (!v || !v->is_object()) return table.wrong("flops_per_s", "be an object with a rate for each type");
  Section s(*v, "flops_per_s", file);
  for (size_t k = 0; k < t.flops.size(); ++k) {
    const std::optional<double> absent = k == DeviceTable::f32 ? std::nullopt : std::optional<double>(0);
    TRY_ASSIGN(t.flops[k], s.number(DeviceTable::kNumberNames[k], kLeast, kMost, absent));
  }
  return s.done();
}

Status read_efficiency(Section& table, DeviceTable& t, const std::string& file) {
  const json* v = table.find("efficiency");
  if (!v) return {};
  if (!v->is_object()) return table.wrong("efficiency", "be an object");
  Section s(*v, "efficiency", file);
  for (auto [key, share] : {std::pair("contraction", &t.contraction), {"attention", &t.attention}, {"memory", &t.memory}, {"link", &t.link}}) {
    TRY_ASSIGN(*share, s.number(key, 0.001, 1, 1.0));
  }
  return s.done();
}

}  // namespace

Result<DeviceTable> parse_device_table(std::string_view text, const std::string& file) {
  const json j = json::parse(text, nullptr, false);
  if (j.is_discarded() || !j.is_object()) return usage(file + " is not a JSON object").with_hint("a device table, see docs/planning.md");
  Section s(j, "", file);
  TRY_ASSIGN(std::string schema, s.text("schema"));
  if (schema != kTableSchema) return s.wrong("schema", std::string("be \"") + kTableSchema + "\"");
  DeviceTable t;
  t.name = file;
  TRY_ASSIGN(t.device, s.text("device"));
  TRY_ASSIGN(t.source, s.text("source"));
  TRY(read_flops(s, t, file));
  TRY_ASSIGN(t.memory_bytes, s.number("memory_bytes", kLeast, kMost));
  TRY_ASSIGN(t.memory_rate, s.number("memory_bytes_per_s", kLeast, kMost));
  TRY_ASSIGN(t.launch_s, s.number("launch_s", 0, 10));
  TRY(read_efficiency(s, t, file));
  TRY_ASSIGN(t.tiers, read_links(s, file));
  TRY(s.done());
  return t;
}

DeviceTable devices_here(const Target& target, int device) {
  DeviceTable t = default_devices(target);
  if (target.backend != Backend::cuda) return t;
  auto gpus = cuda_devices();
  if (!gpus.ok() || device < 0 || static_cast<size_t>(device) >= gpus->size()) return t;
  const CudaDevice& gpu = (*gpus)[static_cast<size_t>(device)];
  if (auto here = gpu.target(); here.ok() && here->gpu.device == target.gpu.device) t.memory_bytes = static_cast<double>(gpu.memory_bytes);
  return t;
}

std::vector<std::string> device_table_names() {
  std::vector<std::string> out;
  for (unsigned long i = 0; i < kEmbeddedTablesCount; ++i) {
    const std::string name = kEmbeddedTables[i].name;
    out.push_back(name.substr(0, name.rfind('.')));
  }
  return out;
}

Result<DeviceTable> find_device_table(const std::string& name_or_file) {
  for (unsigned long i = 0; i < kEmbeddedTablesCount; ++i)
    if (kEmbeddedTables[i].name == name_or_file + ".json") return parse_device_table({kEmbeddedTables[i].text, kEmbeddedTables[i].size}, name_or_file);
  auto file = MappedFile::open(name_or_file);
  if (!file.ok())
    return usage("there is no device table " + name_or_file + ": " + file.error().message).with_hint("a file, or one of " + join(device_table_names(), ", "));
  return parse_device_table({reinterpret_cast<const char*>((*file)->data()), (*file)->size()}, name_or_file);
}

}  // namespace weft::api
