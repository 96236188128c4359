"""Open a file whether it is compressed or not. The first bytes say which, never the name alone."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import zstandard

from pipelines.core.errors import InputError

PACKINGS = {
    rb"\x1f\x8b": "gzip",
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": "bzip2",
    rb"\xfd7zXZ\x00": "xz",
    rb"\x28\xb5\x2f\xfd": "zstandard",
}
PACKED_BYTES = 1 << 16  # read at once
SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def packing_of(file: Path) -> str | None:
    """The name of the compression, or None."""
    with file.open("rb") as opened:
        head = opened.read(16)
    return next((name for magic, name in PACKINGS.items() if re.match(magic, head)), None)


@contextmanager
def unpacked(file: Path, name: str) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked. Raises InputError where they are damaged, also while they are read."""
    packing = packing_of(file)
    with _OPEN[packing](file) as opened:
        try:
            yield opened
        except BROKEN as error:
            if packing is None:
                raise
            why = str(error) or type(error).__name__
            raise InputError(
                f"{name} is damaged: its {packing} data cannot be unpacked ({why}).",
                "Deliver the file again, whole.",
            ) from error


def plain_name(name: str) -> str:
    """A file's name without the ending of its compression."""
    lower = name.lower()
    ending = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    return name[: len(name) - len(ending)]


class _Zstandard(io.RawIOBase):
    """The unpacked bytes of all frames. Unlike the library's reader it says if the last one is cut off."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        self._packed, self._ready = b"", b""
        self._frame, self._started = _new_frame(), False

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._ready and self._fill():
            pass
        count = min(len(target), len(self._ready))
        target[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def _fill(self) -> bool:
        """Unpack the next block; False at the end."""
        packed = self._packed or self._file.read(PACKED_BYTES)
        self._packed = b""
        if not packed:
            if not self._frame.eof and self._started:
                raise EOFError("the last frame is cut off")
            return False
        if self._frame.eof:
            self._frame = _new_frame()
        self._started = True
        self._ready = self._frame.decompress(packed)
        self._packed = self._frame.unused_data
        return True


def _new_frame() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def _zstandard(file: Path) -> IO[bytes]:
    return io.BufferedReader(_Zstandard(file))


_OPEN: dict[str | None, Any] = {
    None: lambda file: file.open("rb"),
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
    "zstandard": _zstandard,
}
