"""The slider of the report, which is the page's, in a browser with and without scripts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pipeline.stages import report
from tests.pipeline.reporting.written_run import write_run


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reported")
    write_run(root)
    report.run(root)
    return root / "report" / "index.html"


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(request: pytest.FixtureRequest, chromium: Browser, reported: Path) -> Iterator[Page]:
    context = chromium.new_context(java_script_enabled=request.param)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(reported.as_uri())
    yield page
    assert {url for url in asked if not url.startswith("data:")} == {reported.as_uri()}
    context.close()


def test_pictures_are_side_by_side_until_the_slider_is_chosen(page: Page, request: pytest.FixtureRequest) -> None:
    comparison = page.get_by_role("group").first
    pictures = comparison.locator("figure .detail")
    boxes = [each.bounding_box() for each in pictures.all()]
    assert all(boxes)
    assert len({(box["x"], box["y"]) for box in boxes if box}) == len(boxes) == 4
    choice = comparison.locator("label", has_text="Slider")
    assert choice.is_visible() == ("no scripts" not in request.node.name)
    if not choice.is_visible():
        return
    choice.get_by_role("radio").check()
    assert [each.is_visible() for each in pictures.all()] == [True, True, False, False]
    assert pictures.nth(0).bounding_box() == pictures.nth(1).bounding_box()
    slider = comparison.get_by_role("slider")
    assert re.search("boundary between the two pictures", slider.get_attribute("aria-label") or "")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "52 % Original, the rest swift"
    comparison.get_by_label("Right").select_option("jpeg")
    assert [each.is_visible() for each in pictures.all()] == [True, False, True, False]
    comparison.get_by_role("radio", name="Detail").check()
    assert all(each.is_visible() for each in pictures.all())
    assert not slider.is_visible()
