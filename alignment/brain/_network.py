"""One HTTP transfer over a bad network: retried with growing pauses, and resumed where it stopped."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from alignment.brain.allen.bucket import (
    PUBLIC_BUCKET,
    BucketAdapter,
    agrees_with_etag,
    announced_etag,
    body_agrees,
)
from neural_alignment import DataError, InputError, __version__

__all__ = [
    "DEFAULT_URI",
    "Cancelled",
    "Network",
    "Transient",
    "Unreachable",
    "attempt",
    "check_uri",
    "doors",
    "download",
    "open_session",
    "read_json",
]

DEFAULT_URI = "https://api.brain-map.org"

_CHUNK = 1 << 16
_RESERVE = 32 << 20  # bytes of disk that a transfer leaves free
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

Report = Callable[[int, int | None], object]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """How patient a transfer is.

    Attributes
    ----------
    attempts : int
        How often a transfer is tried before it is given up.
    pause : float
        Seconds before the second attempt; doubled before each further one, up to a minute.
    timeout : float
        Seconds to wait for a connection and for each piece of an answer.
    slowest : float
        Bytes per second: an answer that stays slower for ``timeout`` seconds is taken for a stall.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0
    slowest: float = 512.0


class Transient(Exception):
    """A fault that may be gone at the next attempt."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Unreachable(DataError):
    """A server did not answer as it should, however often it was asked."""


class Cancelled(Exception):
    """The caller asked for an end."""


def doors(uri: str | None) -> tuple[str, ...]:
    """Return the addresses to ask, in order: the one that was named, or the public bucket and then the Allen API."""
    if uri:
        return (check_uri(uri),)
    if importlib.util.find_spec("s3fs") is None:
        _log.info("s3fs is not installed: %s alone is asked, not %s.", DEFAULT_URI, PUBLIC_BUCKET)
        return (DEFAULT_URI,)
    return PUBLIC_BUCKET, DEFAULT_URI


def check_uri(uri: str | None) -> str:
    """Return the base address without a slash at its end; warn once where it is plain http to another machine.

    Raises
    ------
    InputError
        If it is no http, https or s3 address.
    """
    base = (uri or DEFAULT_URI).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https", "s3") or not parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"The address of the Allen API must be like {DEFAULT_URI}, https://mirror.example.org or "
            f"{PUBLIC_BUCKET}. Got {base!r} instead. Correct --uri or NALIGN_ALLEN_URI."
        )
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        _warn_of_http(base)
    return base


@lru_cache(maxsize=8)
def _warn_of_http(base: str) -> None:
    _log.warning(
        "%s is plain http: whoever sits on the line can change what comes. Use https where the server has it.", base
    )


def open_session() -> requests.Session:
    """Open a session that reads http, https and s3 addresses; close it after use."""
    session = requests.Session()
    session.mount("s3://", BucketAdapter())
    return session


def attempt(what: str, address: str, network: Network, stop: threading.Event, once: Callable[[], Any]) -> Any:
    """Call ``once`` until it succeeds, with growing pauses after transient faults.

    Raises
    ------
    DataError
        After the last attempt; the message says what happened and what to do.
    Cancelled
        When ``stop`` is set.
    """
    for number in range(1, network.attempts + 1):
        try:
            return once()
        except (requests.exceptions.RequestException, Transient) as error:
            said = _said(error)
            if _final(error) or number == network.attempts:
                tries = f" after {number} attempts" if number > 1 else ""
                raise Unreachable(
                    f"Could not get {what} from {address}{tries}: {said}. Nothing incomplete was kept "
                    "as data. Check the connection (and NALIGN_ALLEN_URI), then run the same command: "
                    "it goes on from here."
                ) from error
            pause = max(min(network.pause * 2 ** (number - 1), 60.0), getattr(error, "wait", 0.0))
            if stop.wait(pause):
                raise Cancelled from error
    raise AssertionError("unreachable: the loop returns or raises")


def read_json(session: requests.Session, url: str, network: Network, stop: threading.Event) -> Any:
    """Get a JSON document; a document that is cut short or is no JSON counts as a transient fault."""
    with _get(session, url, network, {}) as response:
        _refuse_status(response)
        body = b"".join(_pieces(response, network, stop))
        if not body_agrees(body, response.headers):
            raise Transient("what came has not the digest that the server announced")
    try:
        return json.loads(body)
    except ValueError as error:
        shown = body[:60].decode("utf-8", "replace")
        raise Transient(f"the answer is no JSON ({error}; it begins {shown!r})") from error


def download(
    session: requests.Session,
    url: str,
    part: Path,
    network: Network,
    stop: threading.Event,
    report: Report,
) -> None:
    """Bring ``part`` to the length of the file at ``url``, going on where an earlier attempt stopped.

    Beside ``part`` lies a note of which file it is a part of (address, length, validator); without a note
    that fits, or if the server has another file by now, the transfer begins anew.
    """
    note = part.with_name(part.name + ".json")
    held = part.stat().st_size if part.is_file() else 0
    known = _read_note(note, url) if held else None
    if known and known["total"] == held:
        report(held, held)  # all had come when an earlier call was stopped
        _check_digest(part, note, known.get("digest"))
        return
    headers = {}
    if held and known:
        headers["Range"] = f"bytes={held}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    with _get(session, url, network, headers) as response:
        if response.status_code == 416:
            _discard(part, note)
            raise Transient("the server refused to go on where the last attempt stopped")
        _refuse_status(response)
        start, total = _range_of(response)
        if known and response.status_code == 206 and (start != held or total != known.get("total")):
            _discard(part, note)
            raise Transient("the server sent another piece than was asked for")
        if response.status_code != 206:
            start = 0
        _check_room(part, (total or 0) - start)
        validator = _validator(response)
        digest = announced_etag(response.headers)
        described = {"url": url, "total": total, "validator": validator, "digest": digest}
        note.write_text(json.dumps(described), encoding="utf-8")
        done = start
        with part.open("ab" if start else "wb") as stream:
            for piece in _pieces(response, network, stop):
                stream.write(piece)
                done += len(piece)
                report(done, total)
    if total is not None and done != total:
        if done > total:
            _discard(part, note)
        raise Transient(f"it was cut short at {done:,} of {total:,} bytes")
    _check_digest(part, note, digest)


def _check_digest(part: Path, note: Path, digest: Any) -> None:
    if isinstance(digest, str) and agrees_with_etag(part, digest) is False:
        _discard(part, note)
        raise Transient("what came has not the digest that the server announced")


def _get(session: requests.Session, url: str, network: Network, headers: dict[str, str]) -> requests.Response:
    # Without "identity" the length announced would be that of a compressed body.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"neural-alignment/{__version__}", **headers}
    response = session.get(url, headers=headers, stream=True, timeout=(network.timeout, network.timeout))
    if url.startswith("https:") and any(hop.url.startswith("http:") for hop in (*response.history, response)):
        response.close()
        raise DataError(
            f"{url} leads to {response.url}, which is plain http: whoever sits on the line could change what comes. "
            "Nothing was fetched. Name an address that stays with https (NALIGN_ALLEN_URI, --uri)."
        )
    return response


def _pieces(response: requests.Response, network: Network, stop: threading.Event) -> Iterator[bytes]:
    """Yield the body; give up on one that drips more slowly than the network's slowest rate."""
    since, arrived = time.monotonic(), 0
    read = getattr(response.raw, "read1", None)
    while True:
        if stop.is_set():
            raise Cancelled
        # read1 returns what is there; a plain read would wait for a whole chunk, and hide a drip.
        try:
            piece = read(_CHUNK) if read is not None else response.raw.read(_CHUNK)
        except Exception as error:
            raise _as_request_error(error) from error
        if not piece:
            return
        arrived += len(piece)
        yield piece
        spent = time.monotonic() - since
        if spent >= network.timeout:
            if arrived < network.slowest * spent:
                raise Transient(f"it came at {arrived / spent:.0f} bytes a second for {spent:.0f} s")
            since, arrived = time.monotonic(), 0


