"""The machine in the subnet for operations: closed, without a key or a role, and able to work."""

import base64
import hashlib
import ipaddress
import os
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from infra.components.operations_machine import CLOUD_INIT, NOBODYS_KEY
from infra.offline.recording import Recording, Resource
from infra.settings.reader import ConfigurationError
from tests.infra.recording import recorded, recorded_with, settings_of

MACHINE = "Microsoft.Compute/virtualMachines"
GROUPS = "Microsoft.Network/networkSecurityGroups"
Q = 2**255 - 19
D = (-121665 * pow(121666, Q - 2, Q)) % Q

DOCUMENT: dict[str, Any] = YAML(typ="safe").load(CLOUD_INIT)
FILES = {each["path"]: each for each in DOCUMENT["write_files"]}
SCRIPTS = {path: str(each["content"]) for path, each in FILES.items() if "/sbin/" in path}


def rules(stack: Recording, group: str) -> dict[str, dict[str, Any]]:
    (found,) = (each for each in stack.of_type(GROUPS) if each.name == f"rules-{group}")
    return {each["name"]: each for each in found.inputs["securityRules"]}


def subnet(stack: Recording, name: str) -> dict[str, Any]:
    network = stack.only("Microsoft.Network/virtualNetworks")
    return next(each for each in network.inputs["subnets"] if each["name"] == name)


def machine(stack: str = "prod") -> Resource:
    return recorded(stack).only(MACHINE)


def test_private_stacks_have_a_machine_and_others_have_none() -> None:
    for stack in ("prod", "premium", "standby"):
        assert recorded(stack).outputs["operations_machine"] == machine(stack).own_name
    assert not recorded("dev").of_type(MACHINE)
    without = recorded_with("prod", operations_machine="false")
    for kind in (MACHINE, "Microsoft.Network/natGateways", "Microsoft.Network/publicIPAddresses"):
        assert not without.of_type(kind)
    assert "operations_machine" not in without.outputs


