"""Schemes in one word, ``scheme[@rule][:methods][/kept]``."""

import pytest

from potluck.compiler.schemes import written
from potluck.isa.errors import ModelError


def test_every_part_is_an_option():
    name, options = written.parse("mxfp4@even:hadamard=16+better/first+sensitive=6")
    assert name == "mxfp4"
    assert options == {
        "scale_rule": "even", "ptq": "hadamard=16,better", "keep": ("first", "sensitive=6")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options"),
    [("int8", {}), ("int4:bias", {"ptq": "bias"}), ("int4/last", {"keep": ("last",)}),
     ("mxfp8@mse", {"scale_rule": "mse"})],
)  # fmt: skip
def test_parts_may_be_left_out(text, options):
    assert written.parse(text) == (text[:4] if text[0] == "i" else "mxfp8", options)


@pytest.mark.parametrize(
    ("text", "names"),
    [("int5", "int5"), ("mxfp4@evn", "evn"), ("int4:cilp", "cilp"), ("int4:", "':'"), ("int4:bias/", "'/'")],
)
def test_what_is_wrong_is_named(text, names):
    with pytest.raises(ModelError, match=names):
        written.parse(text)
