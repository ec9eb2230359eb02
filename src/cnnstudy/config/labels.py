"""Normal forms of names, by which different spellings of a label, class or file are recognised as the same."""

import re
import unicodedata

SEPARATORS = re.compile(r"[\s_-]+")


def folded(text: str) -> str:
    """Return a text in Unicode form NFC, in lower case, without blanks at its ends.

    macOS writes decomposed letters (NFD) where keyboards and most tables have composed letters.
    """
    if text.isascii():
        return text.lower().strip()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


def loosened(text: str) -> str:
    """Return a text as `folded` does, with blanks for hyphens and underscores: `No_findings` becomes `no findings`."""
    return SEPARATORS.sub(" ", folded(text)).strip()
