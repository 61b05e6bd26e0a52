#include "passes/pass_manager.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>

#include "ir/base/check.h"
#include "ir/base/text.h"
#include "ir/core/builder.h"
#include "ir/core/verifier.h"
#include "ir/text/module_file.h"

namespace weft {

#define WEFT_PASS(name, what) Result<bool> pass_##name(Module&, PassContext&);
#include "passes/passes.def"
#undef WEFT_PASS

const char* precision_name(Precision p) {
  constexpr const char* names[] = {"f32", "tf32", "f16", "bf16"};
  return names[static_cast<int>(p)];
}
std::optional<Precision> precision_from_name(std::string_view name) {
  for (Precision p : {Precision::f32, Precision::tf32, Precision::f16, Precision::bf16})
    if (name == precision_name(p)) return p;
  return std::nullopt;
}

std::span<const PassInfo> list_passes() {
  auto dashed = [](std::string s) {
    std::replace(s.begin(), s.end(), '_', '-');
    return s;
  };
  static const std::vector<PassInfo> passes = {
#define WEFT_PASS(name, what) {dashed(#name), what, pass_##name},
#include "passes/passes.def"
#undef WEFT_PASS
  };
  return passes;
}

namespace {

const PassInfo* find_pass(const std::string& name) {
  for (const PassInfo& p : list_passes())
    if (p.name == name) return &p;
  return nullptr;
}

// NAME or NAME:k.
struct Point {
  std::string name;
  int occurrence = 1;
};

Result<Point> parse_point(const std::string& option, const std::string& text) {
  Point p{text, 1};
  if (size_t colon = text.find(':'); colon != std::string::npos) {
    p.name = text.substr(0, colon);
    const char *from = text.data() + colon + 1, *end = text.data() + text.size();
    auto [at, ec] = std::from_chars(from, end, p.occurrence);
    if (ec != std::errc() || at != end || p.occurrence < 1) return usage(option + ": expected PASS or PASS:NUMBER, got " + text);
  }
  return p;
}

Status need_pass(const std::string& option, const std::string& name) {
  if (find_pass(name)) return {};
  Error e = usage(option + ": there is no pass " + quote(name));
  return e.with_hint("`weft opt --list-passes` lists them");
}

// Ops, and those among them that name no ONNX node.
struct Census {
  int ops = 0, without_origin = 0;
};
Census take_census(Module& m) {
  Census c;
  auto count = [&](Op* op) {
    ++c.ops;
    if (op->provenance.empty() && op->kind != OpKind::constant && op->kind != OpKind::prepared) ++c.without_origin;
  };
  for (auto& g : m.graphs) walk_nested(*g, count);
  if (m.prepare) walk_nested(*m.prepare, count);
  return c;
}

int remove_dead_ops(Module& m) {
  int n = 0;
  for (auto& g : m.graphs) n += remove_dead(*g);
  if (m.prepare) n += remove_dead(*m.prepare);
  return n;
}

Hash text_hash(const Module& m) {
  PrintOptions o;
  o.contents = false;
  return hash_text(print_module(m, o));
}

bool contains(const std::vector<std::string>& list, const std::string& name) { return std::find(list.begin(), list.end(), name) != list.end(); }

// What the crash hook writes: the module as it came, and how to run into the same crash.
struct Replay {
  const Module* input = nullptr;
  std::string pass;
  int opt_level = 2;
};
thread_local Replay replay;

void write_replay(const char*) {
  if (!replay.input) return;
  const Module* m = std::exchange(replay.input, nullptr);  // a crash while printing ends here
  std::error_code ec;
  std::filesystem::path folder = std::filesystem::temp_directory_path(ec) /
                                 ("weft-crash-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
  if (!std::filesystem::create_directories(folder, ec)) return;
  std::string path = (folder / "module.wir").string();
  if (!save_module(*m, path).ok()) return;
  std::fprintf(stderr, "weft: this is a bug in pass %s. To see it again: weft opt -O %d %s\n", replay.pass.c_str(), replay.opt_level, path.c_str());
}

class Pipeline {
 public:
  Pipeline(Module& m, PassContext& cx, const PipelineOptions& o, std::vector<PassRun>* runs) : m_(m), cx_(cx), o_(o), runs_(runs) {}

  Status run() {
    TRY(prepare());
    std::unique_ptr<Module> input = m_.clone();
    replay = {input.get(), "", o_.opt_level};
    CrashHook outer = set_crash_hook(write_replay);
    Status s = stages();
    set_crash_hook(outer);
    replay.input = nullptr;
    return s;
  }

 private:
  // Checks the options before any pass runs.
  Status prepare() {
    if (o_.passes) stages_ = {{*o_.passes, 1}};
    else stages_ = pipeline_of(o_.opt_level);
    cx_.opt_level = o_.opt_level;
    for (const Stage& s : stages_) {
      for (const std::string& p : s.passes) TRY(need_pass("--passes", p));
      total_ += static_cast<int>(s.passes.size());
    }
    for (const std::string& p : o_.disabled) TRY(need_pass("--disable-pass", p));
    for (const std::string& p : o_.print_after)
      if (p != "all") TRY(need_pass("--print-after", p));
    if (!o_.start_at.empty()) {
      TRY_ASSIGN(start_, parse_point("--start-at", o_.start_at));
      TRY(need_pass("--start-at", start_.name));
    }
    if (!o_.stop_after.empty()) {
      TRY_ASSIGN(stop_, parse_point("--stop-after", o_.stop_after));
      TRY(need_pass("--stop-after", stop_.name));
    }
    started_ = o_.start_at.empty();
    if (o_.dump_dir.empty()) return {};
    std::error_code ec;
    std::filesystem::create_directories(o_.dump_dir, ec);
    if (ec) return resources("cannot make the folder " + o_.dump_dir + ": " + ec.message());
    return dump("input");
  }

  Status stages() {
    for (const Stage& s : stages_) {
      for (int round = 0; round < s.rounds; ++round) {
        bool changed = false;
        for (const std::string& name : s.passes) {
          TRY_ASSIGN(bool c, step(*find_pass(name)));
          changed = changed || c;
          if (stopped_) return {};
        }
        if (!changed) break;
      }
      done_ += static_cast<int>(s.passes.size());
    }
    return {};
  }

  // One place in the pipeline: counts it, and runs the pass unless options say otherwise.
  Result<bool> step(const PassInfo& pass) {
    if (cx_.cancel && cx_.cancel->load(std::memory_order_relaxed)) return error(Code::kCancelled, "compilation was cancelled");
    int occurrence = ++occurrences_[pass.name];
    if (!started_) started_ = pass.name == start_.name && occurrence == start_.occurrence;
    stopped_ = !o_.stop_after.empty() && pass.name == stop_.name && occurrence == stop_.occurrence;
    if (!started_ || contains(o_.disabled, pass.name)) return false;
    if (cx_.progress) cx_.progress(pass.name, std::min(done_, total_), total_);
    ++number_;
    TRY_ASSIGN(bool changed, apply(pass));
    if (!changed) return false;
    if (o_.print && (contains(o_.print_after, pass.name) || contains(o_.print_after, "all")))
      o_.print("// after " + pass.name + "\n" + print_module(m_));
    if (!o_.dump_dir.empty()) TRY(dump(pass.name));
    return true;
  }

  Result<bool> apply(const PassInfo& pass) {
    Hash before = o_.check_changed ? text_hash(m_) : Hash();
    Census old = take_census(m_);
    replay.pass = pass.name;
    auto begin = std::chrono::steady_clock::now();
    Result<bool> r = pass.run(m_, cx_);
    if (!r.ok()) return r.error().prefix("pass " + pass.name + ": ");
    remove_dead_ops(m_);
    if (m_.concrete_layouts) m_.complete_layouts();  // of what the pass made
    double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    Census now = take_census(m_);
    bool changed = *r || now.ops != old.ops;  // what a pass built in vain is gone again
    if (changed) check(pass, old, now);
    if (o_.check_changed && changed != (text_hash(m_) != before))
      broken(pass, changed ? "says that it changed the module, and did not" : "changed the module and does not say so");
    if (runs_) runs_->push_back({pass.name, changed, ms, old.ops, now.ops});
    return changed;
  }

  void check(const PassInfo& pass, const Census& old, const Census& now) {
    VerifyOptions v;
    v.types = o_.check_types;
    Status s = verify_module(m_, v);
    if (!s.ok()) broken(pass, s.error().to_string());
    if (old.without_origin == 0 && now.without_origin > 0) broken(pass, "left ops without the names of the ONNX nodes that they came from");
  }
  [[noreturn]] void broken(const PassInfo& pass, const std::string& what) {
    check_failed(__FILE__, __LINE__, ("pass " + pass.name + ": " + what).c_str());
  }

  Status dump(const std::string& name) {
    char number[16];
    std::snprintf(number, sizeof number, "%03d_", number_);
    return save_module(m_, (std::filesystem::path(o_.dump_dir) / (number + name + ".wir")).string());
  }

  Module& m_;
  PassContext& cx_;
  const PipelineOptions& o_;
  std::vector<PassRun>* runs_;
  std::vector<Stage> stages_;
  std::map<std::string, int> occurrences_;
  Point start_, stop_;
  bool started_ = true, stopped_ = false;
  int number_ = 0, done_ = 0, total_ = 0;
};

}  // namespace

Status run_pipeline(Module& m, PassContext& cx, const PipelineOptions& options, std::vector<PassRun>* runs) {
  return Pipeline(m, cx, options, runs).run();
}

}  // namespace weft
