# SPDX-License-Identifier: Apache-2.0
"""The outer virtual machine of the laboratory: its namespaces, QEMU and virtiofsd, and the streams between it and us."""
import collections
import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

import tsc

CONSOLE_KEPT = 1 << 16
BUFFERED_MAX = 64 << 20  # of output that our own reader does not take; then the command waits
NVME_BYTES = 64 << 20
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
PORTS = ("stdin", "stdout", "stderr", "status")  # in the order of supervise.c
FROM_VM = ("stdout", "stderr", "status", "console", "monitor")  # the streams that are read all the time
NUDGE_FIRST, NUDGE_EVERY = 15.0, 1.0  # seconds; see nudge()


class Broken(Exception):
    """The laboratory itself does not work; the command may or may not have run."""


class TimedOut(Exception):
    """The time was over."""


# ---- namespaces ----

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x8000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1


class MountAttr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def succeed(what, result):
    if result < 0:
        raise Broken(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, flags):
    succeed(f"mount {target}", LIBC.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None))


def mount_setattr(target, flags, attr):
    succeed(f"mount_setattr {target}", LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), flags,
                                                    ctypes.byref(attr), ctypes.c_size_t(ctypes.sizeof(attr))))


def isolate(output):
    """From here on this process sees everything read-only but the folder `output`, has no network, and its children end
    when it does. Returns the descriptor that keeps them alive."""
    if os.geteuid() != 0:
        raise Broken("must be root, for namespaces and virtiofsd")
    succeed("unshare", LIBC.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET))
    mount("none", "/", MS_REC | MS_PRIVATE)
    if output:
        mount(output, output, MS_BIND)
    mount_setattr("/", AT_RECURSIVE, MountAttr(attr_set=MOUNT_ATTR_RDONLY))
    if output:
        mount_setattr(output, 0, MountAttr(attr_clr=MOUNT_ATTR_RDONLY))
    wait_end, keep_end = os.pipe()
    if os.fork() == 0:
        # Process 1 of the new namespace: when it ends, the kernel ends all others there.
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        os.close(keep_end)
        os.read(wait_end, 1)
        os._exit(0)
    os.close(wait_end)

    def end():
        os.close(keep_end)
        try:
            while True:  # the first of them only ends when all others have been waited for
                os.waitpid(-1, 0)
        except ChildProcessError:
            pass

    return end


# ---- what runs ----


def memory_file(name, data=b"", size=None):
    """A file without a name in memory that QEMU opens by the returned path."""
    fd = os.memfd_create(name, 0)
    os.truncate(fd, size or len(data))
    with open(os.dup(fd), "wb") as f:
        f.write(data)
    return fd, f"/proc/self/fd/{fd}"


class Machine:
    """QEMU and its virtiofsd processes. streams: our ends of the ports' sockets, of the console, and of what the
    programs themselves have to say."""

    def __init__(self):
        self.processes, self.streams, self.pass_fds = [], {}, []
        self.noise, self.noise_end = os.pipe()
        os.set_blocking(self.noise, False)

    def start(self, *command):
        self.processes.append(subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=self.noise_end, stderr=self.noise_end,
            pass_fds=self.pass_fds))
        for fd in self.pass_fds:
            os.close(fd)
        self.pass_fds = []

    def share(self, tag, source, cache):
        """Start virtiofsd; returns QEMU's arguments. QEMU may connect before virtiofsd is ready."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"\0{tag}")
        listener.listen(1)
        self.pass_fds.append(listener.detach())
        self.start(VIRTIOFSD, f"--fd={self.pass_fds[0]}", "-f", "-o", f"source={source}", "-o", f"cache={cache}",
                   "-o", "sandbox=chroot", "-o", "log_level=err")
        return ["-chardev", f"socket,id={tag},path={tag},abstract=on",
                "-device", f"vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=512"]

    def stream(self, name):
        """A socket pair; returns the chardev that has one end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.streams[name] = ours
        self.pass_fds.append(theirs.detach())
        return ["-chardev", f"socket,id={name},fd={self.pass_fds[-1]}"]

    def file(self, name, data=b"", size=None):
        fd, path = memory_file(name, data, size)
        self.pass_fds.append(fd)
        return path


