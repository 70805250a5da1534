"""`python -m exactloop`."""

from exactloop.cli import run

run()
