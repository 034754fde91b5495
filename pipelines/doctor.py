"""Look at everything a run needs and say how to mend what is missing (``nalign doctor``)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement

from pipelines.doctor_packages import HOME, foreign_files, requirements, unmet_requirements

__all__ = ["Check", "checks"]

ROOM = 2e9  # bytes: the demo's store and report, with room to spare
TIMEOUT = 4.0  # seconds to wait for the Allen API
API = "https://api.brain-map.org"
ALLENSDK = "allensdk.core.brain_observatory_nwb_data_set"
INSTALL = "In a checkout: make setup. Elsewhere: pip install --upgrade neural-alignment."
SHOWN = ("numpy", "pandas", "xarray", "zarr", "torch", "timm", "dask")
OLDEST = (3, 11)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What it is.
    ok : bool
        Whether a run can do with what was found. Being offline is fine: only fetching real recordings is
        not possible.
    found : str
        What was found.
    remedy : str
        How to mend it; empty where nothing needs mending.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""


def checks(store: str | os.PathLike[str] | None = None, uri: str | None = None) -> list[Check]:
    """Look at Python, our own files, the packages, torch, the PDF libraries, the store's disk and the Allen API.

    Parameters
    ----------
    store : path, optional
        The store that runs would use; by default as :class:`cache.Store`.
    uri : str, optional
        The Allen API to try; by default ``$NALIGN_ALLEN_URI`` or the public one.

    Returns
    -------
    list of Check
        In the order a person would mend them.
    """
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("Python", _python),
        ("our files", _our_files),
        ("packages", _packages),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("AllenSDK", _allensdk),
        ("PDF", _pdf),
        ("store", lambda: _store(store)),
        ("Allen API", lambda: _api(uri or os.environ.get("NALIGN_ALLEN_URI") or API)),
    ]
    found = []
    for name, look in looks:
        try:
            found.append(look())
        except Exception as error:  # whatever is broken here must not hide what else is
            found.append(Check(name, False, f"{type(error).__name__}: {error}", INSTALL))
    return found


def _python() -> Check:
    ok = sys.version_info[:2] >= OLDEST
    remedy = "" if ok else f"Make an environment with Python {'.'.join(map(str, OLDEST))} or newer."
    return Check("Python", ok, f"{platform.python_version()} at {sys.executable}", remedy)


def _our_files() -> Check:
    wrong = foreign_files()
    if wrong:
        remedy = (
            "Rename the file that hides ours, or uninstall the distribution that has taken its name; then "
            "pip install --force-reinstall --no-deps neural-alignment."
        )
        return Check("our files", False, "; ".join(wrong[:5]), remedy)
    return Check("our files", True, f"alignment, cache, pipelines and reports are those of {HOME}")


def _packages() -> Check:
    needed = requirements()
    faults = [fault for fault in unmet_requirements(needed) if not fault.left_aside]
    if faults:
        wanted = sorted({f"'{fault.requirement.name}{fault.requirement.specifier}'" for fault in faults})
        remedy = f"{INSTALL} Or these alone: pip install {' '.join(wanted)}"
        return Check("packages", False, "; ".join(str(fault) for fault in faults), remedy)
    shown = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in SHOWN)
    return Check("packages", True, f"{len(needed)} as needed: {shown}")


def _torch() -> Check:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    seen = f"torch {torch.__version__}, {cores} CPU cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        cards = []
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            cards.append(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)")
        return Check("torch", True, f"{seen}, {', '.join(cards)}")
    if shutil.which("nvidia-smi") is not None and torch.version.cuda is None:
        return Check("torch", True, f"{seen}; this machine has an NVIDIA driver, this torch is built without CUDA")
    return Check("torch", True, f"{seen}, no GPU")


def _torchvision() -> Check:
    from alignment.models._libraries import torchvision_state

    state = torchvision_state()
    missing = "not installed" in state
    return Check("torchvision", not missing, state, INSTALL if missing else "")


def _allensdk() -> Check:
    from alignment.brain.allen.sdk_reader import LICENCE

    licence = f"its licence is {LICENCE}"
    if importlib.util.find_spec("allensdk") is None:
        return Check("AllenSDK", True, f"not installed and not needed: our own reader reads the files ({licence})")
    # In a process of its own, so that what it says about its dependencies is not printed here.
    tried = subprocess.run(
        [sys.executable, "-P", "-c", f"from alignment.brain.allen.sdk_reader import load; load({ALLENSDK!r})"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HOME), os.environ.get("PYTHONPATH", "")])},
    )
    if tried.returncode != 0:
        reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        remedy = f"{INSTALL} Or uninstall it: our own reader reads the same files."
        return Check("AllenSDK", False, f"it does not import: {reason}", remedy)
    pins = [fault for fault in unmet_requirements([Requirement("allensdk")]) if fault.left_aside]
    aside = f", beside {', '.join(f'{pin.requirement.name} {pin.installed}' for pin in pins)}" if pins else ""
    found = f"{importlib.metadata.version('allensdk')} imports{aside} ({licence}; it is not needed)"
    return Check("AllenSDK", True, found)


def _pdf() -> Check:
    from reports.printing import pango_remedy

    if importlib.util.find_spec("weasyprint") is None:
        found = "WeasyPrint is not installed: reports come as HTML alone ('neural-alignment[report]' brings it)"
        return Check("PDF", True, found)
    try:
        import weasyprint
    except OSError as error:
        return Check(
            "PDF", False, f"WeasyPrint cannot load its libraries: {str(error).splitlines()[0]}", pango_remedy()
        )
    page: Any = weasyprint.HTML(string="<p>alignment</p>").write_pdf(uncompressed_pdf=True)
    if b"/FontFile" not in page:
        return Check("PDF", False, f"WeasyPrint {weasyprint.__version__} finds no font to write with", pango_remedy())
    return Check("PDF", True, f"WeasyPrint {weasyprint.__version__} draws pages with text")


def _store(store: str | os.PathLike[str] | None) -> Check:
    from cache import Store
    from neural_alignment import NeuralAlignmentError

    other = "Choose another place: --cache FOLDER or $NALIGN_CACHE."
    try:
        root = Store(store).root
    except NeuralAlignmentError as error:
        return Check("store", False, str(error), other)
    standing = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=standing, prefix=".nalign-doctor-"):
            pass
    except OSError as error:
        return Check("store", False, f"{root} cannot be written: {error.strerror}", f"Mend its permissions. {other}")
    free = shutil.disk_usage(standing).free
    found = f"{root}, writable, {free / 1e9:.1f} GB free"
    if free < ROOM:
        remedy = f"Free at least {ROOM / 1e9:.0f} GB there ('nalign cache prune' helps). {other}"
        return Check("store", False, found, remedy)
    return Check("store", True, found)


def _api(uri: str) -> Check:
    import requests

    if uri.startswith("s3://"):
        return Check("Allen API", True, f"{uri} is a bucket and was not tried")
    url = f"{uri.rstrip('/')}/api/v2/data/query.json"
    offline = "recordings that are here already and simulated ones need no network"
    try:
        answer = requests.get(url, params={"q": "model::Product,rma::options[num_rows$eq1]"}, timeout=TIMEOUT)
    except requests.RequestException as error:
        return Check("Allen API", True, f"{uri} is not reachable ({type(error).__name__}); {offline}")
    if answer.status_code != 200:
        return Check("Allen API", True, f"{uri} answers with status {answer.status_code}; {offline}")
    return Check("Allen API", True, f"{uri} answers in {answer.elapsed.total_seconds():.1f} s")
