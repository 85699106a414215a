"""The harness of the zeroth-order preference benchmark. ``python -m benchmark --help`` says what it does."""

__version__ = "1.2.0"  # Major.Minor is the protocol (CHANGELOG.md)
