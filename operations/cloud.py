"""Runs az, gh, pulumi and our own commands as processes, each with a timeout, and waits while Azure is busy.

A change is tried again only if the service says that it did not begin it: another change is under way, or
too many requests arrived. With `until_allowed_s` it is also tried again while a new role assignment or a new
principal is not known everywhere. All other failures raise; the step that made the call asks Azure before it
repeats anything.
"""

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from operations.process import PYTHON, Answer, Call, run_process
from shared.errors import ConfigurationError

READ_TIMEOUT_S = 120.0
CHANGE_TIMEOUT_S = 1800.0
# A change of Postgres or of a web app takes minutes, and the next one must wait for it.
BUSY_FOR_S = 900.0
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0
_ERROR_CHARACTERS = 2000
# The service did not begin the change: it has another one to finish, or too much to do.
_BUSY = re.compile(
    r"ServerIsBusy|ServerBusy|AnotherOperationInProgress|AnotherOperationIsInProgress|OperationInProgress"
    r"|InUseByAnotherOperation|RetryableError|TooManyRequests|Too Many Requests|ServiceUnavailable"
    r"|WhenServerIsNotAccessible"
    r"|secondary rate limit"
)
# The caller lacks a right, perhaps only because a role assignment has no effect yet. The CLI gives no code
# for data of storage accounts, and a key vault says `Assignment: (not found)` beside it.
_DENIED = re.compile(
    r"AuthorizationFailed|AuthorizationFailure|AuthorizationPermissionMismatch|ForbiddenByRbac"
    r"|not authorized to perform action|do(?:es)? not have the required permissions"
)
# The directory does not show everywhere what was made a moment ago.
_UNSPREAD = re.compile(
    r"backing application of the service principal|one of its queried reference-property objects"
    r"|PrincipalNotFound|does not exist in the directory"
)
_MISSING = re.compile(
    r"\w*NotFound\b|\b[Nn]ot [Ff]ound\b|does(?:n't| not) exist|could not be found|No group matches|HTTP 404"
    r"|no stack named"
)
# What `az ... show` ends with if there is no such resource.
_MISSING_STATUS = 3
_PLACEHOLDER = re.compile(r"<[a-z][a-z -]*>")


class ToolFailed(ConfigurationError):
    """A command failed or took too long. `answer` holds its whole output; the text holds no input."""

    def __init__(self, call: Call, answer: Answer) -> None:
        # Not the output, which may be a key.
        said = answer.error.strip()[-_ERROR_CHARACTERS:]
        super().__init__(f"{shown(call.words)} ended with status {answer.status}", internal=said)
        self.answer = answer

    @property
    def is_missing(self) -> bool:
        """Whether the command failed because what it names does not exist."""
        said = _MISSING.search(self.answer.error) is not None
        return not self.is_denied and (said or self.answer.status == _MISSING_STATUS)

    @property
    def is_denied(self) -> bool:
        """Whether the caller lacks a right, or does not have it yet."""
        return _DENIED.search(self.answer.error) is not None

    @property
    def is_unspread(self) -> bool:
        """Whether the directory does not know a principal, or not yet."""
        return _UNSPREAD.search(self.answer.error) is not None

    @property
    def is_busy(self) -> bool:
        """Whether the service did not begin the change because it has another one to finish."""
        return _BUSY.search(self.answer.error) is not None


def shown(words: tuple[str, ...]) -> str:
    """A command as a shell would take it."""
    return shlex.join(("python" if word == PYTHON else word) for word in words)


def placeholder(what: str) -> str:
    """Stands in a dry run for a value that only a change would give, such as `<application id>`."""
    return f"<{what}>"


