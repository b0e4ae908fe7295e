"""What the refusals of AWS mean for the broker. No sentence has text from AWS, which may quote names and accounts.

Codes: https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html#API_Sign_Errors, and the common errors of the
same reference. Older codes of the common errors have no ``Exception`` at their end, so the end is not compared.
"""

from __future__ import annotations

from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError
from app.domain.tenant_errors import CredentialMisconfiguredError

KMS_FIELD = "kms_key"
_WRONG_KIND = "names a key that cannot sign with RSA; create one with key spec RSA_2048 and key usage SIGN_VERIFY"

_OF_THE_KEY = {
    "NotFound": "names no key of that account and region; check it, and BROKER_KMS_REGION for a key without ARN",
    "Disabled": "names a key that is disabled; enable it, or name another one",
    "KMSInvalidState": (
        "names a key that cannot be used in its state: cancel its deletion, import its key material, or name another"
    ),
    "AccessDenied": (
        "names a key that the broker's role may not sign with, or that does not exist; allow kms:Sign on it in the"
        " policies of the role and of the key"
    ),
    "InvalidKeyUsage": _WRONG_KIND,
    "Validation": _WRONG_KIND,
    "UnsupportedOperation": _WRONG_KIND,
    "InvalidArn": "is not an ARN that AWS KMS knows; copy it from the key's page",
}
"""One tenant's document names a key that does not sign."""

_REFUSED = (
    "AWS KMS does not accept the broker's AWS credentials: they are wrong or have ended; check the AWS_ variables."
)
_SIGNATURE = "AWS KMS does not accept the broker's signature: check its AWS secret access key, and the clock."
_ACCOUNT = "AWS KMS does not serve the account of the broker's role."

_OF_THE_BROKER = {
    "UnrecognizedClient": _REFUSED,
    "InvalidClientTokenId": _REFUSED,
    "ExpiredToken": _REFUSED,
    "MissingAuthenticationToken": _REFUSED,
    "IncompleteSignature": _SIGNATURE,
    "InvalidSignature": _SIGNATURE,
    "SignatureDoesNotMatch": _SIGNATURE,
    "RequestExpired": _SIGNATURE,
    "NotAuthorized": _ACCOUNT,
    "OptInRequired": _ACCOUNT,
    "Throttling": "AWS KMS limits the rate of requests; ask AWS for a higher quota of RSA signatures.",
    "LimitExceeded": "AWS KMS limits the rate of requests; ask AWS for a higher quota of RSA signatures.",
    "KeyUnavailable": "AWS KMS cannot use the key at the moment.",
    "DependencyTimeout": "AWS KMS cannot use the key at the moment.",
    "CloudHsmClusterInvalidConfiguration": "The CloudHSM cluster of the key's custom key store is not ready.",
}
"""No fault of one tenant."""

NO_LOGIN = (
    "The broker has no AWS credentials: give its service account an IAM role, or set the standard AWS_ variables; see"
    " docs/signing.md."
)
LOGIN_REFUSED = (
    "AWS does not give the broker its IAM role; check AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE and the role's trust"
    " policy."
)
SERVER = "AWS KMS fails with an internal error."
NOT_KMS = "That server does not answer like AWS KMS; check BROKER_KMS_ENDPOINT_URL, and proxies on the way."
SLOW = "AWS KMS does not answer in time."
SATURATED = "Too many calls to AWS KMS are already waiting."
CLOSED = "The connection to AWS KMS is closed."


def refusal(code: str, status: int) -> BrokerError:
    """The error for an answer of KMS that is not a success.

    Args:
        code: The error code, such as ``DisabledException``; anything, if something else than KMS answers.
        status: The HTTP status.

    """
    name = code.removesuffix("Exception")
    if status >= 500 and name not in _OF_THE_BROKER:
        return CredentialStoreError(SERVER)
    if name in _OF_THE_KEY:
        return CredentialMisconfiguredError(KMS_FIELD, _OF_THE_KEY[name])
    return CredentialStoreError(_OF_THE_BROKER.get(name, NOT_KMS))
