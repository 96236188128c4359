"""File systems by URI (fsspec). S3 is asked patiently, and its errors become a sentence with a remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from pipelines.core.errors import InputError, MachineError, NightshiftError, UnavailableError

ATTEMPTS = 10  # of one request; the waits between them double up to 20 s, together about 80 s
S3 = frozenset({"s3", "s3a"})
REFUSED = frozenset(
    {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
)
ELSEWHERE = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
BUSY = frozenset(
    {"SlowDown", "503", "ServiceUnavailable", "InternalError", "500", "502", "504", "RequestTimeout", "409"}
)
AWAY = "Away"  # nobody answered
NOT_SO = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})  # of a conditional put


def file_system(uri: str, keep_listings: bool = False) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. On S3, listings are asked anew unless they are kept."""
    if not is_s3(uri):
        return fsspec.core.url_to_fs(uri)
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", ATTEMPTS))
    retries = {"mode": os.environ.get("AWS_RETRY_MODE", "standard"), "max_attempts": attempts}
    fs, path = fsspec.core.url_to_fs(
        uri, use_listings_cache=keep_listings, config_kwargs={"retries": retries}
    )
    fs.retries = 3  # of s3fs itself, each with all attempts: for answers that break off
    return fs, path


def is_s3(uri: str) -> bool:
    """Whether a URI names a place on S3, or on a store that speaks its protocol."""
    return uri.partition("://")[0] in S3


@contextmanager
def told(uri: str, setting: str) -> Iterator[None]:
    """Turn S3's errors into one sentence that names the setting and the bucket.

    FileNotFoundError stays what it is, unless the bucket itself is missing.
    """
    try:
        yield
    except NightshiftError:
        raise
    except _faults(uri) as error:
        if known := in_words(error, uri, setting):
            raise known from error
        raise


def _faults(uri: str) -> tuple[type[BaseException], ...]:
    """What can be raised where a URI is read or written; libraries of S3 take a second to import."""
    if not is_s3(uri):
        return ()
    from botocore.exceptions import BotoCoreError, ClientError
    from s3fs.core import S3_RETRYABLE_ERRORS

    return (OSError, BotoCoreError, ClientError, *S3_RETRYABLE_ERRORS)


def in_words(error: BaseException, uri: str, setting: str) -> NightshiftError | None:
    """The sentence for an error of S3; None for one that is not about S3."""
    bucket, code = uri.partition("://")[2].partition("/")[0], code_of(error)
    if code == "NoSuchBucket":
        problem = f"There is no bucket {bucket}, which {setting} names ({uri})."
        return InputError(problem, f"Create the bucket, or correct {setting}.")
    if code in REFUSED:
        problem = f"The object store refused access to {uri}, which {setting} names ({code})."
        return InputError(problem, "Let the key or the role list, read, write and delete below that address.")
    if code == "RequestTimeTooSkewed":
        problem = (
            f"The object store of {setting} ({uri}) refused a request, because this machine's clock is off."
        )
        return MachineError(problem, "Set the machine's clock by a time server.")
    if code in ELSEWHERE:
        problem = f"The bucket {bucket}, which {setting} names, lies in another region ({code})."
        return InputError(problem, "Set AWS_DEFAULT_REGION to the bucket's region.")
    if code == "NoCredentials":
        problem = f"No credentials for {uri} were found, which {setting} names."
        return InputError(problem, "Set AWS's variables, or give the machine a role.")
    if code == AWAY or code in BUSY:
        what = type(error).__name__ if code == AWAY else code
        problem = f"The object store of {setting} ({uri}) does not answer ({what})."
        return UnavailableError(problem, "Look after it or its address, AWS_ENDPOINT_URL, and try again.")
    if code and code not in ("NoSuchKey", "404"):
        problem = f"The object store of {setting} ({uri}) refused a request ({code})."
        return MachineError(problem, "Its log says why.")
    return None


def code_of(error: BaseException) -> str:
    """S3's code of an error; AWAY where nobody answered; "" for an error that is not S3's."""
    from botocore import exceptions

    cause = error if isinstance(error, exceptions.ClientError) else error.__cause__
    if isinstance(cause, exceptions.ClientError):
        return str(cause.response.get("Error", {}).get("Code") or "unknown")
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "NoCredentials"
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return ""
    if isinstance(error, exceptions.BotoCoreError) and not isinstance(
        error, exceptions.ConnectionError | exceptions.HTTPClientError
    ):
        return type(error).__name__
    return AWAY
