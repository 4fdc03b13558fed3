"""Import it, and the kernel refuses this process every fork (getrlimit(2): RLIMIT_NPROC)."""

import os
import resource

NOBODY = 65534

if os.geteuid() == 0:  # the limit is nothing to root
    os.setresuid(NOBODY, NOBODY, NOBODY)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
