#include "tools/weft/args.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <list>

namespace weft::cli {

struct Args::Impl {
  CLI::App app;
  std::list<Verb> verbs;
  std::vector<std::function<void()>> after;  // run once the values are there
};

namespace {
CLI::App& app_of(void* p) { return *static_cast<CLI::App*>(p); }

// CLI11 shows the value of a plain flag as `--json{-}`.
class HelpFormat : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* o, bool positional) const override {
    std::string name = CLI::Formatter::make_option_name(o, positional);
    size_t from = name.find('{');
    return from == std::string::npos ? name : name.substr(0, from) + "[=FILE]";
  }
};
}  // namespace

Verb& Verb::flag(const std::string& names, bool& v, const std::string& help) {
  app_of(app_).add_flag(names, v, help);
  return *this;
}

Verb& Verb::flag_or_text(const std::string& names, std::string& v, const std::string& plain, const std::string& help) {
  app_of(app_).add_flag(names + "{" + plain + "}", v, help);
  return *this;
}

Verb& Verb::text(const std::string& names, std::string& v, const std::string& help) {
  CLI::Option* o = app_of(app_).add_option(names, v, help);
  if (!v.empty()) o->capture_default_str();
  return *this;
}

Verb& Verb::text(const std::string& names, std::string& v, bool& given, const std::string& help) {
  // `--passes=` is a value, an empty one; as a vector CLI11 can tell it from an absent option.
  auto values = std::make_shared<std::vector<std::string>>();
  CLI::Option* o = app_of(app_).add_option(names, *values, help)->type_name("TEXT")->expected(0, 1);
  args_->impl_->after.push_back([o, values, &v, &given] {
    given = o->count() > 0;
    if (!values->empty()) v = values->front();
  });
  return *this;
}

Verb& Verb::choice(const std::string& names, std::string& v, const std::vector<std::string>& words, const std::string& help) {
  app_of(app_).add_option(names, v, help)->check(CLI::IsMember(words))->capture_default_str();
  return *this;
}

Verb& Verb::number(const std::string& names, int& v, int lo, int hi, const std::string& help) {
  app_of(app_).add_option(names, v, help)->check(CLI::Range(lo, hi).description(""))->capture_default_str();
  return *this;
}

Verb& Verb::number(const std::string& names, int64_t& v, const std::string& help) {
  app_of(app_).add_option(names, v, help)->capture_default_str();
  return *this;
}

Verb& Verb::number(const std::string& names, double& v, const std::string& help) {
  app_of(app_).add_option(names, v, help)->capture_default_str();
  return *this;
}

Verb& Verb::list(const std::string& names, std::vector<std::string>& v, const std::string& help) {
  // One value an occurrence, so that it never takes a positional argument that follows.
  app_of(app_).add_option(names, v, help)->expected(1)->take_all()->allow_extra_args(false);
  return *this;
}

Verb& Verb::positional(const std::string& name, std::string& v, const std::string& help, bool required) {
  app_of(app_).add_option(name, v, help)->required(required);
  return *this;
}

Verb& Verb::positional_choice(const std::string& name, std::string& v, const std::vector<std::string>& words, const std::string& help) {
  app_of(app_).add_option(name, v, help)->check(CLI::IsMember(words))->capture_default_str();
  return *this;
}

Verb& Verb::positionals(const std::string& name, std::vector<std::string>& v, const std::string& help, bool required) {
  app_of(app_).add_option(name, v, help)->required(required);
  return *this;
}

Verb& Verb::epilog(const std::string& text) {
  app_of(app_).footer(text);
  return *this;
}

Args::Args(const std::string& description, const std::string& version, const std::string& footer) : impl_(std::make_unique<Impl>()) {
  impl_->app.formatter(std::make_shared<HelpFormat>());
  impl_->app.description(description);
  impl_->app.name("weft");
  impl_->app.set_version_flag("--version", version);
  impl_->app.require_subcommand(1);
  impl_->app.footer(footer);
}

Args::~Args() = default;

Verb& Args::verb(const std::string& name, const std::string& help, std::function<void()> chosen) {
  CLI::App* app = impl_->app.add_subcommand(name, help);
  app->callback(std::move(chosen));
  Verb& v = impl_->verbs.emplace_back();
  v.app_ = app;
  v.args_ = this;
  return v;
}

int Args::parse(int argc, char** argv) {
  try {
    impl_->app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return impl_->app.exit(e, std::cout, std::cerr) == 0 ? 0 : 2;
  }
  for (auto& f : impl_->after) f();
  return -1;
}

}  // namespace weft::cli
