"""The model card of a codec: from its checkpoint, and from what a run has measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FACTS = {
    "step": "steps of training",
    "patches": "patches seen",
    "lmbda": "lambda",
    "precision": "precision",
    "calibrated_bpp": "rate on the calibration set, bits per pixel",
    "data_sha256": "data (SHA-256 of its index)",
    "git_commit": "code (git commit)",
}


@dataclass(frozen=True)
class DataSet:
    """Pictures that a codec was made or measured with.

    Attributes:
        role: What they are for, such as `training`.
        name: As the run calls them.
        pictures: Their number; None if it is not known.
        licence: In a few words; None if it is not known.
    """

    role: str
    name: str
    pictures: int | None
    licence: str | None


@dataclass(frozen=True)
class Figure:
    """A mean over pictures, with the ends of its confidence interval where it has one."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Measured:
    """A codec on a data set, in whole files.

    Attributes:
        data_set: Its name.
        rate: Which rate: as the codec is calibrated, or the target on this very set.
        pictures: Their number.
        bpp: Bits of all files over pixels of all pictures.
        psnr_db, ms_ssim: Means over pictures; None where the figure does not exist.
    """

    data_set: str
    rate: str
    pictures: int
    bpp: float
    psnr_db: Figure | None
    ms_ssim: Figure | None


@dataclass(frozen=True)
class Evidence:
    """What a run knows of a codec beside its checkpoint. Everything may be unknown, and is left out then.

    Attributes:
        target_bpp: The rate asked for, in bits per pixel.
        training_s: Seconds of the last training, interruptions left out.
        energy_kwh: Estimate of what that training drew.
        data: The sets of the run.
        measured: Figures of the evaluation.
    """

    target_bpp: float | None = None
    training_s: float | None = None
    energy_kwh: float | None = None
    data: Sequence[DataSet] = ()
    measured: Sequence[Measured] = ()


def model_card(
    codec: str,
    model_hash: str,
    gain: float,
    facts: Mapping[str, Any],
    use: str,
    evidence: Evidence | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """Markdown: what the codec is, how to use it, how it was trained and measured, its limits and its licence.

    Args:
        codec: Its name.
        model_hash: In hexadecimal digits.
        gain: The calibrated one.
        facts: The checkpoint's metadata.
        use: A program in Python that compresses and decompresses.
        evidence: From the run.
        files: Name -> SHA-256 of the files beside the card.
    """
    evidence = evidence or Evidence()
    sections = [
        f"# {codec}, model {model_hash}",
        "A learned codec for photographs, made by Ratewright. It compresses 8-bit RGB pictures of any size to the\n"
        f"rate that it was calibrated to (gain {gain:.4f}).",
        f"```python\n{use}\n```",
        *_section("Figures", _measured(evidence.measured), _ABOUT_FIGURES),
        *_section("Training", _training(facts, evidence)),
        *_section("Data", _data(evidence.data)),
        _LIMITS,
        _LICENCE,
        *_section("Files", _table(("file", "SHA-256"), list((files or {}).items()))),
    ]
    return "\n\n".join(sections) + "\n"


_ABOUT_FIGURES = """Whole files, headers included. Means over pictures, with the interval that holds 95 % of the means
of other draws of as many pictures (percentile bootstrap)."""
_LIMITS = """## Limits

It is lossy: at low rates fine texture is smoothed. Pictures far from photographs may cost more and look worse. Decoded
latents are the same on every machine; pixels may differ by one level of 255."""
_LICENCE = """## Licence

The weights are under the Apache License, Version 2.0. The pictures that they were trained on have
licences of their own."""


def _section(title: str, table: str, about: str = "") -> list[str]:
    """A section; none where its table has no row."""
    return ["\n\n".join(filter(None, (f"## {title}", about, table)))] if table else []


def _training(facts: Mapping[str, Any], evidence: Evidence) -> str:
    known = {text: facts.get(key) for key, text in _FACTS.items()}
    start = facts.get("start")
    known["started from"] = start and f"{start['variant']} (SHA-256 {start['sha256']})"
    known["target rate, bits per pixel"] = evidence.target_bpp or facts.get("target_bpp")
    known["time of the last training"] = evidence.training_s and f"{evidence.training_s / 60:.0f} minutes"
    known["energy of it, an estimate"] = evidence.energy_kwh and f"{evidence.energy_kwh:.2g} kWh"
    return _table(("", ""), [(text, str(value)) for text, value in known.items() if value is not None])


def _data(sets: Sequence[DataSet]) -> str:
    rows = [(each.role, each.name, _or_dash(each.pictures), _or_dash(each.licence)) for each in sets]
    return _table(("for", "data set", "pictures", "licence"), rows)


def _measured(measured: Sequence[Measured]) -> str:
    rows = [(each.data_set, each.rate, str(each.pictures), f"{each.bpp:.4f}", *_figures(each)) for each in measured]
    return _table(("data set", "rate", "pictures", "bits per pixel", "PSNR, dB", "MS-SSIM"), rows)


def _figures(of: Measured) -> tuple[str, str]:
    return _figure(of.psnr_db, 2), _figure(of.ms_ssim, 4)


def _figure(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.mean:.{digits}f}"
    return f"{figure.mean:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; empty without rows."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""
