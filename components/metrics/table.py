"""The one table of the figures that leaderboards and reports show."""

from typing import NamedTuple


class Metric(NamedTuple):
    """How a figure is shown and ranked."""

    label: str
    unit: str
    """Empty for a figure without one."""
    higher_is_better: bool


METRICS: dict[str, Metric] = {
    "bpp": Metric("Rate", "bpp", False),
    "psnr_db": Metric("PSNR", "dB", True),
    "ssim": Metric("SSIM", "", True),
    "ms_ssim": Metric("MS-SSIM", "", True),
    "swd": Metric("SWD", "", False),
    "bd_rate_percent": Metric("BD-rate", "%", False),
    "encode_s_per_mpx": Metric("Encoding", "s/Mpx", False),
    "decode_s_per_mpx": Metric("Decoding", "s/Mpx", False),
}
