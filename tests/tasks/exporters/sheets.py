"""A stand-in of Google's token service and of the Sheets API, for the real client library."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

TOKEN = "stand-in-token"
BOOK = "book-1"


@dataclass
class Book:
    """The spreadsheet behind the API."""

    sheets: dict[str, list[list[Any]]] = field(default_factory=dict)
    refuse: int = 0
    """An HTTP status that every request gets instead of its answer."""
    pause: float = 0
    """Seconds before each answer."""
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)
    """What somebody else does just before a request that ends so (`:append`) is answered, once."""

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """What the API says to one request."""
        if path.endswith("/values:batchClear"):
            for place in body["ranges"]:
                self.write(place, [[]])
            return {}
        if path.endswith("/values:batchUpdate"):
            for each in body["data"]:
                self.write(each["range"], each["values"])
            return {}
        if match := re.fullmatch(r".*/values/(.+):append", path):
            self.rows(match[1]).extend(body["values"])
            return {}
        if match := re.fullmatch(r".*/values/(.+)", path):
            if method == "PUT":
                self.write(match[1], body["values"])
                return {}
            only = re.search(r"!A?1:", match[1])
            rows = self.rows(match[1])
            return {"range": match[1], "values": [list(map(str, row)) for row in (rows[:1] if only else rows)]}
        if path.endswith(":batchUpdate"):
            title = body["requests"][0]["addSheet"]["properties"]["title"]
            if title in self.sheets:
                raise ValueError(f'A sheet with the name "{title}" already exists.')
            self.sheets[title] = []
            return {"replies": [{"addSheet": {"properties": self.properties(title)}}]}
        return {"spreadsheetId": BOOK, "properties": {"title": "Scores"}, "sheets": self.described()}

    def described(self) -> list[Any]:
        return [{"properties": self.properties(title)} for title in self.sheets]

    def properties(self, title: str) -> dict[str, Any]:
        grid = {"rowCount": 100, "columnCount": 12}
        return {"sheetId": list(self.sheets).index(title), "title": title, "index": 0, "gridProperties": grid}

    def rows(self, place: str) -> list[list[Any]]:
        return self.sheets[place.split("!", maxsplit=1)[0].strip("'")]

    def write(self, place: str, values: list[list[Any]]) -> None:
        found = re.search(r"!A(\d+)", place)
        start = int(found[1]) - 1 if found else 0
        self.rows(place)[start : start + len(values)] = values


@contextmanager
def sheets_api(folder: Path) -> Iterator[tuple[Book, str, Path]]:
    """The spreadsheet, the address of its API, and the key file of an account that may use it."""
    book = Book()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            if path == "/token":
                return self.say(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}" or BOOK not in path:
                return self.say(404, error(404, "Requested entity was not found."))
            if book.refuse:
                return self.say(book.refuse, error(book.refuse, "The caller does not have permission"))
            time.sleep(book.pause)
            for end in [each for each in book.meanwhile if path.endswith(each)]:
                book.meanwhile.pop(end)()
            try:
                return self.say(200, book.answer(self.command, path, json.loads(body or b"{}")))
            except ValueError as refusal:
                return self.say(400, error(400, str(refusal)))

        do_GET = do_POST = do_PUT = reply

        def say(self, status: int, content: Any) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield book, url, key_file(folder, url)
    finally:
        server.shutdown()
        server.server_close()


def error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": "ERROR"}}


def key_file(folder: Path, url: str) -> Path:
    """A service account's key, which only the stand-in knows."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"type": "service_account", "client_email": "eval@example.test", "token_uri": f"{url}/token"}
    path = folder / "account.json"
    path.write_text(json.dumps({**account, "private_key": pem, "private_key_id": "1", "project_id": "x"}))
    return path
