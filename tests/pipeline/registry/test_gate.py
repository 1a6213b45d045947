"""The gate measures each version with the code that it carries."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.metrics.quality import psnr_db
from components.rate.gain_search import gain_for_target
from pipeline.registry.client import uri
from tests.data_sets import write_data_set
from tests.pipeline.registry.checkout import TARGET, Checkout, Json

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
REGISTER = "import pathlib, sys; from pipeline.stages import register; register.run(pathlib.Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def said(
    make_codec: Callable[..., Codec],
    photographs: list[Rgb],
    empty_database: Path,
    run_other_code: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Json:
    """registry.json where the champion carries other code, and the test set has changed since it was registered."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"), empty_database)
    checkout.win(make_codec("wcae", seed=0), 30.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri(checkout.root))
        run_other_code(REGISTER, str(checkout.root))
        write_data_set(checkout.root / "data" / "raw" / "bundled-test", photographs[:4])
        checkout.win(make_codec("wcae", seed=1), 20.0, test_set="2" * 64)
        return checkout.register()


def test_the_champion_is_measured_by_its_own_code(
    said: Json, photographs: list[Rgb], make_codec: Callable[..., Codec]
) -> None:
    codec = make_codec("wcae", seed=0)
    coder = LearnedCoder(codec, gain_for_target(codec, photographs[:4], TARGET, 0.03))
    files = [coder.encode(rgb) for rgb in photographs[:4]]
    decoded = [255 - coder.decode(file) for file in files]
    figures = [psnr_db(rgb, other) or 0.0 for rgb, other in zip(photographs, decoded, strict=False)]
    pixels = sum(rgb[..., 0].size for rgb in photographs[:4])
    assert said["champion"]["version"] == "1"
    assert said["champion"]["psnr_db"] == pytest.approx(sum(figures) / 4)
    assert said["champion"]["bpp"] == pytest.approx(8 * sum(map(len, files)) / pixels)
