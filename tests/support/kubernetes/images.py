"""The images that nodes can pull, and how a container's words become a process on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """What stands for an image: `path` (folders before the system's), working directory, environment."""

    path: str = ""
    cwd: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


def repository(reference: str) -> str:
    """`registry/team/name` of `registry/team/name:tag@sha256:...`."""
    return re.sub(r":[^/:]+$", "", reference.partition("@")[0])


def find(images: dict[str, Image], reference: str) -> Image | None:
    """The image under its whole reference, or under its name without tag and digest."""
    return images.get(reference) or images.get(repository(reference))


def expand(text: str, env: dict[str, str]) -> str:
    """Replace `$(NAME)`; `$$(NAME)` stays as `$(NAME)`, and a name that is not set stays as it is."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return env.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]+)\)", value, text)


def on_this_machine(text: str, mounts: dict[str, str]) -> str:
    """The text with each mount's path replaced by the folder that stands for it.

    In one pass: such a folder may itself lie below a path that is mounted, such as /tmp.
    """
    folders = {path.rstrip("/"): folder for path, folder in mounts.items()}
    if not folders:
        return text
    paths = "|".join(re.escape(path) for path in sorted(folders, key=len, reverse=True))
    inside = rf"(?<![\w./-])({paths})(?=/|$|[^\w.-])"
    return re.sub(inside, lambda found: folders[found[1]], text)


def words(container: dict[str, Any], image: Image) -> list[str]:
    """The command of a container: its own, or the image's."""
    command = list(container.get("command") or image.entrypoint)
    if container.get("args") is not None:
        return command + list(container["args"])
    return command if container.get("command") else command + list(image.cmd)
