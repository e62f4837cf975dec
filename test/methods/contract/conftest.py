"""Every method that is installed, those of other packages among them, with networks that were trained for seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pose_estimation_ros.methods.registry import methods, pipeline_methods

from .case import Case, make_case


@pytest.fixture(scope="session")
def cases(tiny_bop: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Return a function from a method's name to its case; networks are trained once."""

    @cache
    def trained(name: str) -> Case:
        return make_case(methods()[name], tiny_bop, tmp_path_factory.mktemp(name))

    return trained


@pytest.fixture(params=list(pipeline_methods()))
def case(request: pytest.FixtureRequest, cases: Callable[[str], Case]) -> Case:
    """Return every method of the pipeline, or those that `methods_that` chose, ready to be loaded."""
    return cases(request.param)
