"""Every way in which the network and the fetching process have been seen to fail, ours beside AllenSDK's own client.

Each test notes a row; the run writes them as a table to ``build/fault_table.md`` (see ``tests/conftest.py``).
Those in which AllenSDK waits for half a minute and more are slow: ``pytest -m "" tests/alignment/brain/test_faults.py
tests/alignment/brain/test_manifests.py`` makes the whole table.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fetch_cases import FIRST, ONCE, PATIENT, ROOT, closed_port, fetching_process, left_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignment.brain import _allen_layout as layout
from alignment.brain.allen.sdk_reader import load
from alignment.brain.download import fetch_experiments
from neural_alignment import DataError

MESSAGES = {
    "cut short, length announced": "connection broke|cut short",
    "cut short, no length announced": "cannot be read",
    "503": "503",
    "stall": "in time|connection broke",
    "slow drip": "bytes a second",
    "corrupted bytes": "cannot be read",
    "redirect loop": "in a circle",
    "connection dropped": "connection",
    "another file": "cannot be read",
}
# AllenSDK gives up a stalled transfer after half a minute, and a dripping one never.
WAITED_FOR = ("stall", "slow drip")
# What AllenSDK leaves under the final name although it is not whole, so that every later call fails.
LASTING = ("cut short, no length announced", "corrupted bytes", "another file")
# Left out of random runs: faults that wait for time-outs or spoil many answers, and damage, which cannot show
# if all that is left to come is a tail that no checksum covers.
NOT_RANDOM = (*WAITED_FOR, "redirect loop", "corrupted bytes")
OURS = "error, nothing kept as data; next call works"
SDK_WAIT = 45.0

Note = Callable[..., None]


def ours(fault: str, server: Any, sources: dict[int, Path], folder: Path) -> None:
    """Fetch with one attempt while a fault spoils it, and again when it is over."""
    lay_in(fault, server)
    with pytest.raises(DataError, match=MESSAGES[fault]) as caught:
        fetch_experiments(folder, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert "run the same command" in str(caught.value)
    assert str(FIRST) in str(caught.value)
    assert left_in(folder) == []
    server.heal()
    (path,) = fetch_experiments(folder, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


def lay_in(fault: str, server: Any) -> None:
    server.fail("file", fault, times=31 if fault == "redirect loop" else 1)


def allensdk(folder: Path, uri: str) -> Any:
    """AllenSDK's own client on a folder."""
    module = load("allensdk.core.brain_observatory_cache")
    folder.mkdir(exist_ok=True)
    return module.BrainObservatoryCache(manifest_file=str(folder / layout.MANIFEST), base_uri=uri)


def outcome(cache: Any) -> str:
    """Say what comes of fetching and reading an experiment with AllenSDK."""
    try:
        cache.get_ophys_experiment_data(FIRST).get_dff_traces()
    except Exception as error:  # whatever AllenSDK, requests or h5py raise is the finding
        return f"fails ({type(error).__name__})"
    return "works"


def kept(folder: Path) -> str:
    return "file kept" if layout.nwb_path(folder, FIRST).is_file() else "no file kept"


# --- Faults of a transfer ---


@pytest.mark.parametrize("fault", [fault for fault in MESSAGES if fault not in WAITED_FOR])
def test_no_fault_leaves_a_wrong_file_and_the_next_call_succeeds(
    fault: str, server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    ours(fault, server, sources, tmp_path)


@pytest.mark.oracle
@pytest.mark.parametrize("fault", [fault for fault in MESSAGES if fault not in WAITED_FOR])
def test_what_a_fault_does_to_allensdk(fault: str, server: Any, tmp_path: Path, note_fault: Note) -> None:
    theirs = allensdk(tmp_path / "sdk", server.uri)
    lay_in(fault, server)
    first = f"{outcome(theirs)}, {kept(tmp_path / 'sdk')}"
    server.heal()
    told = f"{first}; next call {outcome(theirs)}"
    note_fault(fault, OURS, told)
    assert told.startswith("fails")
    assert ("; next call fails" in told) == (fault in LASTING)


@pytest.mark.parametrize("fault", WAITED_FOR)
def test_what_stands_still_is_given_up_in_time(
    fault: str, server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    before = time.monotonic()
    ours(fault, server, sources, tmp_path)
    assert time.monotonic() - before < server.stall_s


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "wanted"),
    [("stall", r"fails \(\w+\) after 3\d s, no file kept; next call works"),
     ("slow drip", r"still waiting after 45 s; stopped then, file kept; next call fails \(\w+\)")],
)  # fmt: skip
def test_what_allensdk_waits_for(fault: str, wanted: str, server: Any, tmp_path: Path, note_fault: Note) -> None:
    allensdk(tmp_path / "sdk", server.uri)  # imported and its manifest written: what is timed is the transfer
    server.stall_s = 4 * SDK_WAIT
    lay_in(fault, server)
    child = sdk_process(tmp_path / "sdk", server.uri)
    wait_for(layout.nwb_path(tmp_path / "sdk", FIRST), child)
    before = time.monotonic()
    try:
        said = child.communicate(timeout=SDK_WAIT)[0].decode().strip()
        first = f"{said} after {time.monotonic() - before:.0f} s, {kept(tmp_path / 'sdk')}"
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        first = f"still waiting after {SDK_WAIT:.0f} s; stopped then, {kept(tmp_path / 'sdk')}"
    server.heal()
    told = f"{first}; next call {outcome(allensdk(tmp_path / 'sdk', server.uri))}"
    note_fault(fault, OURS, told)
    assert re.fullmatch(wanted, told), told


