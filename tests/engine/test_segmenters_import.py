"""Importing and building the segmenter without weights loads no torch."""

from __future__ import annotations

import subprocess
import sys


def test_the_classical_segmenter_loads_no_torch() -> None:
    script = (
        "import sys; from engine.segmenters import build; build('classical'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
