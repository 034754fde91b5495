"""A public S3 bucket behind the transport of this package: an adapter by which ``requests`` reads ``s3://`` addresses.

So a transfer from the bucket is retried, resumed and checked as one over https is. The bucket is read anonymously,
through s3fs, which speaks https unless another endpoint is named (``AWS_ENDPOINT_URL``).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from neural_alignment import InputError

__all__ = ["PUBLIC_BUCKET", "BucketAdapter", "agrees_with_etag", "announced_etag", "body_agrees", "is_bucket"]

PUBLIC_BUCKET = "s3://allen-brain-observatory/visual-coding-2p"
"""The Allen Institute's public bucket, in AllenSDK's cache layout."""

_BLOCK = 5 << 20  # bytes asked for at a time
_MIB = 1 << 20
_SERVER = "AmazonS3"


def is_bucket(base: str) -> bool:
    """Whether an address is a bucket's."""
    return base.startswith("s3://")


class BucketAdapter(BaseAdapter):
    """Answers GET for ``s3://bucket/key`` with a ``requests.Response``; mount it at ``s3://``."""

    def send(  # type: ignore[override]
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Open an object, or the rest of it where the request names a range of the object that is there."""
        del stream, verify, cert, proxies
        path = str(request.url).removeprefix("s3://")
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        try:
            system = _file_system(timeout)
            details = system.info(path)
            file = system.open(path, "rb", block_size=_BLOCK)
        except FileNotFoundError:
            return _refuse(response, 404, "Not Found")
        except PermissionError:
            return _refuse(response, 403, "Forbidden")
        except InputError:
            raise
        except Exception as error:  # botocore's and aiohttp's many kinds
            raise requests.exceptions.ConnectionError(f"{type(error).__name__}: {error}") from error
        size, etag = int(details["size"]), str(details.get("ETag", ""))
        start = _start(request.headers, etag)
        headers = {"ETag": etag, "Server": _SERVER, "Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            file.seek(start)
        response.status_code, response.reason = (206, "Partial Content") if start else (200, "OK")
        response.headers = CaseInsensitiveDict(headers)
        response.raw = _Body(file)
        return response

    def close(self) -> None:
        """Nothing is held open."""


class _Body:
    """An open object whose faults are those of a connection."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read(size))
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._file.close()


def _file_system(timeout: Any) -> Any:
    try:
        import s3fs
    except ImportError as error:
        raise InputError(
            "Addresses of buckets (s3://) need s3fs, which is not installed: pip install s3fs, or give the address of "
            "an Allen API or mirror (--uri, NALIGN_ALLEN_URI)."
        ) from error
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    config = {"connect_timeout": connect, "read_timeout": read, "retries": {"max_attempts": 1}}
    return s3fs.S3FileSystem(anon=True, config_kwargs=config, skip_instance_cache=True, use_listings_cache=False)


def _start(headers: Mapping[str, str], etag: str) -> int:
    """Return where to go on: 0 unless a range is asked for of the very object that is there."""
    asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    if asked is None or headers.get("If-Range", etag) != etag:
        return 0
    return int(asked[1])


def _refuse(response: requests.Response, status: int, reason: str) -> requests.Response:
    response.status_code, response.reason, response.raw = status, reason, io.BytesIO()
    return response


def agrees_with_etag(path: Path, etag: str | None) -> bool | None:
    """Whether a file has the digest that S3 gives as its ETag; None where the ETag is no digest that can be known.

    The ETag of an object that was sent in one piece is the MD5 of its bytes; of one sent in parts, the MD5 of the
    parts' MD5s. (Only objects under a key of AWS's key service have other ETags, and these are not read anonymously.)
    How long the parts were is not told: whole MiB that give as many parts are tried.

    Parameters
    ----------
    path : Path
    etag : str or None
    """
    found = re.fullmatch(r'"?([0-9a-f]{32})(?:-(\d+))?"?', etag or "")
    if found is None:
        return None
    if found[2] is None:
        return _md5(path, None) == found[1]
    parts, size = int(found[2]), path.stat().st_size
    lengths = [mib * _MIB for mib in range(1, 513) if -(-size // (mib * _MIB)) == parts]
    return True if any(_md5(path, length) == found[1] for length in lengths[:8]) else None


def body_agrees(body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether an answer's body has the digest that S3 announced, if it was S3 and announced one of the whole."""
    etag = headers.get("ETag", "").strip('"')
    known = headers.get("Server") == _SERVER and re.fullmatch(r"[0-9a-f]{32}", etag)
    return not known or hashlib.md5(body, usedforsecurity=False).hexdigest() == etag


def announced_etag(headers: Mapping[str, str]) -> str | None:
    """Return the ETag of an answer of S3, None of any other server's: there it need be no digest."""
    return headers.get("ETag") if headers.get("Server") == _SERVER else None


def _md5(path: Path, part: int | None) -> str:
    """Return the MD5 of a file, or of the MD5s of its parts of this length."""
    whole = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(part or _BLOCK):
            whole.update(piece if part is None else hashlib.md5(piece, usedforsecurity=False).digest())
    return whole.hexdigest()
