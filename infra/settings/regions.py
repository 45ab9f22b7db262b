"""What the regions offer that data may lie in, where they differ: Postgres' compute, standby and backups.

As Microsoft's list of regions had it on 2025-11-24 (MicrosoftDocs/azure-databases-docs,
articles/postgresql/flexible-server/includes/regions-table.md, and overview.md for what its signs mean), with
the pairs of Azure's list of regions. The list changes: look it up before a stack is made anew elsewhere.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Region:
    """`intel` and `amd` are generations of compute.

    `standby` is whether a new server gets one in another zone, `geo_backup` whether backups are kept in the
    pair as well.
    """

    pair: str
    intel: tuple[str, ...]
    amd: tuple[str, ...]
    standby: bool
    geo_backup: bool


_OLDER, _ALL = ("v3", "v4"), ("v3", "v4", "v5")
# Near the exchanges in New York and Chicago, and the regions that Azure pairs with those.
REGIONS: Mapping[str, Region] = MappingProxyType(
    {
        "centralus": Region("eastus2", _ALL, (), standby=True, geo_backup=True),
        # Azure takes no new standbys in other zones here for the time being, nor in the next.
        "eastus": Region("westus", _ALL, ("v5",), standby=False, geo_backup=True),
        "eastus2": Region("centralus", _OLDER, (), standby=False, geo_backup=True),
        "northcentralus": Region("southcentralus", _ALL, ("v5",), standby=False, geo_backup=True),
        "southcentralus": Region("northcentralus", _OLDER, (), standby=False, geo_backup=True),
        "westus": Region("eastus", _ALL, ("v5",), standby=False, geo_backup=True),
        "westus3": Region("eastus", _ALL, ("v5",), standby=True, geo_backup=False),
    }
)


def postgres_lacks(location: str, sku: str, *, standby: bool, geo_backup: bool) -> Iterator[str]:
    """What such a server would miss in a region; nothing is known of a region that is not listed.

    A Burstable size names no generation, and is to be had everywhere.
    """
    region = REGIONS.get(location)
    if region is None:
        return
    if not _has(region, sku):
        yield f"{sku} is not to be had, {' and '.join(region.intel)} are"
    if standby and not region.standby:
        yield "new servers get no standby in another zone"
    if geo_backup and not region.geo_backup:
        yield "backups are not kept in another region"
    elif geo_backup and not _has(REGIONS[region.pair], sku):
        # A restore takes the size that the lost server had.
        yield f"a backup is restored in {region.pair}, where {sku} is not to be had"


def _has(region: Region, sku: str) -> bool:
    size = re.fullmatch(r"Standard_[DE]\d+(a?)d?s_(v\d)", sku)
    return size is None or size[2] in (region.amd if size[1] else region.intel)
