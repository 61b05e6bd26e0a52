// The command line: `weft VERB …`. Exit codes: 0 ok, 1 a check failed, 2 usage, 3 invalid model, 4 unsupported,
// 5 resources, 6 device, 7 cancelled.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "tools/weft/ranks.h"

namespace {

std::atomic<bool>* cancel_flag = nullptr;
pid_t main_process = 0;  // verify's children get the same signal, and say nothing

// The first interrupt cancels, the second ends the process.
void on_interrupt(int) {
  if (cancel_flag->exchange(true)) _exit(130);
  if (getpid() != main_process) return;
  constexpr char kText[] = "\ncancelling; interrupt again to stop at once\n";
  (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
}

int finish(weft::cli::Cli& cli, weft::Status status) {
  status = leave_ranks(cli, std::move(status));
  if (status.ok()) return cli.exit_code;
  const weft::Error& e = status.error();
  cli.log.end_progress();
  cli.log.error(e.to_string());
  // A verb that found differences has printed its results already.
  if (cli.json() && cli.speaks && e.code != weft::Code::kCheckFailed) {
    weft::cli::Json j;
    j["error"] = weft::cli::to_json(e);
    (void)cli.emit(j).ok();
  }
  return static_cast<int>(e.code);
}

int run(weft::cli::Cli& cli, int argc, char** argv) {
  using namespace weft::cli;
  add_compile(cli);
  add_run(cli);
  add_bench(cli);
  add_verify(cli);
  add_inspect(cli);
  add_extract(cli);
  add_opt(cli);
  add_cache(cli);
  add_doctor(cli);
  add_launch(cli);
  add_plan(cli);
  add_quantize(cli);
  if (int code = cli.args.parse(argc, argv); code >= 0) return code;
  cli.log.set_level(cli.common.quiet ? "error" : cli.common.log_level);
  cli.log.set_progress(!cli.common.quiet && cli.common.progress != "none");
  return finish(cli, cli.work());
}

}  // namespace

int main(int argc, char** argv) {
  // Before anything else is set up: package managers and scripts ask for it often.
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) return std::printf("weft %s\n", weft::api::version()) < 0;
  weft::cli::Cli cli;
  cancel_flag = &cli.cancel;
  main_process = getpid();
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  int code = run(cli, argc, argv);
  std::fflush(stdout);
  return code;
}
