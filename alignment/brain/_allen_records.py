"""The manifest's records of simulated sessions, in the form in which the Allen API serves the real ones.

Identifiers begin at nine thousand million, far above any real one, so that no simulated cell can be taken
for a real cell when tables are joined.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from alignment.brain._donors import AREAS, Place
from alignment.brain.catalogue import NATURAL_SCENE_SESSION

__all__ = [
    "Identity",
    "cell_record",
    "container_record",
    "experiment_record",
    "identity",
    "stimulus_mappings",
]

CELLS_PER_SESSION = 100_000
_FIRST = 9_000_000_000
_NWB_TYPE = {"id": 514173063, "name": "NWBOphys"}

# (id, item, type, level) of the API's stimulus mappings for natural scenes: metrics (M) and thumbnails (T) of
# a cell's responses (R) or of a session (S).
_MAPPINGS = (
    (6, "pref_image_ns", "M", "R"),
    (7, "p_ns", "M", "R"),
    (8, "time_to_peak_ns", "M", "R"),
    (31, "natural_scene_small", "T", "R"),
    (32, "natural_scene_large", "T", "R"),
    (75, "image_sel_ns", "M", "R"),
    (76, "reliability_ns", "M", "R"),
    (77, "run_mod_ns", "M", "R"),
    (78, "p_run_mod_ns", "M", "R"),
    (79, "peak_dff_ns", "M", "R"),
)


class Identity(NamedTuple):
    """The identifiers and dates of one simulated session and its mouse."""

    number: int
    donor: int
    specimen: int
    container: int
    experiment: int
    isi: int
    file: int
    donor_name: str
    specimen_name: str
    sex: str
    age_days: int
    born: datetime
    acquired: datetime

    def cell_specimen_id(self, cell: int) -> int:
        """Return the identifier of a cell of this session."""
        return _FIRST + 10_000_000_000 + self.number * CELLS_PER_SESSION + cell

    def roi_id(self, cell: int) -> int:
        """Return the identifier of a cell's region of interest."""
        return _FIRST + 50_000_000_000 + self.number * CELLS_PER_SESSION + cell


def identity(number: int, place: Place) -> Identity:
    """Return the identity of the session with this number."""
    name = f"SIM{number:05d}"
    lines = ";".join(line.split("(")[0] for line, _ in place.genotype.lines)
    age = 90 + (37 * number) % 60
    acquired = datetime(2016, 1, 4, 9, 0, 0) + timedelta(days=number)
    return Identity(
        number=number,
        donor=_FIRST + 100_000_000 + number,
        specimen=_FIRST + 200_000_000 + number,
        container=_FIRST + 300_000_000 + number,
        experiment=_FIRST + 400_000_000 + number,
        isi=_FIRST + 500_000_000 + number,
        file=_FIRST + 600_000_000 + number,
        donor_name=name,
        specimen_name=f"{lines}-{name}",
        sex="MF"[number % 2],
        age_days=age,
        born=acquired - timedelta(days=age),
        acquired=acquired,
    )


def container_record(who: Identity, place: Place) -> dict[str, Any]:
    """Return the record of an experiment container (model ExperimentContainer)."""
    return {
        "failed": False,
        "failed_facet": 734881840,
        "id": who.container,
        "imaging_depth": place.depth_um,
        "isi_experiment_id": who.isi,
        "specimen_id": who.specimen,
        "targeted_structure_id": AREAS[place.area][0],
        "weight": 0,
        "ophys_experiments": [_experiment(who, place)],
        "isi_experiment": {
            "date_of_acquisition": _date(who.acquired - timedelta(days=30)),
            "id": who.isi,
            "name": f"{who.donor_name}_simulated",
            "specimen_id": who.specimen,
            "storage_directory": None,
        },
        "specimen": _specimen(who, place),
        "targeted_structure": _structure(place.area),
    }


