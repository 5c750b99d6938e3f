"""Hooks in Python, where a token is not enough: see `gapless.library.hooks`."""

from gapless.library.hooks import *  # noqa: F403
