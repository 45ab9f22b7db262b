"""The preview without the CLI: every resource once, and a diagram of only these resources."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from infra.offline import preview
from infra.offline.diagram import DRAWN, drawn, flowchart, outline, paths, people
from infra.offline.recording import Recording
from infra.settings.stacks import STACKS
from tests.infra.recording import VARIANTS, recorded

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table's rows, without its head."""
    _, _, *lines = table.splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_table_names_every_resource_once(stack: Recording) -> None:
    shown = rows(preview.resource_table(stack))
    assert sorted(row[1] for row in shown) == sorted(each.name for each in stack.resources)
    by_name = {each.name: each for each in stack.resources}
    for component, name, kind, own_name, _, protected in shown:
        resource = by_name[name]
        assert f"Microsoft.{kind}" == resource.type
        assert own_name == resource.own_name
        assert (protected == "yes") == resource.protect
        assert component == stack.component_of(resource)


def test_lines_of_a_table_are_equally_long(stack: Recording) -> None:
    assert len({len(line) for line in preview.resource_table(stack).splitlines()}) == 1


def test_totals_add_up(stack: Recording) -> None:
    *parts, together = rows(preview.totals(stack))
    assert together == [
        "together",
        str(len(stack.resources)),
        str(sum(each.protect for each in stack.resources)),
    ]
    for column in (1, 2):
        assert sum(int(row[column]) for row in parts) == int(together[column])
    assert {row[0] for row in parts} > {each.name for each in stack.components}


def test_what_is_bought_is_shown() -> None:
    prod = recorded("prod")
    shown = {row[1]: row[4] for row in rows(preview.resource_table(prod))}
    assert shown["postgres"] == (
        "Standard_D2ds_v4, version: 18, GB: 64, standby: ZoneRedundant, "
        "days of backups: 30, geo-redundant: Enabled"
    )
    assert shown["plan-autoscale"] == "4 to 10 from 09:15; 2 to 10 from 10:15"
    assert shown["webpubsub"] == "Premium_P1, units: 2"
    assert shown["role-pepper"] == "Key Vault Secrets User on api-key-pepper"
    assert shown["endpoint-redis"] == "redisEnterprise of redis-signal-cloud-prod-demo1"


def test_nothing_secret_is_shown(stack: Recording) -> None:
    text = preview.document("any", stack) + outline(stack)
    assert stack.settings.api_key_pepper not in text
    told = stack.settings.notifications
    for secret in (*told.slack_urls, *told.pagerduty_keys, *told.webhook_urls):
        assert secret not in text


DECLARED = re.compile(r'^ +(\w+)(?:\["(.+)"\]|\(\[.+\]\))$')
EDGE = re.compile(r'^  (\w+) (?:-->|-\.->)\|"([^"|]+)"\| (\w+)$')


def test_the_flowchart_is_nothing_but_declarations_groups_and_edges_between_what_is_declared(
    stack: Recording,
) -> None:
    """Mermaid would draw an unknown name as another node."""
    first, *lines = flowchart(stack).splitlines()
    assert first == "flowchart LR"
    declared: dict[str, str | None] = {}
    edges, depth = 0, 0
    for line in lines:
        if re.fullmatch(r"  subgraph \w+", line):
            depth += 1
        elif line == "  end":
            depth -= 1
        elif found := DECLARED.match(line):
            assert not edges, "declared after its use"
            assert found[1] not in declared
            declared[found[1]] = found[2]
        else:
            edge = EDGE.match(line)
            assert edge, line
            assert {edge[1], edge[3]} <= declared.keys(), line
            edges += 1
    assert depth == 0
    assert edges == len(list(paths(stack)))
    names = {each.own_name for each in stack.resources}
    assert {label.split("<br/>")[1] for label in declared.values() if label} <= names
    assert declared.keys() - people(stack).keys() == drawn(stack).keys()


def test_no_node_bears_a_word_that_mermaid_keeps_for_itself(stack: Recording) -> None:
    assert not drawn(stack).keys() & {"end", "graph", "subgraph", "flowchart", "style", "class", "default"}
    assert all(re.fullmatch(r"[a-z_0-9]+", node) for node in drawn(stack))


def test_everything_of_a_kind_that_is_drawn_is_drawn(stack: Recording) -> None:
    wanted = [each for each in stack.resources if each.type in DRAWN]
    assert len(drawn(stack)) == len(wanted) > 10


def test_the_diagram_shows_the_way_of_a_request() -> None:
    prod = {(path.source, path.target): path.label for path in paths(recorded("prod"))}
    assert prod["bots", "front_door"] == "HTTPS"
    assert prod["front_door", "app"] == "X-Azure-FDID"
    assert ("bots", "app") not in prod
    assert prod["app", "redis"] == "REDIS_URL through its private endpoint"
    assert prod["app", "postgres"] == "DATABASE_URL, JOBS_DATABASE_URL through its private endpoint"
    assert "WEBPUBSUB_ENDPOINT" in prod["app", "webpubsub"]
    dev = {(path.source, path.target): path.label for path in paths(recorded("dev"))}
    assert dev["bots", "app"] == "HTTPS"
    assert dev["app", "redis"] == "REDIS_URL"


def test_the_outline_says_the_same_as_the_flowchart(stack: Recording) -> None:
    lines = outline(stack).splitlines()
    arrows = [line for line in lines if line.lstrip().startswith(("-->", "..>"))]
    assert len(arrows) == len(list(paths(stack)))


def test_it_prints_every_stack_and_writes_each_to_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "record_stack", recorded)
    assert preview.main(["--output", str(tmp_path / "preview")]) == 0
    printed = capsys.readouterr().out
    for each in STACKS:
        path = tmp_path / "preview" / f"{each}.md"
        assert str(path) in printed
        assert "```mermaid\nflowchart LR\n" in path.read_text()
        assert recorded(each).outputs["app_name"] in printed


def test_it_prints_mermaid_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview.main(["--stack", "dev", "--format", "mermaid"]) == 0
    assert capsys.readouterr().out.startswith("flowchart LR\n")


def test_bad_arguments_get_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        preview.main(["--stack", "staging"])
    assert ended.value.code == 2
    assert "invalid choice: 'staging'" in capsys.readouterr().err
    (tmp_path / "taken").write_text("")
    assert preview.main(["--stack", "dev", "--output", str(tmp_path / "taken")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1


def make(*arguments: str) -> str:
    # `make test` passes its own flags on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_make_has_the_target_and_its_help() -> None:
    assert re.search(r"^  make infra-preview +What `pulumi up` would create", make("help"), re.MULTILINE)
    told = make("--dry-run", "infra-preview", "ARGS=--stack prod")
    assert told.strip().endswith("local/setup/bootstrap.py -m infra.offline.preview --stack prod")
