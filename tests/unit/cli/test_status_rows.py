"""What `status` makes of the broker's answer."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from typing_extensions import override

from app.cli.status_page import status_page
from app.cli.status_rows import StatusRow, rows_of
from app.domain.rfc3339 import rfc3339

NOW = 1_800_000_000.0
DAY = 86400.0


def answer(**changes: Any) -> dict[str, Any]:
    """One member of ``orgs``: a fresh token with a day to live, and a certificate."""
    token = {
        "state": "fresh",
        "expires_at": rfc3339(NOW + DAY),
        "refresh_at": rfc3339(NOW + DAY / 2),
        "generation": "3",
    }
    return {
        "org_id": "A" * 24 + "@AdobeOrg",
        "credential": "default",
        "kind": "jwt",
        "generation": "3",
        "certificate_expires_at": rfc3339(NOW + 90 * DAY),
        "token": token,
        "last_error": None,
        **changes,
    }


def row(**changes: Any) -> StatusRow:
    """The row of one answer."""
    [found] = rows_of([answer(**changes)], NOW)
    return found


def test_a_whole_life_is_a_full_bar() -> None:
    """A token that has just been minted has its whole life left."""
    assert (row().share, row().remaining_text, row().needs_attention) == (1.0, "24 h 00 min", False)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"last_error": "credential_rejected"}, "an error"),
        ({"certificate_expires_at": rfc3339(NOW + 29 * DAY)}, "a certificate that ends soon"),
        ({"certificate_expires_at": rfc3339(NOW - DAY)}, "a certificate that has ended"),
        ({"token": {"state": "expired", "expires_at": None, "refresh_at": None}}, "an expired token"),
    ],
)
def test_what_an_operator_should_look_at(changes: dict[str, Any], why: str) -> None:
    """An error, a certificate that ends within 30 days, and an expired token are marked."""
    assert row(**changes).needs_attention, why


@pytest.mark.parametrize("wrong", [None, 7, "yesterday", [], {"state": 1, "expires_at": "x", "refresh_at": 0}])
def test_an_answer_of_another_form_is_an_empty_cell(wrong: Any) -> None:
    """A server that is not this broker makes no error, and no wrong number."""
    found = row(token=wrong, certificate_expires_at=wrong, kind=wrong if not isinstance(wrong, str) else None)
    assert (found.remaining, found.share, found.certificate_days) == (None, None, None)


def test_control_characters_do_not_reach_the_terminal() -> None:
    """The server may be anything, and its texts are printed."""
    assert row(last_error="a\x1b[31mb\n").last_error == "a [31mb "


class _Page(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_page_has_no_scripts_and_escapes_what_it_shows() -> None:
    """The page loads and runs nothing, whatever the server sends."""
    text = status_page([row(last_error="<script>alert(1)</script>", kind='"><img src=x>')], NOW)
    page = _Page()
    page.feed(text)
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on") or name in {"src", "href"}]
    assert "default-src 'none'" in text
    assert "&lt;script&gt;" in text


def test_the_page_draws_the_life_of_a_token() -> None:
    """The bar is as wide as the share of life that is left."""
    assert re.findall(r"width:(\d+)%", status_page([row()], NOW)) == ["100"]
    half = {"state": "aging", "expires_at": rfc3339(NOW + DAY / 4), "refresh_at": rfc3339(NOW - DAY / 4)}
    assert re.findall(r"width:(\d+)%", status_page([row(token=half)], NOW)) == ["25"]
