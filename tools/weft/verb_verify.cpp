// weft verify: whether a model computes what it should; see verify_case.h for what it is held against.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "frontend/api/target_choice.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"
#include "runtime/cpu/thread_pool.h"
#include "tools/weft/cli.h"
#include "tools/weft/jobs.h"
#include "tools/weft/ranks.h"
#include "tools/weft/verify_case.h"

namespace weft::cli {

namespace fs = std::filesystem;

namespace {

struct VerifyArgs {
  std::vector<std::string> paths, filters;
  VerifyOptions options;
  int jobs = 0;
  bool all = false;
};

// --- finding cases ----------------------------------------------------------------------------------------------------

bool has_data_sets(const fs::path& folder) {
  std::error_code ec;
  return std::any_of(fs::directory_iterator(folder, ec), fs::directory_iterator(),
                     [](const auto& e) { return e.path().filename().string().rfind("test_data_set_", 0) == 0; });
}

// A folder with model.onnx or model.wir is one case. Another folder stands for the folders and .onnx files in it.
void find_cases(const fs::path& at, const std::string& name, int depth, std::vector<VerifyCase>& cases) {
  for (const char* file : {"model.onnx", "model.wir"})
    if (fs::exists(at / file)) return cases.push_back({name, (at / file).string(), has_data_sets(at) ? at.string() : ""}), void();
  std::error_code ec;
  std::vector<fs::path> entries;
  for (const auto& e : fs::directory_iterator(at, ec)) entries.push_back(e.path());
  std::sort(entries.begin(), entries.end());
  for (const fs::path& p : entries) {
    const std::string below = (depth ? name + "/" : "") + p.filename().string();
    if (fs::is_directory(p, ec) && depth < 8) find_cases(p, below, depth + 1, cases);
    else if (p.extension() == ".onnx") cases.push_back({below, p.string(), ""});
  }
}

Result<std::vector<VerifyCase>> collect(const VerifyArgs& a) {
  std::vector<VerifyCase> cases;
  for (const std::string& path : a.paths) {
    std::error_code ec;
    fs::path p = fs::absolute(path, ec).lexically_normal();
    if (!p.has_filename()) p = p.parent_path();
    const size_t before = cases.size();
    if (fs::is_directory(p, ec)) find_cases(p, p.filename().string(), 0, cases);
    else if (fs::exists(p, ec)) cases.push_back({p.filename().string(), p.string(), ""});
    else return usage("there is no file or folder " + path);
    if (cases.size() == before) {
      Error e = usage("the folder " + path + " holds no cases");
      return e.with_hint("a case is a folder with model.onnx and test_data_set_0/{input,output}_0.pb, or an .onnx file"), e;
    }
  }
  auto left_out = [&](const VerifyCase& c) {
    return !a.filters.empty() &&
           std::none_of(a.filters.begin(), a.filters.end(), [&](const std::string& f) { return c.name.find(f) != std::string::npos; });
  };
  std::erase_if(cases, left_out);
  if (cases.empty()) return usage("no case has " + join(a.filters, " or ") + " in its name");
  return cases;
}

// --- running them -----------------------------------------------------------------------------------------------------

// A result as it crosses from one process to another: numbers, then texts with their lengths before them.
std::string encode(const CaseResult& r) {
  const double numbers[3] = {r.max_abs, r.max_rel, r.ms};
  std::string s(1, static_cast<char>(r.status));
  s.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
  auto add = [&](const std::string& text) { s += std::to_string(text.size()) + ":" + text; };
  add(r.reason);
  if (!r.first_wrong) return s;
  for (const std::string* text : {&r.first_wrong->kind, &r.first_wrong->name, &r.first_wrong->difference}) add(*text);
  for (const std::string& node : r.first_wrong->nodes) add(node);
  return s;
}

CaseResult decode(const std::string& s) {
  double numbers[3];
  std::memcpy(numbers, s.data() + 1, sizeof numbers);
  std::vector<std::string> texts;
  for (size_t at = 1 + sizeof numbers; at < s.size();) {
    size_t colon = s.find(':', at), size = std::stoul(s.substr(at, colon - at));
    texts.push_back(s.substr(colon + 1, size));
    at = colon + 1 + size;
  }
  CaseResult r{static_cast<CaseStatus>(s[0]), texts.at(0), numbers[0], numbers[1], numbers[2], {}};
  if (texts.size() > 3) r.first_wrong = FirstWrong{texts[1], texts[2], {texts.begin() + 4, texts.end()}, texts[3]};
  return r;
}

// What the target means on this machine, found out in a process of its own: one that has looked for GPUs cannot leave them to its
// children. An Error's code comes back as a letter, its text behind it.
Result<std::string> target_here(const api::CompileOptions& o) {
  constexpr char kFirstCode = 'a', kFound = '=';
  std::string answer;
  auto ask = [&](int) -> std::string {
    auto target = api::choose_target(o.target, o.device);
    if (target.ok()) return kFound + target->to_string();
    return static_cast<char>(kFirstCode + static_cast<int>(target.error().code)) + target.error().message + '\n' + target.error().hint;
  };
  TRY(run_jobs(1, 1, ask, [&](int, std::string s) { answer = std::move(s); }, [&](int, std::string why) { answer = why; }, [] { return false; }));
  if (answer[0] == kFound) return answer.substr(1);
  const size_t end = answer.rfind('\n');
  if (end == std::string::npos) return error(Code::kDevice, "looking for GPUs: " + answer);
  Error e = error(static_cast<Code>(answer[0] - kFirstCode), answer.substr(1, end - 1));
  return e.with_hint(answer.substr(end + 1)), e;
}

Result<std::vector<CaseResult>> run_cases(Cli& cli, const VerifyArgs& a, const std::vector<VerifyCase>& cases) {
  std::vector<CaseResult> results(cases.size(), CaseResult{CaseStatus::cancelled, "", 0, 0, 0, {}});
  VerifyOptions options = a.options;
  options.compile = compile_options(cli);
  options.microbatches = cli.common.microbatches;
  options.verify_key = cli.common.verify_key;
  options.require_signature = cli.common.require_signature;
  if (cases.size() == 1) {
    results[0] = run_case(cases[0], options);
    return results;
  }
  const int jobs = std::min<int>(a.jobs > 0 ? a.jobs : usable_cores(), static_cast<int>(cases.size()));
  if (options.compile.threads == 0) options.compile.threads = std::max(1, usable_cores() / jobs);
  options.compile.progress = nullptr;  // a line per stage of every case is no progress
  auto begin = std::chrono::steady_clock::now();
  int ended = 0;
  auto tell = [&](int i, CaseResult r) {
    results[i] = std::move(r);
    ++ended;
    cli.log.progress("verify " + std::to_string(ended) + "/" + std::to_string(cases.size()) + ": " + cases[i].name,
                     std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  };
  TRY(run_jobs(
      static_cast<int>(cases.size()), jobs, [&](int i) { return encode(run_case(cases[i], options)); },
      [&](int i, std::string s) { tell(i, decode(s)); },
      [&](int i, std::string why) {
        tell(i, {CaseStatus::failed, std::move(why), 0, 0, 0, {}});
      },
      [&] { return cli.cancel.load(); }));
  return results;
}

// --- report -----------------------------------------------------------------------------------------------------------

std::string number(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", v);
  return buffer;
}

// The first line, and how many there are behind it.
std::string brief(const std::string& reason) {
  size_t end = reason.find('\n');
  auto more = std::count(reason.begin(), reason.end(), '\n');
  return reason.substr(0, end) + (more ? ", and " + std::to_string(more) + " more" : "");
}

std::string cases_text(const std::vector<VerifyCase>& cases, const std::vector<CaseResult>& results, bool all) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < cases.size(); ++i) {
    const CaseResult& r = results[i];
    if (!all && cases.size() > 20 && r.status != CaseStatus::failed) continue;
    rows.push_back({cases[i].name, status_name(r.status), number(r.max_abs), number(r.max_rel), ms_text(r.ms), brief(r.reason)});
  }
  return rows.empty() ? "" : table({"case", "status", "max abs", "max rel", "ms", "reason"}, rows, {1, 5}) + "\n";
}

// "case: first wrong after pass fuse:1: y[0]: got …" for each case of which that is known.
std::string first_wrong_text(const std::vector<VerifyCase>& cases, const std::vector<CaseResult>& results) {
  std::string text;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!results[i].first_wrong) continue;
    const FirstWrong& w = *results[i].first_wrong;
    text += cases[i].name + ": ";
    if (w.kind == "import") text += "the evaluator does not give the recorded outputs of the imported model either: ";
    if (w.kind == "pass") text += "first wrong after pass " + w.name + ": ";
    if (w.kind == "op") text += "first wrong op " + w.name + ": ";
    text += w.difference + "\n";
    if (w.nodes.size() > 1) text += "  it computes " + join(w.nodes, ", ") + "\n";
  }
  return text.empty() ? text : text + "\n";
}

