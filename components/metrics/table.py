"""The one table of the figures that leaderboards show, in their order."""

from typing import NamedTuple


class Metric(NamedTuple):
    """Label and unit of a figure; the unit is empty for a figure without one."""

    label: str
    unit: str


METRICS: dict[str, Metric] = {
    "bpp": Metric("Rate", "bpp"),
    "psnr_db": Metric("PSNR", "dB"),
    "pooled_psnr_db": Metric("PSNR, pooled", "dB"),
    "ssim": Metric("SSIM", ""),
    "ms_ssim": Metric("MS-SSIM", ""),
    "ssimulacra2": Metric("SSIMULACRA 2", ""),
    "psnr_hvs_m_db": Metric("PSNR-HVS-M", "dB"),
    "swd": Metric("SWD", ""),
    "bd_rate_percent": Metric("BD-rate", "%"),
    "encode_s_per_mpx": Metric("Encoding", "s/Mpx"),
    "decode_s_per_mpx": Metric("Decoding", "s/Mpx"),
}
