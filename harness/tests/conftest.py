"""What all tests share."""

from hypothesis import settings

# a machine that is busy is slow, not wrong
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
