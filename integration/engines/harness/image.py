"""A busybox image as a `docker save` archive: docker, ctr and podman all load it, and nobody asks a registry."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/home/web:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
GROUP = "root:x:0:\nstaff:x:50:web\nweb:x:1000:\nextra:x:1234:web\nnobody:x:65534:\n"
FILES = {
    "etc/passwd": (0o644, PASSWD), "etc/group": (0o644, GROUP), "etc/not-executable": (0o644, "#!/bin/sh\necho no\n"),
    "etc/empty.conf": (0o644, ""), "bin/bad-interpreter": (0o755, "#!/no/such/interpreter\n"), "data/seed": (0o644, "seed\n"),
    "home/web/private": (0o600, "web's\n"), "bin/bad-format": (0o755, "\x7fELF nonsense\n"), "www/index.html": (0o644, "served\n"),
}
OWNER = {"home/web": 1000, "home/web/private": 1000}
DIRS = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "proc": 0o755, "sys": 0o755, "tmp": 0o1777, "root": 0o700, "var": 0o755,
        "home": 0o755, "home/web": 0o755, "data": 0o755, "www": 0o755, "run": 0o755, "mnt": 0o755}


def busybox():
    """The static busybox of Debian's busybox-static."""
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            return path
    raise FileNotFoundError("busybox")


def add(tar, name, mode, data=None, link=None):
    """One member: a directory, a file or a symbolic link."""
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid = mode, OWNER.get(name, 0), OWNER.get(name, 0)
    if link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, link
    elif data is None:
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(data)
    tar.addfile(info, io.BytesIO(data) if data is not None else None)


def layer():
    """The one layer: busybox, its links, and the few files the checks look at."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in DIRS.items():
            add(tar, name, mode)
        with open(busybox(), "rb") as program:
            add(tar, "bin/busybox", 0o755, program.read())
        applets = subprocess.run([busybox(), "--list"], capture_output=True, text=True, timeout=10, check=True).stdout.split()
        for applet in applets:
            if applet != "busybox":
                add(tar, f"bin/{applet}", 0o777, link="busybox")
        for name, (mode, text) in FILES.items():
            add(tar, name, mode, text.encode("latin-1"))
    return out.getvalue()


def save(path, reference, config=None):
    """Write the archive."""
    data = layer()
    digest = hashlib.sha256(data).hexdigest()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    image = {
        "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]} | (config or {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "engines"}],
    }
    image_json = json.dumps(image).encode()
    image_name = hashlib.sha256(image_json).hexdigest() + ".json"
    manifest = [{"Config": image_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        add(tar, "manifest.json", 0o644, json.dumps(manifest).encode())
        add(tar, image_name, 0o644, image_json)
        add(tar, "layer.tar", 0o644, data)


def unpack(path):
    """The same tree as a plain directory, for `podman run --rootfs` and bundles by hand."""
    os.makedirs(path)
    with tarfile.open(fileobj=io.BytesIO(layer())) as tar:
        tar.extractall(path)
