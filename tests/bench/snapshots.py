# SPDX-License-Identifier: Apache-2.0
"""How tests/bench/vmm has a guest saved and brought back in a new process."""
import http.client
import json
import socket
import time

from monitors import LIMIT, WORDS, Boot, Devices, machine


class Api(http.client.HTTPConnection):
    """REST on a Unix socket that comes soon."""

    def __init__(self, path):
        super().__init__("localhost", timeout=LIMIT)
        self.path = str(path)

    def connect(self):
        end = time.monotonic() + LIMIT
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                return self.sock.connect(self.path)
            except OSError:
                self.sock.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def ask(self, method, path, body=None):
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.getresponse()
        said = answer.read().decode(errors="replace")
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said}")


class Dialect:
    """Firecracker's."""

    def __init__(self, monitor, work):
        self.monitor, self.work = monitor, work
        self.files = {"snapshot_path": str(work / "state")}
        self.memory = str(work / "memory")

    def begin(self, name):
        path = self.work / f"{name}.sock"
        self.boot, self.api = Boot([self.monitor.program, "--api-sock", path]), Api(path)

    def start(self, initrd):
        self.begin("saved")
        words = f"{WORDS} {self.monitor.words} do=echo"
        for section, body in machine(initrd, words, Devices()).items():
            if body:
                self.api.ask("PUT", "/" + section, body)
        self.api.ask("PUT", "/actions", {"action_type": "InstanceStart"})
        return self.boot

    def save(self):
        self.api.ask("PATCH", "/vm", {"state": "Paused"})
        self.api.ask("PUT", "/snapshot/create", {**self.files, "snapshot_type": "Full", "mem_file_path": self.memory})

    def restore(self):
        self.begin("restored")
        backend = {"backend_type": "File", "backend_path": self.memory}
        self.api.ask("PUT", "/snapshot/load", {**self.files, "mem_backend": backend, "resume_vm": True})
        return self.boot


class CloudHypervisor:
    def __init__(self, monitor, work):
        self.monitor, self.work = monitor, work
        self.folder = work / "snapshot"
        self.folder.mkdir()

    def start(self, initrd):
        path = self.work / "saved.sock"
        self.api = Api(path)
        return Boot([*self.monitor.run(self.work, initrd, "echo"), "--api-socket", path])

    def save(self):
        self.api.ask("PUT", "/api/v1/vm.pause")
        self.api.ask("PUT", "/api/v1/vm.snapshot", {"destination_url": f"file://{self.folder}"})

    def restore(self):
        path = self.work / "restored.sock"
        boot = Boot([self.monitor.program, "--api-socket", path, "--restore", f"source_url=file://{self.folder}"])
        Api(path).ask("PUT", "/api/v1/vm.resume")
        return boot


WAYS = {"dialect": Dialect, "clh": CloudHypervisor}


def measure(monitor, work, initrd):
    """(s to save, s from the new process to the answer that says it runs, s until the guest has answered)"""
    way = WAYS[monitor.saved](monitor, work)
    saved = way.start(initrd)
    if saved.until(b"guest: up") is None:
        raise RuntimeError("no boot: " + saved.out.decode(errors="replace")[-2000:])
    begin = time.monotonic()
    way.save()
    save = time.monotonic() - begin
    saved.kill()
    restored = way.restore()
    runs = time.monotonic() - restored.start
    restored.type(b"you\n")
    answered = restored.until(b"guest: heard you")
    if answered is None:
        raise RuntimeError("no answer: " + restored.out.decode(errors="replace")[-2000:])
    restored.kill()
    return save, runs, answered
