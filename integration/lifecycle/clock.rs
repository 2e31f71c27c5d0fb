//! What tells one process or moment from another: a pid that is used again, and a host clock that jumps.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Bundle, brisk_only, process, skip_on, skip_outside_guests};

/// In a pid namespace of its own, where pids can be chosen: the container's init ends, a stranger gets its pid, and the
/// runtime is asked. Then the state is made to name the stranger's start time, to see that nothing else told them apart.
const PID_USED_AGAIN: &str = r#"
brisk() { "$BRISK" --root "$ROOT" "$@"; }
status() { brisk state "$ID" | sed -n 's/.*"status": *"\([a-z]*\)".*/\1/p'; }
# Field 22; the second, the name, may have spaces.
started() { sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 20; }
brisk create --bundle "$BUNDLE" "$ID" < /dev/null > /dev/null || exit 1
brisk start "$ID" || exit 1
pid=$(brisk state "$ID" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
old=$(started)
# Of another tick, or no clock could tell them apart.
while read -r up rest < /proc/uptime && [ "${up%.*}${up#*.}" -le "$((old + 1))" ]; do :; done
kill -KILL "$pid"
# Its parent is this shell, the namespace's init, which reaps it while it waits for others.
while [ -e "/proc/$pid" ]; do /bin/true; done
while true; do
    echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
    sleep 1000000 < /dev/null > /dev/null 2>&1 &
    [ "$!" != "$pid" ] || break
    kill -KILL "$!"
done
echo "stranger $(status)"
brisk kill "$ID" KILL 2> /dev/null && echo "kill succeeds"
brisk exec "$ID" /bin/true 2> /dev/null && echo "exec succeeds"
become() { sed -i 's/\("init": *{[^}]*"startTime": *\)[0-9]*/\1'"$1/" "$ROOT/$ID/state.json"; }
become "$(started)"
echo "impostor $(status)"
become "$old"
brisk delete "$ID" || echo "delete fails"
[ -e "/proc/$pid" ] && echo "the stranger lives"
"#;

#[test]
fn a_pid_used_again_does_not_fool_state_kill_exec_and_delete() {
    if brisk_only("the state files differ") {
        return;
    }
    let container = Bundle::idle().container();
    let mut script = std::process::Command::new("unshare");
    script.args(["--pid", "--fork", "--mount-proc", "--kill-child", "/bin/sh", "-c", PID_USED_AGAIN]);
    script.env("BRISK", crate::common::runtime()).env("ROOT", container.bundle.state_root());
    script.env("BUNDLE", &container.bundle.dir).env("ID", &container.id);
    let output = process::run(script).ok();
    assert_eq!(output.stdout(), "stranger stopped\nimpostor running\nthe stranger lives\n", "{output:?}");
    container.assert_nothing_left();
}

/// Sets the host's clock; the hook is given the distance in seconds.
fn jump(seconds: i64, then: &str) -> String {
    format!("cat > /dev/null; date -s @$(($(date +%s) + {seconds})) > /dev/null || exit 1; echo >> $OUT; {then}")
}

#[test]
fn a_host_clock_that_jumps_ahead_ends_no_wait_and_loses_no_container() {
    if skip_outside_guests("sets the host's clock") || skip_on(&["crun", "runc"], "not theirs to show") {
        return;
    }
    // Far more than any limit of time, and back: a wait that went by this clock would end at once, or never.
    let mut bundle = Bundle::idle().sh_hook("createRuntime", &jump(86_400, "sleep 1"));
    bundle.config["hooks"]["createRuntime"][0]["timeout"] = json!(300);
    let container = bundle.sh_hook("poststart", &jump(-86_400, "true")).container();
    container.create().ok();
    assert_eq!(container.status(), "created");
    container.start().ok();
    assert_eq!(container.status(), "running");
    container.exec(&["/bin/true"]).ok();
    container.call(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.delete_force().ok();
    assert_eq!(container.bundle.hook_output().len(), 2, "the clock was not set twice");
    container.assert_nothing_left();
}

#[test]
fn a_host_clock_that_jumps_back_delays_no_time_limit() {
    if skip_outside_guests("sets the host's clock") || skip_on(&["crun", "runc"], "not theirs to show") {
        return;
    }
    let mut bundle = Bundle::idle().sh_hook("createRuntime", &jump(-86_400, "exec sleep 1000000"));
    bundle.config["hooks"]["createRuntime"][0]["timeout"] = json!(5);
    let container = bundle.container();
    let begin = Instant::now();
    let text = container.create().fails();
    let mut again = std::process::Command::new("/bin/sh");
    again.args(["-c", "date -s @$(($(date +%s) + 86400))"]);
    process::run(again).ok();
    assert!(text.contains("timed out"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_eq!(container.bundle.hook_output().len(), 1, "the clock was not set");
    container.assert_nothing_left();
}
