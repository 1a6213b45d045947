"""The page by keyboard, pointer and screen reader, and its contrast."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from components.arrays import Rgb
from components.data.image_files import encode_png
from tests.browser.conftest import STREAM, Built
from tests.browser.viewer import Viewer

SLIDER = "Boundary between the two pictures"


def test_everything_can_be_reached_and_moved_by_the_keyboard(viewer: Viewer, original: Rgb) -> None:
    viewer.open(STREAM)
    viewer.compare(encode_png(original))
    page = viewer.page
    reached = []
    page.locator("body").press("Tab")
    for _ in range(6):
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
        page.keyboard.press("Tab")
    assert reached == ["stream", "handle", "SELECT", "SELECT", "save", "original"]

    slider = page.get_by_role("slider", name=SLIDER)
    slider.focus()
    seen = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "PageUp", "End", "PageDown", "Home", "ArrowDown"):
        page.keyboard.press(key)
        seen.append(int(slider.get_attribute("aria-valuenow") or -1))
    assert seen == [48, 50, 52, 62, 100, 90, 0, 0]
    assert slider.get_attribute("aria-valuetext") == "0 % haar_hyper, the rest JPEG"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert slider.get_attribute("aria-valuetext") == "0 % Original, the rest JPEG"
    assert page.locator(".left").get_attribute("data-name") == "Original"


def test_the_slider_follows_the_pointer(viewer: Viewer, original: Rgb) -> None:
    viewer.open(STREAM)
    viewer.compare(encode_png(original))
    box = viewer.page.locator(".left canvas").bounding_box()
    assert box
    mouse, middle = viewer.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] * 0.75, middle)
    mouse.down()
    slider = viewer.page.get_by_role("slider")
    assert slider.get_attribute("aria-valuenow") == "75"
    mouse.move(box["x"] + box["width"] * 0.25, middle)
    mouse.up()
    mouse.move(box["x"] + box["width"] * 0.5, middle)
    assert slider.get_attribute("aria-valuenow") == "25"
    handle = slider.bounding_box()
    assert handle
    assert handle["x"] == pytest.approx(box["x"] + box["width"] * 0.25, abs=1)


def test_a_screen_reader_finds_names_and_roles(viewer: Viewer, original: Rgb) -> None:
    page = viewer.page
    assert page.get_by_role("heading", level=1).inner_text() == "Open a compressed picture"
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    assert page.get_by_label("Choose a .rw file").get_attribute("type") == "file"
    assert page.get_by_role("region", name="Picture").count() == 0, "not before there is one"
    viewer.open(STREAM)
    assert page.get_by_role("status").inner_text().startswith("picture.rw: 128 × 96 pixels, decoded in ")
    assert page.get_by_role("img", name="haar_hyper").count() == 1
    viewer.compare(encode_png(original))
    slider = page.get_by_role("slider", name=SLIDER)
    assert (slider.get_attribute("aria-valuemin"), slider.get_attribute("aria-valuemax")) == ("0", "100")
    assert page.get_by_role("combobox", name="Left").count() == page.get_by_role("combobox", name="Right").count() == 1
    assert page.get_by_role("table").get_by_role("columnheader").all_inner_texts() == [
        "Format",
        "Size",
        "PSNR",
        "Setting",
    ]
    assert page.get_by_role("table").get_by_role("rowheader", name="JPEG").count() == 1
    viewer.open(b"")
    assert page.get_by_role("alert").inner_text() == "This is not a Ratewright file."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page(
    scheme: str, codec: Built, original: Rgb, open_page: Callable[..., Viewer]
) -> None:
    viewer = open_page(codec.folder, scheme)
    viewer.open(STREAM)
    viewer.compare(encode_png(original))
    viewer.compare(b"", "notes.png")
    for selector in (
        "h1",
        ".eyebrow",
        "dt",
        "dd",
        "figcaption",
        "#error",
        "td.soft",
        "#save",
        ".drop .soft",
        ".drop .button",
    ):
        text, *behind = viewer.page.locator(selector).first.evaluate(
            """(element) => {
                const behind = [];
                for (let each = element; each; each = each.parentElement) behind.push(getComputedStyle(each));
                return [getComputedStyle(element).color, ...behind.map((style) => style.backgroundColor)];
            }"""
        )
        paper = next(colour for colour in behind if colour != "rgba(0, 0, 0, 0)")
        assert contrast(text, paper) >= 4.5, (selector, text, paper)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG 2."""

    def luminance(colour: str) -> float:
        channels = np.array([int(value) for value in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
