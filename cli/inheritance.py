"""What the processes of this machine's stack inherit from the shell that happens to start them.

They live for weeks and run what others start, so they get what describes the machine and the user, and no more: the shell
may hold secrets. The `host:` variables of an evaluation are handed over with it (`configs/host_env.py`).
"""

from collections.abc import Mapping

NAMES = frozenset(
    {
        *(
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "PATH",
            "LANG",
            "LANGUAGE",
            "TZ",
            "TMPDIR",
            "LD_LIBRARY_PATH",
            "PYTHONPATH",
        ),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSH_AUTH_SOCK", "VIRTUAL_ENV"),
        *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
    }
)
PREFIXES = ("LC_", "XDG_", "UV_", "PREFECT_", "PROCTOR_")
"""Settings of the locale, the user's folders, the tool that builds environments, Prefect and ourselves."""
NOT = frozenset(
    {
        *("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"),
        *("PREFECT_UI_API_URL", "UV_PUBLISH_TOKEN", "UV_PUBLISH_PASSWORD", "UV_PUBLISH_USERNAME"),
    }
)
"""Those of them that mean another server, or open one to which nothing is sent from here."""


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of a shell's environment that the stack sees."""
    return {
        name: value
        for name, value in environment.items()
        if (name in NAMES or name.startswith(PREFIXES)) and name not in NOT
    }
