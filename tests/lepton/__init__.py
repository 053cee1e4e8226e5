"""A stand-in for the Lepton service, which the unmodified SDK talks to over HTTP.

The SDK reads the login record of whoever runs it at its import, so importing this package gives it an empty folder first.
"""

import atexit
import os
import shutil
import tempfile

if "LEPTON_CACHE_DIR" not in os.environ:
    os.environ["LEPTON_CACHE_DIR"] = tempfile.mkdtemp(prefix="lepton-cache-")
    atexit.register(shutil.rmtree, os.environ["LEPTON_CACHE_DIR"], ignore_errors=True)