def machine_arguments(options):
    """QEMU's machine and the kernel's command line for an architecture. What the emulation need not do (self-tests,
    five levels of page tables, decompression) makes up most of the start."""
    quiet = ("quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on cryptomgr.notests=1 audit=0 "
             "sysrq_always_enabled=1 " + options.append)
    if options.arch == "aarch64":
        return (["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3,memory-backend=mem", "-cpu", "max"],
                f"console=ttyAMA0 {quiet}")
    q35 = "q35,hpet=off,memory-backend=mem" + (",kernel-irqchip=split" if options.iommu else "")
    iommu = ["-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"] if options.iommu else []
    quiet += f" reboot=t no_timer_check tsc=reliable {tsc.kernel_argument()}" + (" intel_iommu=on" if options.iommu else "")
    return (["qemu-system-x86_64", "-M", q35, *iommu, "-cpu", "max,+svm,la57=off"], f"console=ttyS0 {quiet}")


def boot(machine, options, kernel, initramfs):
    """Start everything. kernel: its folder; initramfs: its bytes."""
    command, cmdline = machine_arguments(options)
    shares = machine.share("host", "/", "always")
    if options.output:
        shares += machine.share("output", options.output, "auto")
    # Room for a second CPU, even if none comes: else QEMU leaves out the guest's memory barriers, which its rings with
    # virtiofsd need: qemu_argv.c, add_cpus().
    elf = kernel / "vmlinux"  # x86_64: spares the guest the decompression
    command += ["-accel", "tcg,thread=multi", "-smp", f"{options.smp},maxcpus={max(options.smp, 2)}", "-m", options.memory,
                "-object", f"memory-backend-memfd,id=mem,size={options.memory}M,share=on",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", elf if elf.exists() else kernel / "vmlinuz", "-append", cmdline,
                "-initrd", machine.file("initramfs", initramfs),
                *machine.stream("console"), "-serial", "chardev:console", *shares, "-device", "virtio-serial-pci",
                *machine.stream("monitor"), "-mon", "chardev=monitor,mode=control"]
    for number, port in enumerate(PORTS, 1):
        command += [*machine.stream(port), "-device", f"virtserialport,chardev={port},nr={number},name={port}"]
    if options.iommu:
        command += ["-drive", f"if=none,id=scratch,format=raw,file={machine.file('nvme', size=NVME_BYTES)}",
                    "-device", "nvme,serial=scratch,drive=scratch"]
    machine.start(*command)
    os.close(machine.noise_end)


# ---- the streams ----


class Output:
    """Bytes from the VM on their way to one of our descriptors. A write of up to PIPE_BUF bytes to a pipe that poll()
    calls writable does not block."""

    def __init__(self, fd):
        self.fd, self.buffer = fd, bytearray()

    def write_some(self):
        del self.buffer[:os.write(self.fd, self.buffer[:select.PIPE_BUF])]


