"""Read a study file: find it, parse it, check it, and say in one message what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from alignment._validation import check_name
from neural_alignment import DataError, InputError, closest
from pipelines.config import FusionConfig, Study
from pipelines.modules import append_modules

__all__ = ["STUDIES", "load_study", "study_yaml"]

STUDIES = Path(__file__).resolve().parents[1] / "studies"


def load_study(source: str | Path, *, data: str | Path | None = None) -> Study:
    """Read and check a study.

    Parameters
    ----------
    source : str or Path
        A YAML file, or the name of a study that ships with the package (``demo``).
    data : str or Path, optional
        Folder of the data sets; overrides ``transfer.data``. Without it ``$NALIGN_DATA`` does. Files that the study
        names by a relative path and that are not beside it are looked for there.

    Returns
    -------
    Study
        With every path absolute.

    Raises
    ------
    InputError
        The file is not there, is not YAML, or something in it is not allowed; the message names each place.
    DataError
        The file cannot be read.
    """
    path = _find(source)
    raw = _parse(path)
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise InputError(_explain(path, raw, error)) from None
    study = _with_modules(study, path.parent)
    append_modules(study.compute.modules)
    _check_names(path, study)
    return _absolute(study, path.parent, data)


def study_yaml(study: Study) -> str:
    """Return the study as resolved, defaults and all, as YAML that :func:`load_study` reads back."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path.resolve()
    shipped = {found.stem: found for found in sorted(STUDIES.glob("*.yaml"))}
    if str(source) in shipped:
        return shipped[str(source)]
    names = ", ".join(shipped)
    hint = closest(str(source), shipped) or f" Studies that ship with the package: {names}."
    kind = "is a folder, not a study file" if path.is_dir() else "is not there"
    raise InputError(f"The study {str(source)!r} {kind}. Give a YAML file or a shipped study's name.{hint}")


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file in UTF-8. A study is YAML text; see {STUDIES}.") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Mend its permissions, or copy it elsewhere."
        ) from None
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"{path}{line}: not valid YAML: {problem}. Mend the line and run again.") from None
    if not isinstance(raw, Mapping):
        raise InputError(f"{path} must hold a mapping of 'key: value' lines. Got {type(raw).__name__} instead.")
    return raw


def _explain(path: Path, raw: Any, error: ValidationError) -> str:
    lines = [_explain_one(item) for item in error.errors(include_url=False)]
    head = f"{path} is not a valid study ({len(lines)} {'problem' if len(lines) == 1 else 'problems'}):"
    return "\n".join([head, *(f"  - {line}" for line in lines)])