def test_a_refused_connection_says_so(server: Any, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(DataError, match=r"no connection .* server up.*NALIGN_ALLEN_URI"):
        fetch_experiments(tmp_path, address, [FIRST], network=ONCE, bytes_per_file=1)
    assert left_in(tmp_path) == []
    fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)


@pytest.mark.oracle
def test_what_a_refused_connection_does_to_allensdk(server: Any, tmp_path: Path, note_fault: Note) -> None:
    sdk, address = tmp_path / "sdk", f"http://127.0.0.1:{closed_port()}"
    first = f"{outcome(allensdk(sdk, address))}, {kept(sdk)}"
    told = f"{first}; next call {outcome(allensdk(sdk, server.uri))}"
    note_fault("connection refused", OURS, told)
    assert told == "fails (URLError), no file kept; next call works"


@pytest.mark.parametrize("fault", [fault for fault in MESSAGES if fault != "redirect loop"])
def test_a_fault_that_passes_is_ridden_out(fault: str, server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    server.fail("file", fault, times=2)
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


@given(faults=st.lists(st.sampled_from([fault for fault in MESSAGES if fault not in NOT_RANDOM]), max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_run_of_passing_faults_ends_in_the_same_bytes(
    faults: list[str], server: Any, sources: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    for fault in faults:
        server.fail("file", fault)
    patient = PATIENT.__class__(attempts=len(faults) + 1, pause=0.001, timeout=0.5)
    folder = tmp_path_factory.mktemp("any")
    (path,) = fetch_experiments(folder, server.uri, [FIRST], network=patient, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()
    assert [name.name for name in path.parent.iterdir()] == [path.name]


# --- Processes that die, and processes that meet ---

_SDK_CHILD = """
import sys
from alignment.brain.allen.sdk_reader import load
module = load("allensdk.core.brain_observatory_cache")
cache = module.BrainObservatoryCache(manifest_file=sys.argv[1], base_uri=sys.argv[2])
try:
    cache.get_ophys_experiment_data(int(sys.argv[3])).get_dff_traces()
except Exception as error:
    print(f"fails ({type(error).__name__})")
else:
    print("works")
"""


def sdk_process(folder: Path, uri: str) -> subprocess.Popen[bytes]:
    """Start a process in which AllenSDK fetches the first experiment."""
    command = [sys.executable, "-c", _SDK_CHILD, str(folder / layout.MANIFEST), uri, str(FIRST)]
    found = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": found}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(path: Path, child: subprocess.Popen[bytes], size: int = 0) -> None:
    """Wait until a process has begun to write a file."""
    deadline = time.monotonic() + 60
    while not (path.is_file() and path.stat().st_size >= size):
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()[1].decode()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_fetch_that_is_killed_leaves_no_wrong_file(
    number: signal.Signals, server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    server.pause = 0.05
    child = fetching_process(tmp_path, server.uri)
    wait_for(tmp_path / layout.NWB_FOLDER / f".{FIRST}.nwb.part", child, 40_000)
    child.send_signal(number)
    child.communicate(timeout=30)
    assert child.returncode != 0
    assert left_in(tmp_path) == []
    server.pause = 0.0
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()
    assert any(request.asked.startswith("bytes=") for request in server.requests), "it went on from the part"


@pytest.mark.oracle
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_what_being_killed_does_to_allensdk(
    number: signal.Signals, server: Any, tmp_path: Path, note_fault: Note
) -> None:
    sdk = tmp_path / "sdk"
    theirs = allensdk(sdk, server.uri)
    server.pause = 0.1
    child = sdk_process(sdk, server.uri)
    wait_for(layout.nwb_path(sdk, FIRST), child)
    child.send_signal(number)
    child.communicate(timeout=30)
    server.pause = 0.0
    told = f"{kept(sdk)}; next call {outcome(theirs)}"
    note_fault(f"{number.name} in mid-file", "part kept, hidden; next call goes on from it", told)
    assert told == "file kept; next call fails (OSError)"


def test_two_processes_that_want_one_file_fetch_it_once(server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    server.pause = 0.02
    children = [fetching_process(tmp_path, server.uri) for _ in range(2)]
    for child in children:
        errors = child.communicate(timeout=60)[1]
        assert child.returncode == 0, errors.decode()
    assert server.count("file") == 1
    assert layout.nwb_path(tmp_path, FIRST).read_bytes() == sources[FIRST].read_bytes()


@pytest.mark.oracle
def test_what_two_processes_at_once_do_to_allensdk(server: Any, tmp_path: Path, note_fault: Note) -> None:
    sdk = tmp_path / "sdk"
    theirs = allensdk(sdk, server.uri)
    server.pause = 0.3
    child = sdk_process(sdk, server.uri)
    wait_for(layout.nwb_path(sdk, FIRST), child)
    second = outcome(theirs)
    server.pause = 0.0
    first = child.communicate(timeout=60)[0].decode().strip()
    told = f"the first {first}; the second takes the begun file for whole and {second}"
    note_fault("two processes at once", "fetched once, both have it", told)
    assert told == "the first works; the second takes the begun file for whole and fails (OSError)"


_SMALL_DISK = """
import resource, sys
from alignment.brain.download import fetch_experiments
from neural_alignment import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # a write past it fails as on a full disk
try:
    fetch_experiments(sys.argv[1], sys.argv[2], [int(sys.argv[3])], bytes_per_file=1)
except DataError as error:
    print(error)
"""


def test_a_disk_that_fills_up_in_mid_file_is_named_and_the_next_call_goes_on(
    server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _SMALL_DISK, str(tmp_path), server.uri, str(FIRST)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert f"Writing to {tmp_path} failed" in told.stdout
    assert left_in(tmp_path) == []
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()
