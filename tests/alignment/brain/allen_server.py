"""A loopback server that answers as the Allen API does, and misbehaves on demand.

``AllenServer(records, files)`` serves ``/api/v2/data/query.json`` (the models AllenSDK and we ask for) and
``/api/v2/well_known_file_download/ID``. `fail` lays in faults: each spoils one answer of its kind, then all
is well.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

FAULTS = (
    "cut short, length announced",
    "cut short, no length announced",
    "503",
    "stall",
    "slow drip",
    "corrupted bytes",
    "no JSON",
    "success false",
    "redirect loop",
    "connection dropped",
    "another file",
)
FILE_LINK = "/api/v2/well_known_file_download/"


@dataclass
class Request:
    """One answer: its kind ("query" or "file"), the range asked for, the status, and the bytes that left."""

    kind: str
    asked: str
    status: int
    sent: int = 0


class AllenServer:
    """Serve ``records`` (model name to list) and NWB ``files`` (id to path) on a port of 127.0.0.1."""

    def __init__(
        self,
        records: Mapping[str, list[dict[str, Any]]] | None = None,
        files: Mapping[int, Path] | None = None,
        *,
        ranges: bool = True,
        pause: float = 0.0,
    ) -> None:
        self.records, self.files = dict(records or {}), dict(files or {})
        self.ranges, self.pause = ranges, pause
        self.stall_s = 60.0
        self.requests: list[Request] = []
        self.queries: list[str] = []  # as they came, percent signs and all
        self._faults: dict[str, list[str]] = {"query": [], "file": []}
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.handle_error = lambda *gone: None  # type: ignore[method-assign]  # clients are killed here
        self.uri = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> AllenServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def fail(self, kind: str, fault: str, times: int = 1) -> None:
        """Spoil the next ``times`` answers of a kind, "query" or "file"."""
        assert fault in FAULTS
        with self._lock:
            self._faults[kind] += [fault] * times

    def heal(self) -> None:
        """Take back the faults that are still laid in."""
        with self._lock:
            self._faults = {"query": [], "file": []}

    def next_fault(self, kind: str) -> str:
        with self._lock:
            return self._faults[kind].pop(0) if self._faults[kind] else ""

    def sent(self, kind: str = "file") -> int:
        """Bytes of answers of a kind that left the server."""
        with self._lock:
            return sum(request.sent for request in self.requests if request.kind == kind)

    def count(self, kind: str = "file") -> int:
        with self._lock:
            return sum(request.kind == kind for request in self.requests)

    def note(self, kind: str, asked: str, status: int) -> Request:
        """Note an answer before it leaves, so that a client that has it all finds it noted."""
        request = Request(kind, asked, status)
        with self._lock:
            self.requests.append(request)
        return request

    def wait(self, seconds: float) -> None:
        self._closing.wait(seconds)


def _handler(server: AllenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/loop":
                self._redirect()
            elif url.path.endswith("/query.json"):
                server.queries.append(url.query)
                self._query(unquote(url.query).removeprefix("q="))
            elif url.path.startswith(FILE_LINK):
                self._file(int(url.path.removeprefix(FILE_LINK)))
            else:
                self._body("query", b"{}", status=404)

        def _redirect(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{server.uri}/loop")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _query(self, query: str) -> None:
            fault = server.next_fault("query")
            if fault == "redirect loop":
                self._redirect()
            elif fault == "no JSON":
                self._body("query", b"<html><body>Down for maintenance</body></html>")
            elif fault == "success false":
                reply = {"success": False, "id": 0, "msg": "The query could not be executed: timeout"}
                self._body("query", json.dumps(reply).encode())
            else:
                self._body("query", json.dumps(_answer(server, query)).encode(), fault=fault)

        def _file(self, number: int) -> None:
            path, fault = server.files.get(number), server.next_fault("file")
            if path is None:
                self._body("file", b"not found", status=404)
                return
            if fault == "redirect loop":
                self._redirect()
                return
            body = path.read_bytes()
            if fault == "corrupted bytes":
                body = _spoil(body)
            elif fault == "another file":
                body = body[:1000] + b"x" * 1000
            self._body("file", body, fault=fault, etag=f'"{number}-{len(body)}"')

        def _body(self, kind: str, body: bytes, *, status: int = 200, fault: str = "", etag: str = "") -> None:
            if fault == "503":
                server.note(kind, "", 503)
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "connection dropped":
                server.note(kind, "", 0)
                self.close_connection = True
                return
            asked = self.headers.get("Range", "")
            total, start = len(body), 0
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            same = self.headers.get("If-Range", etag) == etag
            if match and server.ranges and same and kind == "file" and status == 200:
                start = int(match[1])
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                status, body = 206, body[start:]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if etag and server.ranges:
                self.send_header("ETag", etag)
            if fault == "cut short, no length announced":
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(kind, asked, status, body, fault)

        def _send(self, kind: str, asked: str, status: int, body: bytes, fault: str) -> None:
            half = len(body) // 2
            request = server.note(kind, asked, status)
            try:
                if fault.startswith("cut short"):
                    self._write(body[:half], request)
                    self.close_connection = True
                elif fault == "stall":
                    self._write(body[:half], request)
                    server.wait(server.stall_s)
                    self.close_connection = True
                elif fault == "slow drip":
                    until = time.monotonic() + server.stall_s
                    while time.monotonic() < until and request.sent < len(body):
                        self._write(body[request.sent : request.sent + 1], request)
                        server.wait(0.05)
                    self.close_connection = True
                elif server.pause:
                    for first in range(0, len(body), 1 << 14):
                        self._write(body[first : first + (1 << 14)], request)
                        server.wait(server.pause)
                else:
                    self._write(body, request)
            except OSError:
                self.close_connection = True  # the client has gone

        def _write(self, data: bytes, request: Request) -> None:
            request.sent += len(data)
            self.wfile.write(data)
            self.wfile.flush()

    return Handler


def _answer(server: AllenServer, query: str) -> dict[str, Any]:
    model = re.match(r"model::(\w+)", query)
    name = model[1] if model else ""
    if name == "WellKnownFile":
        wanted = re.search(r"attachable_id\$eq(\d+)", query)
        ids = [int(wanted[1])] if wanted and int(wanted[1]) in server.files else []
        rows = [
            {"id": number, "attachable_id": number, "attachable_type": "OphysExperiment",
             "download_link": f"{FILE_LINK}{number}"}
            for number in ids
        ]  # fmt: skip
    else:
        rows = server.records.get(name, [])
    total = len(rows)
    start = re.search(r"start_row\$eq(\d+)", query)
    size = re.search(r"num_rows\$eq(\d+)", query)
    first = int(start[1]) if start else 0
    rows = rows[first : first + int(size[1])] if size else rows[first:]
    return {
        "success": True, "id": 0, "start_row": first, "num_rows": len(rows), "total_rows": total, "msg": rows,
    }  # fmt: skip


def _spoil(body: bytes) -> bytes:
    """Turn over runs of bytes throughout, as a bad disk or a meddling proxy would."""
    spoilt = bytearray(body)
    for first in range(len(body) // 10, len(body), max(1, len(body) // 40)):
        for index in range(first, min(first + 64, len(body))):
            spoilt[index] ^= 0xFF
    return bytes(spoilt)
