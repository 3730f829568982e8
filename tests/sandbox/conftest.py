"""Sandboxes that several tests share: starting one costs a second of imports, using one costs nothing."""

from __future__ import annotations

import pytest
import pytest_asyncio

from podium.errors import SandboxUnavailable
from podium.sandbox import Limits, Sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["A", "B"])
async def sandbox(request):
    """One sandbox per tier with numpy and sympy warm. The limit on seconds is wide: the machine may be busy."""
    try:
        async with Sandbox(Limits(wall_seconds=30.0), tier=request.param, ready=1) as sandbox:
            yield sandbox
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(loop_scope="module")
async def session(sandbox):
    async with await sandbox.open(seed=0) as session:
        yield session