def _explain_one(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    place = ".".join(location) or "study"
    if item["type"] == "extra_forbidden":
        allowed = _fields_at(location[:-1])
        hint = closest(location[-1], allowed) or f" Allowed: {', '.join(allowed)}."
        return f"{place}: unknown key.{hint}"
    if item["type"] == "missing":
        return f"{place}: this key is needed."
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if item["type"] == "value_error":
        return f"{place}: {message}."
    hint = ""
    if item["type"] == "literal_error":
        choices = [str(word).strip("' ") for word in item["ctx"]["expected"].replace(" or ", ",").split(",")]
        hint = closest(str(item["input"]), choices)
    shown = repr(item["input"])
    return f"{place}: {message}. Got {shown if len(shown) < 100 else shown[:97] + '...'}.{hint}"


def _fields_at(location: Iterable[str]) -> list[str]:
    """Return the keys allowed at a place in the study, found by walking the models' annotations."""
    model: type[BaseModel] = Study
    for part in location:
        field = model.model_fields.get(part)
        if field is None:
            continue
        nested = [kind for kind in _flatten(field.annotation) if issubclass(kind, BaseModel)]
        model = nested[0] if nested else model
    return list(model.model_fields)


def _flatten(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [kind for argument in get_args(annotation) for kind in _flatten(argument)]


def _check_names(path: Path, study: Study) -> None:
    """Check names that the science modules define; imported here, so that a bad key is told without them."""
    from alignment.models import LAYER_VARIANTS, create_layer, list_models

    try:
        for layer in study.layer_variants:
            check_name(layer.name, "layer variant", LAYER_VARIANTS)
            create_layer(layer.name, **layer.options)
        known = list_models()
        names = [model.name for model in study.models]
        if study.architectures is not None and isinstance(study.architectures.models, list):
            names += study.architectures.models
        for name in names:
            if ":" not in name:
                check_name(name, "model", known, "'nalign architectures --list'")
        if study.transfer is not None:
            from alignment.transfer.domains import check_domain

            before = [] if study.transfer.pretrain is None else [study.transfer.pretrain.domain]
            for domain in (*study.transfer.sources, *study.transfer.targets, *before):
                check_domain(domain)
            _check_methods(study)
        if study.fusion is not None:
            from alignment.transfer.domains import check_domain

            for domain in study.fusion.tested():
                check_domain(domain)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_methods(study: Study) -> None:
    assert study.transfer is not None
    if all(method.name == "plain" and not method.options for method in study.transfer.methods):
        return
    from alignment.transfer import create_method

    for method in study.transfer.methods:
        create_method(method.name, **method.options)


def _with_modules(study: Study, base: Path) -> Study:
    """Say where the study's own modules are; a shipped study has none, nor one that says so (``modules: null``)."""
    given = study.compute.modules
    if given is None and ("modules" in study.compute.model_fields_set or base == STUDIES):
        return study
    folder = base if given is None else _from(base, given)
    return study.model_copy(update={"compute": study.compute.model_copy(update={"modules": folder})})


def _absolute(study: Study, base: Path, data: str | Path | None) -> Study:
    """Make every path absolute: relative ones are beside the study, and files of data there or in the data folder."""
    updates: dict[str, Any] = {}
    chosen = data or os.environ.get("NALIGN_DATA")
    given = Path(chosen).expanduser().resolve() if chosen else None
    sets = given
    if study.transfer is not None and (folder := given or study.transfer.data) is not None:
        sets = _from(base, folder)
        updates["transfer"] = study.transfer.model_copy(update={"data": sets})

    def found(path: str | Path) -> Path:
        places = [_from(folder, Path(path)) for folder in (base, sets) if folder is not None]
        missing = places[0] if given is None else places[-1]
        return next((place for place in places if place.exists()), missing)

    if study.observatory is not None and study.observatory.folder is not None:
        folder = _from(base, study.observatory.folder)
        updates["observatory"] = study.observatory.model_copy(update={"folder": folder})
    if study.rsa is not None and study.rsa.matrices is not None and study.rsa.scenes is not None:
        files = {"matrices": found(study.rsa.matrices), "scenes": found(study.rsa.scenes)}
        updates["rsa"] = study.rsa.model_copy(update=files)
    if study.fusion is not None:
        updates["fusion"] = _fusion(study.fusion, base, given, found)
    models = []
    for model in study.models:
        named = {"weights": model.weights, "init": model.init}
        weights = {
            name: str(found(value)) for name, value in named.items() if value is not None and _is_file_name(value)
        }
        models.append(model.model_copy(update=weights))
    return study.model_copy(update={**updates, "models": models})


def _fusion(fusion: FusionConfig, base: Path, given: Path | None, found: Callable[[Path], Path]) -> FusionConfig:
    updates: dict[str, Any] = {}
    if (folder := given or fusion.data) is not None:
        updates["data"] = _from(base, folder)
    if fusion.brain.folder is not None:
        updates["brain"] = fusion.brain.model_copy(update={"folder": found(fusion.brain.folder)})
    return fusion.model_copy(update=updates)


def _from(base: Path, path: Path) -> Path:
    return (base / path.expanduser()).resolve()


def _is_file_name(weights: str) -> bool:
    return weights.endswith((".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar"))
