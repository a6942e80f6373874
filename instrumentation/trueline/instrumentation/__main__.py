"""``python -m trueline.instrumentation doctor``: what a service's environment lacks, without any monitor."""

from __future__ import annotations

import sys

from trueline.instrumentation.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
