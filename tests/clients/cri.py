# SPDX-License-Identifier: Apache-2.0
"""Rows of the clients `cri` and `crio`: containerd's CRI plugin and CRI-O, called as the kubelet calls them.

usage: cri.py FEATURE        RUNTIME in the environment is the handler

What a row prints is its transcript (harness.bash). Some look at the pod that `row_pod` starts, which has two containers,
web and side.
"""
import base64
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import grpc

import cri_api_pb2 as api

BB = "localhost/bb:1"
SOCKET = os.environ.get("CRI_SOCKET", "/run/containerd/containerd.sock")
ON_CRIO = "crio" in SOCKET
WORK = pathlib.Path(os.environ.get("WORK", "/run/clients/work"))
SLOWER = int(os.environ.get("SLOWER", "1"))
CALL_SECONDS = 120 * SLOWER
MIB = 1 << 20

# Takes 200 MiB (harness.bash).
GROW = os.environ["GROW"]

# What the kubelet says by default: a process namespace for each container.
APART = api.NamespaceOption(pid=api.CONTAINER)


class Cri:
    """The two services. No generated stubs: a call is a name, a request and the response's type."""

    def __init__(self):
        self.channel = grpc.insecure_channel(f"unix://{SOCKET}", options=[
            ("grpc.enable_http_proxy", 0), ("grpc.default_authority", "localhost")])

    def call(self, name, request, response=api.Empty, service="Runtime"):
        method = self.channel.unary_unary(f"/runtime.v1.{service}Service/{name}", response_deserializer=response.FromString,
                                          request_serializer=lambda message: message.SerializeToString())
        return method(request, timeout=CALL_SECONDS)


cri = Cri()


def require(good, what):
    if not good:
        sys.exit(f"WRONG: {what}")


def until_true(seconds, what, question):
    end = time.monotonic() + seconds * SLOWER
    while not (answer := question()):
        require(time.monotonic() < end, f"did not come true in time: {what}")
        time.sleep(0.1)
    return answer


# ---- pods and containers ----

def pod_config(name, **more):
    logs = WORK / "pod-logs" / name
    logs.mkdir(parents=True, exist_ok=True)
    more.setdefault("hostname", name)
    more.setdefault("linux", api.LinuxPodSandboxConfig(security_context=api.LinuxSandboxSecurityContext(namespace_options=APART)))
    return api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name=name, uid=f"{name}-uid", namespace="tests"),
                                log_directory=str(logs), **more)


