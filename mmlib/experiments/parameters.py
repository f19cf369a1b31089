"""The parameters of all notebooks as one model, which the first cell after them checks.

papermill takes any name and guesses types, so that `-p seeds 3` is a number and `-p train false` a text; JupyterLab
takes whatever the cell says. What can be understood is, and what cannot ends the notebook before any work.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mmlib.config import sentence
from mmlib.errors import suggestion
from mmlib.experiments.design import ExperimentError, check_read, preset_named, repository_root
from mmlib.experiments.notebooks import shortest


def _read(value: Any) -> Any:
    """A text as what it says: `[1, 2]`, `{"unroll": 50}`."""
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise ValueError("it cannot be read as YAML") from None


def _as_list(value: Any) -> Any:
    """A list, or the text of one (`[1, 2]`, `1,2`, `mm`), or a single value in place of one."""
    read = _read(value)
    if isinstance(read, str):
        return [part.strip() for part in read.split(",") if part.strip()]
    return list(read or ()) if read is None or isinstance(read, list | tuple) else [read]


PLACES = ("results", "output", "run", "runs")
Names = Annotated[list[str], BeforeValidator(_as_list)]
Count = Annotated[int, Field(ge=0)]


class Parameters(BaseModel):
    """Every parameter that a notebook may have; each takes some of them, and says there what they are."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    name: str = ""
    preset: str = ""
    level: str = ""
    levels: Names = []
    backend: str = "auto"
    method: str = ""
    methods: Names = []
    seed: Count = 0
    seeds: Annotated[list[Count], BeforeValidator(_as_list)] = []
    results: str = "results"
    output: str = ""
    jobs: Count = 0
    train: bool = True
    settings: Annotated[dict[str, Any], BeforeValidator(_read)] = {}
    run: str = ""
    runs: Names = []
    member: Count = 0
    seconds: float = Field(15.0, gt=0)
    episodes: int = Field(8, ge=1)
    sweep: bool = False


def parameters(scope: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook's parameters, checked, by name; paths, relative to the repository, as from the working directory;
    no `output` is `results`.

    Args:
      scope: `globals()` of the notebook. Its parameters are the annotated assignments of the last cell that has any;
        what papermill put after it takes their place.

    Raises ExperimentError, which names the parameter, what was given and what is allowed.
    """
    declared, given = _names(list(scope["In"]))
    known = [name for name in declared if name in Parameters.model_fields]
    for name in (*given, *declared):
        if name not in known:
            meant = suggestion(name, Parameters.model_fields if name in declared else known)
            raise ExperimentError(f"unknown parameter {name!r}; parameters: {', '.join(known)}{meant}")
    try:
        checked = Parameters(**{name: scope[name] for name in declared}).model_dump(include=set(declared))
    except ValidationError as error:
        raise ExperimentError("; ".join(f"parameter {sentence(each)}" for each in error.errors())) from None
    if "output" in checked:
        checked["output"] = checked["output"] or checked["results"]
    root = repository_root()
    if preset := checked.get("preset"):  # "" is all of them, in a notebook that reads what is there
        if {"seeds", "results"} <= set(declared) and "train" not in declared:
            check_read(preset, root / checked["results"])
        else:
            preset_named(preset)

    def from_here(place: Any) -> Any:
        """A path, or each of a list."""
        if isinstance(place, list):
            return [*map(from_here, place)]
        return shortest(root / place) if place else place

    return {name: from_here(value) if name in PLACES else value for name, value in checked.items()}


def _names(cells: list[str]) -> tuple[list[str], list[str]]:
    """The names that the last cell with annotated assignments declares, and those that papermill's after it sets."""
    given: list[str] = []
    for cell in reversed(cells):
        try:
            body = ast.parse(cell).body
        except SyntaxError:  # a cell of magics
            continue
        declared = [ast.unparse(each.target) for each in body if isinstance(each, ast.AnnAssign)]
        if declared:
            return declared, given
        if cell.lstrip().startswith("# Parameters"):  # papermill's mark
            given = [ast.unparse(target) for each in body if isinstance(each, ast.Assign) for target in each.targets]
    return [], given
