"""Flags to one call each; the only place where errors become text and exit codes."""
