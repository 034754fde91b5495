"""The public bucket and the API behind one transport: order, fallback, digests, and no plain http unasked."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fetch_cases import FIRST, ONCE, PATIENT, left_in, records
from requests.adapters import BaseAdapter

from alignment.brain import _allen_layout as layout
from alignment.brain import _network as network
from alignment.brain.allen import bucket
from alignment.brain.allen.bucket import PUBLIC_BUCKET, agrees_with_etag
from alignment.brain.download import fetch_experiments, fetch_manifests
from neural_alignment import DataError, InputError

needs_moto = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("moto", "s3fs", "boto3")),
    reason="moto, s3fs and boto3 are not installed",
)
MODELS = {
    layout.CONTAINERS: "ExperimentContainer",
    layout.EXPERIMENTS: "OphysExperiment",
    layout.MAPPINGS: "ApiCamStimulusMapping",
    layout.CELLS: "ApiCamCellMetric",
}
PART = 5 << 20  # the least that S3 takes for a part but the last


@pytest.fixture(scope="module")
def moto_uri() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def store(moto_uri: str, sources: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket on this machine of the public one's name and layout; the client with which to change it."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": moto_uri, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-west-2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    requests.post(f"{moto_uri}/moto-api/reset", timeout=10)
    client = boto3.client("s3")
    place = {"LocationConstraint": "us-west-2"}
    client.create_bucket(Bucket="allen-brain-observatory", CreateBucketConfiguration=place, ACL="public-read")
    served = records()
    for name, model in MODELS.items():
        put(client, name, json.dumps(served[model]).encode())
    for number, path in sources.items():
        put(client, f"{layout.NWB_FOLDER}/{number}.nwb", path.read_bytes())
    yield client


def put(client: Any, name: str, body: bytes) -> None:
    key = f"visual-coding-2p/{name}"
    client.put_object(Bucket="allen-brain-observatory", Key=key, Body=body, ACL="public-read")


@pytest.fixture
def api(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The API's loopback server in place of the public one."""
    monkeypatch.setattr(network, "DEFAULT_URI", server.uri)
    return server


