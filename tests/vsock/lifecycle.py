#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pause, reset, idle and end of the VM: lifecycle.py UDS-PATH QMP-SOCKET SERVICE-PID."""
import json
import os
import socket
import sys
import time

path, qmp_path, pid = sys.argv[1:]
failed = 0


def check(name, ok, note=""):
    global failed
    print(f"{'ok' if ok else 'FAILED'}: {name}{' (' + note + ')' if note else ''}", flush=True)
    failed += not ok


def stopped(kind, what, trace):
    print(f"FAILED: stopped by {kind.__name__}: {what}", flush=True)
    sys.__excepthook__(kind, what, trace)


sys.excepthook = stopped

# Bounds for what only a hang reaches: the guest may have a small share of a busy machine.
LONG = 240


def wait_for(condition):
    end = time.monotonic() + LONG
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def connect(port):
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LONG)
        s.connect(path)
        s.sendall(b"connect %d\n" % port)
        answer = b""
        while not answer.endswith(b"\n"):
            c = s.recv(1)
            if not c:
                break
            answer += c
        if answer.startswith(b"OK "):
            return s
        s.close()
        time.sleep(0.2)
    raise TimeoutError("cannot connect")


qmp = socket.socket(socket.AF_UNIX)
qmp.connect(qmp_path)
qmp_file = qmp.makefile()
qmp_file.readline()


def command(name):
    qmp.sendall(json.dumps({"execute": name}).encode())
    while True:
        line = qmp_file.readline()
        # QEMU may be gone before its answer to "quit" is.
        if not line:
            return
        answer = json.loads(line)
        if "return" in answer or "error" in answer:
            return


command("qmp_capabilities")


def switches():
    n = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        for l in open(f"/proc/{pid}/task/{t}/status"):
            if "ctxt_switches" in l:
                n += int(l.split()[1])
    return n


def rests():
    before = switches()
    time.sleep(3)
    return switches() == before


s = connect(5000)
# What came before, the connection just made among it, has an end; a service that polls has none.
check("idle service does not run", wait_for(rests))
pss = [l for l in open(f"/proc/{pid}/smaps_rollup") if l.startswith("Pss_Anon")]
check("private memory of the service", int(pss[0].split()[1]) < 1024, pss[0].split()[1] + " KiB anonymous")


def open_fds():
    out = []
    for n in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{n}").split(":")[0])
        except OSError:
            pass
    return sorted(out)


fds = open_fds()

command("stop")
s.sendall(b"while stopped")
time.sleep(0.5)
command("cont")
check("a connection survives pause and resume", s.recv(100) == b"while stopped")

command("system_reset")
try:
    end = s.recv(1)
except ConnectionResetError:
    end = b""
check("guest reset ends old connections", end == b"")
s.close()
s = connect(5000)
s.sendall(b"again")
check("and new ones work after it", s.recv(10) == b"again")
check("no descriptor leaked", wait_for(lambda: len(open_fds()) <= len(fds)), f"before {fds} after {open_fds()}")
command("quit")
try:
    end = s.recv(1)
except ConnectionResetError:
    end = b""
check("the VM's end ends connections", end == b"")
sys.exit(failed != 0)