class Cloud:
    """The tools of a deployment.

    A dry run prints each change and makes none of them. It still reads, so that it knows what exists already;
    it takes everything as missing of which a tool or an id is missing.
    """

    def __init__(
        self,
        run: Callable[[Call], Answer] = run_process,
        *,
        dry_run: bool = False,
        say: Callable[[str], None] = print,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        has_tool: Callable[[str], object] = shutil.which,
    ) -> None:
        self.dry_run = dry_run
        self.say = say
        self.pause = pause
        self.now = now
        self.has_tool = has_tool
        self._run = run

    def read(
        self,
        *words: str,
        timeout_s: float = READ_TIMEOUT_S,
        until_allowed_s: float = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON that a command prints, None if it prints nothing; raises ToolFailed."""
        call = Call(self._as_json(words), timeout_s=timeout_s, environment=environment or {})
        return self._decoded(call, self._patiently(call, until_allowed_s))

    def text(self, *words: str, timeout_s: float = READ_TIMEOUT_S, cwd: Path | None = None) -> str:
        """What a command prints, without white space around it; raises ToolFailed."""
        return self._patiently(Call(words, timeout_s=timeout_s, cwd=cwd), 0).output.strip()

    def find(
        self,
        *words: str,
        timeout_s: float = READ_TIMEOUT_S,
        until_allowed_s: float = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        """As `read`, but None if what the command names does not exist."""
        if self.dry_run and (any(map(_PLACEHOLDER.search, words)) or not self.has_tool(words[0])):
            return None
        try:
            return self.read(
                *words, timeout_s=timeout_s, until_allowed_s=until_allowed_s, environment=environment
            )
        except ToolFailed as error:
            if error.is_missing:
                return None
            raise

    def change(
        self,
        *words: str,
        stdin: str = "",
        would_answer: Any = None,
        until_allowed_s: float = 0,
        timeout_s: float = CHANGE_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        """Runs a command that changes something; returns its JSON, in a dry run `would_answer`.

        `stdin` and `environment` are for secrets: they are never printed. Raises ToolFailed.
        """
        call = Call(self._as_json(words), stdin=stdin, timeout_s=timeout_s, environment=environment or {})
        if self._would_run(words, stdin):
            return would_answer
        return self._decoded(call, self._patiently(call, until_allowed_s))

    def perform(
        self,
        *words: str,
        stdin: str = "",
        until_allowed_s: float = 0,
        busy_for_s: float = BUSY_FOR_S,
        timeout_s: float = CHANGE_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        is_shown: bool = False,
    ) -> str:
        """As `change`, but the output is text, and goes to the terminal at once if `is_shown`.

        After `busy_for_s` it no longer waits for a busy service.
        """
        call = Call(words, stdin, timeout_s, environment or {}, cwd, is_shown)
        if self._would_run(words, stdin):
            return ""
        return self._patiently(call, until_allowed_s, busy_for_s).output.strip()

    def await_until(self, is_so: Callable[[], bool], what: str, *, at_most_s: float) -> None:
        """Asks until `is_so`; raises ConfigurationError if it is not so in time. A dry run does not wait."""
        if self.dry_run:
            self.say(f"  would wait until {what}, {at_most_s:g} s at most")
            return
        deadline, pause = self.now() + at_most_s, FIRST_PAUSE_S
        while not is_so():
            if self.now() >= deadline:
                raise ConfigurationError(f"waited {at_most_s:g} s, but it is still not so that {what}")
            self.say(f"  waiting until {what}")
            self.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _would_run(self, words: tuple[str, ...], stdin: str) -> bool:
        if self.dry_run:
            self.say(f"  would run: {shown(words)}{'   (and standard input)' if stdin else ''}")
        return self.dry_run

    def _as_json(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return (*words, "--output", "json", "--only-show-errors") if words[0] == "az" else words

    def _patiently(self, call: Call, until_allowed_s: float, busy_for_s: float = BUSY_FOR_S) -> Answer:
        """The answer of a call that succeeds; waits while the service is busy or a right has no effect."""
        began, pause = self.now(), FIRST_PAUSE_S
        while True:
            answer = self._run(call)
            if answer.status == 0:
                return answer
            failure = ToolFailed(call, answer)
            if until_allowed_s and (failure.is_denied or failure.is_unspread):
                patience_s, why = until_allowed_s, "Azure has not spread a new right or name yet"
            elif failure.is_busy:
                patience_s, why = busy_for_s, "the service is busy"
            else:
                raise failure
            if self.now() - began >= patience_s:
                raise failure
            self.say(f"  {why}: again in {pause:g} s")
            self.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _decoded(self, call: Call, answer: Answer) -> Any:
        if not answer.output.strip():
            return None
        try:
            return json.loads(answer.output)
        except ValueError:
            self._no_json(call, answer)

    def _no_json(self, call: Call, answer: Answer) -> NoReturn:
        # Without the output, which may hold a secret.
        raise ConfigurationError(
            f"{shown(call.words)} printed {len(answer.output)} characters that are not JSON"
        )
