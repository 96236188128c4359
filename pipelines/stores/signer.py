"""Ed25519 signatures over decision records. The key pair is made on first use, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from filelock import FileLock

from pipelines.core.errors import InputError


class Signer:
    """Signs with `<folder>/signing.key` (PEM, 0600) and verifies with `<folder>/signing.pub`."""

    def __init__(self, folder: Path) -> None:
        self._private, self._public = folder / "signing.key", folder / "signing.pub"

    def sign(self, data: bytes) -> str:
        """Signature (hex) of bytes."""
        self._make_once()
        key = serialization.load_pem_private_key(self._private.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return key.sign(data).hex()

    def is_valid(self, data: bytes, signature: str) -> bool:
        """True when the signature fits the bytes. Raises InputError without a public key."""
        if not self._public.exists():
            raise InputError(f"the public key {self._public}", "nothing", "Restore it from your backup.")
        key = serialization.load_pem_public_key(self._public.read_bytes())
        assert isinstance(key, Ed25519PublicKey)
        try:
            key.verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _make_once(self) -> None:
        self._private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._private.with_suffix(".lock")):
            if self._private.exists() and self._public.exists():
                return
            key = Ed25519PrivateKey.generate()
            secret = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self._public.write_bytes(public)
            partial = self._private.with_suffix(".partial")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secret)
            partial.rename(self._private)  # last: a kill before this line leaves no half-made pair in use
