"""Runs for other programs: one file a format, all in the table of harness.export.formats."""
