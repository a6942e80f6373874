"""Opaque cursors: where a list goes on, in a form that clients hand back and do not read."""

from __future__ import annotations

import base64
import binascii
import json

from fastapi import HTTPException

WRONG_CURSOR = "cursor is not one that this API gave: leave it out to begin anew."


def encode_cursor(*position: str) -> str:
    """The cursor for what comes after ``position``, the sort key of a page's last item."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, parts: int) -> tuple[str, ...]:
    """The position that a cursor of ``parts`` parts stands for; HTTPException 400 for any other text."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) != parts or not all(isinstance(one, str) for one in found):
        raise HTTPException(400, WRONG_CURSOR)
    return tuple(found)
