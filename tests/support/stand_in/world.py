"""Holds what Azure, its directory, GitHub and Pulumi know, as data that a file can keep."""

import uuid
from typing import NoReturn

import msgspec

from operations.process import Answer

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
DIRECTORY = "22222222-2222-4222-8222-222222222222"
OPERATOR = "33333333-3333-4333-8333-333333333333"
# The public address of the machine that runs the bootstrap.
ADDRESS = "192.0.2.7"
REPOSITORY = "example/signal-cloud"
RUNNER_TOKEN = "the-token-of-a-registration"
# How long Azure takes. A role takes effect within 10 minutes, a provider is registered within some. A
# membership counts only in tokens that are issued later, and a token is valid for an hour.
ROLE_S, PROVIDER_S, DIRECTORY_S, TOKEN_S = 240.0, 90.0, 25.0, 3600.0


# What the Azure CLI says without a right to data: no code for storage, and `not found` for a key vault.
NO_BLOBS = (
    "You do not have the required permissions needed to perform this operation.\n"
    "Depending on your operation, you may need to be assigned one of the following roles:"
)
NO_SECRETS = (
    "(Forbidden) Caller is not authorized to perform action on resource.\nIf role assignments, deny "
    "assignments or role definitions were changed recently, please observe propagation time.\n"
    "Assignment: (not found)"
)


class Refused(Exception):
    """A tool ends with a status and a text on standard error."""

    def __init__(self, text: str, status: int = 1, output: str = "") -> None:
        super().__init__(text)
        self.answer = Answer(status, output, text)


def refuse(code: str, text: str = "", status: int = 1) -> NoReturn:
    raise Refused(f"ERROR: ({code}) {text}", status)


class Role(msgspec.Struct):
    role: str
    scope: str
    principal: str
    name: str
    since: float


class Group(msgspec.Struct):
    id: str
    since: float
    members: dict[str, float] = {}
    owners: tuple[str, ...] = (OPERATOR,)


class App(msgspec.Struct):
    app_id: str
    since: float
    principal: str = ""
    subjects: list[str] = []
    owners: tuple[str, ...] = (OPERATOR,)
    has_password: bool = False


class Vault(msgspec.Struct):
    group: str
    keys: list[str] = []
    secrets: dict[str, str] = {}


class Environment(msgspec.Struct):
    reviewers: list[int] = []
    only_branches: bool = False
    branches: list[str] = []
    variables: dict[str, str] = {}


class Run(msgspec.Struct):
    id: int
    stack: str
    polls: int = 0
    status: str = "waiting"
    conclusion: str = ""
    problem: str = ""
    # The repository's files when it was started.
    files: dict[str, str] = {}


class Deployed(msgspec.Struct):
    """A stack in Azure: what `pulumi up` has made, and what runs there. An empty version is none."""

    outputs: dict[str, str]
    is_private: bool
    is_quiet: bool
    is_migrated: bool = False
    # Whether the machine that asks is inside the private network.
    is_inside: bool = False
    # Postgres admits them: a rule's name, and its first address.
    admitted: dict[str, str] = {}
    live: str = ""
    staged: str = ""
    # The origins of its Front Door beside its own app.
    second_origin: str = ""
    # Account to the active key's public id; the plain key holds it.
    licenses: dict[str, str] = {}
    ended_keys: list[str] = []

    def reach(self) -> None:
        """Refuses a machine outside of a private network."""
        if self.is_private and not self.is_inside:
            refuse("PublicNetworkAccessDisabled", "Public access is disabled: use the private endpoint.")


class World(msgspec.Struct):
    """`made` counts each thing that was made, so that a test sees what was made twice.

    `fault_at` is the number of the change whose answer is lost, `fault_after` whether it has its effect.
    Each `busy_every`th change is refused first, because the service has another one to finish.
    """

    now: float = 0.0
    changes: int = 0
    fault_at: int = -1
    fault_after: bool = False
    busy_every: int = 0
    refused_once: list[int] = []
    made: dict[str, int] = {}
    log: list[str] = []
    is_signed_in: bool = True
    roles: list[Role] = []
    providers: dict[str, float] = {}
    # Resource groups, each with its location.
    groups: dict[str, str] = {}
    accounts: dict[str, bool] = {}
    taken: list[str] = []
    containers: list[str] = []
    vaults: dict[str, Vault] = {}
    deleted_vaults: list[str] = []
    directory_groups: dict[str, Group] = {}
    users: dict[str, str] = {}
    apps: dict[str, App] = {}
    redis: list[str] = []
    pulumi_login: str = ""
    pulumi_stacks: dict[str, str] = {}
    secrets: dict[str, str] = {}
    postgres_busy: int = 1
    deployed: dict[str, Deployed] = {}
    package: str = ""
    environments: dict[str, Environment] = {}
    variables: dict[str, str] = {}
    files: dict[str, str] = {}
    is_protected: bool = False
    is_public: bool = False
    runners: list[str] = []
    runs: list[Run] = []

    def make(self, what: str) -> None:
        self.made[what] = self.made.get(what, 0) + 1

    def may(self, role: str, scope: str, principal: str = OPERATOR) -> bool:
        """Whether a principal, or a group of it, has a role now, over the scope or one above it."""
        who = {principal}
        who |= {
            group.id
            for group in self.directory_groups.values()
            if principal in group.members and self.now - group.members[principal] >= TOKEN_S
        }
        return any(
            each.role == role
            and each.principal in who
            and f"{scope}/".lower().startswith(f"{each.scope}/".lower())
            and self.now - each.since >= ROLE_S
            for each in self.roles
        )

    def demand(self, text: str, scope: str, role: str) -> None:
        """Refuses an operator without the role; being Owner does not help, as in Azure."""
        if not self.may(role, scope):
            raise Refused(f"ERROR: {text}")


def guid(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def scope_of(group: str, kind: str, name: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{kind}/{name}"


def owner() -> Role:
    """The operator at the beginning: Owner of the subscription, with no right to data."""
    return Role("Owner", f"/subscriptions/{SUBSCRIPTION}", OPERATOR, guid("owner"), -ROLE_S)


def empty_world(**changed: object) -> World:
    """A subscription without resources; the repository holds no setting of ours."""
    world = World(roles=[owner()], users={"bob@example.com": guid("bob")})
    return msgspec.structs.replace(world, **changed)
