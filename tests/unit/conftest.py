"""Gives property tests no deadline: on a busy machine any example may take longer than the default 200 ms."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
