"""What an installation can run is known before anything is started."""

import pytest

from proctor.blocks.installed import installed, require_installed
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import BUILTIN_EXECUTIONS


def test_every_kind_of_execution_of_ours_is_installed() -> None:
    assert set(BUILTIN_EXECUTIONS) <= installed().keys()


def test_a_misspelt_backend_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'process'"):
        require_installed("proces")
