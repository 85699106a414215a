"""What lies below a folder: which file system, and whether other machines can see it."""

from __future__ import annotations

import functools
from pathlib import Path

ENGINE = ".engine"  # folder below --out and --cache with what an engine needs: its presence says that one was used
NETWORK = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "fuse.glusterfs", "fuse.sshfs", "afs",
           "orangefs", "9p", "wekafs", "panfs")
OF_ONE_MACHINE = ("tmpfs", "ramfs", "overlay")


@functools.lru_cache(maxsize=256)
def _mount(place: Path) -> tuple[str, str]:
    import psutil

    found = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    part = max(found, key=lambda part: len(part.mountpoint), default=None)
    return (part.fstype, part.opts) if part else ("unknown", "")


def file_system(folder: Path) -> tuple[str, str]:
    """Type and mount options of the file system that ``folder``, or where it would be made, lies on."""
    place = folder.resolve()
    while not place.exists() and place != place.parent:
        place = place.parent
    return _mount(place)


def is_network(folder: Path) -> bool:
    return file_system(folder)[0] in NETWORK


def cautions(folder: Path) -> list[str]:
    """What speaks against ``folder`` as a place that several machines work in; nothing is proved by it."""
    kind, options = file_system(folder)
    has = set(options.split(","))
    found = []
    if kind in OF_ONE_MACHINE:
        found.append(f"{folder} is on {kind}, which one machine, or one container, has for itself")
    if kind.startswith("nfs") and has & {"nolock", "local_lock=all", "local_lock=flock"}:
        found.append(f"{folder} is on NFS mounted with locks that hold on one machine only: leases alone will do")
    if kind == "lustre" and "flock" not in has:
        found.append(f"{folder} is on Lustre mounted without flock: leases alone will do")
    return found
