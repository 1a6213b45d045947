"""Lines about validations in the log."""

import logging

import pytest

from components.training.callback import Validation
from pipeline.stages._progress import progress_logger


def test_a_validation_whose_loss_is_not_finite(caplog: pytest.LogCaptureFixture) -> None:
    row = Validation(
        step=9,
        lmbda=0.01,
        lr=1e-3,
        train_loss=None,
        val_loss=None,
        val_psnr_db=None,
        val_bpp_estimated=0.5,
        skipped=0,
        diverged=True,
        calibration_bpp=None,
    )
    with caplog.at_level(logging.INFO, "pipeline"), progress_logger("train wcae") as callback:
        callback.on_validation(row)
    assert caplog.messages == [
        "train wcae: step 9 loss not finite psnr not finite dB estimated 0.500 bpp lambda 0.01"
        " | diverged: back to the best weights, half the learning rate"
    ]
