"""Runs shared.training in a process of its own, bounded in time and without access to secrets."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from shared.domain.confidence.training import TrainingRequest, TrainingResult
from shared.errors import TrainingFailed

TIMEOUT_S = 120.0
_ROOT = Path(__file__).parent.parent.parent
_MAX_REPORTED = 2_000
# More threads would share the one core that the run may have, and would change sums in the last bit.
_SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class TrainingProcess:
    """Starts one interpreter per run, which inherits no environment, so no setting and no secret."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def train(self, request: TrainingRequest) -> TrainingResult:
        """Returns the run's result. If the run fails or takes too long, raises TrainingFailed; its `internal`
        holds the end of the run's error output.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "shared.training",
            cwd=_ROOT,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_SINGLE_THREADED},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                output, error_output = await process.communicate(msgspec.json.encode(request))
        except TimeoutError as error:
            raise TrainingFailed(
                "A training run took too long.", internal=f"{request.strategy.name}: {self._timeout_s:g} s"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            reported = error_output.decode("utf-8", "replace")[-_MAX_REPORTED:]
            raise TrainingFailed("A training run failed.", internal=f"exit {process.returncode}: {reported}")
        try:
            return msgspec.json.decode(output, type=TrainingResult)
        except msgspec.DecodeError as error:
            raise TrainingFailed("A training run returned no valid result.", internal=str(error)) from error