class Pod:
    """A pod that is made here, or found by its name."""

    def __init__(self, name, config=None):
        self.name, self.config = name, config or pod_config(name)
        found = [item for item in pods() if item.metadata.name == name]
        self.id = found[0].id if found else None

    def run(self):
        for log in pathlib.Path(self.config.log_directory).glob("*.log"):
            log.unlink()
        request = api.RunPodSandboxRequest(config=self.config, runtime_handler=os.environ["RUNTIME"])
        self.id = cri.call("RunPodSandbox", request, api.RunPodSandboxResponse).pod_sandbox_id
        return self

    def status(self, verbose=False):
        return cri.call("PodSandboxStatus", api.PodSandboxStatusRequest(pod_sandbox_id=self.id, verbose=verbose),
                        api.PodSandboxStatusResponse)

    def stop(self):
        """CRI-O waits for containers that take no SIGTERM as long as the call may take; the kubelet stops them before."""
        for name in self.containers() if ON_CRIO else ():
            self.container(name).stop(timeout=0)
        cri.call("StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id=self.id))

    def remove(self):
        self.stop()
        cri.call("RemovePodSandbox", api.RemovePodSandboxRequest(pod_sandbox_id=self.id))

    def create(self, name, command, linux=None, image=BB, **more):
        config = api.ContainerConfig(metadata=api.ContainerMetadata(name=name), image=api.ImageSpec(image=image, user_specified_image=image),
                                     command=command, log_path=f"{name}.log", linux=linux or settings(), **more)
        request = api.CreateContainerRequest(pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return Container(self, name, cri.call("CreateContainer", request, api.CreateContainerResponse).container_id)

    def start(self, *arguments, **more):
        container = self.create(*arguments, **more)
        cri.call("StartContainer", api.StartContainerRequest(container_id=container.id))
        return container

    def containers(self):
        request = api.ListContainersRequest(filter=api.ContainerFilter(pod_sandbox_id=self.id))
        return {c.metadata.name: c for c in cri.call("ListContainers", request, api.ListContainersResponse).containers}

    def container(self, name):
        require(name in self.containers(), f"there is no container {name}")
        return Container(self, name, self.containers()[name].id)


class Container:
    def __init__(self, pod, name, identity):
        self.pod, self.name, self.id = pod, name, identity

    def status(self):
        return cri.call("ContainerStatus", api.ContainerStatusRequest(container_id=self.id),
                        api.ContainerStatusResponse).status

    def pid(self):
        request = api.ContainerStatusRequest(container_id=self.id, verbose=True)
        return json.loads(cri.call("ContainerStatus", request, api.ContainerStatusResponse).info["info"])["pid"]

    def exec(self, *command, timeout=0):
        return cri.call("ExecSync", api.ExecSyncRequest(container_id=self.id, cmd=command, timeout=timeout),
                        api.ExecSyncResponse)

    def out(self, *command):
        """What a command prints; it must succeed."""
        done = self.exec(*command)
        require(done.exit_code == 0, f"{command}: exit status {done.exit_code}, {done.stderr.decode()}")
        return done.stdout.decode()

    def stop(self, timeout=10):
        cri.call("StopContainer", api.StopContainerRequest(container_id=self.id, timeout=timeout))

    def remove(self):
        cri.call("RemoveContainer", api.RemoveContainerRequest(container_id=self.id))

    def log(self):
        """Lines of the log, each (stream, tag, text)."""
        path = pathlib.Path(self.pod.config.log_directory) / f"{self.name}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [tuple((line.split(" ", 3)[1:] + [""])[:3]) for line in lines]

    def says(self, text):
        until_true(30, f"{self.name} says {text}", lambda: any(text in line for _, _, line in self.log()))

    def ends(self):
        """Its status when it has ended."""
        until_true(60, f"{self.name} ends", lambda: self.status().state == api.CONTAINER_EXITED)
        return self.status()


def pods():
    return cri.call("ListPodSandbox", api.ListPodSandboxRequest(), api.ListPodSandboxResponse).items


def run_once(command, **more):
    """A pod of one container that ends; prints its log and how it ended."""
    pod = Pod("once").run()
    container = pod.start("only", command, **more)
    end = container.ends()
    # which stream's line comes first is chance
    for stream, _, text in sorted(container.log(), key=lambda line: line[0], reverse=True):
        print(f"{stream}: {text}")
    print(f"{end.reason}, exit status {end.exit_code}")
    pod.remove()
    return end


def settings(resources=None, **security):
    security.setdefault("namespace_options", APART)
    return api.LinuxContainerConfig(resources=resources, security_context=api.LinuxContainerSecurityContext(**security))


def fetch(url):
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10).read().decode()


def can_fetch(url):
    try:
        return fetch(url) or "empty"
    except OSError:
        return None


# ---- what is no row ----

def ready():
    conditions = cri.call("Status", api.StatusRequest(), api.StatusResponse).status.conditions
    # containerd 2 has more, such as whether something in its configuration is deprecated
    wanted = [c for c in conditions if c.type in ("RuntimeReady", "NetworkReady")]
    require(len(wanted) == 2 and all(c.status for c in wanted), f"not ready: {conditions}")


def warm_up():
    pod = Pod("warm", pod_config("warm", port_mappings=[api.PortMapping(container_port=80, host_port=8090)])).run()
    pod.start("only", ["/bin/true"]).ends()
    pod.remove()


def reset():
    for item in pods():
        Pod(item.metadata.name).remove()


# ---- measurements, for tests/bench/clients ----

def bench_pod():
    """Medians of the milliseconds to: the pod, its container running, the first line of its log, all removed."""
    rows = []
    for i in range(int(sys.argv[2]) + 1):
        times = [time.monotonic()]
        pod = Pod(f"bench{i}").run()
        times.append(time.monotonic())
        only = pod.start("only", ["/bin/sh", "-c", "echo hello; exec sleep 1000"])
        times.append(time.monotonic())
        while not only.log():
            time.sleep(0.002)
        times.append(time.monotonic())
        pod.remove()
        times.append(time.monotonic())
        rows.append([int(1000 * (b - a)) for a, b in zip(times, times[1:])])
    print(" / ".join(str(sorted(column)[len(column) // 2]) for column in zip(*rows[1:])))


def all_pss():
    total = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/smaps_rollup"):
        try:
            total += int(re.search(r"^Pss: *(\d+)", path.read_text(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total


def bench_idle():
    """What each of so many idle pods adds to the memory of all processes."""
    count, before = int(sys.argv[2]), all_pss()
    made = [Pod(f"idle{i}").run() for i in range(count)]
    for pod in made:
        pod.start("only", ["/bin/sleep", "100000"])
    time.sleep(5)
    print(f"{(all_pss() - before) / count / 1024:.1f} MiB")
    for pod in made:
        pod.remove()


# ---- rows ----

def row_status():
    print(cri.call("Version", api.VersionRequest(), api.VersionResponse).runtime_api_version)
    for condition in cri.call("Status", api.StatusRequest(), api.StatusResponse).status.conditions:
        print(condition.type, condition.status)
    images = cri.call("ListImages", api.ListImagesRequest(), api.ListImagesResponse, "Image").images
    require(any(BB in image.repo_tags for image in images), f"{BB} is not among the images")


WEB = """echo a page >/page; echo from web >/dev/shm/file; echo problem >&2; echo started
trap 'echo bye; exit 5' TERM
httpd -f -h / & while :; do sleep 0.1; done"""


def row_pod():
    config = pod_config("pod", hostname="podded", dns_config=api.DNSConfig(servers=["10.9.8.7"], searches=["example"]),
                        port_mappings=[api.PortMapping(container_port=80, host_port=8090)])
    pod = Pod("pod", config).run()
    pod.start("web", ["/bin/sh", "-c", WEB], envs=[api.KeyValue(key="COLOUR", value="green")], working_dir="/tmp")
    pod.start("side", ["/bin/sh", "-c", "n=0; while :; do n=$((n + 1)); echo line $n; sleep 1; done"])
    status = pod.status().status
    require(status.network.ip.startswith("10.99.0."), f"address {status.network.ip}")
    print(api.PodSandboxState.Name(status.state))
    for name, container in sorted(pod.containers().items()):
        print(name, api.ContainerState.Name(container.state))
    # a pod of CRI-O may have no process of its own
    pid = json.loads(pod.status(verbose=True).info["info"]).get("pid") or pod.container("web").pid()
    require(os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"), "the pod has the host's network")


def row_shared():
    side = Pod("pod").container("side")
    print(side.out("sh", "-c", "hostname; cat /dev/shm/file; wget -q -O - http://127.0.0.1/page; ls /page 2>/dev/null || :; "
                   "cat /etc/resolv.conf"), end="")
    # process namespaces apart
    print(side.out("sh", "-c", "ps -o args | grep -c '[h]ttpd' || :"), end="")


def row_port():
    address = Pod("pod").status().status.network.ip
    until_true(30, "the page", lambda: can_fetch(f"http://{address}/page"))
    print(fetch(f"http://{address}/page"), end="")
    print(fetch("http://192.0.2.2:8090/page"), end="")
    print(Pod("pod").container("side").out("wget", "-q", "-O", "-", "http://192.0.2.2:8000/greeting"), end="")


# In the pod's network namespace on the node, as the engines do it for kubectl port-forward.
CONNECT = """import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
s.sendall(sys.stdin.buffer.read())
s.shutdown(socket.SHUT_WR)
sys.stdout.buffer.write(s.makefile("rb").read())"""


def through_loopback(pid, port, data):
    """What is answered to data and its end; None when nobody is there."""
    done = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", CONNECT, str(port)], input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else None


def forwarded(pod, port, data):
    # CRI-O forwards nothing for the type "vm": it answers, and does nothing.
    if ON_CRIO and os.environ.get("CLIENTS_RUNTIME_TYPE", "vm") == "vm":
        return (through_loopback(pod.container("web").pid(), port, data) or b"").decode()
    request = api.PortForwardRequest(pod_sandbox_id=pod.id, port=[port])
    stream = WebSocket(cri.call("PortForward", request, api.UrlResponse).url)
    stream.send(0, data)
    out = b""
    while message := stream.read():
        out += message[1] if message[0] == 0 else b""
    # The port is said first.
    return out[2:].decode()


def row_port_forward():
    pod = Pod("pod")
    page = until_true(30, "the page", lambda: forwarded(pod, 80, b"GET /page HTTP/1.0\r\n\r\n"))
    print(page.splitlines()[-1])
    print("port 81:", forwarded(pod, 81, b"anybody?") or "nobody")
    # Who answers when all has been said.
    # As many as 32 may wait for busybox's nc: with its two, a busy kernel resets connections (SYN cookies).
    sorter = pod.start("sorter", ["nc", "-" + 32 * "l", "-p", "9000", "-e", "sort"])
    pid = sorter.pid()
    print(until_true(30, "an answer", lambda: through_loopback(pid, 9000, b"two\none\n")).decode(), end="")
    lines = [f"{i * 7919 % 20011:06}\n" for i in range(20011)]
    require(through_loopback(pid, 9000, "".join(lines).encode()).decode() == "".join(sorted(lines)), "it came back different")
    with concurrent.futures.ThreadPoolExecutor(20) as many:
        print(*set(many.map(lambda i: through_loopback(pid, 9000, b"%d\n" % i) == b"%d\n" % i, range(20))))
    print("port 9001:", through_loopback(pid, 9001, b"anybody?") or "nobody")
    sorter.stop(timeout=0)
    sorter.remove()


def row_logs():
    web = Pod("pod").container("web")
    web.says("started")
    for line in sorted(web.log()):
        print(*line)


def row_exec_sync():
    web = Pod("pod").container("web")
    done = web.exec("sh", "-c", "echo $COLOUR; pwd; echo problem >&2; exit 9")
    print(done.stdout.decode(), done.stderr.decode(), done.exit_code)
    require(len(web.exec("head", "-c", str(3 * MIB), "/dev/zero").stdout) == 3 * MIB, "3 MiB of output came incomplete")
    try:
        done = web.exec("sleep", "4242", timeout=1)
        print(done.exit_code, done.stderr.decode())
        require(done.exit_code != 0, "a command went on beyond its time")
    except grpc.RpcError as e:
        print(e.code())
    until_true(20, "it ended", lambda: "sleep 4242" not in web.out("ps", "-o", "args"))


class WebSocket:
    """What exec's address answers with (RFC 6455): messages of one byte for the stream, and its data."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Origin: http://localhost\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        answer = self.file.readline().decode()
        require(" 101 " in answer, f"no websocket: {answer}")
        while self.file.readline().strip():
            pass

    def send(self, stream, data):
        payload = bytes([stream]) + data
        self.socket.sendall(bytes([0x82, 0x80 | len(payload)]) + b"\0\0\0\0" + payload)

    def read(self):
        """(stream, data), or None at the end."""
        head = self.file.read(2)
        if len(head) < 2 or head[0] & 15 == 8:
            return None
        size = head[1] & 127
        if size >= 126:
            size = struct.unpack(">H" if size == 126 else ">Q", self.file.read(2 if size == 126 else 8))[0]
        payload = self.file.read(size)
        return payload[0], payload[1:]


# The terminal's size comes soon, but not before the command begins.
ON_A_TERMINAL = """test -t 0 && tty
until [ "$(stty size 2>/dev/null)" = '33 77' ]; do sleep 0.1; done
echo ready?
read word
echo got $word
exit 3"""


def row_exec():
    """kubectl exec -it."""
    web = Pod("pod").container("web")
    request = api.ExecRequest(container_id=web.id, cmd=["sh", "-c", ON_A_TERMINAL],
                              tty=True, stdin=True, stdout=True)
    stream = WebSocket(cri.call("Exec", request, api.UrlResponse).url)
    stream.send(4, b'{"Width":77,"Height":33}')
    out = {1: b"", 3: b""}
    typed = False
    while message := stream.read():
        out[message[0]] = out.get(message[0], b"") + message[1]
        # The whole line: the line discipline may put the echo of what is typed between its text and its end.
        if not typed and b"ready?\r\n" in out[1]:
            stream.send(0, b"word\n")
            typed = True
    print(out[1].replace(b"\r", b"").decode())
    print([cause["message"] for cause in json.loads(out[3])["details"]["causes"]])


def row_stats():
    web = Pod("pod").container("web")
    stats = cri.call("ContainerStats", api.ContainerStatsRequest(container_id=web.id), api.ContainerStatsResponse).stats
    require(stats.cpu.usage_core_nano_seconds.value > 0, "no processor time")
    require(stats.memory.working_set_bytes.value > 0, "no memory")


def row_update():
    side = Pod("pod").container("side")
    resources = api.LinuxContainerResources(memory_limit_in_bytes=64 * MIB, cpu_period=100000, cpu_quota=100000)
    cri.call("UpdateContainerResources", api.UpdateContainerResourcesRequest(container_id=side.id, linux=resources))
    print(side.exec("sh", "-c", GROW).exit_code)
    print(api.ContainerState.Name(side.status().state))


def after_restart():
    pod = Pod("pod")
    print(api.PodSandboxState.Name(pod.status().status.state))
    for name, container in sorted(pod.containers().items()):
        print(name, api.ContainerState.Name(container.state))
    side = pod.container("side")
    print(side.out("echo", "still here"), end="")
    before = len(side.log())
    until_true(20, "the log goes on", lambda: len(side.log()) > before)


def row_stop_container():
    web = Pod("pod").container("web")
    web.stop()
    status = web.status()
    print(api.ContainerState.Name(status.state), status.exit_code, status.reason)
    print(web.log()[-1])
    web.remove()
    # Who ignores SIGTERM has all of the time.
    deaf = Pod("pod").start("deaf", ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"])
    deaf.says("deaf")
    begin = time.monotonic()
    deaf.stop(timeout=3)
    require(time.monotonic() - begin >= 3, "it was not waited for")
    print(deaf.status().exit_code)
    deaf.remove()
    print(sorted(Pod("pod").containers()))


# One ends and another comes, in the same pod.
def row_next_container():
    pod = Pod("pod")
    again = pod.start("again", ["/bin/sh", "-c", "hostname; exit 0"])
    end = again.ends()
    print(end.exit_code, end.reason, again.log())
    again.remove()


def row_remove_pod():
    pod = Pod("pod")
    netns = json.loads(pod.status(verbose=True).info["info"])["runtimeSpec"]["linux"]["namespaces"]
    netns = next(n["path"] for n in netns if n["type"] == "network")
    pod.stop()
    print(api.PodSandboxState.Name(pod.status().status.state))
    require(not os.path.exists(netns) or not os.path.ismount(netns), f"{netns} is still there")
    cri.call("RemovePodSandbox", api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
    print([item.metadata.name for item in pods()])
    require(not can_fetch("http://192.0.2.2:8090/page"), "the port is still published")


def row_exit():
    run_once(["/bin/sh", "-c", "echo out; echo err >&2; exit 7"])
    run_once(["/bin/true"])


def row_missing_program():
    pod = Pod("once").run()
    try:
        pod.start("only", ["/no/such/program"])
        require(False, "it started")
    except grpc.RpcError as e:
        require("no such file" in e.details(), f"the message does not say why: {e.details()}")
    # CRI-O has not made it
    for container in pod.containers():
        status = pod.container(container).status()
        print(api.ContainerState.Name(status.state), status.exit_code, status.reason)
    pod.remove()


def row_oom():
    # the kernel's word about it may come later than the end of a process
    end = run_once(["/bin/sh", "-c", f"{GROW}; status=$?; sleep 2; exit $status"],
                   linux=settings(api.LinuxContainerResources(memory_limit_in_bytes=64 * MIB)))
    require(end.reason == "OOMKilled", f"reason {end.reason}")


def row_security():
    run_once(["/bin/sh", "-c", "id -u; id -g; touch /file 2>/dev/null || echo read-only; "
              "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status"],
             linux=settings(run_as_user=api.Int64Value(value=1000), run_as_group=api.Int64Value(value=50), readonly_rootfs=True,
                         no_new_privs=True, capabilities=api.Capability(drop_capabilities=["ALL"]),
                         seccomp=api.SecurityProfile(profile_type=api.SecurityProfile.RuntimeDefault)))


def row_volumes():
    """Folders, single files, read-only ones; a file that the pod's end is told in."""
    root = WORK / "volumes"
    (root / "empty-dir").mkdir(parents=True, exist_ok=True)
    (root / "file").write_text("of the host\n")
    (root / "termination").write_text("")
    mounts = [api.Mount(container_path="/data", host_path=str(root / "empty-dir")),
              api.Mount(container_path="/etc/file", host_path=str(root / "file"), readonly=True),
              api.Mount(container_path="/dev/termination-log", host_path=str(root / "termination"))]
    run_once(["/bin/sh", "-c", "cat /etc/file; echo x 2>/dev/null >/etc/file || echo read-only; echo of the guest >/data/back; "
              "echo the reason >/dev/termination-log"], mounts=mounts)
    print((root / "empty-dir" / "back").read_text(), (root / "termination").read_text())


def row_mount_propagation():
    """mountPropagation HostToContainer: mounts of the host that come and go while the volume is mounted; None: they do not come."""
    root = WORK / "propagation"
    (root / "later").mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", "--make-shared", root, root], check=True)
    pod = Pod("propagation").run()
    only = pod.start("only", ["/bin/sleep", "1000"], mounts=[
        api.Mount(container_path="/follows", host_path=str(root), propagation=api.PROPAGATION_HOST_TO_CONTAINER),
        api.Mount(container_path="/stays", host_path=str(root))])
    print(only.out("sh", "-c", "ls /follows/later /stays/later"))
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root / "later"], check=True)
    (root / "later" / "file").write_text("of the host")
    until_true(20, "the mount comes", lambda: "file" in only.out("ls", "/follows/later"))
    print(only.out("sh", "-c", "cat /follows/later/file; echo; ls /stays/later"))
    subprocess.run(["umount", root / "later"], check=True)
    until_true(20, "the mount goes", lambda: "file" not in only.out("ls", "/follows/later"))
    pod.remove()
    subprocess.run(["umount", root], check=True)


def row_memory_volume():
    """emptyDir of medium Memory: one container mounts all of it, others a subPath; the kubelet's mounts as it makes them."""
    pods = WORK / "kubelet" / "pods" / "0a-1"
    volume = pods / "volumes" / "kubernetes.io~empty-dir" / "cache"
    volume.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=2777", "tmpfs", volume], check=True)

    def part(container, index):
        """What the kubelet gives to a container for subPath: a/b."""
        (volume / "a" / "b").mkdir(parents=True, exist_ok=True)
        place = pods / "volume-subpaths" / "cache" / container / str(index)
        place.mkdir(parents=True)
        subprocess.run(["mount", "--bind", volume / "a" / "b", place], check=True)
        return str(place)

    pod = Pod("memory").run()
    second = pod.start("second", ["/bin/sleep", "1000"], mounts=[api.Mount(container_path="/part", host_path=part("second", 0))])
    print(second.out("sh", "-ec", "grep -o ' /part tmpfs rw' /proc/mounts; echo of the part >/part/file; stat -c %a /part"))
    whole = pod.start("whole", ["/bin/sleep", "1000"], mounts=[api.Mount(container_path="/cache", host_path=str(volume))])
    print(whole.out("sh", "-ec", "cat /cache/a/b/file; echo of the whole >/cache/a/b/back; df -m /cache | awk 'NR > 1 { print $2 }'"))
    print(second.out("cat", "/part/back"))
    third = pod.start("third", ["/bin/sleep", "1000"], mounts=[
        api.Mount(container_path="/part", host_path=part("third", 0), readonly=True)])
    print(third.out("sh", "-ec", "cat /part/file; touch /part/x 2>/dev/null || echo read-only"))
    second.stop(timeout=0)
    second.remove()
    print(third.out("cat", "/part/file"))
    pod.remove()
    for place in (pods / "volume-subpaths" / "cache").glob("*/0"):
        subprocess.run(["umount", place], check=True)
    subprocess.run(["umount", volume], check=True)
    shutil.rmtree(pods)


def row_config_map():
    """The kubelet swaps a link to a folder of new files; who has it mounted sees the new ones."""
    root = WORK / "config-map"
    for version in "one", "two":
        (root / version).mkdir(parents=True, exist_ok=True)
        (root / version / "key").write_text(f"{version}\n")
    for name, target in ("..data", "one"), ("key", "..data/key"):
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    pod = Pod("config").run()
    container = pod.start("only", ["/bin/sleep", "1000"], mounts=[
        api.Mount(container_path="/config", host_path=str(root), readonly=True)])
    print(container.out("cat", "/config/key"), end="")
    (root / "..new").symlink_to("two")
    (root / "..new").rename(root / "..data")
    until_true(30, "the new version", lambda: container.out("cat", "/config/key") == "two\n")
    pod.remove()


def row_block_device():
    """volumeDevices: a device that may be read only, also when containerd has sent the host's numbers again with new limits."""
    image = WORK / "block-device"
    image.write_bytes(b"of the host\n".ljust(1 * MIB, b"\0"))
    disk = subprocess.run(["losetup", "--show", "-f", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        pod = Pod("device").run()
        container = pod.start("only", ["/bin/sleep", "1000"], devices=[
            api.Device(container_path="/dev/xvda", host_path=disk, permissions="r")])
        ask = "[ -b /dev/xvda ] && head -n 1 /dev/xvda; echo x 2>/dev/null >/dev/xvda || echo read-only"
        print(container.out("sh", "-c", ask), end="")
        cri.call("UpdateContainerResources", api.UpdateContainerResourcesRequest(
            container_id=container.id, linux=api.LinuxContainerResources(memory_limit_in_bytes=64 * MIB)))
        print(container.out("sh", "-c", ask), end="")
        pod.remove()
    finally:
        subprocess.run(["losetup", "-d", disk], check=True)


def ask_monitors(*request):
    """The answer of the only pod whose monitor has one: a pod without the volume in question says so."""
    for monitor in pathlib.Path("/run/caisson").glob("*/shim-monitor.sock"):
        done = subprocess.run(["curl", "-s", "-f", "--unix-socket", monitor, *request], capture_output=True, check=False)
        if done.returncode == 0:
            return done.stdout
    return sys.exit(f"WRONG: no pod answers {request}")


def volume_bytes(path):
    """(how large, how much of it used), by the pod's monitor."""
    usage = json.loads(ask_monitors(f"http://pod/direct-volume/stats?path={path}"))["usage"][0]
    require(usage["unit"] == 1, f"the volume's use is not told: {usage}")
    return usage["total"], usage["used"]


def row_direct_volume():
    """A CSI driver tells which device a volume is, and the guest mounts it: for two containers, until the last has gone."""
    told = pathlib.Path("/run/kata-containers/shared/direct-volumes")
    root, image = WORK / "direct" / "mount", WORK / "direct" / "disk"
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", image, "16M"], check=True, stdout=subprocess.DEVNULL)
    folder = told / base64.urlsafe_b64encode(str(root).encode()).decode()
    folder.mkdir(parents=True)
    (folder / "mountInfo.json").write_text(json.dumps(
        {"volume-type": "directvol", "device": str(image), "fstype": "ext4", "metadata": {"fsGroup": "2000"}, "options": ["noatime"]}))
    mounts = [api.Mount(container_path="/data", host_path=str(root))]
    pod = Pod("direct").run()
    first = pod.start("first", ["/bin/sleep", "1000"], mounts=mounts)
    seen = first.out("sh", "-c", "grep -o ' /data ext4 rw' /proc/mounts; stat -c %g /data; echo kept >/data/file")
    require(seen == " /data ext4 rw\n2000\n", f"the volume is not as told: {seen}")
    second = pod.start("second", ["/bin/sleep", "1000"], mounts=mounts)
    total, used = volume_bytes(root)
    require(12 * MIB < total < 16 * MIB and 0 < used < total, f"of a volume of 16 MiB, {used} are used of {total}")
    os.truncate(image, 40 * MIB)
    ask_monitors("-d", json.dumps({"VolumePath": str(root), "Size": 40 * MIB}), "http://pod/direct-volume/resize")
    total, _ = volume_bytes(root)
    require(total > 32 * MIB, f"a volume that has grown to 40 MiB has {total} bytes")
    first.stop(timeout=0)
    first.remove()
    require(second.out("cat", "/data/file") == "kept\n", "the second container does not see what the first one wrote")
    pod.remove()
    written = subprocess.run(["debugfs", "-R", "cat /file", image], check=True, capture_output=True, text=True).stdout
    require(written == "kept\n", "what was written is not on the device")
    require(not list(root.iterdir()), "something was written to the host's folder")
    shutil.rmtree("/run/kata-containers")


def row_shared_processes():
    """shareProcessNamespace: each sees the others' processes. kubectl debug --target: those of one."""
    see = ("sh", "-c", "ps -o args | grep -E '^/bin/sleep [1-3]{4}$' | sort")
    together = api.NamespaceOption(pid=api.POD)
    config = pod_config("together", linux=api.LinuxPodSandboxConfig(
        security_context=api.LinuxSandboxSecurityContext(namespace_options=together)))
    pod = Pod("together", config).run()
    pod.start("first", ["/bin/sleep", "1111"], linux=settings(namespace_options=together))
    second = pod.start("second", ["/bin/sleep", "2222"], linux=settings(namespace_options=together))
    print(second.out(*see), end="")
    pod.remove()
    pod = Pod("apart").run()
    first = pod.start("first", ["/bin/sleep", "1111"])
    pod.start("second", ["/bin/sleep", "2222"])
    target = api.NamespaceOption(pid=api.TARGET, target_id=first.id)
    print(pod.start("third", ["/bin/sleep", "3333"], linux=settings(namespace_options=target)).out(*see), end="")
    pod.remove()


def row_host_pid():
    """hostPID: what a container sees of others is the pod's. Process ids and the rest of the host differ."""
    node = api.NamespaceOption(pid=api.NODE)
    config = pod_config("seeing", linux=api.LinuxPodSandboxConfig(
        security_context=api.LinuxSandboxSecurityContext(namespace_options=node)))
    pod = Pod("seeing", config).run()
    pod.start("first", ["/bin/sleep", "3333"], linux=settings(namespace_options=node))
    second = pod.start("second", ["/bin/sleep", "4444"], linux=settings(namespace_options=node))
    print(second.out("sh", "-c", "ps -o args | grep -E '^/bin/sleep [34]{4}$' | sort"), end="")
    pod.remove()


def row_privileged():
    """All of what is the kernel's is there: devices, file systems, sysctls."""
    config = pod_config("mighty", linux=api.LinuxPodSandboxConfig(
        security_context=api.LinuxSandboxSecurityContext(namespace_options=APART, privileged=True)))
    pod = Pod("mighty", config).run()
    only = pod.start("only", ["/bin/sleep", "1000"], linux=settings(privileged=True))
    print(only.out("sh", "-c", """
        ls /dev/fuse /dev/loop-control
        mkdir /m && mount -t tmpfs t /m && : </dev/loop-control && sysctl -w net.ipv4.ip_forward=1"""), end="")
    pod.remove()


def row_sysctls():
    config = pod_config("tuned", linux=api.LinuxPodSandboxConfig(sysctls={"net.ipv4.ip_unprivileged_port_start": "80"}))
    pod = Pod("tuned", config).run()
    only = pod.start("only", ["/bin/sleep", "1000"])
    print(only.out("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"), end="")
    pod.remove()


def row_host_network():
    node = api.NamespaceOption(network=api.NODE)
    config = pod_config("hosted", linux=api.LinuxPodSandboxConfig(
        security_context=api.LinuxSandboxSecurityContext(namespace_options=node)), hostname="")
    pod = Pod("hosted", config).run()
    only = pod.start("only", ["/bin/sleep", "1000"], linux=settings(namespace_options=node))
    print(only.out("ls", "/sys/class/net"), end="")
    pod.remove()


def listed(what):
    """What list_everything of leaks.bash finds, as the shell finds it."""
    here = pathlib.Path(__file__).parent
    script = f'. {here}/leaks.bash; LOGS={WORK}; list_everything'
    lines = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(line for line in lines if line.startswith(what))


def come_and_go(name):
    pod = Pod(name).run()
    only = pod.start("only", ["/bin/sh", "-c", "echo hello from $HOSTNAME; exec sleep 1000"])
    only.says(f"hello from {name}")
    pod.remove()


LASTING = ("process", "mount", "interface", "qdisc", "netns", "cgroup")


def row_pods_in_sequence():
    """CLIENTS_PODS (3) one after the other; after each nothing is left."""
    before = listed(LASTING)
    for i in range(int(os.environ.get("CLIENTS_PODS", "3"))):
        come_and_go(f"seq{i}")
        until_true(30, f"nothing is left of pod {i}", lambda: listed(LASTING) == before)


def row_pods_at_once():
    """CLIENTS_PODS_AT_ONCE (2), twice."""
    count = int(os.environ.get("CLIENTS_PODS_AT_ONCE", "2"))
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for _ in pool.map(come_and_go, [f"many{i}" for i in range(2 * count)]):
            pass


def row_terminal():
    """A container with a terminal, and nobody at it."""
    run_once(["/bin/sh", "-c", "test -t 0 && test -t 1 && tty"], tty=True)


if __name__ == "__main__":
    names = globals()
    (names.get(f"row_{sys.argv[1]}") or names[sys.argv[1]])()