@needs_moto
class TestBucket:
    def test_lists_and_files_come_from_the_bucket_by_default(
        self, store: Any, api: Any, sources: dict[int, Path], tmp_path: Path
    ) -> None:
        fetch_manifests(tmp_path, cells=True, network=ONCE)
        for name, model in MODELS.items():
            assert json.loads((tmp_path / name).read_text()) == records()[model]
        paths = fetch_experiments(tmp_path, None, list(sources), network=ONCE, bytes_per_file=1)
        assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in sources.values()]
        assert api.requests == []
        assert left_in(tmp_path) == sorted(f"{number}.nwb" for number in sources)

    def test_what_the_bucket_lacks_comes_from_the_api(
        self, store: Any, api: Any, sources: dict[int, Path], tmp_path: Path
    ) -> None:
        name = f"visual-coding-2p/{layout.NWB_FOLDER}/{FIRST}.nwb"
        store.delete_object(Bucket="allen-brain-observatory", Key=name)
        store.delete_object(Bucket="allen-brain-observatory", Key=f"visual-coding-2p/{layout.MAPPINGS}")
        fetch_manifests(tmp_path, network=ONCE)
        assert api.count("query") == 1
        paths = fetch_experiments(tmp_path, None, list(sources), network=ONCE, bytes_per_file=1)
        assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in sources.values()]
        assert api.count("file") == 1

    def test_a_list_that_is_none_is_asked_of_the_api(self, store: Any, api: Any, tmp_path: Path) -> None:
        put(store, layout.CONTAINERS, b'"an error text"')
        fetch_manifests(tmp_path, network=ONCE)
        assert json.loads((tmp_path / layout.CONTAINERS).read_text()) == records()["ExperimentContainer"]

    def test_an_experiment_that_neither_has_is_named(self, store: Any, api: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Unknown experiment 42"):
            fetch_experiments(tmp_path, None, [42], network=ONCE, bytes_per_file=1)

    def test_a_transfer_goes_on_in_the_middle(
        self, store: Any, sources: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, fetched = bucket._Body.read, []

        def broken(self: Any, size: int = -1) -> bytes:
            piece = read(self, size)
            fetched.append(len(piece))
            if sum(fetched) > 100_000 and len(fetched) < 1000:
                fetched.extend([0] * 1000)
                raise OSError("the line was cut")
            return piece

        monkeypatch.setattr(bucket._Body, "read", broken)
        (path,) = fetch_experiments(tmp_path, PUBLIC_BUCKET, [FIRST], network=PATIENT, bytes_per_file=1)
        assert path.read_bytes() == sources[FIRST].read_bytes()
        assert sum(fetched) - (1 << 16) <= path.stat().st_size  # what had come was not asked for again

    def test_an_object_that_changed_is_begun_anew(self, store: Any, sources: dict[int, Path], tmp_path: Path) -> None:
        part = tmp_path / layout.NWB_FOLDER / f".{FIRST}.nwb.part"
        part.parent.mkdir()
        part.write_bytes(b"of another object")
        url = f"{PUBLIC_BUCKET}/{layout.NWB_FOLDER}/{FIRST}.nwb"
        note = {"url": url, "total": 1000, "validator": '"0123"', "digest": None}
        part.with_name(part.name + ".json").write_text(json.dumps(note))
        (path,) = fetch_experiments(tmp_path, PUBLIC_BUCKET, [FIRST], network=ONCE, bytes_per_file=1)
        assert path.read_bytes() == sources[FIRST].read_bytes()

    def test_bytes_that_changed_on_the_way_are_found_by_the_digest(
        self, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = bucket._Body.read

        def flipped(self: Any, size: int = -1) -> bytes:
            piece = bytearray(read(self, size))
            if len(piece) > 5000:
                piece[-1] ^= 1
            return bytes(piece)

        monkeypatch.setattr(bucket._Body, "read", flipped)
        monkeypatch.setattr("alignment.brain.download.check_nwb", lambda *arguments, **options: None)
        with pytest.raises(DataError, match="has not the digest that the server announced"):
            fetch_experiments(tmp_path, PUBLIC_BUCKET, [FIRST], network=ONCE, bytes_per_file=1)
        with pytest.raises(DataError, match="has not the digest that the server announced"):
            fetch_manifests(tmp_path, PUBLIC_BUCKET, network=ONCE)
        assert left_in(tmp_path) == []

    def test_the_etag_of_an_object_sent_in_parts_is_checked(self, store: Any, tmp_path: Path) -> None:
        path, key = tmp_path / "big", "visual-coding-2p/big"
        path.write_bytes(bytes(range(256)) * ((2 * PART + 1000) // 256))
        upload = store.create_multipart_upload(Bucket="allen-brain-observatory", Key=key)["UploadId"]
        parts = []
        with path.open("rb") as stream:
            while piece := stream.read(PART):
                number = len(parts) + 1
                sent = store.upload_part(
                    Bucket="allen-brain-observatory", Key=key, UploadId=upload, PartNumber=number, Body=piece
                )
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        done = store.complete_multipart_upload(
            Bucket="allen-brain-observatory", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        assert done["ETag"].strip('"').endswith("-3")
        assert agrees_with_etag(path, done["ETag"]) is True
        path.write_bytes(b"x" + path.read_bytes()[1:])
        assert agrees_with_etag(path, done["ETag"]) is None  # damaged, or of parts of another length


def test_a_bucket_that_cannot_be_reached_is_asked_once(
    api: Any, sources: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(self: Any, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        asked.append(str(request.url))
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(bucket.BucketAdapter, "send", refuse)
    monkeypatch.setattr(network, "doors", lambda uri: (PUBLIC_BUCKET, api.uri))
    monkeypatch.setattr("alignment.brain.download.doors", lambda uri: (PUBLIC_BUCKET, api.uri))
    paths = fetch_experiments(tmp_path, None, list(sources), network=ONCE, workers=1, bytes_per_file=1)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in sources.values()]
    assert len(asked) == 1
    api.fail("query", "503")
    with pytest.raises(DataError, match=r"503.*Asked before: Could not get"):
        fetch_manifests(tmp_path, None, network=ONCE)


def test_without_s3fs_the_api_is_asked_and_a_bucket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert network.doors("s3://mine/prefix/") == ("s3://mine/prefix",)
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)
    assert network.doors(None) == (network.DEFAULT_URI,)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"need s3fs, which is not installed: pip install s3fs"):
        fetch_manifests(tmp_path, "s3://mine/prefix", network=ONCE)


def test_the_bucket_comes_first_and_both_speak_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: object())
    assert network.doors(None) == (PUBLIC_BUCKET, "https://api.brain-map.org")


def test_plain_http_is_warned_of_once_and_not_on_this_machine(caplog: pytest.LogCaptureFixture) -> None:
    network._warn_of_http.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            network.check_uri("http://mirror.example.org")
        for uri in ("http://127.0.0.1:8", "http://localhost:8", "https://mirror.example.org", "s3://mine"):
            network.check_uri(uri)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["http"]
    assert "http://mirror.example.org is plain http" in caplog.text


def test_https_that_leads_to_plain_http_is_not_followed(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Redirects(BaseAdapter):
        def send(self, request: Any, **options: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.url, response.request = 302, request.url, request
            response.headers["Location"] = server.uri + request.path_url
            response.raw = bucket.io.BytesIO()
            return response

        def close(self) -> None:
            pass

    plain = network.open_session

    def session() -> requests.Session:
        made = plain()
        made.mount("https://", Redirects())
        return made

    monkeypatch.setattr("alignment.brain.download.open_session", session)
    with pytest.raises(DataError, match=r"which is plain http.*Nothing was fetched"):
        fetch_manifests(tmp_path, "https://api.example.org", network=ONCE)
    assert not (tmp_path / layout.CONTAINERS).exists()


@pytest.mark.parametrize(
    ("etag", "known"), [(None, None), ("", None), ('"abc"', None), ('W/"0"', None), ("0" * 32, False)]
)
def test_an_etag_that_is_no_digest_says_nothing(etag: str | None, known: bool | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    assert agrees_with_etag(path, etag) is known
    assert agrees_with_etag(path, f'"{hashlib.md5(b"bytes", usedforsecurity=False).hexdigest()}"') is True
