"""Open Tag2Mask in the browser: the given project, else the last one, else the sample."""

from __future__ import annotations

import sys

from annotator.start import main

if __name__ == "__main__":
    sys.exit(main())
