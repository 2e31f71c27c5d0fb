"""The suites: which packages and check files each has, and how its engine is started and stopped."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

from . import checks, residue, sandbox

W = sandbox.WORK
PATH = f"{W}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMON_PACKAGES = ["busybox-static", "iproute2", "iptables", "procps", "util-linux", "bsdutils"]


@dataclasses.dataclass
class Phase:
    """One running engine with one configuration."""

    name: str
    flavour: str
    files: list
    engine: str
    start: Callable
    stop: Callable
    user: int = 0
    # Only where a shim is given.
    shim: bool = False


class Suite:
    """What all suites share."""

    packages, phases = [], []
    # What only brisk's shim has to show.
    shim_files = []

    def __init__(self, order, here, report):
        self.order, self.here, self.report = order, here, report
        self.helpers = (here / "checks/helpers.bash").read_text()
        self.plan = [(phase, self.select(phase)) for phase in self.phases if order["shim"] or not phase.shim]
        self.dropin = (here.parent.parent / "contrib/containers.conf.d/brisk.conf").read_bytes()
        self.runtime = None
        self.daemons = {}

    @classmethod
    def all_checks(cls, directory):
        """Every check of the suite, in order."""
        return [c for phase in cls.phases for name in phase.files for c in checks.load(directory / f"{name}.checks", phase.flavour)]

    def select(self, phase):
        """The checks of a phase that were asked for."""
        files = phase.files + (self.shim_files if self.order["shim"] else [])
        found = [c for name in files for c in checks.load(self.here / f"checks/{name}.checks", phase.flavour)]
        only = [part for part in self.order["only"].split(",") if part]
        return [c for c in found if (not self.order["quick"] or c.quick) and (not only or any(part in c.name for part in only))]

    @staticmethod
    def environment(user=0):
        """A plain environment: what a login has."""
        home = W / "home" if user else W
        own = {"PATH": PATH, "HOME": str(home), "SHELL": "/bin/bash", "TERM": "xterm", "LANG": "C.UTF-8", "BRISK_ENGINES": os.environ["BRISK_ENGINES"],
               # Podman 5 says on standard error, at every command, what it thinks of cgroup v1.
               "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
        return own | ({"XDG_RUNTIME_DIR": f"/run/user/{user}", "USER": sandbox.USER} if user else {"USER": "root"})

    def prelude(self, phase, name):
        """The first lines of a check's script."""
        return (f"N=c-{name}\nI=localhost/bb\nW={W}\nR={self.runtime}\nF={phase.flavour}\n"
                f"T={W}/checks/{phase.name}.{name}\n{self.helpers}\n{phase.engine}\n")

    def run(self):
        """All phases."""
        for phase, wanted in self.plan:
            if not wanted:
                continue
            try:
                phase.start(self)
            except (subprocess.SubprocessError, TimeoutError) as error:
                self.report.failed(f"start-{phase.name}", f"{error} {getattr(error, 'stderr', '') or ''}")
                self.print_logs()
                continue
            mounts = residue.mounts()
            self.report.verdict(f"{phase.name}-outside-is-read-only", residue.writable())
            failed = [self.check(phase, c) for c in wanted].count(False)
            for verdict, found in residue.after_containers(self, phase, mounts):
                self.report.verdict(f"{phase.name}-{verdict}", found)
            phase.stop(self)
            self.report.verdict(f"{phase.name}-left-no-process", residue.strangers())
            if failed:
                self.print_logs(40)

    def check(self, phase, check):
        """One check. Returns False if it failed."""
        directory = W / "checks" / f"{phase.name}.{check.name}"
        directory.mkdir()
        script = directory / "script"
        script.write_text(self.prelude(phase, check.name) + check.body)
        user = 0 if "root" in check.tags else phase.user
        if user:
            os.chown(directory, user, user)
        began = time.monotonic()
        status, text = bounded(["bash", str(script)], check.timeout, self.environment(user), user)
        residue.unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)
        if status == 0:
            self.report.ok(check.name, time.monotonic() - began)
        elif status == 77:
            self.report.skipped(check.name, text)
        else:
            self.report.failed(check.name, text or f"status {status}")
        return status in (0, 77)

    def daemon(self, name, command, ready, environment=None):
        """Start a daemon through a script (checks may stop and start it again) and wait until it answers."""
        script = W / f"{name}.sh"
        script.write_text(f"exec >>{W}/logs/{name}.log 2>&1\nexec {command}\n")
        self.daemons[name] = subprocess.Popen(["setsid", "bash", str(script)], env=self.environment() | (environment or {}), stdin=subprocess.DEVNULL)
        (W / f"{name}.pid").write_text(str(self.daemons[name].pid))
        end = time.monotonic() + 40
        while subprocess.run(ready, shell=True, env=self.environment(), capture_output=True, timeout=30, check=False).returncode:
            if time.monotonic() > end or self.daemons[name].poll() is not None:
                raise TimeoutError(f"{name} does not answer")
            time.sleep(0.1)

    def stop_daemon(self, name):
        """Stop it, whoever started it last."""
        pid = int((W / f"{name}.pid").read_text())
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
            end = time.monotonic() + 20
            while time.monotonic() < end and os.path.exists(f"/proc/{pid}"):
                if self.daemons[name].poll() is not None and self.daemons[name].pid == pid:
                    break
                time.sleep(0.05)

    def print_logs(self, lines=15):
        """The end of each daemon's log, as comments."""
        for path in sorted((W / "logs").glob("*.log")):
            text = path.read_text(errors="replace").splitlines()
            print(f"# last lines of {path.name}:")
            for line in text[-lines:]:
                print(f"#   {line[:400]}")


