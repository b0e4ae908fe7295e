"""How a document names a key of AWS KMS."""

from __future__ import annotations

import pytest

from app.domain.kms_key import KmsKey, parse_kms_key

_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize("name", [_ID, f"mrk-{'0a' * 16}", "alias/ims", "alias/ims/tenant_1-a"])
def test_a_name_without_region(name: str) -> None:
    """A key id and an alias are in the broker's own region."""
    assert parse_kms_key(name) == KmsKey(name)


@pytest.mark.parametrize("resource", [f"key/{_ID}", f"key/mrk-{'0a' * 16}", "alias/ims"])
@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "eu-central-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-east-1"),
        ("aws-eusc", "eusc-de-east-1"),
    ],
)
def test_an_arn_names_its_region(partition: str, region: str, resource: str) -> None:
    """The region and the partition of an ARN are parsed."""
    name = f"arn:{partition}:kms:{region}:111122223333:{resource}"

    assert parse_kms_key(name) == KmsKey(name, region, partition)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ims",
        "alias/",
        f"alias/{'a' * 251}",
        "alias/ims key",
        "alias/ims\n",
        _ID.upper(),
        f"key/{_ID}",
        f" {_ID}",
        f"arn:aws:kms:eu-central-1:111122223333:{_ID}",
        f"arn:aws:kms:eu-central-1:1111:key/{_ID}",
        f"arn:aws:s3:eu-central-1:111122223333:key/{_ID}",
        f"arn:aws:kms:evil.example.com/:111122223333:key/{_ID}",
        f"arn:aws:kms:eu-central-1.evil-1:111122223333:key/{_ID}",
        f"arn:aws:kms:eu-central-1@evil-1:111122223333:key/{_ID}",
        f"arn:aws:kms::111122223333:key/{_ID}",
        f"arn:other:kms:eu-central-1:111122223333:key/{_ID}",
    ],
)
def test_anything_else_is_refused(name: str) -> None:
    """Whatever is not a key of KMS is refused, above all what could become part of another host's name."""
    with pytest.raises(ValueError, match="must be the id, the alias or the ARN of a key"):
        parse_kms_key(name)
