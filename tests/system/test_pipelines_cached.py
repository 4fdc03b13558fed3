"""Cached steps through the installed command."""

from __future__ import annotations

from tests.helpers.daemon import Daemon

STEPS = """
name = "cached"
defaults = { cache = true }

[[steps]]
name = "a"
argv = ["sh", "-c", "echo a >> witness; echo '{\\"x\\": 5}' > $INTENDANT_OUTPUTS"]

[[steps]]
name = "b"
call = "work:twice"
args = { x = "${a.outputs.x}" }

[[steps]]
name = "c"
argv = ["sh", "-c", "echo c ${b.outputs} >> witness"]
cache = false
"""
WORK = """
def twice(x):
    with open("witness", "a") as file:
        file.write("b\\n")
    return %s * x
"""


def test_p10_p11_p15_what_is_cached_is_not_run_again_and_the_plan_says_so(daemon: Daemon) -> None:
    (daemon.home / "cached.toml").write_text(STEPS)
    (daemon.home / "work.py").write_text(WORK % 2)

    def carry_out() -> list[str]:
        (daemon.home / "witness").write_text("")
        done = daemon.run("submit", "cached.toml", "--wait")
        assert done.returncode == 0, done.stderr
        return (daemon.home / "witness").read_text().splitlines()

    def planned() -> list[str]:
        lines = daemon.run("plan", "cached.toml").stdout.splitlines()
        return [line.split()[1] for line in lines if line.startswith("*")]

    assert planned() == ["a", "b", "c"]
    assert carry_out() == ["a", "b", "c 10"]
    assert planned() == ["c"]
    assert carry_out() == ["c 10"]
    (daemon.home / "work.py").write_text(WORK % 3)
    assert planned() == ["b", "c"]
    assert carry_out() == ["b", "c 15"]
    for entry in (daemon.state_dir / "cache").glob("*/files/outputs.json"):
        entry.write_text("7")
    assert "damaged: outputs.json has changed" in daemon.run("plan", "cached.toml").stdout
    assert carry_out()[-1] == "c 15", "never a wrong value"