def bounded(command, seconds, environment, user):
    """Run in a session of its own; afterwards, or when the time is over, kill what is left of it."""
    ids = {"user": user, "group": user, "extra_groups": [user]} if user else {}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment, cwd="/", start_new_session=True, **ids)
    try:
        out, _ = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()
        return 124, f"not finished after {seconds} s: {(error.stdout or b'').decode(errors='replace')}"
    return status, out.decode(errors="replace").strip()


# ---- docker ----

DOCKER = """
E() { /usr/bin/docker -H unix:///run/docker.sock "$@"; }
export -f E
run() { E run --rm "$@"; }
det() { at_end E rm -f -v "$N"; E run -d --name "$N" "$@" >"$T/id" 2>"$T/.err" || bad "run -d: $(cat "$T/.err")"; }
new() { at_end E rm -f -v "$N"; E create --name "$N" "$@" >"$T/id" 2>"$T/.err" || bad "create: $(cat "$T/.err")"; }
state() { E inspect -f '{{.State.Status}}' "${1:-$N}"; }
look() { E inspect -f "$1" "$N"; }
initpid() { E inspect -f '{{.State.Pid}}' "${1:-$N}"; }
gone() { local s; [ ! -e /proc/$1 ] || { s=$(awk '/^State/ { print $2 }' /proc/$1/status) && [ "$s" = Z ]; }; }
daemon_stop() { local p=$(cat $W/dockerd.pid); kill $p; until_ 30 gone $p; }
daemon_crash() { local p=$(cat $W/dockerd.pid) c=$(cat /run/docker/containerd/containerd.pid); kill -9 $p $c; until_ 10 gone $p; until_ 10 gone $c; rm -f /run/docker.pid; }
daemon_start() { setsid bash $W/dockerd.sh </dev/null & echo $! >$W/dockerd.pid; until_ 30 E info; }
"""


def docker_start(extra):
    """dockerd, which starts its own containerd. It is given things that must not reach a container."""
    def start(suite):
        rt = f"--add-runtime rt={suite.runtime} --default-runtime rt"
        command = (f"dockerd -H unix:///run/docker.sock --pidfile /run/docker.pid --storage-driver overlay2 {rt} --live-restore "
                   f"{extra} 7</etc/shadow 8</")
        suite.daemon("dockerd", command, "/usr/bin/docker -H unix:///run/docker.sock info", {"LEAKED": "from-the-daemon"})
        subprocess.run(["/usr/bin/docker", "-H", "unix:///run/docker.sock", "load", "-q", "-i", str(W / "bb.tar")],
                       check=True, capture_output=True, text=True, timeout=120)
    return start


def docker_stop(suite):
    """With --live-restore dockerd leaves its containerd's containers alone; there are none by now."""
    suite.stop_daemon("dockerd")


class Docker(Suite):
    """docker.io."""

    packages = ["docker.io", "containerd", *COMMON_PACKAGES]
    shim_files = ["docker-shim"]
    phases = [
        Phase("docker", "docker", ["common", "docker"], DOCKER, docker_start(""), docker_stop),
        Phase("remap", "remap", ["remap"], DOCKER, docker_start("--userns-remap dockremap"), docker_stop),
    ]


# ---- containerd ----

CTR = """
# ctr 2.x says on standard error what containerd would rather not support any longer, such as cgroup v1.
C() { CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 ctr -a /run/containerd/containerd.sock "$@"; }
export -f C
name() { at_end "C tasks kill -s 9 $N; C tasks delete -f $N; C containers delete $N"; }
det() { name; C run -d $RC "${opts[@]}" "$I:latest" "$N" "$@" >"$T/.out" </dev/null 2>"$T/.err" || bad "run -d: $(cat "$T/.err")"; }
one() { name; C run --rm $RC "${opts[@]}" "$I:latest" "$N" "$@"; }
x() { C tasks exec --exec-id "x$RANDOM" "${opts[@]}" "$N" "$@"; }
state() { C tasks ls | awk -v n="$N" '$1 == n { print $3 }'; }
gone() { local s; [ ! -e /proc/$1 ] || { s=$(awk '/^State/ { print $2 }' /proc/$1/status) && [ "$s" = Z ]; }; }
daemon_stop() { local p=$(cat $W/containerd.pid); kill $p; until_ 30 gone $p; }
daemon_start() { setsid bash $W/containerd.sh </dev/null & echo $! >$W/containerd.pid; until_ 30 C version; }
opts=()
"""