def experiment_record(who: Identity, place: Place) -> dict[str, Any]:
    """Return the record of an experiment (model OphysExperiment)."""
    container = container_record(who, place)
    plain = {key: value for key, value in container.items() if not isinstance(value, list | dict)}
    file = {
        "attachable_id": who.experiment,
        "attachable_type": "OphysExperiment",
        "download_link": f"/api/v2/well_known_file_download/{who.file}",
        "id": who.file,
        "path": f"simulated/{who.experiment}.nwb",
        "published_at": _date(who.acquired),
        "well_known_file_type_id": _NWB_TYPE["id"],
        "well_known_file_type": _NWB_TYPE,
    }
    return {
        **_experiment(who, place),
        "experiment_container": plain,
        "specimen": _specimen(who, place),
        "targeted_structure": _structure(place.area),
        "well_known_files": [file],
    }


def cell_record(who: Identity, place: Place, cell: int, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a cell (model ApiCamCellMetric); metrics that were not worked out are null."""
    lines = place.genotype.lines
    return {
        "cell_specimen_id": who.cell_specimen_id(cell),
        "experiment_container_id": who.container,
        "failed_experiment_container": False,
        "specimen_id": who.specimen,
        "donor_full_genotype": place.genotype.full,
        "area": place.area,
        "imaging_depth": place.depth_um,
        "tld1_name": lines[0][0],
        "tld2_name": lines[1][0] if len(lines) == 3 else None,
        "tlr1_name": lines[-1][0],
        "all_stim": False,
        **{item: metrics.get(item) for _, item, _, level in _MAPPINGS if level == "R"},
    }


def stimulus_mappings() -> list[dict[str, Any]]:
    """Return the natural-scene records of the API's stimulus mappings (model ApiCamStimulusMapping)."""
    return [
        {"item": item, "level": level, "stimulus_name": "natural_scene", "id": number, "item_type": kind}
        for number, item, kind, level in _MAPPINGS
    ]


def _experiment(who: Identity, place: Place) -> dict[str, Any]:
    return {
        "date_of_acquisition": _date(who.acquired),
        "experiment_container_id": who.container,
        "fail_eye_tracking": True,
        "id": who.experiment,
        "imaging_depth": place.depth_um,
        "name": f"{who.acquired:%Y%m%d}_{who.donor_name}_simulated",
        "specimen_id": who.specimen,
        "stimulus_name": NATURAL_SCENE_SESSION,
        "storage_directory": None,
        "targeted_structure_id": AREAS[place.area][0],
    }


def _specimen(who: Identity, place: Place) -> dict[str, Any]:
    condition = "simulated: no animal was imaged"
    return {
        "donor_id": who.donor,
        "external_specimen_name": who.donor_name,
        "id": who.specimen,
        "name": who.specimen_name,
        "specimen_id_path": f"/{who.specimen}/",
        "donor": {
            "age_id": None,
            "condition_description": condition,
            "date_of_birth": _date(who.born),
            "external_donor_name": who.donor_name,
            "full_genotype": place.genotype.full,
            "id": who.donor,
            "name": who.specimen_name,
            "organism_id": 2,
            "sex": who.sex,
            "sex_full_name": {"M": "Male", "F": "Female"}[who.sex],
            "tags": f"{who.specimen_name} ",
            "age": {
                "days": float(who.age_days),
                "embryonic": False,
                "id": None,
                "name": f"{who.age_days // 7} weeks",
                "organism_id": 2,
            },
            "conditions": [{"description": condition, "id": None, "name": "simulated"}],
            "transgenic_lines": [_line(name, kind) for name, kind in place.genotype.lines],
        },
    }


def _line(name: str, kind: str) -> dict[str, Any]:
    return {
        "description": None,
        "id": None,
        "name": name,
        "transgenic_line_type_code": kind[0].upper(),
        "transgenic_line_type_name": kind,
    }


def _structure(area: str) -> dict[str, Any]:
    number, name = AREAS[area]
    return {"acronym": area, "graph_id": 1, "id": number, "name": name, "safe_name": name}


def _date(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
