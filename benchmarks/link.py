"""Two network namespaces on one machine, and a link between them on which each frame takes a while.

What parallel.py --delay measures over. Root alone may make namespaces. Not every kernel has netem,
so the link is two TAP devices and a process that hands on, late, what it reads from them.
"""

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager

NEAR, FAR = NAMES = ("tensorgrad-near", "tensorgrad-far")
CLONE_NEWNET, TUNSETIFF, TAP, NO_HEADER = 0x40000000, 0x400454CA, 0x2, 0x1000
MTU = 9000


def tap(name):
    """A TAP device `wire` in that namespace."""
    set_namespace = ctypes.CDLL(None, use_errno=True).setns
    with open("/proc/self/ns/net") as home, open(f"/var/run/netns/{name}") as there:
        set_namespace(there.fileno(), CLONE_NEWNET)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"wire", TAP | NO_HEADER))
        set_namespace(home.fileno(), CLONE_NEWNET)
    return device


def forward(delay):
    """Hand on frames, each so many seconds after it came."""
    a, b = devices = [tap(name) for name in NAMES]
    other = {a: b, b: a}
    for i, name in enumerate(NAMES, start=1):
        ip("-n", name, "addr", "add", f"10.77.0.{i}/24", "dev", "wire")
        ip("-n", name, "link", "set", "dev", "wire", "mtu", f"{MTU}", "up")
        ip("-n", name, "link", "set", "lo", "up")
    print("up", flush=True)
    late = deque()
    while True:
        wait = max(0, late[0][0] - time.perf_counter()) if late else None
        for device in select.select(devices, [], [], wait)[0]:
            late.append((time.perf_counter() + delay, other[device], os.read(device, MTU + 100)))
        while late and late[0][0] <= time.perf_counter():
            _, device, frame = late.popleft()
            os.write(device, frame)


def ip(*args):
    subprocess.run(["ip", *args], check=True)


@contextmanager
def link(delay):
    """The link, and a command that starts mpiexec with a rank at each end of it."""
    for name in NAMES:
        ip("netns", "add", name)
    command = [sys.executable, __file__, "forward", f"{delay}"]
    forwarding = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        os.setpriority(os.PRIO_PROCESS, forwarding.pid, -20)  # ranks that wait take every core
        if forwarding.stdout.readline() != b"up\n":
            raise OSError("the link does not come up")
        yield inside(NEAR)
    finally:
        forwarding.kill()
        forwarding.wait()
        for name in NAMES:
            ip("netns", "del", name)


def inside(name):
    """Runs a shell command in a namespace, as a machine of that name would."""
    there = ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c"]
    return [*there, f'hostname {name}; exec "$@"', "sh"]


OPTIONS = [
    *("--prtemca", "plm_ssh_agent", f"{sys.executable} {__file__} agent"),
    *("--prtemca", "plm_ssh_no_tree_spawn", "1", "--prtemca", "prte_if_include", "10.77.0.0/24"),
    *("--host", "10.77.0.1:1,10.77.0.2:1", "--map-by", "node", "--mca", "pml", "ob1"),
    *("--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "10.77.0.0/24"),
    *("--mca", "mpi_yield_when_idle", "1", "-x", "OPENBLAS_NUM_THREADS", "-x", "PYTHONPATH"),
]
"""Of mpiexec: the far end by an agent in place of ssh, and TCP over the link alone."""

if __name__ == "__main__":
    what, *args = sys.argv[1:]
    if what == "forward":
        forward(float(args[0]))
    command = [*inside(FAR), "sh", "-c", " ".join(args[1:])]  # after the name of the machine
    os.execvp(command[0], command)
