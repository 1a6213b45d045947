"""What is installed: `components` under the name `ratewright`, and in a checkout its packages under their own names."""

import sys

from setuptools import find_packages, setup

INSTALLED = ["ratewright", *(f"ratewright.{name}" for name in find_packages("components"))]
CHECKOUT = find_packages(include=["components*", "dags*", "pipeline*"])

setup(
    packages=[*INSTALLED, *(CHECKOUT if "editable_wheel" in sys.argv else [])],
    package_dir={"ratewright": "components"},
)
