"""Several gateways on one PostgreSQL, and a network between them that can be cut."""

from __future__ import annotations

import shutil
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.dev_token import private_key
from pipelines.core.config import Config
from tests.support.cluster import free_port
from tests.support.gateways import gateway_config

QUICK = {"contact_s": 3.0, "heartbeat_s": 0.2, "poll_s": 0.05}


def member_config(root: Path, name: str, database: str, **settings: Any) -> Config:
    """A gateway with a home of its own. All share the database, the keys and the issuer of tokens.

    The database has its tables.
    """
    home = root / name
    home.mkdir(exist_ok=True)
    private_key(root / "dev")
    shutil.copytree(root / "dev", home / "gateway" / "dev", dirs_exist_ok=True)
    config = gateway_config(home, **(QUICK | {"port": free_port()} | settings))
    return config.model_copy(
        update={"ledger_url": database, "journal_url": database, "keys": str(root / "keys")}
    )


class Cable:
    """A way to a server that can be cut: open connections break, and new ones are refused."""

    def __init__(self, target: int) -> None:
        self._target, self.is_cut = target, False
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url: str) -> str:
        """The URL by this way."""
        return sa.make_url(url).set(port=self.port).render_as_string()

    def cut(self) -> None:
        self.is_cut = True
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def mend(self) -> None:
        self.is_cut = False

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self.is_cut:
                near.close()
                continue
            with suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
