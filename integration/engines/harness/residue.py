"""What is still there inside the sandbox when every container has been removed."""

import os
import re
import subprocess
import time
from pathlib import Path

from . import cgroups

# Parents that an engine names in cgroupsPath and that runc leaves too: they belong to no container.
PARENTS = {"docker", "default", "libpod_parent", "libpod_parent/conmon"}
# A pod's cgroup: podman makes and removes it where it has controllers; elsewhere the runtime makes it as a parent.
POD = re.compile(r"libpod_parent/[0-9a-f]{64}")
ENGINE_PROGRAMS = {"dockerd", "containerd", "docker-proxy", "catatonit", "podman pause", "podman", "rootlessport", "rootlessport-c", "slirp4netns"}


def mounts():
    """All mount points, with their number."""
    return sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())


def writable():
    """Directories of the machine that could be written to from in here: none, so no file can be left behind."""
    found = []
    for path in ("/", "/usr", "/opt", "/home", "/root", "/srv", "/mnt"):
        if os.path.isdir(path) and not os.statvfs(path).f_flag & os.ST_RDONLY:
            found.append(path)
    return found


def unmount_below(directory):
    """Take away what a check mounted in its own directory, the last first."""
    for path in reversed([line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]):
        if path.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", path], capture_output=True, timeout=20, check=False)


def strangers(allowed=frozenset()):
    """Processes that are neither pid 1, nor we, nor the engine."""
    def look():
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            if int(proc.name) in (1, os.getpid()):
                continue
            try:
                name = (proc / "comm").read_text().strip()
                state = re.search(r"\) (\S)", (proc / "stat").read_text()).group(1)
            except OSError:
                continue
            if name not in allowed and state != "Z":
                found.append(f"{proc.name} {name}")
        return found
    return settle(look)


def settle(look, seconds=8):
    """The engines clean up in the background: what is still found after some seconds stays."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)


def left_cgroups():
    """Cgroups that are not a bare parent."""
    found = []
    for top, _, _ in cgroups.hierarchies():
        if top.startswith("/sys/fs/cgroup"):
            parent = POD if os.path.basename(top) in ("systemd", "unified") else None
            found += [f"{top}/{name}" for name in cgroups.below(top) if name not in PARENTS and not (parent and parent.fullmatch(name))]
    return found


def left_state():
    """Container directories below the runtimes' roots."""
    found = []
    for top in ("/run", "/run/user/4711"):
        for name in ("brisk", "runc", "crun", "docker/runtime-runc/moby", "containerd/runc/default"):
            root = Path(top) / name
            if root.is_dir():
                found += [str(path) for path in root.iterdir() if path.is_dir() and re.fullmatch(r"[0-9a-f]{64}|(c-|buildah-).*", path.name)]
    return found


def after_containers(suite, phase, mounts_before):
    """[(name of the verdict, what was found)]."""
    def new_mounts():
        now = mounts()
        for path in mounts_before:
            if path in now:
                now.remove(path)
        # The engines' own: a namespace file they keep, a storage directory they make private.
        return [path for path in now if not re.match(r"/run/(docker/)?netns|/run/user/\d+/netns|/var/lib/containers/storage/overlay$|/run/brisk", path)]
    return [
        ("left-no-cgroup", settle(left_cgroups)),
        ("left-no-mount", settle(new_mounts)),
        ("left-no-container-process", strangers(ENGINE_PROGRAMS)),
        ("left-no-runtime-state", settle(left_state)),
    ]
