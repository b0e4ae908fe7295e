"""Org ids that must be refused before they become part of a path, a key, a URL or a log line."""

from __future__ import annotations


def malformed_orgs() -> list[tuple[str, str]]:
    """(name, value); row 75 of the fault table."""
    good = "0123456789ABCDEF01234567@AdobeOrg"
    return [
        ("empty", ""),
        ("trailing newline", good + "\n"),
        ("leading newline", "\n" + good),
        ("CRLF and a header", good + "\r\nX-Evil: 1"),
        ("NUL", good + "\x00"),
        ("NUL inside", good[:10] + "\x00" + good[11:]),
        ("parent folder", "../../../etc/passwd"),
        ("parent folder before the suffix", "../../../../../../../../@AdobeOrg"),
        ("percent-encoded slash", "0123456789ABCDEF0123%2f7@AdobeOrg"),
        ("slash", "0123456789ABCDEF012345/7@AdobeOrg"),
        ("backslash", "0123456789ABCDEF012345\\7@AdobeOrg"),
        ("blank at the end", good + " "),
        ("blank at the beginning", " " + good),
        ("tab", good + "\t"),
        ("Cyrillic A", "0123456789\u0410BCDEF01234567@AdobeOrg"),
        ("Cyrillic suffix", good.replace("@A", "@\u0410")),
        ("fullwidth digit", "\uff10123456789ABCDEF01234567@AdobeOrg"),
        ("fullwidth at", good.replace("@", "\uff20")),
        ("Arabic digit", "\u0660123456789ABCDEF01234567@AdobeOrg"),
        ("combining mark", good + "\u0301"),
        ("zero-width space", good + "\u200b"),
        ("right-to-left override", "\u202e" + good),
        ("line separator", good + "\u2028"),
        ("long s", good.replace("Org", "Or\u0261")),
        ("23 characters", good[1:]),
        ("25 characters", "0" + good),
        ("lower-case suffix", good.lower()),
        ("no suffix", good[:24]),
        ("two suffixes", good + "@AdobeOrg"),
        ("10 kB", "A" * 10_000),
        ("10 kB before the suffix", "A" * 10_000 + "@AdobeOrg"),
        ("wildcard", "*"),
        ("wildcard with suffix", "*@AdobeOrg"),
        ("glob", "?" * 24 + "@AdobeOrg"),
        ("Redis hash tag", "{123456789ABCDEF0123456}@AdobeOrg"),
        ("quotes", "'123456789ABCDEF0123456\"@AdobeOrg"),
        ("lone surrogate", "\udc80" + good[1:]),
    ]
