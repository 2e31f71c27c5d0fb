"""What the suites need from the machine, and what they must not leave on it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

LOCK = "/tmp/apt.lock"
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(packages):
    """Those of the packages that dpkg does not call installed."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
                         capture_output=True, text=True, timeout=60, check=False).stdout
    there = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in there]


def install_packages(packages):
    """Install what is missing; a policy-rc.d keeps dpkg from starting the services."""
    if not missing(packages):
        return
    with open(LOCK, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = missing(packages)
        ours = not POLICY.exists()
        if ours:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
        try:
            print("# installing " + " ".join(wanted), flush=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted]
            for step in (["true"], ["apt-get", "update", "-q"]):
                subprocess.run(step, env=environment, stdout=subprocess.DEVNULL, timeout=300, check=False)
                done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
                if done.returncode == 0:
                    return
            sys.exit("engines: apt-get install failed: " + done.stderr[-2000:])
        finally:
            if ours:
                POLICY.unlink()


def marked_processes(tag):
    """Processes of the machine that carry this suite's mark in their environment."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if f"BRISK_ENGINES={tag}".encode() in (proc / "environ").read_bytes().split(b"\0"):
                found.append(f"{proc.name} {(proc / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found


def marked_mounts(tag):
    """Mounts of this mount namespace that name this suite."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if tag in line]
