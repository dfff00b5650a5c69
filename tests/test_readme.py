"""What README shows of Python is run, where it needs no data that is fetched."""

import re
from pathlib import Path

import numpy as np


README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_loop_of_ones_own():
    [block] = [text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "scan_steps" in text]
    *lines, last = block.strip().splitlines()
    names = {}
    exec("\n".join(lines), names)
    losses = np.asarray(eval(last, names))
    assert losses.shape == (512,) and losses[-50:].mean() < losses[:50].mean() - 0.1
