# SPDX-License-Identifier: Apache-2.0
"""The rate of this host's time stamp counter, which QEMU's emulation shows to its guests. A kernel that measures it by
itself may come to a third of it when the host is busy (PIT against a counter that goes on while the virtual CPU does
not run), and then its clock runs three times too fast. As a program: prints kernel_argument()."""
import ctypes
import mmap
import platform
import time

RDTSC = bytes.fromhex("0f31" "48c1e220" "4809d0" "c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
SECONDS = 0.01


def kernel_argument():
    """What tells the kernel of an emulated x86 machine the rate, or "" where it is not known."""
    if platform.machine() != "x86_64":
        return ""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(RDTSC)
        place = ctypes.c_char.from_buffer(code)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))

        def both():
            """(error, ns, ticks) at one moment, the best of several: the scheduler may come in between."""
            times = []
            for _ in range(8):
                ns, ticks = time.monotonic_ns(), read()
                times.append((time.monotonic_ns() - ns, ns, ticks))
            return min(times)

        begin = both()
        time.sleep(SECONDS)
        end = both()
        del read, place
    if begin[0] + end[0] > (end[1] - begin[1]) / 1000:
        return ""
    return f"tsc_early_khz={(end[2] - begin[2]) * 1000000 // (end[1] - begin[1])}"


if __name__ == "__main__":
    print(kernel_argument())
