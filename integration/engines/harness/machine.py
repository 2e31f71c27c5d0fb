"""What the suites need from the machine, and what they must not leave on it."""

import os
import subprocess
import sys
from pathlib import Path

INSTALL = Path(__file__).resolve().parent.parent.parent / "install-deps"


def missing(packages):
    """Those of the packages that dpkg does not call installed."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
                         capture_output=True, text=True, timeout=60, check=False).stdout
    there = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in there]


def install_packages(packages):
    """Install what is missing."""
    wanted = missing(packages)
    if wanted and subprocess.run([INSTALL, *(f"+{name}" for name in wanted)], timeout=1200, check=False).returncode:
        sys.exit("engines: these packages cannot be installed: " + " ".join(wanted))


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
