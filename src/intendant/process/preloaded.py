"""Imported by the forkserver after all that its children need, for what is to be done then."""

import gc

import setproctitle

setproctitle.setproctitle("intendant: forkserver")
gc.collect()
gc.freeze()  # the objects made so far stay on pages that the children share
