#include "frontend/quantize/measure.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace weft::quantize {

namespace {

std::string print(const api::QuantizeScore& s) {
  std::ostringstream out;
  out << std::hexfloat;
  for (double v : {s.mse, s.kl, s.agreement, s.right, s.float_right}) out << v << ' ';
  out << s.rows << ' ' << s.labels;
  return out.str();
}

bool parse(const std::string& text, api::QuantizeScore* s) {
  std::istringstream in(text);
  for (double* v : {&s->mse, &s->kl, &s->agreement, &s->right, &s->float_right}) {
    std::string word;
    if (!(in >> word)) return false;
    *v = std::strtod(word.c_str(), nullptr);
  }
  return static_cast<bool>(in >> s->rows >> s->labels);
}

}  // namespace

Samples split_samples(int64_t count, double held_out) {
  Samples out;
  // The i-th sample is held out when the running share passes a whole number there.
  for (int64_t i = 0; i < count; ++i) {
    const bool held = std::floor(static_cast<double>(i + 1) * held_out) > std::floor(static_cast<double>(i) * held_out);
    (held ? out.held_out : out.search).push_back(i);
  }
  return out;
}

Status Measure::keep_outputs(int64_t sample, const api::NamedTensors& outputs, const std::vector<std::string>& names) {
  if (outputs_.count(sample)) return {};
  TRY_ASSIGN(std::vector<Rows> rows, float_outputs(outputs, names));
  for (const Rows& r : rows) bytes_ += static_cast<int64_t>(r.values.size() * sizeof(float));
  if (bytes_ > kMostBytes) return resources("the outputs of all samples take more than 4 GiB").with_hint("give fewer samples");
  outputs_[sample] = std::move(rows);
  return {};
}

Result<api::QuantizeScore> Measure::score(const std::string& entry, const std::vector<const QuantizedLayer*>& assignment, const std::vector<int64_t>& samples) {
  api::QuantizeScore known;
  if (const std::string* text = journal_.find(entry); text && parse(*text, &known)) return known;
  for (size_t i = 0; i < assignment.size(); ++i) TRY(simulator_->set(i, assignment[i]));
  Score score;
  for (size_t i = 0; i < samples.size(); ++i) {
    reporter_.progress("measure", entry, static_cast<int64_t>(i), static_cast<int64_t>(samples.size()));
    TRY_ASSIGN(const api::NamedTensors inputs, data_.sample(samples[i]));
    TRY_ASSIGN(const api::NamedTensors outputs, simulator_->run(inputs));
    TRY_ASSIGN(const std::vector<Rows> rows, float_outputs(outputs, names_));
    const std::vector<Rows>& want = outputs_.at(samples[i]);
    const auto same_size = [](const Rows& a, const Rows& b) { return a.length == b.length && a.values.size() == b.values.size(); };
    if (!std::equal(rows.begin(), rows.end(), want.begin(), want.end(), same_size))
      return unsupported("the quantised model's outputs have other dims than the float model's: they cannot be compared")
          .with_hint("give the part of the model in front of what chooses among its results");
    std::vector<int64_t> labels;
    if (data_.labels) {
      TRY_ASSIGN(labels, data_.labels(samples[i]));
    }
    score.add(rows, want, data_.labels ? &labels : nullptr);
  }
  const api::QuantizeScore result = score.result();
  TRY(journal_.add(entry, print(result)));
  return result;
}

}  // namespace weft::quantize
