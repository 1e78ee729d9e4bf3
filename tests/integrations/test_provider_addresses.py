import pytest

from integrations.addresses import normalize_address
from integrations.events import BadPayload


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("+12025550142", "+12025550142"),
        ("12025550142", "+12025550142"),
        ("2025550142", "+12025550142"),
        (12025550142, "+12025550142"),
        (" +1 (202) 555-0142 ", "+12025550142"),
        ("1.202.555.0142", "+12025550142"),
        ("+442071838750", "+442071838750"),
        ("442071838750", "+442071838750"),
        ("33612345678", "+33612345678"),
        ("\uff0b12025550142", "+12025550142"),
        ("72345", "72345"),
        ("123", "123"),
        ("12345678", "12345678"),
        ("ACME", "ACME"),
        ("Acme Homes", "Acme Homes"),
        ("2FA-Code", "2FA-Code"),
    ],
)
def test_an_address_has_one_form(value, address):
    assert normalize_address(value) == address
    assert normalize_address(address) == address


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        1.5,
        [],
        {},
        "",
        " ",
        "+",
        "12",
        "123456789",
        "1234567890",
        "11025550142",
        "+0123456789",
        "+1234567890123456",
        "555-0142",
        "A name of twelve",
        "jane@example.com",
        "\u0661\u0662\u0663",
        "12\x0045",
        "+1202555\ud800",
        "9" * 100_000,
        10**5_000,
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else str(value > 0),
)
def test_what_has_no_address_shape_is_refused(value):
    with pytest.raises(BadPayload):
        normalize_address(value)
