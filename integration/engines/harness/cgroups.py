"""One cgroup per hierarchy for the whole suite, which becomes the root of its cgroup namespace.

So an engine sees `/` and may do what it likes there, and what it leaves is found in one place.
"""

import os
import time
from pathlib import Path


# Options of a cgroup mount that say nothing about which hierarchy it is.
COMMON = ("rw", "ro", "xattr", "nsdelegate", "memory_recursiveprot", "favordynmods")


def hierarchies():
    """[(mount point, file system type, options)]: each hierarchy once, as the machine mounts it.

    From inside a cgroup namespace the same mounts show a root above ours (`/..`), which does not matter here.
    """
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            names = ",".join(o for o in options.split(",") if o not in COMMON and not o.startswith("release_agent"))
            found.setdefault((kind, names), left.split()[4])
    return [(path, kind, names) for (kind, names), path in found.items()]


def sweep():
    """Remove the empty cgroups of suites that were killed: their number is of a process that is gone."""
    for mount_point, _, _ in hierarchies():
        for top in Path(mount_point).glob("brisk-engines-*"):
            if not os.path.exists(f"/proc/{top.name.split('-')[2]}"):
                remove_empty(top)


def remove_empty(top):
    """rmdir from the leaves up; what is in use stays."""
    for path, _, _ in list(os.walk(top, topdown=False)):
        try:
            os.rmdir(path)
        except OSError:
            continue


class Tree:
    """The suite's cgroup in every hierarchy."""

    def __init__(self, tag):
        found = hierarchies()
        hybrid = any(kind == "cgroup" for _, kind, _ in found)
        self.tops = [Path(path) / tag for path, _, _ in found]
        # A hybrid machine's cgroup2 may have handed hugetlb to its children; one level deeper it has no controllers,
        # which is what crun insists on there.
        self.paths = [top / "inner" if hybrid and kind == "cgroup2" else top for top, (_, kind, _) in zip(self.tops, found)]

    def make(self):
        """Create the cgroups; a v1 cpuset starts empty and must be filled before anything can join."""
        for path in self.paths:
            path.mkdir(parents=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (path / name).exists() and not (path / name).read_text().strip():
                    (path / name).write_text((path.parent / name).read_text())

    def join(self):
        """Put the calling process there (between fork and exec)."""
        for path in self.paths:
            with open(path / "cgroup.procs", "w", encoding="ascii") as procs:
                procs.write("0")

    def remove(self):
        """Remove the cgroups. Returns those that held a process or child cgroups although all should be over."""
        left = []
        for top in self.tops:
            deadline = time.monotonic() + 5
            while top.exists():
                remove_empty(top)
                if time.monotonic() > deadline:
                    left.append(str(top))
                    break
                if top.exists():
                    time.sleep(0.05)
        return left


def below(top):
    """Every cgroup below a mounted hierarchy, relative to it."""
    return sorted(str(Path(path).relative_to(top)) for path, _, _ in os.walk(top) if path != str(top))