class Conversation:
    """Carries the streams until the VM tells the status of the command."""

    def __init__(self, machine, options, deadline):
        self.machine, self.options, self.deadline = machine, options, deadline
        self.outputs = {"stdout": Output(1), "stderr": Output(2)}
        self.console = bytearray()
        self.status = bytearray()
        self.ended = False
        self.input = bytearray(b"\n")  # see feed() in supervise.c
        self.input_open = True
        self.next_nudge = time.monotonic() + NUDGE_FIRST if options.arch == "x86_64" else float("inf")

    def receive(self, name):
        """Take what has come on a stream; false when there is nothing, or it has ended."""
        source = self.machine.streams.get(name)
        if source is None:
            return False
        try:
            data = source.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True  # QEMU closes them only when it ends
            return False
        if name in self.outputs:
            self.outputs[name].buffer += data
        elif name == "status":
            self.status += data
        elif name == "console":
            self.log(data)
        return True

    def log(self, data):
        self.console += data
        del self.console[:-CONSOLE_KEPT]
        if self.options.verbose:
            os.write(2, data)

    def read_noise(self):
        try:
            while data := os.read(self.machine.noise, 1 << 16):
                self.log(data)
        except BlockingIOError:
            pass

    def feed(self):
        """Pass on our standard input."""
        port = self.machine.streams["stdin"]
        if not self.input and self.options.stdin:
            self.input += os.read(0, 1 << 16)
        if self.input:
            try:
                del self.input[:port.send(self.input)]
            except BlockingIOError:
                return
        elif self.input_open:
            port.shutdown(socket.SHUT_WR)
            self.input_open = False

    def wait(self):
        """Wait until something can be done."""
        poller = select.poll()
        for name in FROM_VM:
            if name not in self.outputs or len(self.outputs[name].buffer) < BUFFERED_MAX:
                poller.register(self.machine.streams[name], select.POLLIN)
        poller.register(self.machine.noise, select.POLLIN)
        for output in self.outputs.values():
            if output.buffer:
                poller.register(output.fd, select.POLLOUT)
        if self.input_open:
            if self.input or not self.options.stdin:
                poller.register(self.machine.streams["stdin"], select.POLLOUT)
            else:
                poller.register(0, select.POLLIN)
        now = time.monotonic()
        if now >= self.deadline:
            raise TimedOut
        return {fd for fd, _ in poller.poll((min(self.deadline, max(self.next_nudge, now)) - now) * 1000)}

    def command(self, name, **arguments):
        """Tell QEMU's monitor, whose answers do not matter."""
        self.machine.streams["monitor"].send(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")

    def nudge(self):
        """An interrupt now and then, of the keyboard: QEMU's SVM sets and clears bits of a CPU's pending interrupts without
        its lock, and loses one that another thread sets at that moment (seen in 7.2). It stays in the local APIC, which
        tells the CPU again only when the next one comes. Without it the lost timer is the last: a guest that spins has
        the CPU for ever."""
        if time.monotonic() < self.next_nudge:
            return
        self.next_nudge = time.monotonic() + NUDGE_EVERY
        with contextlib.suppress(OSError):
            self.command("send-key", keys=[{"type": "qcode", "data": "shift"}])

    def step(self):
        ready = self.wait()
        self.nudge()
        for name in FROM_VM:
            if self.machine.streams[name].fileno() in ready:
                self.receive(name)
        if self.machine.noise in ready:
            self.read_noise()
        if self.input_open and {0, self.machine.streams["stdin"].fileno()} & ready:
            self.feed()
        for output in self.outputs.values():
            if output.buffer and output.fd in ready:
                output.write_some()

    def run(self):
        """The status of the command."""
        with contextlib.suppress(OSError):  # it has ended, which the other streams tell
            self.command("qmp_capabilities")
        while not self.status.endswith(b"\n") and not self.ended:
            self.step()
        for name in FROM_VM:  # what was there before the end
            while self.receive(name):
                pass
        while any(o.buffer for o in self.outputs.values()):
            for output in self.outputs.values():
                while output.buffer:
                    output.write_some()
        if not self.status.endswith(b"\n"):
            self.read_noise()
            raise Broken("the virtual machine ended before the command did")
        return int(self.status)

    # ---- when it takes too long ----

    def collect(self, seconds):
        """What comes on the console in that time."""
        end, got = time.monotonic() + seconds, bytearray()
        console = self.machine.streams["console"]
        while (left := end - time.monotonic()) > 0:
            if select.select([console], [], [], left)[0]:
                data = console.recv(1 << 16)
                if not data:
                    break
                got += data
        return got.decode(errors="replace").replace("\r", "")

    def sysrq(self, key, seconds=3):
        """Ask the kernel by a break on its console and a key; returns what it says."""
        self.command("chardev-send-break", id="console")
        time.sleep(0.5)
        self.machine.streams["console"].send(key)
        return self.collect(seconds)

    def what_it_does(self):
        """A line for each CPU of the VM and for each of its processes that waits inside the kernel."""
        try:
            self.sysrq(b"8", 1)  # all levels of messages
            text = self.sysrq(b"l") + self.sysrq(b"w")
        except OSError as e:
            return f"lab: {e}\n"
        # "[ 12.3] CPU: 1 PID: 7 Comm: x", "task:x state:D … pid:7", then frames "[ 12.3]  name+0x1/0x2"
        tasks = re.split(r"(?=CPU: \d+ PID: \d+ Comm: |task:\S+ +state:)", text)[1:]
        out = []
        for task in tasks:
            head = re.match(r"CPU: \d+ PID: \d+ Comm: \S+|task:\S+ +state:\S", task).group()
            frames = re.findall(r"^(?:\[ *[\d.]+\])? (?:RIP: \w+:)? *(\w[\w.]*)\+0x", task, re.M)
            if "asm_common_interrupt" in frames:  # that of sysrq itself
                frames = frames[frames.index("asm_common_interrupt") + 1:] or ["user code"]
            out.append(f"lab: {' '.join(head.split())}: {' < '.join(frames[:12])}\n")
        return "".join(out) or "lab: its kernel does not answer\n"

    def last_lines(self, count=50):
        lines = bytes(self.console).decode(errors="replace").replace("\r", "").splitlines()
        return "".join(f"lab: | {line}\n" for line in lines[-count:])
