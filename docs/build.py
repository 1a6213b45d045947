"""Build the documentation site: `python -m docs.build`, or `make docs`.

Pages of docs/ and plots of results/ are copied to build/docs/, and generated pages are written beside them. Zensical
makes site/ from these, with warnings as errors. `python -m docs.build --pages` stops before Zensical.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from components.errors import RatewrightError
from docs import reference
from docs.offline import external_resources
from pipeline.paths import CHECKOUT
from pipeline.terminal import guarded

PAGES = CHECKOUT / "build" / "docs"
SITE = CHECKOUT / "site"
ROOT_PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE")
"""Files of the repository's root that the site has too."""


def collect(folder: Path) -> None:
    """Write all pages, pictures and plots of the site's source to `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CHECKOUT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in ROOT_PAGES:
        shutil.copyfile(CHECKOUT / name, folder / name)
    for picture in (CHECKOUT / "results").glob("*/*.png"):
        copy = folder / "runs" / picture.parent.name / picture.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, copy)
    reference.write(folder)
    for page in folder.rglob("*.md"):
        page.write_text(_for_site(page.read_text()))


def _for_site(text: str) -> str:
    """A page with its links as the site has them."""
    text = text.replace("../results/", "runs/").replace("](docs/", "](")
    for name in ROOT_PAGES:
        text = text.replace(f"../{name}", name)
    return text


def build() -> None:
    """Build site/. Raises RatewrightError for a warning of Zensical, or a page that loads something from elsewhere."""
    collect(PAGES)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean"]
    if subprocess.run(command, cwd=CHECKOUT, check=False).returncode:
        raise RatewrightError("the site was not built: see the warnings above")
    if external := external_resources(SITE):
        raise RatewrightError(f"the site loads from other hosts: {'; '.join(external)}")


if __name__ == "__main__":
    guarded((lambda: collect(PAGES)) if sys.argv[1:] == ["--pages"] else build)
