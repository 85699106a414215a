"""Errors that a user can act on: each names the place (file, row, field, option) and the remedy."""

AGAIN = "Remove that run directory and run it again."  # the remedy for a file of a finished run


class BenchmarkError(Exception):
    """Base of every error this project raises on purpose; the command line prints it without a traceback."""


class ConfigError(BenchmarkError):
    """An option, profile or ``--set`` value that cannot be used."""


class DataError(BenchmarkError):
    """A data source that cannot be read, or rows that cannot be used."""


class ModelError(BenchmarkError):
    """A model or tokenizer that cannot be loaded."""


class RunError(BenchmarkError):
    """A run that cannot go on (for example a loss that is not finite)."""


class StorageError(BenchmarkError):
    """A file that cannot be written (full disk, read-only folder, I/O error)."""


class Busy(BenchmarkError):
    """Another process is working on the same folder."""
