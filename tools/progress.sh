# Shared by tools/setup, tools/test and tools/demo (sourced, not run): progress lines, retries, errors.
# Every line on stderr carries the seconds since the script started, so that a log shows where the time went.

PROGRESS_START=${PROGRESS_START:-$SECONDS}

say() { printf '[%4d s] %s\n' "$((SECONDS - PROGRESS_START))" "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# watch WHAT LOG COMMAND…: runs the command with its output in LOG, printing the last line of LOG while it lasts
# (ninja's [12/240], pip's Downloading …). On failure the end of LOG is printed and its status returned.
watch() {
  local what=$1 log=$2 began=$SECONDS last='' line pid status=0 ticks=0
  shift 2
  say "$what"
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  # An interrupt must not leave the command running behind the user's back.
  trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    ticks=$((ticks + 1))
    if ((ticks % 25 == 0)); then # every 5 s
      line=$(tail -c 2000 "$log" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c1-110 || true)
      if [[ $line != "$last" ]] || ((ticks % 150 == 0)); then say "  … ${line:-working}"; fi
      last=$line
    fi
  done
  wait "$pid" || status=$?
  trap - INT TERM
  if ((status != 0)); then
    tail -n 60 "$log" >&2
    say "failed after $((SECONDS - began)) s: $what (full log: $log)"
  elif ((SECONDS - began >= 2)); then
    say "  done in $((SECONDS - began)) s"
  fi
  return "$status"
}

# retry SOURCE COMMAND…: three attempts; then names the source that failed.
retry() {
  local source=$1 attempt
  shift
  for attempt in 1 2 3; do
    if "$@"; then return 0; fi
    if ((attempt < 3)); then
      say "attempt $attempt of 3 failed ($source); trying again in $((attempt * 5)) s"
      sleep $((attempt * 5))
    fi
  done
  die "three attempts failed: $source"
}
