"""References to Key Vault, in the two forms that the platform knows."""

import pytest

from shared.domain.secret_references import SecretReference, is_reference, parse_reference

VAULT = "https://signal-kv.vault.azure.net"
VERSION = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("inside", "version"),
    [
        (f"SecretUri={VAULT}/secrets/api-key-pepper", ""),
        (f"SecretUri={VAULT}/secrets/api-key-pepper/", ""),
        (f"SecretUri={VAULT}/secrets/api-key-pepper/{VERSION}", VERSION),
        ("VaultName=signal-kv;SecretName=api-key-pepper", ""),
        (f"VaultName=signal-kv; SecretName=api-key-pepper; SecretVersion={VERSION}", VERSION),
        ("secretname=api-key-pepper;vaultname=signal-kv", ""),
    ],
)
def test_both_forms_name_the_secret(inside: str, version: str) -> None:
    value = f"@Microsoft.KeyVault({inside})"
    assert is_reference(value)
    assert parse_reference(value) == SecretReference(VAULT, "api-key-pepper", version)


@pytest.mark.parametrize(
    "value",
    [
        "@Microsoft.KeyVault()",
        "@Microsoft.KeyVault(SecretUri=)",
        f"@Microsoft.KeyVault(SecretUri={VAULT}/secrets/api-key-pepper",
        "@Microsoft.KeyVault(SecretUri=http://signal-kv.vault.azure.net/secrets/api-key-pepper)",
        f"@Microsoft.KeyVault(SecretUri={VAULT}/keys/api-key-pepper)",
        f"@Microsoft.KeyVault(SecretUri={VAULT}/secrets/)",
        f"@Microsoft.KeyVault(SecretUri={VAULT}/secrets/a/short)",
        f"@Microsoft.KeyVault(SecretUri={VAULT}/secrets/a?x=1)",
        "@Microsoft.KeyVault(SecretUri=https://user@signal-kv.vault.azure.net/secrets/a)",
        "@Microsoft.KeyVault(SecretUri=https://[::1/secrets/a)",
        "@Microsoft.KeyVault(VaultName=evil.example/;SecretName=a)",
        "@Microsoft.KeyVault(VaultName=signal-kv)",
        "@Microsoft.KeyVault(VaultName=signal-kv;SecretName=../keys/a)",
        "@Microsoft.KeyVault(VaultName=signal-kv;SecretName=a;Colour=red)",
    ],
)
def test_what_is_no_whole_reference_is_refused_and_still_no_secret(value: str) -> None:
    assert is_reference(value)
    with pytest.raises(ValueError, match=r"not|neither|Invalid"):
        parse_reference(value)


def test_a_secret_is_no_reference() -> None:
    assert not is_reference("@Microsoft is a company")
    with pytest.raises(ValueError, match="not a Key Vault reference"):
        parse_reference("p" * 32)
