"""Which tokens live long enough for a request, which are replaced, and which requests cannot be met."""

from __future__ import annotations

import pytest

from app.domain.errors import InvalidRequestError
from app.service.min_ttl import lives_long_enough
from tests.factories import make_token
from tests.fakes import DAY, NOW


@pytest.mark.parametrize(("life", "age", "min_ttl", "enough"), [
    (DAY, 0.0, 0.0, True), (DAY, 100.0, DAY - 100.0, True), (DAY, 100.0, DAY - 99.5, False),
    (DAY, 60.0, DAY - 59.0, False), (DAY, 60.0, DAY, False), (DAY, -1.0, DAY, True),
    (DAY, -1.0, DAY + 2.0, None), (DAY, 0.0, DAY + 0.5, None), (DAY, 59.9, DAY - 59.0, None),
    (DAY, 100.0, DAY + 0.5, None), (DAY, 0.5, DAY, None), (DAY, 0.0, DAY, True),
    (100.0, 5.0, 96.0, False), (100.0, 4.9, 96.0, None), (100.0, 50.0, 100.0, False), (100.0, 50.0, 100.5, None),
])  # fmt: skip
def test_a_token_is_replaced_unless_a_new_one_would_not_live_long_enough_either(
    life: float, age: float, min_ttl: float, enough: bool | None
) -> None:
    """None: the request is refused, because of the lifetime, or within 60 s or 5 % of it after minting."""
    token = make_token(life=life)
    if enough is None:
        with pytest.raises(InvalidRequestError) as refused:
            lives_long_enough(token, min_ttl, NOW + age)
        assert refused.value.detail == "min_ttl must be shorter than the lifetime of this credential's tokens."
    else:
        assert lives_long_enough(token, min_ttl, NOW + age) is enough
