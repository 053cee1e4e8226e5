"""What shellcheck says about the shell text that we write."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import unavailable


def check_with_shellcheck(
    name: str, text: str, folder: Path, shell: str, leave_out: str, severity: str = "warning"
) -> None:
    """Nothing of this severity or worse, but for the codes that are left out."""
    if not shutil.which("shellcheck"):
        unavailable("shellcheck is not installed; `scripts/services` installs it")
    (folder / name).write_text(text)
    argv = ["shellcheck", "-S", severity, "-s", shell, "-e", leave_out, str(folder / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
