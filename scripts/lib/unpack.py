"""Unpacks from every wheel below a directory the members that match one of the patterns.

usage: unpack.py TARGET WHEELS PATTERN...
"""

import fnmatch
import pathlib
import sys
import zipfile

target, wheels, *patterns = sys.argv[1:]
for path in sorted(pathlib.Path(wheels).glob("*/*.whl")):
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if not name.endswith("/") and any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                wheel.extract(name, target)
