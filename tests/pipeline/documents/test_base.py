"""Reading and writing of the JSON files that stages write."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import RatewrightError
from pipeline.documents import DOCUMENTS, Calibration, RegistryRecord, read, read_by_name, read_lines, write
from pipeline.documents.evaluation import CurvePoint

LOSSLESS: dict[str, Any] = {
    "name": "packed", "target_bpp": None, "tolerance": None, "calibration_set": "set", "rate_parameter": None,
    "setting": None, "model_hash": "00", "lmbda": None, "gain": None, "bpp": 9.5, "steps": 3, "history": [],
}  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(LOSSLESS))
    found = read(Calibration, path)
    assert found.schema_version == 1, "a file without a version is of the first one"
    write(found, path)
    assert read(Calibration, path) == found
    assert json.loads(path.read_text()) == {"schema_version": 1, **LOSSLESS}, "nulls are written"
    assert list(json.loads(path.read_text())) == ["schema_version", *LOSSLESS]


def test_optional_fields_are_left_out(tmp_path: Path) -> None:
    figures = {"version": "3", "bpp": 0.1, "psnr_db": 30.5}
    record = RegistryRecord.model_validate(
        {"model": "m", "version": "3", "aliases": {}, "decision": "promoted", "why": "", "challenger": figures,
         "champion": None}
    )  # fmt: skip
    write(record, tmp_path / "registry.json")
    assert json.loads((tmp_path / "registry.json").read_text())["challenger"] == figures


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "many"}, r"steps: Input should be a valid integer \(got 'many'\)"),
        ({"knob": "bits"}, r"knob: Extra inputs are not permitted \(got 'bits'\)"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"history": [{"phase": "trim"}]}, r"history\.0\.phase: .*'gain_search'"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**LOSSLESS, **change}))
    with pytest.raises(RatewrightError, match=rf"calibration\.json: .*{message}") as raised:
        read(Calibration, path)
    assert "\n" not in str(raised.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({key: value for key, value in LOSSLESS.items() if key != "gain"}))
    with pytest.raises(RatewrightError, match=r"calibration\.json: gain: Field required"):
        read(Calibration, path)


def test_what_is_no_json_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(RatewrightError, match=r"calibration\.json is missing"):
        read(Calibration, path)
    path.write_text("{")
    with pytest.raises(RatewrightError, match=r"calibration\.json: file: Invalid JSON"):
        read(Calibration, path)


def test_documents_by_name_and_in_lines(tmp_path: Path) -> None:
    path = tmp_path / "calibrations.json"
    path.write_text(json.dumps({"packed": LOSSLESS}))
    assert read_by_name(Calibration, path)["packed"].bpp == 9.5
    path.write_text('{"bpp": 0.1, "psnr_db": 30.0}\n{"bpp": 0.2}\n')
    with pytest.raises(RatewrightError, match=r"calibrations\.json, line 2: psnr_db: Field required"):
        read_lines(CurvePoint, path)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_is_described(name: str) -> None:
    schema = DOCUMENTS[name].model_json_schema()
    for described in (schema, *schema.get("$defs", {}).values()):
        assert described["description"]
        for field, content in described["properties"].items():
            assert content.get("description"), f"{described['title']}.{field}"
