"""The verbs of the command line, through `main`, on real files."""
