# SPDX-License-Identifier: Apache-2.0
"""The monitors that tests/bench/vmm compares, and how each is told to run a guest."""
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import time
import tty
from functools import partial

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = TOP / os.environ.get("BUILD", "build")
GUEST = pathlib.Path(os.environ.get("CAISSON_CACHE") or TOP / ".cache" / "guest") / platform.machine()
KERNEL, BZIMAGE = GUEST / "vmlinux", GUEST / "vmlinuz"
MEMORY_MIB = 256
WORDS = "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check i8042.noaux i8042.nomux i8042.dumbkbd cryptomgr.notests"
GUEST_CID = 52
LIMIT = 300  # seconds for a guest's life


class Devices:
    """What a guest has besides its console: a disk's file, a tap, a hybrid vsock's socket (QEMU, kvmtool: the kernel's)."""

    def __init__(self, disk=None, tap=None, vsock=None):
        self.disk, self.tap, self.vsock = disk, tap, vsock


def machine(initrd, words, devices):
    """In Firecracker's dialect: what a configuration file says, and its API section by section."""
    described = {
        "boot-source": {"kernel_image_path": str(KERNEL), "initrd_path": str(initrd), "boot_args": words},
        "drives": [], "machine-config": {"vcpu_count": 1, "mem_size_mib": MEMORY_MIB}}
    if devices.disk:
        described["drives"] = [{"drive_id": "disk", "path_on_host": str(devices.disk), "is_root_device": False,
                                "is_read_only": False}]
    if devices.tap:
        described["network-interfaces"] = [{"iface_id": "eth0", "host_dev_name": devices.tap}]
    if devices.vsock:
        described["vsock"] = {"guest_cid": GUEST_CID, "uds_path": str(devices.vsock)}
    return described


# The command of each: (program, work folder, initramfs, the kernel's words, devices).


def configured(program, work, initrd, words, devices, flags=()):
    """Of Firecracker's dialect, by configuration file."""
    path = work / "machine.json"
    path.write_text(json.dumps(machine(initrd, words, devices)))
    return [program, *flags, "--no-api", "--config-file", path]


def qemu(program, _, initrd, words, devices, name, transport):
    more = []
    if devices.disk:
        more += ["-drive", f"if=none,id=disk,format=raw,file={devices.disk}", "-device", f"virtio-blk-{transport},drive=disk"]
    if devices.tap:
        more += ["-netdev", f"tap,id=net,ifname={devices.tap},script=no,downscript=no",
                 "-device", f"virtio-net-{transport},netdev=net"]
    if devices.vsock:
        more += ["-device", f"vhost-vsock-{transport},guest-cid={GUEST_CID}"]
    return [program, "-M", name, "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-m", MEMORY_MIB, "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", KERNEL, "-initrd", initrd, *more,
            "-append", words]


def cloud_hypervisor(program, _, initrd, words, devices):
    more = []
    if devices.disk:
        more += ["--disk", f"path={devices.disk},image_type=raw"]
    if devices.tap:
        more += ["--net", f"tap={devices.tap}"]
    if devices.vsock:
        more += ["--vsock", f"cid={GUEST_CID},socket={devices.vsock}"]
    return [program, "--kernel", KERNEL, "--initramfs", initrd, "--memory", f"size={MEMORY_MIB}M", "--cpus", "boot=1", "--serial",
            "tty", "--console", "off", *more, "--cmdline", words]


def kvmtool(program, _, initrd, words, devices):
    more = ["-n", f"mode=tap,tapif={devices.tap}" if devices.tap else "mode=none"]
    if devices.disk:
        more += ["-d", devices.disk]
    if devices.vsock:
        more += ["--vsock", GUEST_CID]
    return [program, "run", "-k", BZIMAGE, "-i", initrd, "-m", MEMORY_MIB, "-c", 1, "--console", "serial", *more, "-p", words]


class Monitor:
    """One monitor: its program and command; how a guest ends it for good; how it is saved (snapshots.py), if it is."""

    def __init__(self, name, program, command, end="reboot", words="reboot=k", saved=None):
        self.name, self.program, self.command = name, program, command
        self.end, self.words, self.saved = end, words, saved

    def run(self, work, initrd, action, devices=None):
        words = f"{WORDS} {self.words} do={action}"
        return [str(w) for w in self.command(self.program, work, initrd, words, devices or Devices())]


def monitors():
    """Those that are here; ours first."""
    ours = subprocess.run([TOP / "scripts/built-path", BUILD, "caisson-vmm"], check=True, capture_output=True, text=True)
    q = "qemu-system-x86_64"
    program = ours.stdout.strip()
    found = [Monitor("caisson-vmm", program, configured, saved="dialect"),
             Monitor("caisson-vmm, PCI", program, partial(configured, flags=["--enable-pci"])),
             Monitor("QEMU microvm", q, partial(qemu, name="microvm,rtc=on", transport="device"), words="reboot=t"),
             Monitor("QEMU q35", q, partial(qemu, name="q35", transport="pci"), words="reboot=t")]

    def other(variable, program):
        return os.environ.get(variable) or shutil.which(program)

    if path := other("CAISSON_TEST_FIRECRACKER", "firecracker"):
        found.append(Monitor("Firecracker", path, configured, saved="dialect"))
    if path := other("CAISSON_TEST_CLH", "cloud-hypervisor"):
        found.append(Monitor("Cloud Hypervisor", path, cloud_hypervisor, end="poweroff", saved="clh"))
    if path := other("CAISSON_TEST_KVMTOOL", "lkvm"):
        found.append(Monitor("kvmtool", path, kvmtool))
    return found


class Boot:
    """A monitor that runs, read until its guest is up."""

    def __init__(self, command):
        keyboard, stdin = os.openpty()  # Cloud Hypervisor reads from terminals only
        tty.setraw(stdin)
        self.keyboard = keyboard
        self.start = time.monotonic()
        self.p = subprocess.Popen(["timeout", "-k", "1", str(LIMIT), *map(str, command)], stdin=stdin,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, start_new_session=True)
        os.close(stdin)
        self.out = b""

    def until(self, text):
        """Seconds from the start until it was printed; None: it ended before."""
        while text not in self.out:
            chunk = os.read(self.p.stdout.fileno(), 65536)
            if not chunk:
                return None
            self.out += chunk
        return time.monotonic() - self.start

    def until_line(self, pattern):
        """What matched a whole line of the output, of bytes that can be read; None: it ended before."""
        while not (found := re.search(pattern + r"\r?\n", self.out.decode(errors="replace"), re.M)):
            chunk = os.read(self.p.stdout.fileno(), 65536)
            if not chunk:
                return None
            self.out += chunk
        return found

    def end(self):
        """Seconds from the start until the monitor has gone."""
        while chunk := os.read(self.p.stdout.fileno(), 65536):
            self.out += chunk
        self.p.wait()
        os.close(self.keyboard)
        return time.monotonic() - self.start

    def type(self, data):
        """On its standard input, which is the guest's serial port."""
        os.write(self.keyboard, data)

    def monitor(self):
        """Its process: the child of timeout."""
        return int(pathlib.Path(f"/proc/{self.p.pid}/task/{self.p.pid}/children").read_text().split()[0])

    def kill(self):
        os.kill(self.monitor(), 9)
        self.end()
