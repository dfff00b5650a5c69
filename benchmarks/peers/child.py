"""A peer's side of a comparison, run by the peers' interpreter: child.py ADAPTER [FUNCTION] < configuration as JSON.

ADAPTER is a Python file with PACKAGES, the distributions whose versions count, and functions: configuration dict ->
result dict. Without FUNCTION the answer is the versions alone. Prints `result: {json}`; an adapter that cannot be
imported ends it with one line that says why. Standard library only, and nothing of the zoo.
"""

import json
import os
import platform
import runpy
import sys
from importlib import metadata


def main(path: str, *function: str) -> None:
    load = os.getloadavg()[0]
    try:
        adapter = runpy.run_path(path)
        versions = {name: metadata.version(name) for name in adapter["PACKAGES"]}
    except Exception as error:  # a broken package fails in any way it likes
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}")
    result = dict(adapter[function[0]](json.loads(sys.stdin.read()))) if function else {}
    result["versions"] = {"python": platform.python_version(), **versions}
    result["load_before"] = round(load, 2)
    print("result: " + json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
