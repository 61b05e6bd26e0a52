#include "tools/weft/inputs.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "frontend/api/reference.h"
#include "frontend/onnx/tensor_io.h"
#include "ir/base/text.h"
#include "ir/core/op_def.h"
#include "tools/weft/npy.h"

namespace weft::cli {

void add_input_options(Verb& v, InputOptions& o) {
  v.list(
      "-i,--input", o.inputs,
      "NAME=SPEC: @x.npy, @x.npz, @x.npz:array, @x.pb, a literal (1,2 or [[1,2],[3,4]]), random, random:-1..1, "
      "zeros, ones, fill:2. What is not given is random");
  v.list("--range", o.ranges, "NAME=LO..HI or LO..HI: of random values; default: -1..1, for integers 0..1 or the rows of the table they index");
  v.number("--seed", o.seed, "of random values");
}

// --- specs ------------------------------------------------------------------------------------------------------------

namespace {

Result<api::Tensor> read_pb(const std::string& path, DType type) {
  TRY_ASSIGN(HostValue v, read_value_file(path, Type::unranked(type)));
  return from_host_value(v);
}

class InputMaker {
 public:
  InputMaker(const std::vector<api::PortInfo>& ports, const InputOptions& options, const InputHints& hints)
      : ports_(ports), options_(options), hints_(hints) {}

  Result<Inputs> run() {
    for (const std::string& r : options_.ranges) TRY(add_range(r));
    std::vector<std::string> specs(ports_.size());
    for (const std::string& text : options_.inputs) {
      TRY_ASSIGN(int i, port_of(text, "--input"));
      if (!specs[i].empty()) return usage("input " + name_text(ports_[i].name) + " is given twice");
      specs[i] = text.substr(ports_[i].name.size() + 1);
      if (specs[i].empty()) return usage("--input " + text + ": a value is missing");
    }
    std::vector<api::Tensor> tensors(ports_.size());
    for (size_t i = 0; i < ports_.size(); ++i)
      if (!specs[i].empty() && !generated(specs[i])) {
        TRY_ASSIGN(tensors[i], given(ports_[i], specs[i]));
        learn(ports_[i], tensors[i]);
      }
    for (size_t i = 0; i < ports_.size(); ++i)
      if (tensors[i].empty()) {
        TRY_ASSIGN(tensors[i], make(ports_[i], specs[i].empty() ? "random" : specs[i]));
        if (specs[i].empty())
          out_.notes.push_back("input " + name_text(ports_[i].name) + ": random " + tensors[i].describe() + ", seed " +
                               std::to_string(options_.seed));
      }
    for (size_t i = 0; i < ports_.size(); ++i) out_.tensors.add(ports_[i].name, std::move(tensors[i]));
    return std::move(out_);
  }

 private:
  // Names may hold '=': the longest one that fits.
  Result<int> port_of(const std::string& text, const char* option) const {
    int best = -1;
    for (size_t i = 0; i < ports_.size(); ++i) {
      const std::string& n = ports_[i].name;
      if (text.size() > n.size() && text.compare(0, n.size(), n) == 0 && text[n.size()] == '=' && (best < 0 || n.size() > ports_[best].name.size()))
        best = static_cast<int>(i);
    }
    if (best >= 0) return best;
    std::vector<std::string> names;
    for (const api::PortInfo& p : ports_) names.push_back(name_text(p.name));
    Error e = usage(std::string(option) + " " + text + " does not begin with NAME= of an input");
    return e.with_hint("inputs: " + join(names, ", ")), e;
  }

  Result<ValueRange> parse_range(const std::string& text) const {
    size_t dots = text.find("..");
    ValueRange r;
    r.set = true;
    auto number = [](std::string_view s, double* v) {
      auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), *v);
      return ec == std::errc() && end == s.data() + s.size() && std::isfinite(*v);
    };
    std::string_view view = text;
    if (dots == std::string::npos || !number(view.substr(0, dots), &r.lo) || !number(view.substr(dots + 2), &r.hi) || r.lo > r.hi)
      return usage("a range is written LO..HI, not `" + text + "`");
    return r;
  }

  Status add_range(const std::string& text) {
    if (text.find('=') == std::string::npos) {
      TRY_ASSIGN(all_, parse_range(text));
      return {};
    }
    TRY_ASSIGN(int i, port_of(text, "--range"));
    TRY_ASSIGN(ranges_[ports_[i].name], parse_range(text.substr(ports_[i].name.size() + 1)));
    return {};
  }

  ValueRange range_of_port(const std::string& name) const {
    if (auto it = ranges_.find(name); it != ranges_.end()) return it->second;
    if (all_.set) return all_;
    if (auto it = hints_.find(name); it != hints_.end()) return it->second;
    return {};
  }

