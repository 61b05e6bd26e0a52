// Declaring options. The only door to CLI11, which args.cpp alone includes: it costs seconds in every file.
//
// Options are long (`--iterations N`), a few have a short form (`-o,--output`). A list option may be repeated.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::cli {

class Args;

// The options of one verb. Variables are bound by reference and must outlive the parse; their values are the defaults.
class Verb {
 public:
  Verb& flag(const std::string& names, bool& v, const std::string& help);
  // `--json` alone sets v to `plain`, `--json=X` to X.
  Verb& flag_or_text(const std::string& names, std::string& v, const std::string& plain, const std::string& help);
  Verb& text(const std::string& names, std::string& v, const std::string& help);
  // true in `given` when the option stands on the command line; without a value, which then is an empty one, too.
  Verb& text(const std::string& names, std::string& v, bool& given, const std::string& help);
  Verb& choice(const std::string& names, std::string& v, const std::vector<std::string>& words, const std::string& help);
  Verb& number(const std::string& names, int& v, int lo, int hi, const std::string& help);
  Verb& number(const std::string& names, int64_t& v, const std::string& help);
  Verb& number(const std::string& names, double& v, const std::string& help);
  Verb& list(const std::string& names, std::vector<std::string>& v, const std::string& help);
  Verb& positional(const std::string& name, std::string& v, const std::string& help, bool required = true);
  Verb& positional_choice(const std::string& name, std::string& v, const std::vector<std::string>& words, const std::string& help);
  Verb& positionals(const std::string& name, std::vector<std::string>& v, const std::string& help, bool required = true);
  Verb& epilog(const std::string& text);  // below the options: examples

 private:
  friend class Args;
  void* app_ = nullptr;
  Args* args_ = nullptr;
};

class Args {
 public:
  Args(const std::string& description, const std::string& version, const std::string& footer);
  ~Args();
  Args(const Args&) = delete;
  Args& operator=(const Args&) = delete;

  Verb& verb(const std::string& name, const std::string& help, std::function<void()> chosen);
  // The process's exit code when it shall end now (help, a wrong option: the text is printed), -1 to go on.
  int parse(int argc, char** argv);

 private:
  friend class Verb;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::cli
