"""Imported by the forkserver after all that its children need, for what is to be done then."""

import setproctitle

from intendant.process.sharing import settle

setproctitle.setproctitle("intendant: forkserver")
settle()