@pytest.mark.parametrize(
    ("stack", "changed", "said"),
    [
        ("dev", {"operations_machine": "true"}, "operations_machine needs private_network"),
        ("prod", {"operations_machine": "false", "operations_bastion": "true"}, "operations_bastion needs"),
        ("prod", {"operations_machine_size": "Standard_B2ats_v2"}, "operations_machine_size must be one of"),
    ],
)
def test_settings_that_cannot_work_are_refused(stack: str, changed: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        settings_of(stack, **changed)


def test_the_machine_is_in_the_subnet_and_has_no_public_address() -> None:
    stack = recorded("prod")
    (interface,) = stack.of_type("Microsoft.Network/networkInterfaces")
    (address,) = interface.inputs["ipConfigurations"]
    assert address["subnet"]["id"].endswith("/subnets/operations")
    assert "publicIPAddress" not in address
    attached = machine().inputs["networkProfile"]["networkInterfaces"]
    assert [each["id"] for each in attached] == [interface.id]


def test_the_subnet_s_way_out_is_the_gateway_alone() -> None:
    stack = recorded("prod")
    operations = subnet(stack, "operations")
    gateway = stack.only("Microsoft.Network/natGateways")
    assert operations["natGateway"]["id"] == gateway.id
    assert operations["defaultOutboundAccess"] is False
    (used,) = gateway.inputs["publicIpAddresses"]
    assert stack.by_id(used["id"]).inputs["publicIPAllocationMethod"] == "Static"


def test_nothing_enters_without_a_bastion_and_only_ssh_with_one() -> None:
    entering = [
        each for each in rules(recorded("prod"), "operations").values() if each["direction"] == "Inbound"
    ]
    assert [(each["access"], each["sourceAddressPrefix"]) for each in entering] == [("Deny", "*")]
    stack = recorded("rehearse")
    ssh = rules(stack, "operations")["ssh"]
    assert (ssh["access"], ssh["destinationPortRange"]) == ("Allow", "22")
    assert ssh["sourceAddressPrefix"] == subnet(stack, "AzureBastionSubnet")["addressPrefix"]


def test_the_machine_reaches_the_services_and_the_web_and_nothing_else() -> None:
    stack = recorded("prod")
    leaving = {
        name: each for name, each in rules(stack, "operations").items() if each["direction"] == "Outbound"
    }
    endpoints = subnet(stack, "endpoints")["addressPrefix"]
    assert leaving["to-services"]["destinationAddressPrefix"] == endpoints
    assert set(leaving["to-services"]["destinationPortRanges"]) == {"443", "5432", "6432", "10000"}
    assert leaving["to-web"]["destinationAddressPrefix"] == "Internet"
    assert set(leaving["to-web"]["destinationPortRanges"]) == {"80", "443"}
    denied = leaving["to-nothing-else"]
    assert (denied["access"], denied["destinationAddressPrefix"]) == ("Deny", "*")
    assert len(leaving) == 3


def test_the_bastion_has_a_tunnel_and_every_rule_that_azure_demands() -> None:
    """As listed in Microsoft's "Configure NSG rules for Azure Bastion"."""
    stack = recorded("rehearse")
    bastion = stack.only("Microsoft.Network/bastionHosts")
    assert bastion.inputs["sku"] == {"name": "Standard"}
    assert bastion.inputs["enableTunneling"] is True
    assert stack.outputs["operations_bastion"] == bastion.own_name
    prefix = ipaddress.IPv4Network(subnet(stack, "AzureBastionSubnet")["addressPrefix"])
    assert prefix.prefixlen == 26
    demanded = {
        ("Inbound", "Internet", "443"),
        ("Inbound", "GatewayManager", "443"),
        ("Inbound", "AzureLoadBalancer", "443"),
        ("Inbound", "VirtualNetwork", "8080 5701"),
        ("Outbound", "VirtualNetwork", "22 3389"),
        ("Outbound", "VirtualNetwork", "8080 5701"),
        ("Outbound", "AzureCloud", "443"),
        ("Outbound", "Internet", "80"),
    }
    found = set()
    for each in rules(stack, "bastion").values():
        if each["access"] == "Allow":
            inbound = each["direction"] == "Inbound"
            other = each["sourceAddressPrefix" if inbound else "destinationAddressPrefix"]
            ports = each.get("destinationPortRanges") or [each["destinationPortRange"]]
            found.add((each["direction"], other, " ".join(ports)))
    assert found == demanded


def test_priorities_of_a_direction_differ() -> None:
    for group in recorded("rehearse").of_type(GROUPS):
        used = [(each["direction"], each["priority"]) for each in group.inputs["securityRules"]]
        assert len(set(used)) == len(used), group.name


def test_the_machine_s_identity_has_no_role() -> None:
    assert machine().inputs["identity"] == {"type": "SystemAssigned"}
    for assignment in recorded("prod").of_type("Microsoft.Authorization/roleAssignments"):
        assert assignment.inputs["principalId"] == recorded("prod").outputs["identity_principal_id"]


def test_people_log_in_with_entra_id_alone() -> None:
    stack = recorded("prod")
    linux = machine().inputs["osProfile"]["linuxConfiguration"]
    assert linux["disablePasswordAuthentication"] is True
    assert "adminPassword" not in machine().inputs["osProfile"]
    extension = stack.only("Microsoft.Compute/virtualMachines/extensions")
    assert (extension.inputs["publisher"], extension.inputs["type"]) == (
        "Microsoft.Azure.ActiveDirectory",
        "AADSSHLoginForLinux",
    )
    assert "AuthorizedKeysFile none" in FILES["/etc/ssh/sshd_config.d/10-entra-id-only.conf"]["content"]


def test_nobody_can_have_the_private_half_of_the_key() -> None:
    """The key is a hash, and a point of the curve. Its private half would be a discrete logarithm."""
    hashed = hashlib.sha256(b"signal-cloud: nobody's key 9").digest()
    wire = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + hashed
    assert f"ssh-ed25519 {base64.b64encode(wire).decode()} nobody" == NOBODYS_KEY
    y = int.from_bytes(hashed, "little") & (2**255 - 1)
    x_squared = (y * y - 1) * pow(D * y * y + 1, Q - 2, Q) % Q
    assert y < Q
    assert pow(x_squared, (Q - 1) // 2, Q) == 1
    (key,) = machine().inputs["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
    assert key["keyData"] == NOBODYS_KEY


def test_updates_come_by_themselves_and_the_start_is_verified() -> None:
    patches = machine().inputs["osProfile"]["linuxConfiguration"]["patchSettings"]
    assert patches["patchMode"] == "AutomaticByPlatform"
    security = machine().inputs["securityProfile"]
    assert security["securityType"] == "TrustedLaunch"
    assert security["uefiSettings"] == {"secureBootEnabled": True, "vTpmEnabled": True}
    disk = machine().inputs["storageProfile"]["osDisk"]
    assert (disk["caching"], disk["deleteOption"]) == ("None", "Delete")


def test_a_deployment_does_not_replace_the_machine_on_which_it_runs() -> None:
    assert set(machine().ignore_changes) == {"osProfile", "storageProfile.imageReference"}


def test_the_machine_gets_the_file_as_it_is() -> None:
    sent = base64.b64decode(machine().inputs["osProfile"]["customData"])
    assert sent == CLOUD_INIT.read_bytes()
    # Azure's limit for custom data.
    assert len(sent) < 64 * 1024


# Keys of cloud-init's modules that the file uses, and the type of each value.
CLOUD_CONFIG = {
    "package_update": bool,
    "package_upgrade": bool,
    "packages": list,
    "users": list,
    "write_files": list,
    "runcmd": list,
}


def test_the_file_is_a_cloud_config() -> None:
    assert CLOUD_INIT.read_text().startswith("#cloud-config\n")
    assert {key: type(value) for key, value in DOCUMENT.items()} == CLOUD_CONFIG
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in DOCUMENT["packages"])
    assert DOCUMENT["users"][0] == "default"
    runner = DOCUMENT["users"][1]
    assert runner["lock_passwd"] is True
    assert not {"sudo", "ssh_authorized_keys", "passwd"} & runner.keys()
    for each in DOCUMENT["write_files"]:
        assert set(each) == {"path", "permissions", "content"}
        assert re.fullmatch(r"0[0-7]{3}", each["permissions"])
    assert all(isinstance(word, str) for command in DOCUMENT["runcmd"] for word in command)


def test_installations_wait_for_each_other() -> None:
    """The extension for logins installs a package while cloud-init updates; apt alone would fail at once."""
    (waits,) = (
        str(each["content"]) for path, each in FILES.items() if path.startswith("/etc/apt/apt.conf.d/")
    )
    found = re.fullmatch(r'DPkg::Lock::Timeout "([0-9]+)";\n', waits)
    assert found is not None
    assert int(found[1]) >= 600


def test_the_file_holds_no_secret() -> None:
    assert not re.search(r"gh[pso]_|token=\w|\bpassw\w*[=:]|BEGIN .*PRIVATE", CLOUD_INIT.read_text(), re.I)


@pytest.mark.parametrize("path", SCRIPTS)
def test_its_scripts_are_valid_shell(path: str) -> None:
    run = subprocess.run(["bash", "-n"], input=SCRIPTS[path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "set -euo pipefail" in SCRIPTS[path]


def test_each_download_is_checked_by_its_sum() -> None:
    preparing = SCRIPTS["/usr/local/sbin/prepare-machine"]
    archives = re.findall(r"fetch \S+\.tar\.gz[^/]*(/run/\S+)", preparing)
    summed = re.findall(r'"[0-9a-f]{64}  (/run/\S+)"', preparing)
    assert sorted(archives) == sorted(summed)
    assert len(archives) == 2


class Machine:
    """A directory in place of /opt/runner, and commands that note how they were called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "runner"
        self.directory.mkdir()
        self.log = directory / "calls.txt"
        self._commands = directory / "commands"
        self._commands.mkdir()
        self.command(self._commands / "timeout", "")
        # As runuser does without a login: the environment stays.
        self.command(self._commands / "runuser", 'shift 3; exec "$@"')
        self.command(
            self.directory / "config.sh", f'echo "token $ACTIONS_RUNNER_INPUT_TOKEN" >> "{self.log}"'
        )
        self.command(self._commands / "systemctl", "")
        # A job may have left these.
        for name in ("svc.sh", ".service", ".runner", ".credentials"):
            self.command(self.directory / name, "")

    def command(self, path: Path, script: str) -> None:
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >> "{self.log}"\n{script}\n')
        path.chmod(0o755)

    def register(self, **variables: str) -> subprocess.CompletedProcess[str]:
        script = SCRIPTS["/usr/local/sbin/register-runner"].replace("/opt/runner", str(self.directory))
        return subprocess.run(
            ["bash", "-c", script],
            env={"PATH": f"{self._commands}:{os.environ['PATH']}", **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


GIVEN = {
    "REPOSITORY_URL": "https://github.com/acme/signals",
    "RUNNER_LABEL": "signal-cloud-prod",
    "REGISTRATION_TOKEN": "the-token",
}


def test_the_runner_registers_and_runs_as_a_service(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    run = machine.register(**GIVEN)
    assert run.returncode == 0, run.stderr
    assert "token the-token" in machine.calls
    assert machine.calls[-1] == "systemctl enable --now actions.runner.service"
    configured = next(call for call in machine.calls if call.startswith("config.sh"))
    assert "--url https://github.com/acme/signals --labels signal-cloud-prod" in configured
    said = [call for call in machine.calls if not call.startswith("token ")]
    assert not any("the-token" in call for call in said), "the token is in an argument"
    assert "the-token" not in run.stdout + run.stderr


def test_a_registered_runner_registers_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.register(**GIVEN).returncode == 0
    changes = [call.split()[1] for call in machine.calls if call.startswith("systemctl ")]
    assert changes == ["stop", "enable"]
    assert not (machine.directory / ".credentials").exists()


def test_root_runs_nothing_that_a_job_could_have_changed(tmp_path: Path) -> None:
    """The runner's user owns its directory, and operators sign in on the machine."""
    machine = Machine(tmp_path)
    assert machine.register(**GIVEN).returncode == 0
    in_its_directory = {path.name for path in machine.directory.iterdir()}
    ran = {call.split()[0] for call in machine.calls} & in_its_directory
    assert ran == {"config.sh"}, "which runuser runs as the runner"
    assert any(call.startswith("runuser --user runner -- ./config.sh ") for call in machine.calls)
    unit = FILES["/etc/systemd/system/actions.runner.service"]["content"]
    assert "User=runner\n" in unit


@pytest.mark.parametrize("missing", GIVEN)
def test_nothing_happens_without_a_value(tmp_path: Path, missing: str) -> None:
    machine = Machine(tmp_path)
    run = machine.register(**{key: value for key, value in GIVEN.items() if key != missing})
    assert run.returncode != 0
    assert missing in run.stderr
    assert not machine.calls
