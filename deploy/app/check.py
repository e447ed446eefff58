"""Whether this container is ready: the health check of the image. Exit status 0 if it is."""

import os
import sys
import urllib.request

if __name__ == "__main__":
    port = os.environ.get("AMZMQ_PROBES", "127.0.0.1:9464").rpartition(":")[2]
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
    except OSError as error:
        sys.exit(f"not ready: {error}")
