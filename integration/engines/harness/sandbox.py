"""The private machine a suite runs on: own /tmp, /run, /dev, /sys/fs/cgroup, and copies-on-write of /etc and /var.

Everything an engine writes therefore goes to tmpfs mounts of one mount namespace and ends with it.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from . import cgroups, image

WORK = Path("/tmp/w")
USER, UID = "engines", 4711
DEV_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}


def mount(kind, target, options="", source=None):
    """mount(8), making the mount point."""
    os.makedirs(target, exist_ok=True)
    command = ["mount", "-t", kind, *(["-o", options] if options else []), source or "engines", str(target)]
    subprocess.run(command, check=True, timeout=20)


def copy_on_write(directory):
    """An overlay whose upper layer is in the work directory."""
    layers = {name: WORK / "cow" / directory.strip("/") / name for name in ("upper", "work")}
    for path in layers.values():
        path.mkdir(parents=True)
    mount("overlay", directory, f"lowerdir={directory},upperdir={layers['upper']},workdir={layers['work']}")


def devices():
    """A /dev with the machine's nodes, fuse and tun open to everybody, and private pts, shm and mqueue."""
    nodes = []
    for top in ("/dev", "/dev/net"):
        for entry in os.scandir(top):
            what = entry.stat(follow_symlinks=False)
            if stat.S_ISCHR(what.st_mode) or stat.S_ISBLK(what.st_mode):
                nodes.append((entry.path, what))
    mount("tmpfs", "/dev", "mode=755")
    os.mkdir("/dev/net")
    for path, what in nodes:
        os.mknod(path, what.st_mode, what.st_rdev)
        os.chmod(path, 0o666 if path in ("/dev/fuse", "/dev/net/tun") else stat.S_IMODE(what.st_mode))
    for name, target in DEV_LINKS.items():
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(target, f"/dev/{name}")
    mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=620,gid=5")
    mount("tmpfs", "/dev/shm", "mode=1777")
    mount("mqueue", "/dev/mqueue")


def cgroup_mounts():
    """The hierarchies again, rooted at this suite's cgroups (we are in their cgroup namespace)."""
    found = cgroups.hierarchies()
    mount("sysfs", "/sys")
    if any(path == "/sys/fs/cgroup" for path, _, _ in found):
        mount("cgroup2", "/sys/fs/cgroup")
        return
    mount("tmpfs", "/sys/fs/cgroup", "mode=755")
    for path, kind, names in found:
        options = f"none,{names}" if names.startswith("name=") else names
        mount(kind, f"/sys/fs/cgroup/{os.path.basename(path)}", options if kind == "cgroup" else "")


def ordinary_user():
    """An account with subordinate ids, known to this sandbox only."""
    for path, line in (
        ("/etc/passwd", f"{USER}:x:{UID}:{UID}::{WORK}/home:/bin/bash"), ("/etc/group", f"{USER}:x:{UID}:"),
        ("/etc/subuid", f"{USER}:200000:65536\ncontainers:300000:1048576\ndockremap:165536:65536"),
        ("/etc/subgid", f"{USER}:200000:65536\ncontainers:300000:1048576\ndockremap:165536:65536"),
        ("/etc/passwd", "dockremap:x:4712:4712::/nonexistent:/bin/false"), ("/etc/group", "dockremap:x:4712:"),
    ):
        text = Path(path).read_text() if os.path.exists(path) else ""
        Path(path).write_text(text.rstrip("\n") + "\n" + line + "\n")
    for path in (WORK / "home", WORK / "user", Path(f"/run/user/{UID}")):
        path.mkdir(parents=True)
        os.chown(path, UID, UID)
        path.chmod(0o700)


def container_config(dropin):
    """/etc/containers as a fresh installation has it, plus brisk's drop-in."""
    shutil.rmtree("/etc/cni", ignore_errors=True)
    os.makedirs("/etc/containers/containers.conf.d", exist_ok=True)
    Path("/etc/containers/containers.conf.d/brisk.conf").write_bytes(dropin)
    # No network to a registry, and the overlay of the kernel rather than fuse-overlayfs.
    Path("/etc/containers/storage.conf").write_text('[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n')
    Path("/etc/containers/registries.conf").write_text("unqualified-search-registries = []\n")
    Path("/etc/containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')


def enter(runtime, shim, containerd, dropin):
    """Build it around the calling process. Returns the path of the runtime's copy."""
    programs = {os.path.basename(runtime): Path(runtime).read_bytes()}
    if containerd:
        programs |= {name: Path(containerd, name).read_bytes() for name in ("containerd", "ctr", "containerd-shim-runc-v2")}
    if shim:
        programs |= {f"containerd-shim-{name}-v2": Path(shim).read_bytes() for name in ("runc", "brisk")}
    mount("tmpfs", "/tmp", "mode=1777")
    for name in ("bin", "logs", "checks"):
        (WORK / name).mkdir(parents=True)
    WORK.chmod(0o755)
    for directory in ("/etc", "/var"):
        copy_on_write(directory)
    mount("tmpfs", "/run", "mode=755")
    os.makedirs("/run/lock")
    for path in ("/var/lib/docker", "/var/lib/containers", "/var/lib/containerd"):
        mount("tmpfs", path, "mode=711")
    mount("tmpfs", "/var/tmp", "mode=1777")
    devices()
    cgroup_mounts()
    ordinary_user()
    container_config(dropin)
    subprocess.run(["hostname", "engines-host"], check=True, timeout=10)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    # Whatever the mounts above do not cover cannot be written to.
    subprocess.run(["mount", "-o", "remount,bind,ro", "/"], check=True, timeout=20)
    for name, program in programs.items():
        (WORK / "bin" / name).write_bytes(program)
        (WORK / "bin" / name).chmod(0o755)
    image.save(WORK / "bb.tar", "localhost/bb:latest")
    image.unpack(WORK / "rootfs")
    return WORK / "bin" / os.path.basename(runtime)
