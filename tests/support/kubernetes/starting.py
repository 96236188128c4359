"""The start of a container on a node: pull, configuration, process. Each can fail as on a real node."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.kubernetes import images, volumes
from tests.support.kubernetes.container import Log, Process
from tests.support.kubernetes.environment import environment
from tests.support.kubernetes.images import Image
from tests.support.kubernetes.recorder import record
from tests.support.kubernetes.records import Record
from tests.support.kubernetes.store import Store, Thing


@dataclass
class Node:
    """What a node needs to run pods. `images` may change while it runs."""

    store: Store
    folder: Path
    images: dict[str, Image]
    back_off_s: float = 1.0
    claims: Path = field(init=False)

    def __post_init__(self) -> None:
        self.claims = self.folder / "claims"


def start(node: Node, pod: Thing, one: Record, folders: dict[str, str]) -> None:
    """Start one container; where that fails, its state says why and when to try again."""
    image = _pull(node, pod, one)
    if image is None:
        return
    try:
        env = environment(node.store, pod, one.container, image)
    except volumes.NotReady as error:
        record(node.store, pod, "Failed", f"Error: {error}", "Warning", container=one.path)
        one.wait("CreateContainerConfigError", str(error), node.back_off_s)
        return
    _run(node, pod, one, image, env, volumes.mounts(one.container, folders))


def _pull(node: Node, pod: Thing, one: Record) -> Image | None:
    name = one.container["image"]
    image = images.find(node.images, name)
    if image is not None:
        text = f'Container image "{name}" already present on machine and can be accessed by the pod'
        record(node.store, pod, "Pulled", text, container=one.path)
        return image
    if one.container.get("imagePullPolicy") == "Never":
        text = f'Container image "{name}" is not present with pull policy of Never'
        record(node.store, pod, "ErrImageNeverPull", text, "Warning", container=one.path)
        one.wait("ErrImageNeverPull", text, node.back_off_s)
        return None
    why = (
        f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": '
        "pull access denied, repository does not exist or may require authorization"
    )
    if one.state.get("waiting", {}).get("reason") == "ErrImagePull":
        text = f'Back-off pulling image "{name}"'
        record(node.store, pod, "BackOff", text, container=one.path)
        record(node.store, pod, "Failed", "Error: ImagePullBackOff", "Warning", container=one.path)
        one.wait("ImagePullBackOff", f"{text}: ErrImagePull: {why}", node.back_off_s)
        return None
    record(node.store, pod, "Pulling", f'Pulling image "{name}"', container=one.path)
    record(node.store, pod, "Failed", f'Failed to pull image "{name}": {why}', "Warning", container=one.path)
    record(node.store, pod, "Failed", "Error: ErrImagePull", "Warning", container=one.path)
    one.wait("ErrImagePull", why, 0.2)
    return None


def _run(
    node: Node, pod: Thing, one: Record, image: Image, env: dict[str, str], mounts: dict[str, str]
) -> None:
    message = node.folder / pod["metadata"]["uid"] / f"{one.name}.message"
    message.parent.mkdir(parents=True, exist_ok=True)
    message.write_bytes(b"")
    one.message_file = str(message)
    mounts = mounts | {one.container.get("terminationMessagePath", "/dev/termination-log"): str(message)}

    def here(text: str) -> str:
        return images.on_this_machine(text, mounts)

    command = [here(images.expand(word, env)) for word in images.words(one.container, image)]
    env = {name: here(value) for name, value in env.items()}
    cwd = here(one.container.get("workingDir") or image.cwd)
    if not command or not shutil.which(command[0], path=env["PATH"]):
        word = command[0] if command else ""
        text = (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc "
            "create failed: unable to start container process: error during container init: exec: "
            f'"{word}": executable file not found in $PATH'
        )
        record(node.store, pod, "Failed", f"Error: {text}", "Warning", container=one.path)
        one.ended(128, "StartError", text)
        return
    record(node.store, pod, "Created", "Container created", container=one.path)
    log = Log()
    one.started(Process(command, env, cwd, log), log)
    record(node.store, pod, "Started", "Container started", container=one.path)


def last_words(one: Record) -> str:
    """The termination message: the file's, or the log's end where the container asks for that and failed."""
    text = Path(one.message_file).read_text(errors="replace")[:4096] if one.message_file else ""
    wants_log = one.container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    if text or not wants_log or not one.log:
        return text
    return b"".join(line for _, line in one.log.lines[-80:])[-2048:].decode(errors="replace")
