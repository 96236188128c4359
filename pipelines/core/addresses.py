"""What is an address of a server."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def is_server(url: str, schemes: Collection[str] = ("http", "https")) -> bool:
    """Whether it names a host of one of the schemes, with a port that exists if it names one."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in schemes
            and bool(parts.hostname)
            and parts.port != 0
            and not set(url) & set(" \t\r\n")
        )
    except ValueError:  # half an IPv6 address, or a port that is no number or too large
        return False


def is_api(url: str) -> bool:
    """Whether paths of an HTTP API can be put behind it."""
    return is_server(url) and not set(url) & set("?#")
