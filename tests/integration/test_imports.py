"""What the processes of the daemon import, and what not: each megabyte counts once for each."""

from __future__ import annotations

import subprocess
import sys

import pytest

MAINS = ("executor.main", "governor.main", "broker.control", "workloads.study.conduct")


@pytest.mark.parametrize("main", MAINS)
def test_no_process_carries_what_only_a_terminal_or_a_sampler_needs(main: str) -> None:
    code = f"import intendant.{main}, sys; print(*{{'rich', 'optuna', 'numpy'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_dir_knows_the_public_names_before_anything_is_loaded() -> None:
    code = (
        "import intendant, sys; missing = {*intendant.__all__} - {*dir(intendant)}; "
        "print([*missing], [name for name in sys.modules if name.startswith('intendant.')], "
        "[name for name in intendant.__all__ if not hasattr(intendant, name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] [] []"


@pytest.mark.parametrize("main", ["executor.executor", "governor.preloaded"])
def test_the_daemons_own_processes_look_for_no_plugins_of_pydantic(main: str) -> None:
    code = (
        "from intendant.protocol.building import forgo_plugins; forgo_plugins(); "
        f"import intendant.{main}, sys; print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