// How often each reason was given, the most frequent first.
std::string reasons_text(const std::vector<CaseResult>& results, CaseStatus status) {
  std::map<std::string, int> count;
  for (const CaseResult& r : results)
    if (r.status == status) ++count[r.reason.substr(0, r.reason.find('\n'))];
  std::vector<std::pair<int, std::string>> order;
  for (const auto& [reason, n] : count) order.emplace_back(-n, reason);
  std::sort(order.begin(), order.end());
  std::string text;
  for (size_t i = 0; i < order.size() && i < 40; ++i) text += "  " + std::to_string(-order[i].first) + " × " + shorten(order[i].second, 160) + "\n";
  if (order.size() > 40) text += "  and " + std::to_string(order.size() - 40) + " other reasons\n";
  return text.empty() ? "" : std::string(status_name(status)) + ":\n" + text + "\n";
}

Json summary_json(const std::vector<VerifyCase>& cases, const std::vector<CaseResult>& results, const std::map<CaseStatus, int>& count) {
  Json j, list = Json::array();
  for (CaseStatus s : {CaseStatus::passed, CaseStatus::failed, CaseStatus::unsupported, CaseStatus::skipped})
    j["summary"][status_name(s)] = count.at(s);
  for (size_t i = 0; i < cases.size(); ++i) {
    const CaseResult& r = results[i];
    if (r.status == CaseStatus::cancelled) continue;
    Json c;
    c["name"] = cases[i].name;
    c["status"] = status_name(r.status);
    c["reason"] = r.reason;
    c["max_abs"] = r.max_abs;
    c["max_rel"] = r.max_rel;
    c["ms"] = r.ms;
    if (r.first_wrong) {
      Json w;
      w["kind"] = r.first_wrong->kind;
      w["name"] = r.first_wrong->name;
      w["nodes"] = r.first_wrong->nodes;
      w["difference"] = r.first_wrong->difference;
      c["first_wrong"] = w;
    }
    list.push_back(c);
  }
  j["cases"] = list;
  return j;
}

