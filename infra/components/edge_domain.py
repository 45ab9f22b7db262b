"""Gives Front Door a name of one's own, with a certificate that Azure renews, and its records in DNS."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import cdn, dns

from infra.components.placement import Placement, under

# Front Door proves by this name, in front of the domain's, that the domain is ours.
_PROOF = "_dnsauth"
RECORD_TTL_S = 3600


@dataclass(frozen=True, slots=True)
class DomainArgs:
    """`dns_zone_id` is empty if the zone is not in Azure DNS; then somebody makes the records by hand."""

    placement: Placement
    profile: cdn.Profile
    host: str
    dns_zone_id: str


class Domain(pulumi.ComponentResource):
    """The name that bots use. A move to another region, or to another Front Door, changes only its record."""

    def __init__(self, name: str, args: DomainArgs) -> None:
        super().__init__("signal-cloud:infra:Domain", name)
        self._args = args
        zone = cdn.ResourceReferenceArgs(id=args.dns_zone_id) if args.dns_zone_id else None
        domain = cdn.AFDCustomDomain(
            "front-door-domain",
            cdn.AFDCustomDomainArgs(
                custom_domain_name=args.host.replace(".", "-"),
                host_name=args.host,
                profile_name=args.profile.name,
                resource_group_name=args.placement.resource_group_name,
                azure_dns_zone=zone,
                tls_settings=cdn.AFDDomainHttpsParametersArgs(
                    certificate_type=cdn.AfdCertificateType.MANAGED_CERTIFICATE,
                    minimum_tls_version=cdn.AfdMinimumTlsVersion.TLS12,
                ),
            ),
            opts=under(self),
        )
        self.id = domain.id
        self.proof = domain.validation_properties.validation_token
        self.register_outputs({"id": self.id})

    def point_to(
        self, endpoint_host: pulumi.Output[str], route: pulumi.Resource
    ) -> dict[str, pulumi.Output[str]]:
        """Makes the records in the zone, or returns them as outputs if the zone is not in Azure DNS.

        The name leads to Front Door only when the route knows it, because until then Front Door refuses it.
        """
        host, zone_id = self._args.host, self._args.dns_zone_id
        if not zone_id:
            return {
                "domain_txt_record": pulumi.Output.concat(f"{_PROOF}.{host} TXT ", self.proof),
                "domain_cname_record": pulumi.Output.concat(f"{host} CNAME ", endpoint_host),
            }
        zone, group = zone_id.rsplit("/", 1)[-1], zone_id.split("/")[4]
        label = host.removesuffix(f".{zone}")
        dns.RecordSet(
            "domain-proof",
            dns.RecordSetArgs(
                zone_name=zone,
                resource_group_name=group,
                relative_record_set_name=f"{_PROOF}.{label}",
                record_type="TXT",
                ttl=RECORD_TTL_S,
                txt_records=[dns.TxtRecordArgs(value=[self.proof])],
            ),
            opts=under(self),
        )
        dns.RecordSet(
            "domain-name",
            dns.RecordSetArgs(
                zone_name=zone,
                resource_group_name=group,
                relative_record_set_name=label,
                record_type="CNAME",
                ttl=RECORD_TTL_S,
                # Directly to the endpoint: Azure renews no certificate of a name that leads to another name.
                cname_record=dns.CnameRecordArgs(cname=endpoint_host),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[route]),
        )
        return {}
