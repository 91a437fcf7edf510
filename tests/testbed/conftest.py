"""Fixtures of the testbed's tests."""

import pytest

from adaptoff.testbed.probe import probe


@pytest.fixture(scope="module", params=["root", "rootless"])
def rootless(request: pytest.FixtureRequest) -> bool:
    """What ``Network`` takes, for each kind of namespaces that this machine and user can make."""
    able = probe()
    missing = getattr(able, f"{request.param}_namespaces").why_not or able.tbf.why_not
    if missing:
        pytest.skip(f"{request.param} namespaces: {missing}")
    return bool(request.param == "rootless")