  static bool generated(const std::string& spec) {
    return spec == "zeros" || spec == "ones" || spec == "random" || spec.rfind("random:", 0) == 0 || spec.rfind("fill:", 0) == 0;
  }

  Result<api::Tensor> given(const api::PortInfo& port, const std::string& spec) const {
    auto located = [&](Error e) { return e.at_tensor(port.name), e; };
    Result<api::Tensor> t = api::Tensor();
    if (spec[0] == '@') {
      std::string path = spec.substr(1), array = port.name;
      if (size_t at = path.rfind(".npz:"); at != std::string::npos) {
        array = path.substr(at + 5);
        path.resize(at + 4);
      }
      if (path.ends_with(".npz")) t = read_npz(path, array, port.dtype);
      else if (path.ends_with(".npy")) t = read_npy(path, port.dtype);
      else if (path.ends_with(".pb")) t = read_pb(path, port.dtype);
      else return located(usage("the file " + path + " is neither .npy nor .npz nor .pb"));
    } else {
      std::vector<int64_t> dims;
      for (const api::Extent& e : port.dims) dims.push_back(e.fixed() ? e.min : -1);
      t = parse_literal(spec, port.dtype, dims);
    }
    if (!t.ok()) return located(std::move(t.error()));
    return t;
  }

  // Symbols that a given tensor's dims decide.
  void learn(const api::PortInfo& port, const api::Tensor& t) {
    for (size_t k = 0; k < port.dims.size() && k < t.dims().size(); ++k) {
      auto d = Dim::parse(port.dims[k].text);
      if (!d.ok()) continue;
      std::vector<std::string> symbols = d->symbols();
      Dim rest;
      std::optional<Dim> c = symbols.size() == 1 ? d->coefficient(symbols[0], &rest) : std::nullopt;
      if (c && c->is(1) && rest.is_const()) values_[symbols[0]] = t.dims()[k] - rest.value();
    }
  }

  Result<std::vector<int64_t>> dims_of(const api::PortInfo& port) {
    std::vector<int64_t> dims;
    for (const api::Extent& e : port.dims) {
      if (e.fixed()) {
        dims.push_back(e.min);
        continue;
      }
      TRY_ASSIGN(Dim d, Dim::parse(e.text));
      for (const std::string& s : d.symbols())
        if (!values_.count(s)) values_[s] = default_of(s);
      std::optional<int64_t> v = d.eval(values_);
      if (!v || *v < 0) return usage("input " + name_text(port.name) + ": the dim " + e.text + " is not decided by --shapes or --input");
      dims.push_back(*v);
    }
    return dims;
  }

  int64_t default_of(const std::string& symbol) {
    int64_t v = 1;
    for (const api::PortInfo& p : ports_)
      for (const api::Extent& e : p.dims)
        if (e.text == symbol) v = e.optimum > 0 ? e.optimum : std::min(std::max<int64_t>(e.min, 1), e.max);
    out_.notes.push_back("dim " + symbol + " = " + std::to_string(v) + " for this; --shapes or an --input sets it");
    return v;
  }

  Result<api::Tensor> make(const api::PortInfo& port, const std::string& spec) {
    TRY_ASSIGN(std::vector<int64_t> dims, dims_of(port));
    if (spec.rfind("random", 0) == 0) {
      ValueRange range = range_of_port(port.name);
      if (spec.size() > 7) {
        TRY_ASSIGN(range, parse_range(spec.substr(7)));
      }
      return random_tensor(port.name, port.dtype, std::move(dims), range, options_.seed);
    }
    if (spec == "zeros") return api::Tensor::make(port.dtype, std::move(dims));
    const std::string value = spec == "ones" ? "1" : spec.substr(5);
    TRY_ASSIGN(api::Tensor one, parse_literal(value, port.dtype, {}));
    // A view of one element with strides of 0, spread out.
    auto strides = std::vector<int64_t>(dims.size(), 0);
    return api::Tensor::view(one.data(), port.dtype, std::move(dims), std::move(strides)).copy();
  }

  const std::vector<api::PortInfo>& ports_;
  const InputOptions& options_;
  const InputHints& hints_;
  ValueRange all_;
  std::map<std::string, ValueRange> ranges_;
  SymbolValues values_;
  Inputs out_;
};

}  // namespace

Result<Inputs> make_inputs(const std::vector<api::PortInfo>& ports, const InputOptions& options, const InputHints& hints) {
  return InputMaker(ports, options, hints).run();
}

}  // namespace weft::cli
