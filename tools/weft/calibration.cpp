#include "tools/weft/calibration.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "frontend/api/reference.h"
#include "frontend/onnx/tensor_io.h"
#include "ir/base/text.h"
#include "tools/weft/npy.h"

namespace weft::cli {

namespace {

namespace fs = std::filesystem;
constexpr const char* kLabels = "labels";

// Names with numbers in them by these: set_2 before set_10.
std::tuple<std::string, int64_t, std::string> order_of(const std::string& name) {
  const size_t from = name.find_first_of("0123456789");
  if (from == std::string::npos) return {name, 0, name};
  int64_t n = 0;
  for (size_t i = from; i < std::min(name.size(), from + 18) && isdigit(static_cast<unsigned char>(name[i])); ++i) n = n * 10 + (name[i] - '0');
  return {name.substr(0, from), n, name};
}

class Folder {
 public:
  Folder(std::string path, std::vector<api::PortInfo> inputs, int64_t batch) : path_(std::move(path)), inputs_(std::move(inputs)), batch_(batch) {}

  Status open() {
    std::error_code ec;
    if (!fs::is_directory(path_, ec)) return usage("there is no folder " + path_);
    if (fs::exists(path_ + "/" + kLabels + ".npy")) {
      TRY_ASSIGN(const api::Tensor t, read_npy(path_ + "/" + kLabels + ".npy", DType::i64));
      TRY_ASSIGN(labels_, integers(t));
    }
    std::vector<std::string> names;
    bool set_here = false;
    for (const auto& entry : fs::directory_iterator(path_, ec)) {
      const std::string name = entry.path().filename().string();
      if (entry.is_directory(ec) ? fs::exists(entry.path() / "input_0.pb", ec) : (name.ends_with(".npz") || name.ends_with(".npy")) && name != "labels.npy")
        names.push_back(name);
      set_here = set_here || name == "input_0.pb";
    }
    std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return order_of(a) < order_of(b); });
    if (set_here) names.insert(names.begin(), ".");
    for (const std::string& name : names) TRY(index(path_ + "/" + name));
    if (parts_.empty())
      return usage("there are no samples in " + path_).with_hint("files .npz or .npy, or folders test_data_set_N with input_0.pb, …");
    const bool all = std::all_of(parts_.begin(), parts_.end(), [](const Part& p) { return p.labels; });
    if (!labels_.empty() && row_ != static_cast<int64_t>(labels_.size()))
      return usage(path_ + "/labels.npy has " + std::to_string(labels_.size()) + " labels for " + std::to_string(row_) + " rows");
    labelled_ = !labels_.empty() || all;
    return {};
  }

  int64_t count() const { return static_cast<int64_t>(parts_.size()); }
  bool labelled() const { return labelled_; }

  Result<api::NamedTensors> sample(int64_t i) {
    const Part& p = parts_[i];
    TRY(load(p.file));
    api::NamedTensors out;
    for (const api::NamedTensor& t : loaded_) {
      if (t.name == kLabels && !is_input(kLabels)) continue;
      TRY_ASSIGN(api::Tensor part, rows_of(t.tensor, p));
      out.add(t.name, std::move(part));
    }
    return out;
  }

  Result<std::vector<int64_t>> labels(int64_t i) {
    const Part& p = parts_[i];
    if (!labels_.empty()) return std::vector<int64_t>(labels_.begin() + p.row, labels_.begin() + p.row + p.rows);
    TRY(load(p.file));
    TRY_ASSIGN(std::vector<int64_t> all, integers(loaded_[kLabels]));
    if (p.from + p.rows > static_cast<int64_t>(all.size())) return usage(p.file + " has fewer labels than rows");
    return std::vector<int64_t>(all.begin() + p.from, all.begin() + p.from + p.rows);
  }

 private:
  struct Part {
    std::string file;
    int64_t from = 0, rows = 0;  // rows of the file; whole: all that it holds
    int64_t row = 0;             // the first one's number, over all files
    bool whole = true, labels = false;
  };

  bool is_input(const std::string& name) const {
    return std::any_of(inputs_.begin(), inputs_.end(), [&](const api::PortInfo& p) { return p.name == name; });
  }

  static Result<std::vector<int64_t>> integers(const api::Tensor& t) {
    if (t.empty() || !is_int(t.dtype())) return usage("labels are integers, these are " + t.describe());
    TRY_ASSIGN(const weft::Tensor host, to_host_tensor(t));
    return load_all<int64_t>(host);
  }

