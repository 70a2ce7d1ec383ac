"""What each command does, a file for each; `harness.cli` has the table."""
