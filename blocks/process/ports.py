"""Whether a model server may listen on a port of this machine."""

import socket

from proctor.blocks.errors import RejectedError


def require_free_port(port: int) -> None:
    """Raise RejectedError when something else answers where the server is to listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RejectedError(
                f"deployment.port: something else listens on port {port} of this machine; choose another port"
            ) from error
