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
    print(f"{'ok' if ok else 'FAIL'}: {name}{' (' + note + ')' if note else ''}", flush=True)
    failed += not ok


def connect(port, tries=1):
    for _ in range(tries):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
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
    sys.exit("cannot connect")


qmp = socket.socket(socket.AF_UNIX)
qmp.connect(qmp_path)
qmp_file = qmp.makefile()
qmp_file.readline()


def command(name):
    qmp.sendall(json.dumps({"execute": name}).encode())
    while True:
        answer = json.loads(qmp_file.readline())
        if "return" in answer or "error" in answer:
            return answer


command("qmp_capabilities")


def cpu_ticks():
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return int(f[11]) + int(f[12])


def switches():
    n = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        for l in open(f"/proc/{pid}/task/{t}/status"):
            if "ctxt_switches" in l:
                n += int(l.split()[1])
    return n


s = connect(5000)
before = switches()
time.sleep(3)
check("idle service does not run", switches() - before == 0, f"{switches() - before} switches in 3 s")
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
s = connect(5000, 60)
s.sendall(b"again")
check("and new ones work after it", s.recv(10) == b"again")
for _ in range(30):
    if len(open_fds()) <= len(fds):
        break
    time.sleep(0.1)
check("no descriptor leaked", len(open_fds()) <= len(fds), f"before {fds} after {open_fds()}")
command("quit")
try:
    end = s.recv(1)
except ConnectionResetError:
    end = b""
check("the VM's end ends connections", end == b"")
sys.exit(failed != 0)
