"""The one error that is the user's to mend."""


class ConfigError(Exception):
    """A mistake in a config, an override or an argument: one sentence that names it and what to do; never retried."""

    exit_code = 2
