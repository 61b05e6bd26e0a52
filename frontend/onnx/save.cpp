// EditableModel::save: all tensors come into the model's file, or into one beside it.
#include <filesystem>
#include <fstream>

#include "frontend/onnx/editable_state.h"

namespace weft {

namespace {

namespace fs = std::filesystem;

// From here on weights go into a file of their own: protobuf reads no more than 2 GiB.
constexpr int64_t kMostInside = int64_t{1} << 30;
constexpr int64_t kLeastOutside = 1 << 10, kAlignment = 4096;

template <class F>
Status for_each_tensor(pb::GraphProto& g, F&& f);

template <class F>
Status for_each_tensor(pb::NodeProto& n, F&& f) {
  for (auto& a : *n.mutable_attribute()) {
    if (a.has_t()) TRY(f(*a.mutable_t()));
    for (auto& t : *a.mutable_tensors()) TRY(f(t));
    if (a.has_g()) TRY(for_each_tensor(*a.mutable_g(), f));
    for (auto& g : *a.mutable_graphs()) TRY(for_each_tensor(g, f));
  }
  return {};
}

template <class F>
Status for_each_tensor(pb::GraphProto& g, F&& f) {
  for (auto& t : *g.mutable_initializer()) TRY(f(t));
  for (auto& t : *g.mutable_sparse_initializer()) {
    TRY(f(*t.mutable_values()));
    TRY(f(*t.mutable_indices()));
  }
  for (auto& n : *g.mutable_node()) TRY(for_each_tensor(n, f));
  return {};
}

void set_external(pb::TensorProto& t, const std::string& key, const std::string& value) {
  auto* e = t.add_external_data();
  e->set_key(key);
  e->set_value(value);
}

// Where tensors' bytes go: into the message, or behind each other into a file.
class Payloads {
 public:
  Payloads(TensorSource source, std::string location, std::ofstream* file) : source_(std::move(source)), location_(std::move(location)), file_(file) {}

  Status place(pb::TensorProto& t) {
    TRY_ASSIGN(TensorData d, read_tensor(t, source_));
    // What neither lies in a file nor shall go into one stays as it is written.
    if (d.dtype == DType::str || (!d.file && (!file_ || !t.has_raw_data()))) return {};
    const std::string inside = d.file ? std::string() : t.raw_data();
    const char* bytes = d.file ? reinterpret_cast<const char*>(d.file->data() + d.offset) : inside.data();
    const size_t size = d.file ? d.size : inside.size();
    pb::TensorProto out;
    out.set_name(t.name());
    out.set_doc_string(t.doc_string());
    out.set_data_type(t.data_type());
    *out.mutable_dims() = t.dims();
    if (file_ && size >= kLeastOutside) {
      const int64_t at = (written_ + kAlignment - 1) / kAlignment * kAlignment;
      const std::string gap(at - written_, '\0');
      file_->write(gap.data(), static_cast<std::streamsize>(gap.size()));
      file_->write(bytes, static_cast<std::streamsize>(size));
      written_ = at + static_cast<int64_t>(size);
      out.set_data_location(pb::TensorProto::EXTERNAL);
      set_external(out, "location", location_);
      set_external(out, "offset", std::to_string(at));
      set_external(out, "length", std::to_string(size));
    } else {
      out.set_raw_data(bytes, size);
    }
    t = std::move(out);
    return {};
  }

 private:
  TensorSource source_;
  std::string location_;
  std::ofstream* file_;
  int64_t written_ = 0;
};

Status write_model(pb::ModelProto model, const TensorSource& source, const std::string& path) {
  bool outside = false;
  int64_t bytes = 0;
  TRY(for_each_tensor(*model.mutable_graph(), [&](const pb::TensorProto& t) -> Status {
    TRY_ASSIGN(const TensorData d, read_tensor(t, source));
    outside = outside || t.data_location() == pb::TensorProto::EXTERNAL;
    bytes += static_cast<int64_t>(d.file ? d.size : d.bytes.size());
    return {};
  }));
  const std::string data = path + ".data", part = path + ".part", data_part = data + ".part";
  auto cannot = [&](const std::string& file) -> Status {
    std::error_code ignored;
    fs::remove(part, ignored);
    fs::remove(data_part, ignored);
    return resources("cannot write " + file);
  };
  std::ofstream data_file;
  if (outside || bytes > kMostInside) {
    data_file.open(data_part, std::ios::binary);
    if (!data_file) return cannot(data);
  }
  const bool beside = data_file.is_open();
  Payloads payloads(source, fs::path(data).filename().string(), beside ? &data_file : nullptr);
  auto place = [&](pb::TensorProto& t) { return payloads.place(t); };
  TRY(for_each_tensor(*model.mutable_graph(), place));
  for (auto& f : *model.mutable_functions())
    for (auto& n : *f.mutable_node()) TRY(for_each_tensor(n, place));
  if (beside && !data_file.flush()) return cannot(data);
  std::ofstream out(part, std::ios::binary);
  if (!out || !model.SerializeToOstream(&out) || !out.flush()) return cannot(path);
  out.close();
  std::error_code ec;
  if (beside) fs::rename(data_part, data, ec);
  if (!ec) fs::rename(part, path, ec);
  return ec ? cannot(path + ": " + ec.message()) : Status();
}

}  // namespace

Status EditableModel::save(const std::string& path) const {
  try {
    return write_model(state_->edited(), state_->source(), path);
  } catch (const std::exception& e) {
    return resources(std::string("the model cannot be written: ") + e.what());
  }
}

}  // namespace weft
