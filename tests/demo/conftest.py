import pytest

from backlight_demo import ResNet34, model


@pytest.fixture(scope="session")
def network() -> ResNet34:
    return model()
