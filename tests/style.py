#!/usr/bin/env python3
"""Checks that comments, documentation and names of tests are plain English: style.py [FILE…]

Counts phrases that slow a reader down, in three groups, per 1,000 words; and the average length of a test's name. Fails
if one of the four is above its limit, and prints the lines with the phrases. With files, prints the lines of these files
and compares nothing.

Reads the files that git knows or would add: Markdown whole; of Rust, Python, shell, SQL, YAML and TOML the comments; of
Python the docstrings too.
"""

import re
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Group:
    """Phrases with the same advice."""

    name: str
    advice: str
    # Per 1,000 words. Lower the limit towards the target when the text improves; never raise it.
    limit: float
    target: float
    phrases: tuple[str, ...]

    def count(self, text: str) -> int:
        """The number of phrases in a line."""
        return len(re.findall(r"\b(?:%s)\b" % "|".join(self.phrases), text, re.IGNORECASE))


GROUPS = (
    Group(
        "indefinite pronouns",
        "name the person or the thing",
        limit=0.3,
        target=0.3,
        phrases=("somebody", "nobody", "anybody", "whoever", "whatever", "wherever"),
    ),
    Group(
        "noun clauses",
        "use a noun",
        limit=1.0,
        target=1.0,
        phrases=(
            r"what (?:is|are|was|were|has|had|may|it|they|there|else|of|a|one)",
            r"who (?:is|are|was|were|has|had|may|it|they|there|else|of|a|one)",
        ),
    ),
    Group(
        "private words",
        "use the standard term",
        limit=0.6,
        target=0.6,
        phrases=(
            "anew",
            r"befall\w*",
            r"c[ao]mes? to",
            "for ever",
            "gives? back",
            "goodbye",
            "had (?:for|of)",
            "heard",
            "in vain",
            "is had",
            "knocks?",
            "mend(?:s|ed|ing)?",
            "of ours",
            r"reckon\w*",
            "said",
            "speaks?",
            "stands? (?:again|for|where)",
            "tells of",
            "told",
        ),
    ),
)

# Characters in the name of a test, on average.
NAME_LIMIT, NAME_TARGET = 32.0, 32

COMMENT = {".rs": "//", ".sql": "--", ".sh": "#", ".py": "#", ".toml": "#", ".yaml": "#", ".yml": "#"}
TEST = re.compile(r"#\[(?:tokio::)?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)")
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")

# Lines that are printed of each group above its limit.
SHOWN = 20


def files() -> list[Path]:
    """The files with text for people."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    paths = (ROOT / name for name in listed if name)
    return [path for path in paths if (path.suffix in {".md", *COMMENT} or is_script(path)) and path.is_file()]


def is_script(path: Path) -> bool:
    """Whether this is one of the shell scripts without an ending."""
    return path.parent.name == ".ci"


def prose(path: Path) -> list[tuple[int, str]]:
    """The lines for people, with their numbers."""
    if path.suffix == ".py":
        return python(path)
    lines = enumerate(path.read_text().splitlines(), 1)
    if path.suffix == ".md":
        return list(lines)
    comment = re.compile(r"(?:^|\s)%s[!/#]*(.*)" % COMMENT.get(path.suffix, "#"))
    return [(number, found[1]) for number, line in lines if (found := comment.search(line))]


def python(path: Path) -> list[tuple[int, str]]:
    """Comments and docstrings."""
    found = []
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT or token.type == tokenize.STRING and token.string.startswith('"""'):
                found.extend(enumerate(token.string.splitlines(), token.start[0]))
    return found


def hits(group: Group, paths: list[Path]) -> list[tuple[int, str]]:
    """The lines with phrases of this group: how many, and the line with its place."""
    found = []
    for path in paths:
        for number, text in prose(path):
            if count := group.count(text):
                found.append((count, "%s:%d: %s" % (path.relative_to(ROOT), number, text.strip())))
    return found


def test_names(paths: list[Path]) -> list[str]:
    """The names of all tests."""
    return [name for path in paths if path.suffix == ".rs" for name in TEST.findall(path.read_text())]


def show(paths: list[Path]) -> None:
    """Prints every line with a phrase."""
    for group in GROUPS:
        found = hits(group, paths)
        if found:
            print("%s: %s" % (group.name, group.advice))
        for _, line in found:
            print("  " + line)


def check() -> bool:
    """Compares with the limits; whether all four hold."""
    paths = files()
    words = sum(len(WORD.findall(text)) for path in paths for _, text in prose(path))
    good = True
    for group in GROUPS:
        found = hits(group, paths)
        rate = 1000 * sum(count for count, _ in found) / words
        print("%6.2f %s per 1,000 words (limit %.2f, target %.1f)" % (rate, group.name, group.limit, group.target))
        if rate > group.limit:
            good = False
            print("Above the limit: %s. The lines with most of them:" % group.advice)
            for _, line in sorted(found, key=lambda hit: -hit[0])[:SHOWN]:
                print("  " + line)
    names = test_names(paths)
    length = sum(map(len, names)) / len(names)
    print("%6.2f characters in the name of a test (limit %.1f, target %d)" % (length, NAME_LIMIT, NAME_TARGET))
    if length > NAME_LIMIT:
        good = False
        print("Above the limit: name subject, condition and outcome. The longest names:")
        for name in sorted(names, key=len, reverse=True)[:SHOWN]:
            print("  " + name)
    return good


if __name__ == "__main__":
    if len(sys.argv) > 1:
        show([Path(name).resolve() for name in sys.argv[1:]])
    elif not check():
        sys.exit("style: too many of these phrases; CONTRIBUTING.md has the rules")
