"""JSON schemas of the files that users write: ``python -m controller.schema_files [DIRECTORY]`` writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from controller.config import Config
from dataplane.files import PlanFile, RulesFile
from solver.routing_files import RoutingFile
from workloads.files import JobFile

MODELS: dict[str, type[BaseModel]] = {
    "config.schema.json": Config,
    "job.schema.json": JobFile,
    "plan.schema.json": PlanFile,
    "routing.schema.json": RoutingFile,
    "rules.schema.json": RulesFile,
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text(model: type[BaseModel]) -> str:
    """The schema of a model, as its file holds it."""
    schema = {"$schema": DIALECT, **model.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(directory: Path) -> None:
    """Write every schema into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, model in MODELS.items():
        (directory / name).write_text(schema_text(model), encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("schemas"))
