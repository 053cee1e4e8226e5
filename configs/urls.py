"""What is a URL that requests can be sent to; pure."""

import re
from typing import Any
from urllib.parse import urlsplit

NO_URL = "is no URL; write http://HOST:PORT/v1/chat/completions"


def is_url(text: Any) -> bool:
    """Whether it names http or https, a host, and a port that exists where there is one."""
    if not isinstance(text, str) or re.search(r"\s", text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
