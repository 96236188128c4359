"""The parts of the double together: store, API, controller, server; their start and their end."""

from __future__ import annotations

import base64
import secrets
import threading
from pathlib import Path

import yaml

from tests.support.kubernetes.api import Api
from tests.support.kubernetes.certificates import server_context
from tests.support.kubernetes.controller import Controller
from tests.support.kubernetes.images import Image
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.resources import PODS, Resource
from tests.support.kubernetes.server import Server
from tests.support.kubernetes.starting import Node
from tests.support.kubernetes.store import Store


class Machine:
    """Runs between `start` and `stop`. `workers`: the thread of each pod by its UID."""

    def __init__(self, folder: Path, images: dict[str, Image], resources: list[Resource]) -> None:
        self.folder = folder
        self.store = Store()
        self.workers: dict[str, PodWorker] = {}
        self.api = Api(self.store, resources, self.workers)
        node = Node(self.store, folder, images)
        self.controller = Controller(
            node, resources, self.workers, lambda pod: self.api.writer.admit(PODS, pod)
        )
        context, self._certificate = server_context(folder)
        self.server = Server(self.api, context)

    def start(self) -> None:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.controller.start()

    def stop(self) -> None:
        """End every process. Raises what went wrong inside the double."""
        self.server.closing.set()
        self.controller.ended.set()
        with self.store.changed:
            self.store.changed.notify_all()
        self.controller.join(10)
        workers = list(self.workers.values())
        for worker in workers:
            worker.gone.set()
        for worker in workers:
            worker.join(10)
        self.server.shutdown()
        self.server.server_close()
        for error in [self.controller.error, *(worker.error for worker in workers)]:
            if error:
                raise error

    def write_kubeconfig(self, name: str, user: str) -> Path:
        """A kubeconfig with a new token of this user; an empty user may do everything."""
        token = secrets.token_urlsafe(24)
        self.server.users[token] = user
        authority = base64.b64encode(self._certificate).decode()
        cluster = {"server": self.server.url, "certificate-authority-data": authority}
        context = {"cluster": "double", "user": "double", "namespace": "default"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "double", "cluster": cluster}],
            "users": [{"name": "double", "user": {"token": token}}],
            "contexts": [{"name": "double", "context": context}],
            "current-context": "double",
        }
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(document))
        return file