// What a narrower type may cost when nothing was said: 16 units of its last place, of each output's range.
void widen_tolerance(Cli& cli, VerifyArgs& a) {
  const std::string& precision = cli.common.compile.precision;
  if (precision.empty() || precision == "f32" || a.options.range_tolerance > 0) return;
  a.options.range_tolerance = precision == "bf16" ? 16.0 / (1 << 8) : 16.0 / (1 << 11);
  char text[160];
  std::snprintf(text, sizeof text, "computed in %s: differences up to %.4f of an output's range pass; see --range-tolerance", precision.c_str(),
                a.options.range_tolerance);
  cli.log.info(text);
}

Status verify_paths(Cli& cli, VerifyArgs a) {
  widen_tolerance(cli, a);
  TRY_ASSIGN(const std::string target, target_here(cli.common.compile));
  TRY_ASSIGN(std::vector<VerifyCase> cases, collect(a));
  TRY(join_ranks(cli, a.options.artefact.empty() ? cases[0].model : a.options.artefact));
  if (cli.in_job() && cases.size() > 1) return usage("ranks that are processes verify one case, and there are " + std::to_string(cases.size()));
  TRY_ASSIGN(std::vector<CaseResult> results, run_cases(cli, a, cases));
  cli.log.end_progress();
  for (size_t i = 0; i < cases.size(); ++i)
    if (results[i].status == CaseStatus::misused) return usage((cases.size() > 1 ? cases[i].name + ": " : "") + results[i].reason);
  std::map<CaseStatus, int> count;
  for (CaseStatus s : {CaseStatus::passed, CaseStatus::failed, CaseStatus::unsupported, CaseStatus::skipped, CaseStatus::cancelled}) count[s] = 0;
  for (const CaseResult& r : results) ++count[r.status];
  if (!cli.speaks) {
    // The first rank says it all.
  } else if (cli.json()) {
    Json j = summary_json(cases, results, count);
    j["target"] = target;
    TRY(cli.emit(j));
  } else {
    std::string text = cases_text(cases, results, a.all);
    text += first_wrong_text(cases, results);
    if (cases.size() > 20) text += reasons_text(results, CaseStatus::unsupported) + reasons_text(results, CaseStatus::skipped);
    print(text + std::to_string(count[CaseStatus::passed]) + " passed, " + std::to_string(count[CaseStatus::failed]) + " failed, " +
          std::to_string(count[CaseStatus::unsupported]) + " unsupported, " + std::to_string(count[CaseStatus::skipped]) + " skipped\n");
  }
  if (cli.cancel)
    return error(Code::kCancelled, std::to_string(count[CaseStatus::cancelled]) + " of " + std::to_string(cases.size()) + " cases were not run");
  if (count[CaseStatus::failed])
    return error(Code::kCheckFailed, std::to_string(count[CaseStatus::failed]) + " of " + std::to_string(cases.size()) + " cases failed");
  return {};
}

}  // namespace

