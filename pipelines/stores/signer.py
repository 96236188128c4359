"""Ed25519 signatures of decisions. The key pair is made on first use, readable by its owner only."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.keys import make_once


def open_signer(config: Config) -> Signer:
    """The signing keys of a configuration."""
    return Signer(config.keys_folder)


class Signer:
    """Signs with `<folder>/signing.key` (PEM, 0600) and verifies with `<folder>/signing.pub`."""

    def __init__(self, folder: Path) -> None:
        self._private, self._public = folder / "signing.key", folder / "signing.pub"

    def sign(self, data: bytes) -> str:
        """Signature (hex) of bytes."""
        self.make_once()
        return self._key().sign(data).hex()

    def is_valid(self, data: bytes, signature: str) -> bool:
        """Whether a signature (hex) fits the bytes. Raises InputError without a public key."""
        if not self._public.exists():
            raise InputError(f"There is no public key at {self._public}.", "Restore it from your backup.")
        key = serialization.load_pem_public_key(self._public.read_bytes())
        assert isinstance(key, Ed25519PublicKey)
        try:
            key.verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError):
            return False
        return True

    def make_once(self) -> None:
        """Make the key pair where it is missing."""
        if not self._private.exists():
            secret = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            make_once(self._private, secret)
        if not self._public.exists():  # derived from the private key, so a lost one never needs another pair
            public = (
                self._key()
                .public_key()
                .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
            make_once(self._public, public)

    def _key(self) -> Ed25519PrivateKey:
        key = serialization.load_pem_private_key(self._private.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return key
