# SPDX-License-Identifier: Apache-2.0
"""What measurements ask of /proc."""
import pathlib
import re

GUEST_MEMORY = 16 << 20  # a mapping of so much is the guest's


class Memory:
    """Of a process, in MiB: pss, private; without what may be the guest's memory: own_pss, own_private.

    Guest memory is what is mapped in pieces of 16 MiB and more. Where large pages were asked for in a part of it only (hg),
    the kernel tells it as several mappings that touch; they count as one here.
    """

    def __init__(self, smaps):
        areas = []
        for head, text in re.findall(r"^([0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+)(.*?)(?=^[0-9a-f]+-|\Z)", smaps, re.M | re.S):
            span, flags, *_, inode = head.split()
            start, end = (int(s, 16) for s in span.split("-"))
            pss, private = (sum(int(n) for n in re.findall(rf"^{what}: +(\d+)", text, re.M)) for what in ("Pss", r"Private_\w+"))
            large = bool(re.search(r"^VmFlags:.* hg\b", text, re.M))
            last = areas[-1] if areas else None
            if last and (last["end"], last["kind"], last["large"]) == (start, (flags, inode), not large):
                last["pss"], last["private"] = last["pss"] + pss, last["private"] + private
                last["end"], last["large"] = end, large
            else:
                areas.append({"start": start, "end": end, "kind": (flags, inode), "large": large, "pss": pss, "private": private})
        own = [a for a in areas if a["end"] - a["start"] < GUEST_MEMORY]
        self.pss, self.private = (sum(a[what] for a in areas) / 1024 for what in ("pss", "private"))
        self.own_pss, self.own_private = (sum(a[what] for a in own) / 1024 for what in ("pss", "private"))


def memory_of(pid):
    return Memory(pathlib.Path(f"/proc/{pid}/smaps").read_text())


def descendants(pid):
    """The processes that descend from it and still live."""
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))
        except OSError:
            pass
