"""The command line, and the half of a suite that stays outside the sandbox.

The outer half checks the packages, makes one cgroup per hierarchy, starts the inner half in private
namespaces, and afterwards looks for anything that is still there.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from . import cgroups, inner, machine
from .report import Report
from .suites import SUITES

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
NAMESPACES = ["--mount", "--net", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--mount-proc"]


def default_runtime():
    """The release binary that `make` builds."""
    for path in sorted(REPOSITORY.glob("target/*-linux-*/release/brisk")):
        return path
    return REPOSITORY / "target/release/brisk"


def arguments(argv):
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="integration/engines/run")
    parser.add_argument("suite", nargs="?", default="all", choices=[*SUITES, "all"])
    parser.add_argument("--quick", action="store_true", help="only the checks tagged `q`")
    parser.add_argument("--runtime", default=os.environ.get("RUNTIME"), help="path of the runtime (or $RUNTIME)")
    parser.add_argument("--shim", help="this program as containerd's shim, under the names of runc's and of brisk's")
    parser.add_argument("--containerd", metavar="DIR", help="containerd, ctr and the shim of this directory, for docker too")
    parser.add_argument("--only", default="", help="only checks whose name holds one of these (comma-separated)")
    parser.add_argument("--install", action="store_true", help="install the engines and stop")
    parser.add_argument("--list", action="store_true", help="print the names of the checks and stop")
    parser.add_argument("--logs", metavar="DIR", help="keep the daemons' logs there")
    parser.add_argument("--shell", action="store_true", help="a shell in the sandbox instead of the checks")
    parser.add_argument("--inside", metavar="JSON", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def resolve_runtime(given):
    """An absolute path of an executable, or a message that says what is missing."""
    path = given or str(default_runtime())
    found = shutil.which(path) or shutil.which(os.path.abspath(path))
    if not found:
        sys.exit(f"engines: runtime {path} is not an executable (build it, or give --runtime PATH)")
    return os.path.realpath(found)


def run_suite(name, runtime, options):
    """One suite, from package check to residue check. Returns its (passed, failed, skipped)."""
    tag = f"brisk-engines-{os.getpid()}-{name}"
    report = Report(name)
    tree = cgroups.Tree(tag)
    read_end, write_end = os.pipe()
    order = {
        "suite": name, "runtime": runtime, "tag": tag, "quick": options.quick, "only": options.only,
        "shim": options.shim, "containerd": options.containerd, "shell": options.shell, "logs": os.path.abspath(options.logs) if options.logs else None, "fd": write_end,
    }
    process = None

    def prepare():
        """Between fork and exec: into the cgroups, and not to outlive us, however we end."""
        tree.join()
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    try:
        cgroups.sweep()
        tree.make()
        command = ["unshare", *NAMESPACES, "--kill-child=KILL", "--", sys.executable, str(HERE / "run"),
                   "--inside", json.dumps(order)]
        process = subprocess.Popen(command, pass_fds=[write_end], preexec_fn=prepare, env=os.environ | {"BRISK_ENGINES": tag})
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            counts = pipe.read()
        try:
            status = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    except BaseException:
        if process:
            process.kill()
            process.wait()
        tree.remove()
        raise
    if counts:
        report.add(*json.loads(counts))
    else:
        report.failed("suite-finished", f"the sandbox ended early with status {status}")
    left = tree.remove()
    report.verdict("left-no-cgroup-outside", left)
    report.verdict("left-no-process-outside", machine.marked_processes(tag))
    report.verdict("left-no-mount-outside", machine.marked_mounts(tag))
    report.summary()
    return report.counts()


def main(argv):
    """Entry point of `run`."""
    options = arguments(argv)
    if options.inside:
        return inner.main(json.loads(options.inside), HERE)
    names = list(SUITES) if options.suite == "all" else [options.suite]
    if options.list:
        for name in names:
            for check in SUITES[name].all_checks(HERE / "checks"):
                if check.quick or not options.quick:
                    print(f"{name} {check.name}")
        return 0
    if os.geteuid() != 0:
        sys.exit("engines: must be root (the rootless suite changes to an ordinary user by itself)")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    machine.install_packages(sorted({p for n in names for p in SUITES[n].packages}))
    if options.install:
        return 0
    runtime = resolve_runtime(options.runtime)
    options.shim = os.path.realpath(options.shim) if options.shim else None
    if options.shim and not os.access(options.shim, os.X_OK):
        sys.exit(f"engines: shim {options.shim} is not an executable")
    options.containerd = os.path.realpath(options.containerd) if options.containerd else None
    if options.containerd and not os.access(f"{options.containerd}/containerd", os.X_OK):
        sys.exit(f"engines: there is no containerd in {options.containerd}")
    total = [0, 0, 0]
    for name in names:
        print(f"# {name}: {runtime}", flush=True)
        total = [a + b for a, b in zip(total, run_suite(name, runtime, options))]
    if len(names) > 1:
        print("all: {} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0
