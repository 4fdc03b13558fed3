"""Text of others on a terminal: data, never commands to it.

A name, an argument or a log may hold escape sequences that move the cursor, retitle the window or
answer as the keyboard would. Shown on a terminal, they are spelled out.
"""

from __future__ import annotations

import codecs
import re

_LONGEST_COLOUR = 64
_COLOUR = r"\x1b\[[0-9;:]*m"
# C0, DEL, C1; marks and overrides of writing direction, invisible joiners, separators of lines;
# lone surrogates; marks of annotation; tags, which are ASCII that nobody sees.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_HARMFUL = re.compile(f"[{_UNSEEN}]")
_HARMFUL_IN_LOG = f"({_COLOUR}|[\\n\\r\\t])|[{_UNSEEN}]"
_OPEN_COLOUR = r"\x1b(\[[0-9;:]*)?\Z"


def visible(text: str) -> str:
    """`text` on one line, with everything that does not print spelled out."""
    return _HARMFUL.sub(_spelled_out, text)


class LogFilter:
    """Makes a log fit for a terminal, piece by piece: lines, tabs and colours stay."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._pending = ""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """What can be shown now; a sequence that is cut off waits for its rest."""
        text = self._pending + self._decode(data, final)
        self._pending = ""
        cut = None if final else re.search(_OPEN_COLOUR, text)
        if cut is not None and len(cut[0]) <= _LONGEST_COLOUR:
            text, self._pending = text[: cut.start()], cut[0]
        return re.sub(_HARMFUL_IN_LOG, lambda found: found[1] or _spelled_out(found), text)


def _spelled_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
