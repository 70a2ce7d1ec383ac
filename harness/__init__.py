"""gatebench's machine: from a table of servers to numbers that can be believed."""

__version__ = "0.1.0"
