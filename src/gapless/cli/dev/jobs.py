"""What the worker of the failure lab does: jobs of a second or two, so that one can be killed amid a job."""

import ctypes
import os
import signal
import sys
from typing import Any, Final

from gapless.library.gapless import Gapless
from gapless.server.clock import LoopClock
from gapless.server.parting import pause

__all__ = ["API_KEY", "QUEUE", "TARGET", "URL", "gl"]

QUEUE: Final = "lab-jobs"
TARGET: Final = f"{__name__}:gl"
URL: Final = "GAPLESS_LAB_URL"
API_KEY: Final = "GAPLESS_LAB_API_KEY"
TAKES_MS: Final = 1_500
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)

if sys.platform == "linux":  # nobody is to be left behind when the server is killed
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

gl = Gapless(os.environ.get(URL, "http://127.0.0.1:8000"), api_key=os.environ.get(API_KEY, ""))


@gl.queue(QUEUE, lease="5s")
async def work(job: dict[str, Any]) -> None:
    """Take a while."""
    await pause(LoopClock(), TAKES_MS)
