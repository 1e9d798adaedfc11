# SPDX-License-Identifier: Apache-2.0
"""The host's end of what guest-traffic.c measures: one port, by TCP, by a hybrid vsock's Unix socket, by the kernel's vsock."""
import socket
import subprocess
import threading

PORT = 5000
STREAM = 16 << 20
ADDRESS = "10.99.0.1"  # as in guest-init


def talk(s):
    """One connection; its first byte says what for."""
    with s:
        purpose = s.recv(1)
        if purpose == b"o":
            buffer, left = bytearray(1 << 20), STREAM  # no end of file: Firecracker's vsock passes on none that is one way
            while left > 0 and (n := s.recv_into(buffer)):
                left -= n
            s.sendall(b".")
        elif purpose == b"i":
            piece = bytes(1 << 20)
            for _ in range(STREAM // len(piece)):
                s.sendall(piece)
        else:
            while byte := s.recv(1):
                s.sendall(byte)


class Server:
    """Answers on each of its listening sockets, in threads that end with the program."""

    def __init__(self, *listeners):
        for listener in listeners:
            threading.Thread(target=self.serve, args=(listener,), daemon=True).start()

    @staticmethod
    def serve(listener):
        while True:
            s, _ = listener.accept()
            if s.family == socket.AF_INET:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                talk(s)
            except ConnectionError:
                pass


def listen(family, address):
    s = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(address)
    s.listen()
    return s


def listeners(hybrid):
    """All that this host has. hybrid: the socket of hybrid vsocks."""
    found = [listen(socket.AF_INET, (ADDRESS, PORT)), listen(socket.AF_UNIX, f"{hybrid}_{PORT}")]
    try:
        found.append(listen(socket.AF_VSOCK, (socket.VMADDR_CID_ANY, PORT)))
    except OSError:
        pass
    return found


def make_tap(name):
    for command in (f"tuntap add {name} mode tap", f"addr add {ADDRESS}/24 dev {name}", f"link set {name} up"):
        subprocess.run(["ip", *command.split()], check=True)


def remove_tap(name):
    subprocess.run(["ip", "link", "del", name], check=False)