void add_verify(Cli& cli) {
  auto a = std::make_shared<VerifyArgs>();
  Verb& v = add_verb(cli, "verify", "Compare a model with the reference evaluator, or with recorded outputs", [&cli, a] {
    return verify_paths(cli, *a);
  });
  v.positionals(
      "paths", a->paths,
      "a model: compiled against the evaluator, on generated inputs; a folder with model.onnx and "
      "test_data_set_*/{input,output}_*.pb: against the recorded outputs; a folder of these: all of them; a .weft: its hashes alone");
  v.number("--rtol", a->options.rtol, "tolerance relative to the expected value");
  v.number("--atol", a->options.atol, "tolerance added to it: |got - expected| <= atol + rtol * |expected|");
  v.number("--range-tolerance", a->options.range_tolerance, "instead of both: a share of the range of each output's expected values, such as 1e-5");
  v.flag("--bisect", a->options.bisect,
         "name the first pass, or else the first op of the compiled program, whose outputs are wrong, for each case that failed");
  v.flag("--check-numerics", a->options.check_numerics, "fail where a kernel makes a NaN or plus infinity of numbers, and name it");
  v.text("--artefact", a->options.artefact, "run this .weft, which was compiled of the one model that is named, in place of compiling");
  v.list("--filter", a->filters, "only cases with TEXT in their name");
  v.number("--jobs", a->jobs, 0, 256, "cases at once, each in a process of its own; 0: all processors");
  v.flag("--all", a->all, "list every case, where there are more than 20");
  add_input_options(v, a->options.inputs);
  add_target_options(v, cli);
  add_signature_options(v, cli);
  add_compile_options(v, cli);
  add_rank_options(v, cli);
  v.epilog(
      "\nExit code 1 when a case failed. Times are in ms.\n"
      "Examples:\n"
      "  weft verify model.onnx --shapes x=2x3x48x320\n"
      "  weft verify cases/ --target cpu:x86-64-v3 --json\n"
      "  weft verify cases/ --target eval --filter conv\n"
      "  weft verify model.onnx --bisect\n"
      "  weft verify model.onnx --artefact model.weft");
}

}  // namespace weft::cli
