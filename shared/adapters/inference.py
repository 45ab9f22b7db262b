"""Runs model artefacts with onnxruntime. An artefact is data: loading it runs no code.

onnxruntime and numpy are imported when the first model is loaded, so a process that serves only base rates
does not import them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.domain.confidence.encoding import StateEncoder
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import ServedModel, UnusableModel

if TYPE_CHECKING:
    from shared.domain.confidence.encoding import Rows

# Each strategy has one champion; the former one stays for requests that are under way. About 1 MB each.
MAX_SESSIONS = 16
_ERRORS_ONLY = 3  # onnxruntime's severity; below it, onnxruntime warns that it found no GPU


class OnnxModel:
    """One artefact in a single-threaded session, because requests are many and their rows few."""

    def __init__(self, artefact: bytes) -> None:
        """Raises UnusableModel if the artefact is not a classifier that onnxruntime can run."""
        import onnxruntime

        onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            session = onnxruntime.InferenceSession(artefact, options, providers=["CPUExecutionProvider"])
            (given,) = session.get_inputs()
        # onnxruntime's errors share no base class but Exception, and all of them mean the same here.
        except Exception as error:
            raise UnusableModel(f"onnxruntime refuses the artefact: {error}") from error
        outputs = [output.name for output in session.get_outputs()]
        if "probabilities" not in outputs:
            raise UnusableModel(f"the artefact has no output `probabilities`, only {outputs}")
        self._input: str = given.name
        self._run: Any = session.run

    def probabilities(self, rows: "Rows") -> list[float]:
        """The probability of a winner for each row (n, columns); raises UnusableModel."""
        try:
            (table,) = self._run(["probabilities"], {self._input: rows})
        except Exception as error:  # as in __init__
            raise UnusableModel(f"onnxruntime cannot run the artefact: {error}") from error
        winners: list[float] = table[:, 1].tolist()
        if not all(0 <= probability <= 1 for probability in winners):
            raise UnusableModel("the artefact returned a value outside [0, 1]")
        return winners


class OnnxInference:
    """Keeps one session per model version; beyond MAX_SESSIONS it drops the least recently used."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[OnnxModel, StateEncoder]] = OrderedDict()

    async def load(self, model: ServedModel) -> None:
        """Loads `model` in a thread, so that no request waits for the import or the session.

        Raises UnusableModel.
        """
        if model.artefact is not None and model.version not in self._sessions:
            self._keep(model, await asyncio.to_thread(OnnxModel, model.artefact))

    def probabilities(self, model: ServedModel, states: Sequence[MarketState]) -> list[float]:
        """The probability of a winner for each state, in one run; raises UnusableModel."""
        session = self._sessions.get(model.version)
        if session is None:
            if model.artefact is None:
                raise UnusableModel(f"{model.version} has no artefact")
            session = self._keep(model, OnnxModel(model.artefact))
        else:
            self._sessions.move_to_end(model.version)
        onnx, encoder = session
        return onnx.probabilities(encoder.encode(states, model.fills))

    def _keep(self, model: ServedModel, onnx: OnnxModel) -> tuple[OnnxModel, StateEncoder]:
        session = self._sessions[model.version] = (onnx, StateEncoder(model.strategy))
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session
