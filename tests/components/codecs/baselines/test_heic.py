import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from components.codecs.baselines.lossy import BASELINES
from components.errors import BitstreamError
from components.metrics.quality import psnr_db
from tests.components.codecs.baselines.searched import photographs, search

HEIC = BASELINES["heic"]
WITHOUT_LIBRARY = """
import sys
sys.modules["pillow_heif"] = None  # as where it is not installed
import numpy as np
from components.codecs.baselines.lossy import BASELINES
assert BASELINES["avif"].encode(np.zeros((8, 8, 3), np.uint8), 50)
BASELINES["heic"].encode(np.zeros((8, 8, 3), np.uint8), 20)
"""


@pytest.mark.parametrize("quality", [0, 11, 24, 47])
def test_the_next_quality_is_a_larger_and_better_file(quality: int) -> None:
    picture = photographs()[0]
    files = [HEIC.encode(picture, each) for each in (quality, quality + 1)]
    assert len(files[0]) < len(files[1])
    low, high = (psnr_db(picture, HEIC.decode(file)) or 0.0 for file in files)
    assert low < high


def test_threads_at_the_same_time_write_the_same_files() -> None:
    alone = [HEIC.encode(picture, 12) for picture in photographs()]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda number: HEIC.encode(photographs()[number % 2], 12), range(8)))
    assert together == 4 * alone


def test_files_are_heic_without_metadata() -> None:
    data = HEIC.encode(photographs()[0][:32, :32], 20)
    assert data[4:12] == b"ftypheix"  # extended: 4:4:4
    assert b"x265" not in data  # its signature in a user data message
    assert b"Exif" not in data


def test_gray_pictures_stay_nearly_gray() -> None:
    gray = np.repeat(photographs()[0][:64, :64, :1], 3, axis=2)
    decoded = HEIC.decode(HEIC.encode(gray, 30)).astype(int)
    assert np.ptp(decoded, axis=2).max() <= 4


def test_colours_are_not_subsampled() -> None:
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[::2, ::2], checks[1::2, 1::2] = (255, 0, 0), (0, 0, 255)
    checks[::2, 1::2], checks[1::2, ::2] = (0, 0, 255), (255, 0, 0)
    decoded = HEIC.decode(HEIC.encode(checks, 40)).astype(int)
    assert np.abs(decoded - checks).mean() < 3


def test_the_version_names_all_libraries() -> None:
    for library in ("pillow-heif 1.", "libheif 1.", "x265 "):
        assert library in HEIC.version


def test_without_the_library_one_line_says_how_to_get_it_and_other_baselines_work() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARY], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "components.errors.RatewrightError: the baseline heic needs pillow-heif: run `pip install 'ratewright[heic]'`, "
        "or leave heic out of the baselines"
    )


def test_the_search_ends_at_a_whole_quality() -> None:
    assert isinstance(search("heic")[0], int)


@pytest.mark.parametrize("cut", [1, 100])
def test_a_file_without_its_end_is_refused(cut: int) -> None:
    data = HEIC.encode(photographs()[0], 20)
    with pytest.raises(BitstreamError):
        HEIC.decode(data[:-cut])
