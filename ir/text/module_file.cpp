#include "ir/text/module_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "ir/text/constant_text.h"

namespace weft {

namespace fs = std::filesystem;

static constexpr uint64_t kAlign = 64;

namespace {
// Written under another name, renamed when it is whole: who maps the old file keeps it.
class NewFile {
 public:
  explicit NewFile(std::string path)
      : path_(std::move(path)),
        temporary_(path_ + ".tmp" + std::to_string(::getpid())),
        f_(std::fopen(temporary_.c_str(), "wb")) {
    ok_ = f_ != nullptr;
    if (!ok_) errno_ = errno;
  }
  ~NewFile() {
    if (f_) std::fclose(f_);
    if (!done_) std::remove(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, size_t size) {
    if (ok_ && size && std::fwrite(data, 1, size, f_) != size) fail();
  }
  Status finish() {
    if (f_ && std::fclose(std::exchange(f_, nullptr)) != 0) fail();
    if (ok_ && std::rename(temporary_.c_str(), path_.c_str()) != 0) fail();
    done_ = ok_;
    if (ok_) return {};
    return resources("cannot write " + path_ + ": " + std::strerror(errno_));
  }

 private:
  void fail() {
    ok_ = false;
    errno_ = errno;
  }
  std::string path_, temporary_;
  FILE* f_;
  bool ok_ = false, done_ = false;
  int errno_ = 0;
};
}  // namespace

static bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code ec;
  return fs::equivalent(a, b, ec) && !ec;
}

// Gives every constant that belongs beside the text its offset.
static void assign_offsets(const Module& m, const std::string& weights, PrintOptions& options) {
  uint64_t at = 0;
  for (int id : used_constants(m)) {
    const Constant& c = m.constants[id];
    bool in_old_weights = c.source == Constant::Source::file && is_same_file(c.file->path(), weights);
    if ((c.source != Constant::Source::bytes && !in_old_weights) || c.numel() <= options.inline_elements || c.dtype == DType::str) continue;
    options.side_offsets[id] = at;
    at = (at + static_cast<uint64_t>(packed_bytes(c.dtype, c.numel())) + kAlign - 1) / kAlign * kAlign;
  }
}

Status save_module(const Module& m, const std::string& path) {
  fs::path weights = fs::path(path).replace_extension(".weights");
  PrintOptions options;
  options.base_dir = fs::path(path).has_parent_path() ? fs::path(path).parent_path().string() : ".";
  options.side_file = weights.filename().string();
  assign_offsets(m, weights.string(), options);
  if (!options.side_offsets.empty()) {
    NewFile f(weights.string());
    uint64_t at = 0;
    for (auto [id, offset] : options.side_offsets) {
      static const char kZeros[kAlign] = {};
      f.write(kZeros, offset - at);
      std::vector<std::byte> bytes = file_bytes(m.constants[id]);
      f.write(bytes.data(), bytes.size());
      at = offset + bytes.size();
    }
    TRY(f.finish());
  }
  std::string text = print_module(m, options);
  NewFile f(path);
  f.write(text.data(), text.size());
  return f.finish();
}

Result<std::unique_ptr<Module>> load_module(const std::string& path) {
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  auto m = parse_module(text, fs::path(path).parent_path().string());
  if (!m.ok()) return m.error().prefix(path + ": ");
  return m;
}

}  // namespace weft
