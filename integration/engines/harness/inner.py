"""The half of a suite that runs inside the sandbox: pid 1 of its pid namespace, and a child that does the work."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

from . import sandbox
from .report import Report
from .suites import SUITES


def reap_until(worker):
    """What an init does: orphans of the engines (conmon, shims) become ours; without this they stay as zombies."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def keep_logs(directory_fd):
    """Copy the daemons' logs out through a directory opened before /tmp was covered."""
    for path in (sandbox.WORK / "logs").glob("*"):
        with open(os.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=directory_fd), "wb") as out:
            out.write(path.read_bytes())


def work(order, here):
    """Build the sandbox, run the phases, send the counts."""
    report = Report(order["suite"])
    suite = SUITES[order["suite"]](order, here, report)
    logs = None
    if order["logs"]:
        os.makedirs(order["logs"], exist_ok=True)
        logs = os.open(order["logs"], os.O_RDONLY | os.O_DIRECTORY)
    try:
        suite.runtime = sandbox.enter(order["runtime"], order["shim"], order["containerd"], suite.dropin)
        os.chdir("/")
        if order["shell"]:
            suite.phases[0].start(suite)
            os.mkdir(f"{sandbox.WORK}/checks/{suite.phases[0].name}.shell")
            Path(sandbox.WORK / "env.bash").write_text(suite.prelude(suite.phases[0], "shell"))
            subprocess.run(["bash", "--rcfile", str(sandbox.WORK / "env.bash"), "-i"], env=suite.environment(), check=False)
        else:
            suite.run()
    except Exception:  # a broken harness is a failed suite, told in full
        report.failed("harness", traceback.format_exc())
        suite.print_logs()
    if logs is not None:
        keep_logs(logs)
    with os.fdopen(order["fd"], "w") as pipe:
        json.dump(report.counts(), pipe)


def main(order, here):
    """Entry point of the hidden --inside."""
    worker = os.fork()
    if worker == 0:
        try:
            work(order, Path(here))
        except BaseException:
            traceback.print_exc()
            sys.stdout.flush()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    os.close(order["fd"])
    return reap_until(worker)
