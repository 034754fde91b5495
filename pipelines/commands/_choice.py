"""Which experiments of which observatory: the options that ``nalign observatory list`` and ``fetch`` share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from neural_alignment import InputError

__all__ = ["Choice", "with_choice"]


@dataclass(frozen=True)
class Choice:
    """The options' values; their names, types and help are those of the command line."""

    folder: Annotated[
        Path | None,
        typer.Option("--folder", envvar="NALIGN_OBSERVATORY", help="Allen cache folder, or a folder of NWB files."),
    ] = None
    area: Annotated[list[str] | None, typer.Option("--area", help="VISp, VISl, ...; may be repeated.")] = None
    cre_line: Annotated[list[str] | None, typer.Option("--cre-line", help="Cux2-CreERT2 or Cux2; may be repeated.")] = (
        None
    )
    genotype: Annotated[list[str] | None, typer.Option("--genotype", help="Label such as Cux2-1; may be repeated.")] = (
        None
    )
    depth: Annotated[tuple[float, float] | None, typer.Option("--depth", help="From, to, in micrometres.")] = None
    neuron_class: Annotated[str | None, typer.Option("--class", help="excitatory or inhibitory.")] = None
    session: Annotated[
        str | None, typer.Option("--session", help="Session type; natural scenes are in three_session_B (default).")
    ] = None
    include_failed: Annotated[
        bool, typer.Option("--include-failed", help="Also containers that failed quality control.")
    ] = False
    uri: Annotated[
        str | None,
        typer.Option(envvar="NALIGN_ALLEN_URI", help="Address of an Allen API, a mirror or a bucket (s3://...)."),
    ] = None

    @property
    def place(self) -> Path:
        """The folder, which has to be named.

        Raises
        ------
        InputError
            If it is not.
        """
        if self.folder is None:
            raise InputError(
                "Which observatory? Give --folder DIR or set NALIGN_OBSERVATORY to an Allen cache folder "
                "or a folder of NWB files. 'nalign observatory simulate DIR' makes one."
            )
        return self.folder

    @property
    def filters(self) -> dict[str, Any]:
        """What was chosen, as keyword arguments of ``Observatory.list``; nothing that was left as it is."""
        chosen = {
            "area": self.area,
            "cre_line": self.cre_line,
            "genotype": self.genotype,
            "depth_um": self.depth,
            "neuron_class": self.neuron_class,
            "session_type": self.session,
            "include_failed": self.include_failed or None,
        }
        return {name: value for name, value in chosen.items() if value is not None}


def with_choice(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Choice`; it gets them as its first argument.

    Parameters
    ----------
    command : callable
        ``command(choice, ...)``; its other parameters are options of its own.
    """
    hints = get_type_hints(Choice, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(Choice)
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        choice = Choice(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        command(choice, **values)

    # Typer reads the signature and, apart from it, the annotations.
    parameters = [*shared, *own]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__  # type: ignore[attr-defined]  # else the bare command's signature would be found
    return run
