"""What goes wrong, one class for each reason: see `gapless.core.errors`."""

from gapless.core.errors import *  # noqa: F403
