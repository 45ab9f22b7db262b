"""Answers as Azure does when it has made a resource: host names and principals, the same on every run."""

import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

TENANT = "00000000-0000-4000-8000-0000000000fe"
# The day of a recording, so that every run records the same.
TODAY = date(2026, 12, 15)
_NAMESPACE = uuid.UUID("b0c4ed4e-3f5a-4d0e-9a55-6f9f24b5a1d7")


def guid(text: str) -> str:
    """A UUID derived from a text."""
    return str(uuid.uuid5(_NAMESPACE, text))


def computed_outputs(kind: str, resource_id: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of a resource besides its inputs; empty if the program reads none."""
    answer = _ANSWERS.get(kind)
    return {**_identity(inputs), **(answer(resource_id, name, inputs) if answer else {})}


def _identity(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Azure takes user-assigned identities as a list of ids and returns them as a mapping."""
    identity = inputs.get("identity")
    if not identity or "userAssignedIdentities" not in identity:
        return {}
    assigned = {
        identity_id: {
            "clientId": guid(f"{identity_id}/client"),
            "principalId": guid(f"{identity_id}/principal"),
        }
        for identity_id in identity["userAssignedIdentities"]
    }
    return {"identity": {**identity, "userAssignedIdentities": assigned}}


def callback_url(arguments: Mapping[str, Any]) -> str:
    """The address of a workflow's trigger, whose signature is all that a caller needs."""
    workflow = guid(arguments["workflowName"]).replace("-", "")
    return (
        f"https://prod-00.centralus.logic.azure.com:443/workflows/{workflow}/triggers/"
        f"{arguments['triggerName']}/paths/invoke?api-version=2019-05-01&sv=1.0&sig={guid(workflow)}"
    )


def _managed_identity(resource_id: str, _name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "clientId": guid(f"{resource_id}/client"),
        "principalId": guid(f"{resource_id}/principal"),
        "tenantId": TENANT,
    }


def _site(resource_id: str, _name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    host = "-".join(part for part in (str(inputs["name"]), inputs.get("slot")) if part)
    return {
        "defaultHostName": f"{host}.azurewebsites.net",
        "customDomainVerificationId": guid(resource_id).replace("-", ""),
        "outboundIpAddresses": "203.0.113.1,203.0.113.2",
        "possibleOutboundIpAddresses": "203.0.113.1,203.0.113.2,203.0.113.3",
    }


def _storage(_id: str, name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    services = ("blob", "queue", "table", "file")
    endpoints = {service: f"https://{name}.{service}.core.windows.net/" for service in services}
    return {"primaryEndpoints": endpoints}


def _vault(_id: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": {**inputs.get("properties", {}), "vaultUri": f"https://{name}.vault.azure.net/"}}


def _vault_secret(_id: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    uri = f"https://{inputs['vaultName']}.vault.azure.net/secrets/{name}"
    kept = {key: value for key, value in inputs.get("properties", {}).items() if key != "value"}
    return {
        "properties": {
            **kept,
            "secretUri": uri,
            "secretUriWithVersion": f"{uri}/{guid(uri).replace('-', '')}",
        }
    }


def _postgres(_id: str, name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"fullyQualifiedDomainName": f"{name}.postgres.database.azure.com"}


def _redis(_id: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"hostName": f"{name}.{inputs.get('location', '')}.redis.azure.net"}


def _webpubsub(_id: str, name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"hostName": f"{name}.webpubsub.azure.com", "publicPort": 443, "serverPort": 443}


def _workspace(resource_id: str, _name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"customerId": guid(resource_id)}


def _insights(resource_id: str, _name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    key, app = guid(f"{resource_id}/key"), guid(f"{resource_id}/app")
    ingestion = f"https://{inputs.get('location', '')}-0.in.applicationinsights.azure.com/"
    return {
        "appId": app,
        "instrumentationKey": key,
        "connectionString": f"InstrumentationKey={key};IngestionEndpoint={ingestion};ApplicationId={app}",
    }


def _front_door(resource_id: str, _name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"frontDoorId": guid(resource_id)}


def _front_door_endpoint(resource_id: str, name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"hostName": f"{name}-{guid(resource_id)[:8]}.z01.azurefd.net"}


def _domain(resource_id: str, _name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    token = guid(resource_id).replace("-", "")
    return {
        "domainValidationState": "Pending",
        "validationProperties": {"validationToken": token, "expirationDate": "2026-12-02T00:00:00Z"},
    }


_ANSWERS: Mapping[str, Callable[[str, str, Mapping[str, Any]], dict[str, Any]]] = {
    "Microsoft.Cache/redisEnterprise": _redis,
    "Microsoft.Cdn/profiles": _front_door,
    "Microsoft.Cdn/profiles/afdEndpoints": _front_door_endpoint,
    "Microsoft.Cdn/profiles/customDomains": _domain,
    "Microsoft.DBforPostgreSQL/flexibleServers": _postgres,
    "Microsoft.Insights/components": _insights,
    "Microsoft.KeyVault/vaults": _vault,
    "Microsoft.KeyVault/vaults/secrets": _vault_secret,
    "Microsoft.ManagedIdentity/userAssignedIdentities": _managed_identity,
    "Microsoft.OperationalInsights/workspaces": _workspace,
    "Microsoft.SignalRService/webPubSub": _webpubsub,
    "Microsoft.Storage/storageAccounts": _storage,
    "Microsoft.Web/sites": _site,
    "Microsoft.Web/sites/slots": _site,
}
