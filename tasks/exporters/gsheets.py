"""Export to a Google spreadsheet: one row for each score, found again by evaluation, benchmark and metric."""

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proctor.blocks.errors import ExportError
from proctor.configs.errors import ConfigError
from proctor.configs.export_schema import GsheetsExport
from proctor.tasks.outgoing import Outgoing

if TYPE_CHECKING:
    from gspread import Client, Spreadsheet, Worksheet

GOOGLE = "https://sheets.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/spreadsheets"
HEAD = (
    *("evaluation", "benchmark", "metric", "value", "stderr", "samples"),
    *("model", "name", "execution", "ended", "config", "image"),
)
KEY_COLUMNS = 3
Row = list[str | float | int]


def export(sent: Outgoing, settings: GsheetsExport, folder: str) -> str:
    """Append the rows of new scores and update those that are there; the answer is the sheet's address."""
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
    from gspread.exceptions import APIError, GSpreadException, SpreadsheetNotFound  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    if not settings.spreadsheet:
        raise ConfigError("export.gsheets.spreadsheet: give the id or the address of the spreadsheet")
    key_file = account_file(settings)
    try:
        sheet = worksheet(connect(settings, key_file), settings)
        write(sheet, rows(sent))
        return sheet.url
    except (PermissionError, SpreadsheetNotFound) as error:
        raise ExportError(refused(error, settings), again=False) from None
    except (RequestException, TransportError) as error:
        raise ExportError(f"Google Sheets cannot be reached: {error}", again=True) from None
    except APIError as error:
        raise ExportError(f"Google Sheets: {error}", again=error.code in {429, 500, 502, 503, 504}) from None
    except (GSpreadException, GoogleAuthError) as error:
        raise ExportError(f"Google Sheets: {type(error).__name__}: {error}", again=False) from None


def account_file(settings: GsheetsExport) -> Path:
    """The key file of the service account. Raises ConfigError when it is nowhere."""
    named = settings.service_account_file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not named:
        raise ConfigError("export.gsheets.service_account_file: name it here, or in GOOGLE_APPLICATION_CREDENTIALS")
    path = Path(named).expanduser()
    if not path.is_file():
        raise ConfigError(f"export.gsheets.service_account_file: there is no file {path}")
    return path


def connect(settings: GsheetsExport, key_file: Path) -> "Client":
    """A client of the API. Raises ConfigError for a key file that is none."""
    import gspread  # noqa: PLC0415 (an optional package)
    from google.oauth2.service_account import Credentials  # noqa: PLC0415
    from gspread.http_client import HTTPClient  # noqa: PLC0415

    class AtAddress(HTTPClient):
        """The library's own client, at the address that the config names."""

        def request(self, method: str, endpoint: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, endpoint.replace(GOOGLE, settings.api_url.rstrip("/"), 1), *args, **kwargs)

    try:
        credentials = Credentials.from_service_account_file(str(key_file), scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ConfigError(f"export.gsheets.service_account_file: {key_file} is no key file: {error}") from None
    client = gspread.authorize(credentials, http_client=AtAddress)
    client.set_timeout(30)
    return client


def worksheet(client: "Client", settings: GsheetsExport) -> "Worksheet":
    """The sheet, made with its head where it is missing."""
    from gspread.exceptions import WorksheetNotFound  # noqa: PLC0415

    named = str(settings.spreadsheet)
    book: Spreadsheet = client.open_by_url(named) if named.startswith("http") else client.open_by_key(named)
    try:
        sheet = book.worksheet(settings.worksheet)
    except WorksheetNotFound:
        sheet = added(book, settings.worksheet)
    if not sheet.row_values(1):
        sheet.update([list(HEAD)], "A1")
    return sheet


def added(book: "Spreadsheet", title: str) -> "Worksheet":
    """A new sheet of this title, or the one that another evaluation has made at the same moment."""
    from gspread.exceptions import APIError, WorksheetNotFound  # noqa: PLC0415

    try:
        return book.add_worksheet(title, rows=100, cols=len(HEAD))
    except APIError as error:
        try:
            return book.worksheet(title)
        except WorksheetNotFound:
            raise error from None


def write(sheet: "Worksheet", fresh: list[Row]) -> None:
    """Update the rows that are there, and append the others; foreign rows stay as they are.

    Raises ExportError when our rows do not stand there once each afterwards: somebody moved rows between our reading and
    our writing, which the API has no way to exclude.
    """
    wanted, places = {key_of(row): row for row in fresh}, row_numbers(sheet)
    known = [(places[key][0], row) for key, row in wanted.items() if key in places]
    if known:
        sheet.batch_update([{"range": f"A{number}", "values": [row]} for number, row in known])
    surplus = [number for key in wanted for number in places.get(key, [])[1:]]
    if surplus:  # cleared and not deleted: no other row may move
        sheet.batch_clear([f"A{number}:{chr(ord('A') + len(HEAD) - 1)}{number}" for number in surplus])
    new = [row for key, row in wanted.items() if key not in places]
    if new:
        sheet.append_rows(new, table_range="A1")
    after = row_numbers(sheet)
    if any(len(after.get(key, [])) != 1 for key in wanted):
        raise ExportError("Google Sheets: somebody else changed the sheet at the same moment", again=True)


def key_of(row: Row) -> tuple[str, ...]:
    """What finds the row of a score again."""
    return tuple(map(str, row[:KEY_COLUMNS]))


def row_numbers(sheet: "Worksheet") -> dict[tuple[str, ...], list[int]]:
    """Where the rows of each score stand, counted from 1."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(sheet.get_all_values(), 1):
        found[tuple(row[:KEY_COLUMNS])].append(number)
    return dict(found)


def rows(sent: Outgoing) -> list[Row]:
    """One row a score."""
    result = sent.result
    ended = result.ended.isoformat(timespec="seconds") if result.ended else ""
    found: list[Row] = []
    for each, score in sent.scores:
        proof = each.provenance
        numbers: Row = [score.value, "" if score.stderr is None else score.stderr, score.samples or ""]
        depends: Row = [proof.config_hash, proof.image_digest or proof.image or ""] if proof else ["", ""]
        whole: Row = [result.model, result.name, result.execution, ended]
        found.append([result.evaluation, each.benchmark, score.name, *numbers, *whole, *depends])
    return found


def refused(error: Exception, settings: GsheetsExport) -> str:
    """What to do when Google says no, or does not know it."""
    return (
        f"export.gsheets.spreadsheet: Google refuses {settings.spreadsheet} ({error.__cause__ or error}); "
        "check it, and share it, for editing, with the client_email of the service account"
    )
