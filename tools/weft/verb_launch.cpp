// weft launch: the ranks of a job as processes of this machine.
#include "tools/weft/cli.h"
#include "tools/weft/launch.h"

namespace weft::cli {

namespace {

Status run_launch(Cli& cli, LaunchOptions options, bool no_bind) {
  options.share_processors = !no_bind;
  options.log = [&cli](const std::string& text) { cli.log.error(text); };
  TRY_ASSIGN(LaunchResult result, launch(options));
  cli.exit_code = result.exit_code();
  if (!cli.json()) return {};
  Json ranks = Json::array();
  for (const RankEnd& r : result.ranks) {
    Json j;
    j["exit_code"] = r.code;
    j["signal"] = r.signal;
    j["seconds"] = r.seconds;
    j["ended_by_launch"] = r.ended_by_us;
    ranks.push_back(std::move(j));
  }
  Json j;
  j["exit_code"] = cli.exit_code;
  j["timed_out"] = result.timed_out;
  j["ranks"] = std::move(ranks);
  return cli.emit(j);
}

}  // namespace

void add_launch(Cli& cli) {
  auto options = std::make_shared<LaunchOptions>();
  auto no_bind = std::make_shared<bool>(false);
  Verb& v = add_verb(cli, "launch", "start the ranks of a job as processes of this machine", [&cli, options, no_bind] {
    return run_launch(cli, *options, *no_bind);
  });
  v.number("-n,--ranks", options->ranks, 1, 256, "how many processes");
  v.number("--timeout", options->timeout_s, "seconds after which all are ended, 0: never");
  v.number("--grace", options->grace_s, "seconds from SIGTERM to SIGKILL for processes that have to end");
  v.flag("--no-bind", *no_bind, "leave all processors to each rank, instead of an equal share");
  v.positionals("command", options->command, "the program and its arguments, behind --");
  v.epilog(
      "Each process learns its place from WEFT_RANK, WEFT_SIZE, WEFT_LOCAL_RANK, WEFT_LOCAL_SIZE, WEFT_RENDEZVOUS, WEFT_NONCE\n"
      "(and WEFT_LISTENER, a socket for rank 0). Its stdin is empty, and each line that it writes follows [its rank].\n"
      "When one fails the others get SIGTERM, then SIGKILL; signals to weft go to all. The exit code is that of the first one\n"
      "that failed (128 + the signal that ended it), 7 when weft was interrupted, 5 when the time was over.\n\n"
      "Example:\n"
      "  weft launch -n 4 -- ./my-program --its-options");
}

}  // namespace weft::cli
