#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host's side of tests/vsock/run: client.py UDS-PATH [MIB]. Prints one line per check; exit status 1 on failure."""
import os
import socket
import sys
import threading
import time

path = sys.argv[1]
mib = int(sys.argv[2]) if len(sys.argv) > 2 else 100
failed = 0


def check(name, ok, note=""):
    global failed
    print(f"{'ok' if ok else 'FAILED'}: {name}{' (' + note + ')' if note else ''}", flush=True)
    failed += not ok


def stopped(kind, what, trace):
    print(f"FAILED: stopped by {kind.__name__}: {what}", flush=True)
    sys.__excepthook__(kind, what, trace)


sys.excepthook = stopped


def raw():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(120)
    s.connect(path)
    return s


def line(s):
    out = b""
    while not out.endswith(b"\n"):
        c = s.recv(1)
        if not c:
            break
        out += c
    return out


def connect(port, word="CONNECT"):
    s = raw()
    s.sendall(f"{word} {port}\n".encode())
    answer = line(s)
    assert answer.startswith(b"OK "), answer
    return s


# (i * 7 + (i >> 8)) & 0xff has period 65536.
PATTERN = bytes((i * 7 + (i >> 8)) & 0xFF for i in range(65536))


# The guest listens there last; one that is given much to do has moved as much through its network before that.
def wait_ready():
    end = time.monotonic() + 240 + mib
    while time.monotonic() < end:
        try:
            connect(5000).close()
            return
        except (AssertionError, OSError):
            time.sleep(0.1)
    raise TimeoutError("the guest does not answer")


def recv_all(s):
    out = 0
    bad = 0
    while True:
        d = s.recv(1 << 18)
        if not d:
            return out, bad
        at = out % 65536
        want = (PATTERN[at:] + PATTERN * (len(d) // 65536 + 1))[: len(d)]
        bad += d != want
        out += len(d)


wait_ready()
s = connect(5000, "cOnNeCt")
s.sendall(b"hello")
check("CONNECT in mixed case, echo", s.recv(10) == b"hello")
s.shutdown(socket.SHUT_WR)
check("host half close ends the echo", s.recv(10) == b"")

s = raw()
s.sendall(b"CONNECT 5000\npipelined")
check("data right behind the CONNECT line", line(s).startswith(b"OK ") and s.recv(20) == b"pipelined")
s.close()

s = raw()
s.sendall(b"CONNECT 4999\n")
check("no listener in the guest: end of stream", s.recv(10) == b"")
for bad in (b"HELLO 1\n", b"CONNECT\n", b"CONNECT 99999999999\n", b"CONNECT 1x\n", b"x" * 64):
    s = raw()
    s.sendall(bad)
    try:
        end = s.recv(10)
    except ConnectionResetError:
        end = b""
    check(f"{bad[:20]!r} is refused", end == b"")

s = connect(5000)
t = time.monotonic()
n = 300
for _ in range(n):
    s.sendall(b"x")
    assert s.recv(1) == b"x"
rt = (time.monotonic() - t) / n
check("round trips", True, f"{rt * 1e6:.0f} us each")
s.close()

s = connect(5001)
t = time.monotonic()
for _ in range(mib * 16):
    s.sendall(PATTERN)
s.shutdown(socket.SHUT_WR)
answer = line(s)
dt = time.monotonic() - t
check(f"{mib} MiB to the guest", answer == b"%d 0\n" % (mib << 20), f"{mib / dt:.0f} MiB/s")
check("guest closed after its answer", s.recv(1) == b"")

s = connect(5002)
t = time.monotonic()
s.sendall(b"%d\n" % (mib << 20))
got, bad = recv_all(s)
dt = time.monotonic() - t
check(f"{mib} MiB from the guest", got == mib << 20 and not bad, f"{mib / dt:.0f} MiB/s")

s = connect(5003)
check("guest closes at once", s.recv(1) == b"")

s = connect(5002)
s.sendall(b"%d\n" % (64 << 20))
s.recv(1000)
s.close()
check("client goes away in the middle", True)

s = connect(5004)
s.setblocking(False)
sent = 0
idle = begin = time.monotonic()
# The credit, 256 KiB, is used up sooner or later; then one second in which nothing goes.
while sent < 4 << 20 and (time.monotonic() - idle < 1 or sent <= 256 << 10 and time.monotonic() - begin < 60):
    try:
        sent += s.send(PATTERN)
        idle = time.monotonic()
    except BlockingIOError:
        time.sleep(0.02)
check("a guest that does not read blocks the client", 256 << 10 < sent < 4 << 20, f"{sent} bytes")
x = connect(5000)
x.sendall(b"still")
check("and nobody else", x.recv(10) == b"still")

s = connect(5006)
check("guest shut for reading still sends", s.recv(10) == b"bye")

slow = connect(5002)
slow.sendall(b"%d\n" % (4 << 20))
time.sleep(1)
x.sendall(b"still")
check("a client that does not read holds up nobody", x.recv(10) == b"still")
got, bad = recv_all(slow)
check("and gets its data later", got == 4 << 20 and not bad)

# Guest to host.
lst = socket.socket(socket.AF_UNIX)
lst.bind(path + "_6000")
lst.listen()


def host_service():
    c, _ = lst.accept()
    got, bad = recv_all(c)
    c.sendall(b"%d %d\n" % (got, bad))
    c.close()


th = threading.Thread(target=host_service, daemon=True)
th.start()
s = connect(5005)
s.sendall(b"6000\n")
check("guest-initiated connection, 1 MiB", line(s) == b"%d 0\n" % (1 << 20))
th.join()
s = connect(5005)
s.sendall(b"6001\n")
answer = line(s)
check("guest-initiated, no listener", b"reset" in answer.lower() or b"refused" in answer.lower(), answer.decode().strip())
os.unlink(path + "_6000")

conns = [connect(5000) for _ in range(100)]
for i, c in enumerate(conns):
    c.sendall(b"%d" % i)
check("100 connections at once", all(c.recv(10) == b"%d" % i for i, c in enumerate(conns)))
for c in conns:
    c.close()
good = []


def bulk(k):
    c = connect(5000)
    data = os.urandom(1 << 20)

    def push():
        c.sendall(data)
        c.shutdown(socket.SHUT_WR)

    p = threading.Thread(target=push, daemon=True)
    p.start()
    out = b""
    while True:
        d = c.recv(1 << 16)
        if not d:
            break
        out += d
    p.join()
    if out == data:
        good.append(k)


ts = [threading.Thread(target=bulk, args=(k,), daemon=True) for k in range(8)]
for th in ts:
    th.start()
for th in ts:
    th.join()
check("8 echoes of 1 MiB at once", len(good) == 8, f"{len(good)} arrived whole")
sys.exit(failed != 0)
