from pathlib import Path

import pytest

from controller.schema_files import MODELS, schema_text

SCHEMAS = Path(__file__).parents[3] / "schemas"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_schema_file_is_current(name):
    written = (SCHEMAS / name).read_text(encoding="utf-8")

    assert written == schema_text(MODELS[name]), "run 'python -m controller.schema_files'"


def test_there_is_no_other_schema_file():
    assert {path.name for path in SCHEMAS.glob("*.json")} == set(MODELS)
