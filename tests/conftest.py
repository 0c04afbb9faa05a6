"""Options and fixtures of all tests."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="torch device the tests run on")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--device") == "cpu":
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a GPU; run with --device cuda"))


@pytest.fixture
def device(request):
    return request.config.getoption("--device")
