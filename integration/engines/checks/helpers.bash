# What the bodies of the checks are written in. Each body is one bash process with these functions.
# Variables: N a container name of its own, I the image, T a directory of its own, R the runtime, W the sandbox's work directory.
set -u
shopt -s expand_aliases
bad() { printf '%s\n' "$*" >&2; exit 1; }
skip() { printf '%s\n' "$*" >&2; exit 77; }
clean() { tr -d '\r' | sed -e 's/[[:space:]]*$//'; }

# The command must exit 0.
must() { "$@" >"$T/.out" 2>"$T/.err" || bad "status $? of: $*: $(head -c 600 "$T/.err" "$T/.out" | clean)"; }
# eq WANT COMMAND...: exits 0 and its standard output is WANT.
eq() { local want=$1 got status; shift; got=$("$@" 2>"$T/.err"); status=$?; got=$(clean <<<"$got")
  [ $status = 0 ] || bad "status $status of: $*: $(head -c 600 "$T/.err" | clean) $got"
  [ "$got" = "$want" ] || bad "want '$want', got '$got' $(head -c 300 "$T/.err" | clean)"; }
# ne UNWANTED COMMAND...
ne() { local want=$1 got status; shift; got=$("$@" 2>"$T/.err"); status=$?; got=$(clean <<<"$got")
  [ $status = 0 ] || bad "status $status of: $*: $(head -c 600 "$T/.err" | clean) $got"
  [ "$got" != "$want" ] || bad "got '$got', which it must not be"; }
# has TEXT COMMAND...: exits 0 and says TEXT on stdout or stderr. hasno: does not.
has() { local want=$1 got status; shift; got=$("$@" 2>&1); status=$?
  [ $status = 0 ] || bad "status $status of: $*: $got"
  grep -qF -- "$want" <<<"$got" || bad "'$want' is not in: ${got:0:700}"; }
hasno() { local want=$1 got status; shift; got=$("$@" 2>&1); status=$?
  [ $status = 0 ] || bad "status $status of: $*: $got"
  ! grep -qF -- "$want" <<<"$got" || bad "'$want' is in: ${got:0:700}"; }
# like REGEX COMMAND...: exits 0 and a line of its stdout matches.
like() { local want=$1 got status; shift; got=$("$@" 2>"$T/.err"); status=$?
  [ $status = 0 ] || bad "status $status of: $*: $(head -c 600 "$T/.err" | clean)"
  grep -qE -- "$want" <<<"$(clean <<<"$got")" || bad "nothing like '$want' in: ${got:0:700}"; }
# rc STATUS COMMAND...
rc() { local want=$1 status; shift; "$@" >"$T/.out" 2>&1; status=$?
  [ $status = "$want" ] || bad "want status $want, got $status: $(head -c 700 "$T/.out" | clean)"; }
# fails STATUS TEXT COMMAND...: that status (`any` = not 0) and TEXT (case ignored) in what it says.
fails() { local want=$1 text=$2 got status; shift 2; got=$("$@" 2>&1); status=$?
  if [ "$want" = any ]; then [ $status != 0 ] || bad "succeeded: $got"; else [ $status = "$want" ] || bad "want status $want, got $status: ${got:0:700}"; fi
  grep -qiF -- "$text" <<<"$got" || bad "'$text' is not in: ${got:0:700}"; }
# until_ SECONDS COMMAND...: try every tenth of a second (the functions above may be used: it is a subshell).
until_() { local end=$((SECONDS + $1)); shift; until ("$@") >"$T/.until" 2>&1; do
  [ $SECONDS -lt $end ] || bad "not within the time: $*: $(head -c 400 "$T/.until" | clean)"; sleep 0.1; done; }
# says TEXT COMMAND...: a test for until_.
says() { local want=$1; shift; "$@" 2>&1 | grep -qF -- "$want"; }
is() { [ "$("${@:2}" 2>&1 | clean)" = "$1" ]; }
# tty COMMAND...: on a terminal of its own. Its input neither has anything nor ends: at an end script(1) types ^D.
tty() { [ -p "$T/.tty" ] || mkfifo "$T/.tty"; script -qec "$(printf '%q ' "$@")" /dev/null <>"$T/.tty"; }
# drop_cgroups NAME: in every hierarchy, as soon as they are empty.
drop_cgroups() { until_ 5 eval "find /sys/fs/cgroup/*/$1 -depth -type d -exec rmdir {} + ; ! ls -d /sys/fs/cgroup/*/$1"; }
bit() { (( (0x$2 >> $1) & 1 )); }
later=()
at_end() { later+=("$*"); }
finish() { local i; for ((i = ${#later[@]} - 1; i >= 0; i--)); do eval "${later[i]}" >/dev/null 2>&1; done; }
trap finish EXIT
cd "$T" || exit 1
