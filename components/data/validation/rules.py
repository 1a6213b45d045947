"""The rules that data sets are checked by: the section `validation` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from ...settings import PositiveInt, Settings, Share

Action = Literal["warn", "fail", "off"]
"""What a broken rule does: a warning, an end of the run before anything is trained, or nothing."""


class Rule(Settings):
    """A rule without a limit."""

    action: Action = "warn"
    """What happens where the rule is broken: `warn`, `fail` or `off`."""


class Leak(Rule):
    """No picture of calibration and test is in the training data, also scaled, turned, mirrored or cropped."""

    action: Action = "fail"
    """What happens where one is: `warn`, `fail` or `off`. A variant of `fine_tuned` may be trained on the calibration
    set, but not on the test set."""


class Small(Rule):
    """No picture is small."""

    shorter_side: PositiveInt = 128
    """Least length of the shorter side in pixels."""


class Grey(Rule):
    """Most pictures of a set have colours."""

    share: Share = 0.5
    """Largest share of a set's pictures that may be grey."""


class Flat(Rule):
    """No picture is blank."""

    share: Share = 0.9
    """Largest share of a picture's 16x16 blocks in which luma deviates by less than one level."""


class Text(Rule):
    """No picture is a page of print or a screenshot."""

    share: Share = 0.15
    """Largest share of a picture's 16x16 blocks that look like print. Charts and posters reach 0.1."""


class JpegQuality(Rule):
    """No picture was coded coarsely before."""

    least: Annotated[int, Field(ge=1, le=100)] = 70
    """Least quality of a JPEG file, in libjpeg's units, by its quantisation table."""


class Moved(Rule):
    """A set is like the revision of it that was measured before."""

    distance: Share = 0.2
    """Largest Kolmogorov-Smirnov distance of a figure's distribution from the former one. A distance that chance
    explains in sets of these sizes, at a level of 1 %, breaks no rule."""
    changed: Share = 0.5
    """Largest share of pictures that are new or replaced."""


class ValidationRules(Settings):
    """What data sets must be like before anything is trained on them."""

    leak: Leak = Leak()
    """No picture of calibration and test is in the training data."""
    duplicate: Rule = Rule()
    """No picture is there twice, in one set or in calibration and test, also scaled, turned or coded anew."""
    small: Small = Small()
    """No picture is small."""
    grey: Grey = Grey()
    """Most pictures of a set have colours."""
    flat: Flat = Flat()
    """No picture is blank."""
    text: Text = Text()
    """No picture is a page of print or a screenshot."""
    jpeg_quality: JpegQuality = JpegQuality()
    """No picture was coded coarsely before."""
    licence: Rule = Rule()
    """Every picture has a licence, and a credit where the licence asks for one."""
    drift: Moved = Moved()
    """A set is like the revision of it that was measured before; MLflow is asked for that one unless this is `off`."""

    def action_of(self, rule: str) -> Action:
        """What a broken rule does."""
        found: Action = getattr(self, rule).action
        return found
