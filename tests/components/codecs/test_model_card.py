from components.codecs.model_card import DataSet, Evidence, Figure, Measured, model_card

KNOWN = Evidence(
    target_bpp=0.15,
    training_s=90.0,
    energy_kwh=0.0123,
    data=[DataSet("test", "kodak", 24, "free"), DataSet("training", "own", None, None)],
    measured=[
        Measured("kodak", "as calibrated", 24, 0.2, Figure(30, 29.5, 30.5), None),
        Measured("own", "as calibrated", 1, 0.1, Figure(31, None, None), Figure(0.9, 0.85, 0.95)),
    ],
)


def card(evidence: Evidence | None = None, **facts: object) -> str:
    return model_card("wcae", "0123", 0.5, facts, "import ratewright", evidence)


def test_what_is_known_is_told() -> None:
    said = card(KNOWN, step=7, start={"variant": "nowcae", "sha256": "ab"})
    assert said.startswith("# wcae, model 0123\n\n")
    assert "(gain 0.5000)" in said
    for line in (
        "| kodak | as calibrated | 24 | 0.2000 | 30.00 (29.50 to 30.50) | - |",
        "| own | as calibrated | 1 | 0.1000 | 31.00 | 0.9000 (0.8500 to 0.9500) |",
        "| steps of training | 7 |",
        "| started from | nowcae (SHA-256 ab) |",
        "| target rate, bits per pixel | 0.15 |",
        "| time of the last training | 2 minutes |",
        "| energy of it, an estimate | 0.012 kWh |",
        "| test | kodak | 24 | free |",
        "| training | own | - | - |",
    ):
        assert f"{line}\n" in said


def test_what_is_not_known_is_left_out() -> None:
    said = card()
    assert "## Limits" in said
    assert "## Licence" in said
    assert not [title for title in ("Figures", "Training", "Data", "Files") if f"## {title}" in said]
    assert "None" not in card(step=None, lmbda=None)


def test_files_are_named_with_their_hashes() -> None:
    said = model_card("wcae", "0123", 0.5, {}, "use", files={"a.onnx": "12"})
    assert said.endswith("## Files\n\n| file | SHA-256 |\n| --- | --- |\n| a.onnx | 12 |\n")
