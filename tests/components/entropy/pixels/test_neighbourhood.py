from components.entropy.pixels.neighbourhood import LAG, NEIGHBOURS


def test_context_pixels_are_decoded_by_then() -> None:
    assert len(set(NEIGHBOURS)) == 16
    for up, left in NEIGHBOURS:
        assert up > 0 or left > 0, "in raster order"
        assert LAG * up + left > 0, "and front by front"
