"""Reads the settings of the machine that deploys and administers a private stack."""

from infra.settings.model import MACHINE_SIZES, OperationsSettings
from infra.settings.reader import SettingsReader


def read_operations(reader: SettingsReader) -> OperationsSettings:
    return OperationsSettings(
        machine=reader.boolean("operations_machine", default=False),
        machine_size=reader.choice("operations_machine_size", MACHINE_SIZES, default=MACHINE_SIZES[0]),
        bastion=reader.boolean("operations_bastion", default=False),
    )
