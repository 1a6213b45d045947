import subprocess
import sys

import pytest

from components.codecs.table import CODECS, codec_class
from components.errors import RatewrightError


def test_the_table_and_the_modules_agree() -> None:
    for name, known_as in CODECS.items():
        found = codec_class(name)
        assert (found.name, found.__name__) == (name, known_as)
        assert found.rate_parameter is None or found.rate_parameter.name
    with pytest.raises(RatewrightError, match=r"unknown codec 'vvc'; known: .*wcae"):
        codec_class("vvc")


def test_variants_do_not_import_each_other() -> None:
    code = "import sys, components.codecs.variants.wcae; assert 'components.codecs.variants.nowcae' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
