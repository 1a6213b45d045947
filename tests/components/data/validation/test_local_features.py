import cv2
import numpy as np
import pytest

from components.data.validation.local_features import FEATURES, MIN_SIDE, LocalFeatures
from tests.components.data.validation.made import bundled


@pytest.mark.parametrize("name", ["chelsea.png", "rocket.jpg"])
def test_features_of_the_mirror_image_need_no_second_search(name: str) -> None:
    grey = np.asarray(cv2.cvtColor(bundled(name), cv2.COLOR_RGB2GRAY), np.uint8)
    searched = LocalFeatures.of(np.ascontiguousarray(grey[:, ::-1]))
    turned = LocalFeatures.of(grey).mirrored(grey.shape[1])
    nearest = (searched.unit() @ turned.unit().T).argmax(axis=1)
    apart = np.abs(searched.points - turned.points[nearest]).max(axis=1)
    assert np.mean(apart < 2) > 0.8
    twice = turned.mirrored(grey.shape[1])
    np.testing.assert_array_equal(twice.descriptors, LocalFeatures.of(grey).descriptors)


def test_descriptors_are_unit_vectors() -> None:
    grey = np.asarray(cv2.cvtColor(bundled("coffee.png"), cv2.COLOR_RGB2GRAY), np.uint8)
    found = LocalFeatures.of(grey)
    assert 100 < len(found.points) <= FEATURES
    np.testing.assert_allclose(np.linalg.norm(found.unit(), axis=1), 1, atol=1e-5)
    assert len(found.strongest(10).points) == 10


@pytest.mark.parametrize("shape", [(MIN_SIDE - 1, 500), (1, 1), (200, 200)])
def test_tiny_and_blank_pictures_have_no_features(shape: tuple[int, int]) -> None:
    found = LocalFeatures.of(np.full(shape, 128, np.uint8))
    assert found.points.shape == (0, 2)
    assert found.unit().shape == (0, 128)
    assert found.mirrored(shape[1]).descriptors.shape == (0, 128)
