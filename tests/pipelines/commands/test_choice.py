"""The options that list and fetch share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.brain.observatory import Observatory
from neural_alignment import InputError
from pipelines.commands._choice import Choice, with_choice


def test_nothing_chosen_is_no_filter_and_no_place() -> None:
    assert Choice().filters == {}
    with pytest.raises(InputError, match="--folder DIR or set NALIGN_OBSERVATORY"):
        _ = Choice().place


def test_filters_are_those_that_the_observatory_takes() -> None:
    choice = Choice(
        folder=Path("there"), area=["VISp"], cre_line=["Sst"], genotype=["Sst-1"], depth=(200.0, 300.0),
        neuron_class="inhibitory", session="three_session_A", include_failed=True,
    )  # fmt: skip
    assert choice.place == Path("there")
    assert set(choice.filters) == set(inspect.signature(Observatory.list).parameters) - {"self"}
    assert choice.filters["depth_um"] == (200.0, 300.0) and choice.filters["session_type"] == "three_session_A"


def test_a_command_gets_the_choice_and_keeps_options_of_its_own() -> None:
    called: list[Any] = []

    @with_choice
    def command(choice: Choice, workers: int = 3) -> None:
        """Do it."""
        called.append((choice, workers))

    names = list(inspect.signature(command).parameters)
    assert names == [*inspect.signature(Choice).parameters, "workers"]
    assert set(command.__annotations__) == set(names) and command.__doc__ == "Do it."
    given = dict.fromkeys(inspect.signature(Choice).parameters)
    command(**{**given, "area": ["VISp"], "include_failed": False}, workers=5)
    assert called == [(Choice(area=["VISp"]), 5)]


@pytest.mark.parametrize("command", ["list", "fetch"])
def test_help_names_every_option_once(command: str, nalign: Callable[..., Any]) -> None:
    told = nalign("observatory", command, "--help").out
    for option in ("--folder", "--area", "--cre-line", "--genotype", "--depth", "--class", "--session", "--uri"):
        assert sum(line.replace("│", " ").split()[:1] == [option] for line in told.splitlines()) == 1, option
