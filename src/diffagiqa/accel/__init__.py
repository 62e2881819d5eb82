"""The same numbers sooner: replacements for parts of the plain networks."""
