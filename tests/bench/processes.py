# SPDX-License-Identifier: Apache-2.0
"""What measurements ask of /proc."""
import pathlib


def descendants(pid):
    """The processes that descend from it and still live."""
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))
        except OSError:
            pass