# The CRI part under the names of containerd 1.x and 2.x, and what other file systems would be for.
NOT_NEEDED = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri",
              "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]


def containerd_start(path):
    """containerd without its CRI part; `path` comes first in the shims' PATH."""
    def start(suite):
        config = W / "containerd.toml"
        config.write_text(f"version = 2\ndisabled_plugins = {json.dumps(NOT_NEEDED)}\n")
        if path:
            os.makedirs(path, exist_ok=True)
            shutil.copy(suite.runtime, f"{path}/runc")
        suite.daemon("containerd", f"containerd -c {config}", "ctr version", {"PATH": f"{path}:{PATH}" if path else PATH, "LEAKED": "from-the-daemon"})
        subprocess.run(["ctr", "images", "import", str(W / "bb.tar")], check=True, capture_output=True, text=True, timeout=120)
    return start


def containerd_stop(suite):
    """Stop containerd; the shims of dead tasks are gone by themselves."""
    suite.stop_daemon("containerd")


class Ctr(Suite):
    """containerd with ctr."""

    packages = ["containerd", *COMMON_PACKAGES]
    shim_files = ["ctr-shim"]
    phases = [
        Phase("ctr", "ctr", ["ctr"], CTR + 'RC="--runc-binary $R"\n', containerd_start(""), containerd_stop),
        Phase("as-runc", "as-runc", ["ctr-path"], CTR + "RC=\n", containerd_start(f"{W}/as-runc"), containerd_stop),
        Phase("by-name", "by-name", ["ctr"], CTR + 'RC="--runtime io.containerd.brisk.v2"\n', containerd_start(""), containerd_stop,
              shim=True),
    ]


# ---- podman and buildah ----

PODMAN = """
E() { podman --runtime "$R" --cgroup-manager cgroupfs --events-backend file "$@"; }
export -f E; export R
run() { E run --rm "$@"; }
# netavark cannot join a build container's network as an ordinary user.
if [ "$F" = rootless ]; then net="--network host"; else net=; fi
ns() { if [ "$F" = rootless ]; then podman unshare "$@"; else "$@"; fi; }
det() { at_end E rm -f -t 0 -v "$N"; E run -d --name "$N" "$@" >"$T/id" 2>"$T/.err" || bad "run -d: $(cat "$T/.err")"; }
new() { at_end E rm -f -t 0 -v "$N"; E create --name "$N" "$@" >"$T/id" 2>"$T/.err" || bad "create: $(cat "$T/.err")"; }
state() { E inspect -f '{{.State.Status}}' "${1:-$N}"; }
look() { E inspect -f "$1" "$N"; }
initpid() { E inspect -f '{{.State.Pid}}' "${1:-$N}"; }
"""


def podman_start(user):
    """No daemon: settings and the image."""
    def start(suite):
        Path("/etc/containers/containers.conf.d/engines.conf").write_text(
            '[containers]\nlog_driver = "k8s-file"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
        status, text = bounded(["podman", "--runtime", str(suite.runtime), "load", "-q", "-i", str(W / "bb.tar")], 120, suite.environment(user), user)
        if status:
            raise subprocess.SubprocessError(f"podman load: {text}")
    return start


def podman_stop(suite):
    """The rootless pause process is podman's own and stays until told."""
    bounded(["podman", "system", "migrate"], 30, suite.environment(sandbox.UID), sandbox.UID)


PODMAN_PACKAGES = ["podman", "conmon", "netavark", "containernetworking-plugins", "golang-github-containers-common", "catatonit", *COMMON_PACKAGES]


class Podman(Suite):
    """podman as root."""

    packages = [*PODMAN_PACKAGES, "buildah"]
    phases = [Phase("podman", "podman", ["common", "podman-both", "podman"], PODMAN, podman_start(0), lambda suite: None)]


class Rootless(Suite):
    """podman as an ordinary user."""

    packages = [*PODMAN_PACKAGES, "uidmap", "slirp4netns", "fuse-overlayfs", "buildah"]
    phases = [Phase("rootless", "rootless", ["common", "podman-both", "rootless"], PODMAN, podman_start(sandbox.UID), podman_stop, sandbox.UID)]


class Buildah(Suite):
    """buildah and podman build with the runtime as builder."""

    packages = [*PODMAN_PACKAGES, "buildah"]
    phases = [Phase("buildah", "buildah", ["buildah"], PODMAN + "B() { buildah \"$@\"; }\n", podman_start(0), lambda suite: None)]


SUITES = {"docker": Docker, "ctr": Ctr, "podman": Podman, "podman-rootless": Rootless, "buildah": Buildah}
