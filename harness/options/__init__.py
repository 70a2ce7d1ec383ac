"""The words of the command line, and what each may be."""

from harness.options.parser import parser
from harness.options.secrets import without_secrets

__all__ = ["parser", "without_secrets"]