  // All arrays of one file, or of one folder.
  Status load(const std::string& file) {
    if (file == loaded_from_) return {};
    loaded_from_.clear();
    loaded_ = {};
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const api::PortInfo& in = inputs_[i];
      Result<api::Tensor> t = api::Tensor();
      if (file.ends_with(".npz")) {
        t = read_npz(file, in.name, in.dtype);
      } else if (file.ends_with(".npy")) {
        if (inputs_.size() > 1) return usage(file + ": the model has several inputs, so samples are .npz files or folders");
        t = read_npy(file, in.dtype);
      } else {
        Result<HostValue> v = read_value_file(file + "/input_" + std::to_string(i) + ".pb", Type::unranked(in.dtype));
        t = v.ok() ? from_host_value(*v) : Result<api::Tensor>(v.error());
      }
      if (!t.ok()) return t.error().prefix(file + ": ");
      TRY_ASSIGN(api::Tensor fitting, fit(*t, in, file));
      loaded_.add(in.name, std::move(fitting));
    }
    if (file.ends_with(".npz") && !is_input(kLabels))
      if (auto t = read_npz(file, kLabels, DType::i64); t.ok()) loaded_.add(kLabels, std::move(*t));
    loaded_from_ = file;
    return {};
  }

  static Result<api::Tensor> fit(const api::Tensor& t, const api::PortInfo& in, const std::string& file) {
    std::vector<int64_t> dims = t.dims();
    if (dims.size() + 1 == in.dims.size()) dims.insert(dims.begin(), 1);
    bool fits = dims.size() == in.dims.size() && t.dtype() == in.dtype;
    for (size_t d = 1; fits && d < dims.size(); ++d) fits = !in.dims[d].fixed() || in.dims[d].min == dims[d];
    if (!fits) return usage(file + " holds " + t.describe() + ", which does not fit input " + in.describe());
    TRY_ASSIGN(api::Tensor dense, t.copy());
    TRY_ASSIGN(api::Tensor out, api::Tensor::view(dense.data(), t.dtype(), dims).copy());
    return out;
  }

  static Result<api::Tensor> rows_of(const api::Tensor& t, const Part& p) {
    if (p.whole) return t;
    std::vector<int64_t> dims = t.dims();
    const int64_t row_bytes = t.bytes() / std::max<int64_t>(dims[0], 1);
    dims[0] = p.rows;
    return api::Tensor::view(static_cast<const std::byte*>(t.data()) + p.from * row_bytes, t.dtype(), dims).copy();
  }

  // Which rows go together: those of all inputs, where they have the same number of them.
  Status index(const std::string& file) {
    TRY(load(file));
    const api::Extent* extent = nullptr;
    int64_t rows = -1;
    bool cut = true;
    for (const api::PortInfo& in : inputs_) {
      const api::Tensor& t = loaded_[in.name];
      if (t.rank() == 0 || is_subbyte(t.dtype()) || t.dtype() == DType::str) {
        cut = false;
        continue;
      }
      cut = cut && (!extent || (extent->text == in.dims[0].text && rows == t.dims()[0]));
      extent = &in.dims[0];
      rows = t.dims()[0];
    }
    Part p{.file = file, .rows = std::max<int64_t>(rows, 1), .row = row_, .labels = !loaded_[kLabels].empty() && !is_input(kLabels)};
    const int64_t step = !cut || !extent ? rows : extent->fixed() ? extent->min : std::clamp(batch_, std::max<int64_t>(extent->min, 1), extent->max);
    if (!cut || rows <= step) {
      parts_.push_back(p);
      row_ += p.rows;
      return {};
    }
    if (extent->fixed() && rows % step)
      return usage(file + " has " + std::to_string(rows) + " rows, which are no multiple of the model's batch of " + std::to_string(step));
    p.whole = false;
    for (p.from = 0; p.from < rows; p.from += step) {
      p.rows = std::min(step, rows - p.from);
      p.row = row_;
      row_ += p.rows;
      parts_.push_back(p);
    }
    return {};
  }

  const std::string path_;
  const std::vector<api::PortInfo> inputs_;
  const int64_t batch_;
  std::vector<Part> parts_;
  std::vector<int64_t> labels_;
  bool labelled_ = false;
  int64_t row_ = 0;
  std::string loaded_from_;
  api::NamedTensors loaded_;
};

}  // namespace

Result<api::CalibrationData> open_calibration(const std::string& folder, const std::vector<api::PortInfo>& inputs, int64_t batch) {
  auto f = std::make_shared<Folder>(folder, inputs, batch);
  TRY(f->open());
  api::CalibrationData data;
  data.count = f->count();
  data.sample = [f](int64_t i) { return f->sample(i); };
  if (f->labelled()) data.labels = [f](int64_t i) { return f->labels(i); };
  return data;
}

}  // namespace weft::cli
