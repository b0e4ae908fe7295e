"""Where a token may be sent."""

from __future__ import annotations

import pytest

from app.domain.probe_answer import may_be_probed


@pytest.mark.parametrize(
    "url",
    [
        "https://platform.adobe.io/ajo/x?limit=1",
        "https://author-p1-e2.adobeaemcloud.com/api",
        "https://adobe.io/",
        "http://127.0.0.1:9000/imp/",
        "http://localhost:9000/imp/",
    ],
)
def test_adobe_and_this_machine(url: str) -> None:
    """A token may go to Adobe over HTTPS, and to this machine."""
    assert may_be_probed(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://platform.adobe.io/",
        "https://evil-adobe.io/",
        "https://adobe.io.evil.example/",
        "https://evil.example\\.adobe.io/",
        "https://evil.example/.adobe.io/",
        "https://evil.example#.adobe.io",
        "https://evil.example?.adobe.io",
        "https://platform.adobe.io@evil.example/",
        "https://user:word@platform.adobe.io/",
        "https://platform.adobe.io:0/",
        "https://platform.adobe.io:99999/",
        "https://platform.adobe.io/\r\nx: y",
        "ftp://127.0.0.1/",
        "//platform.adobe.io/",
        "",
    ],
)
def test_no_one_else(url: str) -> None:
    """A token goes nowhere else, whatever a URL looks like."""
    assert not may_be_probed(url)
