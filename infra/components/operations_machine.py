"""Makes the machine that deploys and administers a private stack, its way out, and a Bastion to reach it.

The machine has no public address and accepts nothing but SSH from the Bastion. Its identity, which the login
by Entra ID needs, has no role: jobs sign in by GitHub's proof, and people as themselves.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_azure_native import compute, network

from infra.components.placement import Placement, under
from infra.settings.model import OperationsSettings

CLOUD_INIT = Path(__file__).with_suffix(".yaml")
# Azure demands a public key for a new machine without a password. This one is the hash of a text, and a point
# of the curve (tests/infra/components/test_operations_machine.py has both), so nobody has its private half.
NOBODYS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHThvJHUoqFmB6tumE2ayOe/HuRyNo9KDZsi/uYYdJL/ nobody"
_ADMINISTRATOR = "signal"
_DISK_GB = 32


@dataclass(frozen=True, slots=True)
class OperationsMachineArgs:
    """`bastion_subnet_id` is None if the stack has no Bastion."""

    placement: Placement
    settings: OperationsSettings
    subnet_id: pulumi.Output[str]
    bastion_subnet_id: pulumi.Output[str] | None


class OperationsMachine(pulumi.ComponentResource):
    """A small Ubuntu machine with GitHub's runner and the tools of operations.

    A deployment runs on this machine, so it must not replace or restart it: changes of cloud-init and of the
    image have no effect on an existing machine. `docs/operations.md` says how to replace it.
    """

    def __init__(self, name: str, args: OperationsMachineArgs) -> None:
        super().__init__("signal-cloud:infra:OperationsMachine", name)
        self._place = args.placement
        self.name = self._place.names.local("vm")
        machine = self._machine(args)
        # Brings the login by Entra ID: a certificate of an hour, for people with a role over the machine.
        compute.VirtualMachineExtension(
            "operations-login",
            compute.VirtualMachineExtensionArgs(
                vm_extension_name="AADSSHLoginForLinux",
                vm_name=machine.name,
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                publisher="Microsoft.Azure.ActiveDirectory",
                type="AADSSHLoginForLinux",
                type_handler_version="1.0",
                auto_upgrade_minor_version=True,
                tags=self._place.tags,
            ),
            opts=under(self),
        )
        self.bastion_name = self._place.names.local("bas")
        self.bastion_id: pulumi.Output[str] | None = None
        if args.bastion_subnet_id is not None:
            self.bastion_id = self._bastion(args.bastion_subnet_id).id
        self.register_outputs({"name": self.name})

    def _machine(self, args: OperationsMachineArgs) -> compute.VirtualMachine:
        interface = network.NetworkInterface(
            "operations-interface",
            network.NetworkInterfaceArgs(
                network_interface_name=self._place.names.local("nic", "operations"),
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                ip_configurations=[
                    network.NetworkInterfaceIPConfigurationArgs(
                        name="operations",
                        subnet=network.SubnetArgs(id=args.subnet_id),
                        private_ip_allocation_method="Dynamic",
                    )
                ],
                tags=self._place.tags,
            ),
            opts=under(self),
        )
        return compute.VirtualMachine(
            "operations-machine",
            compute.VirtualMachineArgs(
                vm_name=self.name,
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                hardware_profile=compute.HardwareProfileArgs(vm_size=args.settings.machine_size),
                identity=compute.VirtualMachineIdentityArgs(
                    type=compute.ResourceIdentityType.SYSTEM_ASSIGNED
                ),
                os_profile=_system(),
                network_profile=compute.NetworkProfileArgs(
                    network_interfaces=[
                        compute.NetworkInterfaceReferenceArgs(id=interface.id, delete_option="Detach")
                    ]
                ),
                storage_profile=_storage(),
                security_profile=compute.SecurityProfileArgs(
                    security_type=compute.SecurityTypes.TRUSTED_LAUNCH,
                    uefi_settings=compute.UefiSettingsArgs(secure_boot_enabled=True, v_tpm_enabled=True),
                ),
                # Without an address of a storage account, Azure keeps the log of the start itself.
                diagnostics_profile=compute.DiagnosticsProfileArgs(
                    boot_diagnostics=compute.BootDiagnosticsArgs(enabled=True)
                ),
                tags=self._place.tags,
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["osProfile", "storageProfile.imageReference"],
                # Its name is fixed, so Azure must delete the old one first.
                delete_before_replace=True,
            ),
        )

    def _bastion(self, subnet_id: pulumi.Output[str]) -> network.BastionHost:
        address = public_address(self._place, "bastion", self)
        return network.BastionHost(
            "operations-bastion",
            network.BastionHostArgs(
                bastion_host_name=self.bastion_name,
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                # Lower tiers have no tunnel for SSH clients, only a page in the portal.
                sku=network.SkuArgs(name=network.BastionHostSkuName.STANDARD),
                scale_units=2,
                enable_tunneling=True,
                ip_configurations=[
                    network.BastionHostIPConfigurationArgs(
                        name="bastion",
                        subnet=network.SubResourceArgs(id=subnet_id),
                        public_ip_address=network.SubResourceArgs(id=address.id),
                        private_ip_allocation_method="Dynamic",
                    )
                ],
                tags=self._place.tags,
            ),
            opts=under(self),
        )


def way_out(place: Placement, parent: pulumi.Resource) -> network.NatGateway:
    """Makes the gateway through which a subnet reaches the internet; new subnets have no other way."""
    address = public_address(place, "operations", parent)
    return network.NatGateway(
        "operations-gateway",
        network.NatGatewayInitArgs(
            nat_gateway_name=place.names.local("ng"),
            resource_group_name=place.resource_group_name,
            location=place.location,
            sku=network.NatGatewaySkuArgs(name=network.NatGatewaySkuName.STANDARD),
            idle_timeout_in_minutes=4,
            public_ip_addresses=[network.SubResourceArgs(id=address.id)],
            tags=place.tags,
        ),
        opts=under(parent),
    )


def public_address(place: Placement, part: str, parent: pulumi.Resource) -> network.PublicIPAddress:
    return network.PublicIPAddress(
        f"address-{part}",
        network.PublicIPAddressInitArgs(
            public_ip_address_name=place.names.local("pip", part),
            resource_group_name=place.resource_group_name,
            location=place.location,
            sku=network.PublicIPAddressSkuArgs(name="Standard", tier="Regional"),
            public_ip_allocation_method="Static",
            public_ip_address_version="IPv4",
            tags=place.tags,
        ),
        opts=under(parent),
    )


def _system() -> compute.OSProfileArgs:
    return compute.OSProfileArgs(
        computer_name="operations",
        admin_username=_ADMINISTRATOR,
        custom_data=base64.b64encode(CLOUD_INIT.read_bytes()).decode(),
        linux_configuration=compute.LinuxConfigurationArgs(
            disable_password_authentication=True,
            provision_vm_agent=True,
            ssh=compute.SshConfigurationArgs(
                public_keys=[
                    compute.SshPublicKeyArgs(
                        key_data=NOBODYS_KEY, path=f"/home/{_ADMINISTRATOR}/.ssh/authorized_keys"
                    )
                ]
            ),
            # Azure installs security updates at night and restarts the machine if one needs it.
            patch_settings=compute.LinuxPatchSettingsArgs(
                patch_mode="AutomaticByPlatform",
                assessment_mode="AutomaticByPlatform",
                automatic_by_platform_settings=compute.LinuxVMGuestPatchAutomaticByPlatformSettingsArgs(
                    reboot_setting="IfRequired"
                ),
            ),
        ),
    )


def _storage() -> compute.StorageProfileArgs:
    return compute.StorageProfileArgs(
        image_reference=compute.ImageReferenceArgs(
            publisher="Canonical", offer="ubuntu-24_04-lts", sku="server", version="latest"
        ),
        os_disk=compute.OSDiskArgs(
            create_option="FromImage",
            # The host keeps no cache and the size has no temporary disk, so Azure encrypts all of it at rest.
            caching=compute.CachingTypes.NONE,
            disk_size_gb=_DISK_GB,
            managed_disk=compute.ManagedDiskParametersArgs(storage_account_type="StandardSSD_LRS"),
            delete_option="Delete",
        ),
    )
