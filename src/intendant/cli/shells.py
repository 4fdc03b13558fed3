"""Shells that ask for completion, where click's own way of answering them loses something.

`--state=running` is one word to zsh and fish, which complete it as a whole, and three to bash. In
what fish is told, a comma is part of the text.
"""

from __future__ import annotations

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

_FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \
COMP_CWORD=(commandline -t) %(prog_name)s)
    for completion in $response
        set -l parts (string split --max 1 "," $completion)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class Bash(BashComplete):
    """bash: `=` is a word of its own."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is completed, and that one."""
        args, incomplete = super().get_completion_args()
        return [one for one in args if one != "="], incomplete


class _WithOption(ShellComplete):
    """Offers values together with the `--option=` in front of them."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """What is offered, as whole words."""
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if not (equals and option.startswith("--")):
            return found
        return [
            CompletionItem(f"{option}={one.value}", type=one.type, help=one.help) for one in found
        ]


class Zsh(_WithOption, ZshComplete):
    """zsh."""


class Fish(_WithOption, FishComplete):
    """fish."""

    source_template = _FISH


def register() -> None:
    """Have click answer in these ways."""
    for shell in (Bash, Zsh, Fish):
        add_completion_class(shell)
