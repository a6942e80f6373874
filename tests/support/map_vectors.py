"""Golden vectors of the map encoding: what the Collector's exporter writes for the same values.

The receiver and the direct exporter both make such maps and share no code: they share these.
"""

from __future__ import annotations

import math
from typing import Any, Final

VALUES: Final[list[tuple[Any, str]]] = [
    (None, ""),
    ("", ""),
    ("strVal", "strVal"),
    ('<a href="x">&y</a>', '<a href="x">&y</a>'),
    (True, "true"),
    (False, "false"),
    (7, "7"),
    (-(2**63), "-9223372036854775808"),
    (18.6, "18.6"),
    (b"String bytes", "U3RyaW5nIGJ5dGVz"),
    (b"", ""),
    ([], "[]"),
    ({}, "{}"),
    (["strVal", 7, 18.6, False, None], '["strVal",7,18.6,false,null]'),
    ([b"\x00\xff"], '["AP8="]'),
    (["", "a"], '["","a"]'),
    (
        {
            "strKey": "strVal",
            "intKey": 7,
            "floatKey": 18.6,
            "boolKey": False,
            "nullKey": None,
            "mapKey": {"keyTwo": "valTwo", "keyOne": "valOne"},
            "arrKey": ["strOne", "strTwo"],
        },
        '{"arrKey":["strOne","strTwo"],"boolKey":false,"floatKey":18.6,"intKey":7,'
        '"mapKey":{"keyOne":"valOne","keyTwo":"valTwo"},"nullKey":null,"strKey":"strVal"}',
    ),
    (["<", ">", "&"], '["\\u003c","\\u003e","\\u0026"]'),
    ({"<k>": "a&b"}, '{"\\u003ck\\u003e":"a\\u0026b"}'),
    (["\u2028\u2029"], '["\\u2028\\u2029"]'),
    (['quote " backslash \\'], '["quote \\" backslash \\\\"]'),
    (["\n\r\t\b\f"], '["\\n\\r\\t\\b\\f"]'),
    (["\x00\x1f\x7f"], '["\\u0000\\u001f\x7f"]'),
    (["größe 日本 🙂"], '["größe 日本 🙂"]'),
    ([math.nan], ""),
    ({"a": [math.inf]}, ""),
    (["a", ["b", []]], '["a",["b",[]]]'),
    ([1e21, 1e20, 1e-7], "[1e+21,100000000000000000000,1e-7]"),
]

NUMBERS: Final[list[tuple[float, str]]] = [
    (0.0, "0"),
    (-0.0, "-0"),
    (1.0, "1"),
    (-2.5, "-2.5"),
    (100.0, "100"),
    (0.1, "0.1"),
    (1e16, "10000000000000000"),
    (-1.5e16, "-15000000000000000"),
    (1.2345678901234567e20, "123456789012345670000"),
    (1e21, "1e+21"),
    (1.5e300, "1.5e+300"),
    (1e-6, "0.000001"),
    (1.5e-6, "0.0000015"),
    (-1.234e-5, "-0.00001234"),
    (1e-7, "1e-7"),
    (1.5e-9, "1.5e-9"),
    (1e-10, "1e-10"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (math.nan, "json: unsupported value: NaN"),
    (math.inf, "json: unsupported value: +Inf"),
    (-math.inf, "json: unsupported value: -Inf"),
]
