"""What libseccomp makes of profiles: JSON in, JSON out. Started by libseccomp.rs."""

import ctypes
import json
import os
import signal
import sys

try:
    lib = ctypes.CDLL("libseccomp.so.2")
except OSError as error:
    print(f"SKIP {error}", end="")
    sys.exit(0)

lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_release.argtypes = [ctypes.c_void_p]
lib.seccomp_arch_resolve_name.restype = ctypes.c_uint32
lib.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
lib.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
lib.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


lib.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.POINTER(Comparison),
]

OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
UNKNOWN = -1


def token(arch):
    return lib.seccomp_arch_resolve_name(arch.lower().encode())


def add(filter_, rule, number, args):
    array = (Comparison * max(len(args), 1))()
    for slot, arg in zip(array, args):
        slot.arg, slot.op = arg["index"], OPERATORS.index(arg["op"].removeprefix("SCMP_CMP_")) + 1
        slot.a, slot.b = arg["value"], arg["valueTwo"]
    return lib.seccomp_rule_add_array(filter_, rule["action"], number, len(args), array)


def rules(filter_, profile):
    for rule in profile["rules"]:
        number = lib.seccomp_syscall_resolve_name(rule["name"].encode())
        if rule["action"] == profile["default"] or number == UNKNOWN:
            continue
        indexes = [arg["index"] for arg in rule["args"]]
        repeated = len(set(indexes)) < len(indexes)
        for args in [[arg] for arg in rule["args"]] if repeated else [rule["args"]]:
            error = add(filter_, rule, number, args)
            if error:
                return error
    return 0


def build(profile):
    filter_ = lib.seccomp_init(profile["default"])
    # So that other byte orders can be added.
    lib.seccomp_arch_remove(filter_, token("X86_64"))
    for arch in profile["archs"]:
        error = lib.seccomp_arch_add(filter_, token(arch))
        if error:
            return {"error": f"{arch}: {error}"}
    error = rules(filter_, profile)
    if error:
        lib.seccomp_release(filter_)
        return {"error": str(error)}
    file = os.memfd_create("bpf")
    error = lib.seccomp_export_bpf(filter_, file)
    lib.seccomp_release(filter_)
    os.lseek(file, 0, os.SEEK_SET)
    bpf = b""
    while piece := os.read(file, 1 << 20):
        bpf += piece
    os.close(file)
    return {"error": str(error)} if error else {"bpf": list(bpf)}


def guarded(profile):
    """`build` in a process of its own: for some profiles libseccomp 2.5 never comes back."""
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        with open(read, encoding="ascii") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        return json.loads(answer) if answer else {"error": "hangs"}
    signal.setitimer(signal.ITIMER_PROF, 0.5)
    with open(write, "w", encoding="ascii") as pipe:
        json.dump(build(profile), pipe)
    os._exit(0)


def numbers(arch):
    """Every call that libseccomp knows on an architecture."""
    found = {}
    if token(arch) == 0:
        return None
    base = {"MIPS": 4000, "MIPSEL": 4000, "X32": 0x40000000}.get(arch, 0)
    if arch.startswith("MIPS") and arch.endswith("64"):
        base = 5000
    if arch.endswith("N32"):
        base = 6000
    for number in [*range(1024), *range(0xF0000, 0xF0010)]:
        name = lib.seccomp_syscall_resolve_num_arch(token(arch), base + number)
        if name:
            found[ctypes.string_at(name).decode()] = base + number
    return found


request = json.load(sys.stdin)
if "numbers" in request:
    json.dump({arch: numbers(arch) for arch in request["numbers"]}, sys.stdout)
else:
    json.dump([guarded(profile) for profile in request["profiles"]], sys.stdout)