def _as_request_error(error: Exception) -> Exception:
    from urllib3.exceptions import HTTPError

    return Transient(f"the connection broke ({error})") if isinstance(error, HTTPError | OSError) else error


def _refuse_status(response: requests.Response) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    told = f"the server answered {status} {response.reason or ''}".rstrip()
    if status in _RETRIED:
        raise Transient(told, wait=_retry_after(response))
    raise DataError(
        f"{response.url} cannot be had: {told}. Check the address (NALIGN_ALLEN_URI, --uri) and that the "
        "mirror holds this file."
    )


def _retry_after(response: requests.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return min(float(value), 120.0) if value.isdigit() else 0.0


def _range_of(response: requests.Response) -> tuple[int, int | None]:
    """Return where the answer begins in the file and the file's length, None where it is not announced."""
    if response.status_code == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = rest.partition("/")
        start = span.partition("-")[0]
        if unit == "bytes" and start.isdigit() and total.isdigit():
            return int(start), int(total)
        raise Transient(f"the server's Content-Range {rest!r} cannot be read")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _validator(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag", "")
    # A weak validator does not promise the same bytes, so it may not be used to go on.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _read_note(note: Path, url: str) -> dict[str, Any] | None:
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(held, dict) and held.get("url") == url and isinstance(held.get("total"), int)
    return held if fits else None


def _discard(part: Path, note: Path) -> None:
    part.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed + _RESERVE > free:
        raise DataError(
            f"The disk of {part.parent} has {free / 1e6:,.0f} MB free, and this file needs "
            f"{needed / 1e6:,.0f} MB more. Free space or choose another folder, then run the same "
            "command: it goes on from here."
        )


def _final(error: Exception) -> bool:
    return isinstance(
        error,
        requests.exceptions.TooManyRedirects
        | requests.exceptions.InvalidURL
        | requests.exceptions.InvalidSchema
        | requests.exceptions.MissingSchema,
    )


def _said(error: Exception) -> str:
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "the server redirects in a circle"
    if isinstance(error, requests.exceptions.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        reason = str(error)
        refused = "refused" in reason or "NewConnectionError" in reason
        return "no connection (is the address right, and the server up?)" if refused else "the connection broke"
    return str(error)
