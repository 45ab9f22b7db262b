"""Lists what Postgres offers in each region that may hold data: compute, standby and backups.

From Microsoft's list of regions of 2025-11-24 (MicrosoftDocs/azure-databases-docs,
articles/postgresql/flexible-server/includes/regions-table.md, and overview.md for the meaning of its signs),
with the pairs of Azure's list of regions. The list changes: look it up before you make a stack elsewhere.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Region:
    """`intel` and `amd` are generations of compute.

    `standby` is whether a new server gets a standby in another zone, `geo_backup` whether Azure also keeps
    backups in the pair.
    """

    pair: str
    intel: tuple[str, ...]
    amd: tuple[str, ...]
    standby: bool
    geo_backup: bool


_OLDER, _ALL = ("v3", "v4"), ("v3", "v4", "v5")
# Regions near the exchanges in New York and Chicago, and the regions that Azure pairs with them.
REGIONS: Mapping[str, Region] = MappingProxyType(
    {
        "centralus": Region("eastus2", _ALL, (), standby=True, geo_backup=True),
        # Azure makes no new standby in another zone here for now, nor in the next region.
        "eastus": Region("westus", _ALL, ("v5",), standby=False, geo_backup=True),
        "eastus2": Region("centralus", _OLDER, (), standby=False, geo_backup=True),
        "northcentralus": Region("southcentralus", _ALL, ("v5",), standby=False, geo_backup=True),
        "southcentralus": Region("northcentralus", _OLDER, (), standby=False, geo_backup=True),
        "westus": Region("eastus", _ALL, ("v5",), standby=False, geo_backup=True),
        "westus3": Region("eastus", _ALL, ("v5",), standby=True, geo_backup=False),
    }
)


def postgres_lacks(location: str, sku: str, *, standby: bool, geo_backup: bool) -> Iterator[str]:
    """Yields what such a server would lack in a region, and nothing for a region that is not listed.

    A Burstable size names no generation, and every region has it.
    """
    region = REGIONS.get(location)
    if region is None:
        return
    if not _has(region, sku):
        yield f"{sku} does not exist there, only {' and '.join(region.intel)} do"
    if standby and not region.standby:
        yield "new servers get no standby in another zone"
    if geo_backup and not region.geo_backup:
        yield "Azure keeps no backups in another region"
    elif geo_backup and not _has(REGIONS[region.pair], sku):
        # A restored server has the size of the lost server.
        yield f"a backup is restored in {region.pair}, which does not have {sku}"


def _has(region: Region, sku: str) -> bool:
    size = re.fullmatch(r"Standard_[DE][0-9]+(a?)d?s_(v[0-9])", sku)
    return size is None or size[2] in (region.amd if size[1] else region.intel)
