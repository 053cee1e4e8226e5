"""Export to files of this machine."""

import shutil
from pathlib import Path

from proctor.blocks.errors import ExportError
from proctor.configs.export_schema import LocalExport
from proctor.tasks.outgoing import Outgoing
from proctor.tasks.report import write_report


def export(sent: Outgoing, settings: LocalExport, folder: str) -> str:
    """Write the wanted formats, and copy artifacts beside them; the answer is the paths."""
    target = Path(settings.output_dir or folder)
    try:
        written = write_report(sent.result, target, settings.format)
        for each in sent.files:
            place = target / each.folder
            place.mkdir(parents=True, exist_ok=True)
            if not (place / each.path.name).exists() or not each.path.samefile(place / each.path.name):
                shutil.copy2(each.path, place)
    except OSError as error:
        where = error.filename or target
        raise ExportError(f"export.local.output_dir: {where}: {error.strerror or error}", again=False) from None
    return ", ".join(str(path) for path in written.values())
