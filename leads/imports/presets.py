"""How files with a known header are read: what comes with the product, and what people chose."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models.functions import Now

from leads.exports import COLUMNS
from leads.imports.columns import Column, fingerprint, suggest
from leads.models import ImportPreset

#: Name → header of files we know, as their makers write it.
_HEADERS = {
    "PropStream": "Address,Unit #,City,State,Zip,County,APN,Owner Occupied,Owner 1 First Name"
    ",Owner 1 Last Name,Owner 2 First Name,Owner 2 Last Name,Mailing Care of Name"
    ",Mailing Address,Mailing Unit #,Mailing City,Mailing State,Mailing Zip"
    ",Do Not Mail,Property Type,Bedrooms,Total Bathrooms,Building Sqft,Lot Size Sqft"
    ",Effective Year Built,Total Assessed Value,Last Sale Recording Date"
    ",Last Sale Amount,Est. Value,Est. Equity,Est. Loan-to-Value,Foreclosure Factor"
    ",MLS Status,Litigator,Skip Traces,Phone 1,Phone 1 Type,Phone 1 DNC,Phone 2"
    ",Phone 2 Type,Phone 2 DNC,Phone 3,Phone 3 Type,Phone 3 DNC,Phone 4,Phone 4 Type"
    ",Phone 4 DNC,Phone 5,Phone 5 Type,Phone 5 DNC,Email 1,Email 2,Email 3,Email 4",
    "lead-lab": "name,phone,email,address,city,state,zip",
    "USBizData": "company name,address,city,state,zip,county,contact first,contact last,title,phone"
    ",website,employees,annual sales,sic code,industry",
    "Business list": "company_name,dba,first_name,last_name,title,phone,email,address,street2,city"
    ",state,zip,county,website,employees,revenue,year_founded,sic_code,sic_description"
    ",naics_code",
    "Tracerfy results": "address,city,state,mail_address,mail_city,mail_state,first_name,last_name"
    ",primary_phone,primary_phone_type,email_1,email_2,email_3,email_4,email_5"
    ",mobile_1,mobile_2,mobile_3,mobile_4,mobile_5,landline_1,landline_2,landline_3",
    "Aloware list": "phone_number,first_name,last_name,email,country,state,city,timezone",
    "Instantly upload": "email,firstName,lastName,property_address,property_city,property_value"
    ",property_value_range,estimated_equity,equity_50_percent,equity_60_percent"
    ",equity_formatted_short,estimated_monthly_payment,broker_name,broker_nmls",
    "Instantly export": "Campaign Name,Email,Email Provider,Lead Status,First Name,Last Name"
    ",Interest Status,broker_name,broker_nmls,campaign_name,property_city"
    ",equity_percent,property_value,calculator_token,estimated_equity,property_address"
    ",equity_50_percent,equity_60_percent,property_value_range,equity_formatted_short"
    ",estimated_monthly_payment,Email Security Gateway Provider",
    "GoHighLevel contacts": "Contact Id,First Name,Last Name,Name,Business Name,Phone,Email"
    ",Street Address,City,State,Postal Code,Website,Timezone,Tags",
    "Plain": "first_name,last_name,company,phone1,phone2,email,address,city,state,zip",
}
BUILTIN = {
    **{name: tuple(header.split(",")) for name, header in _HEADERS.items()},
    "Fairlead export": tuple(COLUMNS),
}
_BY_FINGERPRINT = {fingerprint(header): name for name, header in BUILTIN.items()}
#: What people call a preset at most, and how many of one name are told apart.
NAME, SAME_NAME = 80, 100


class NoPreset(LookupError):
    """There is no preset of this name for this file."""


def known(header: Sequence[str]) -> tuple[list[Column] | None, ImportPreset | None, str]:
    """Return the columns of files with this header, the saved preset, and its name.

    What people chose comes before what the product knows; None: nobody knows it.
    """
    mark = fingerprint(header)
    saved = ImportPreset.objects.filter(fingerprint=mark).first()
    if saved is not None:
        columns = [_column(name, one) for name, one in zip(header, saved.mapping, strict=True)]
        return columns, saved, saved.name
    if name := _BY_FINGERPRINT.get(mark, ""):
        return builtin(header), None, name
    return None, None, ""


def builtin(header: Sequence[str]) -> list[Column]:
    """Return how a header of ours is read: by its names alone, the same for every file."""
    return [_column(one.header, one.as_json()) for one in suggest(header, [])]


def named(name: str, header: Sequence[str]) -> list[Column]:
    """Return the columns as the preset *name* reads them, matching columns by their names.

    Raises:
        NoPreset: there is none, or the file has none of its columns.
    """
    wanted = " ".join(name.split()).lower()
    saved = next((p for p in ImportPreset.objects.all() if p.name.lower() == wanted), None)
    if saved is not None:
        of = {one["header"].lower(): one for one in saved.mapping}
    elif found := next((key for key in BUILTIN if key.lower() == wanted), ""):
        of = {one.header.lower(): one.as_json() for one in builtin(BUILTIN[found])}
    else:
        raise NoPreset(f"There is no preset “{name}”: {', '.join(sorted(BUILTIN))}.")
    if not any(one.lower() in of for one in header):
        raise NoPreset(f"The file has none of the columns of “{name}”.")
    return [_column(one, of.get(one.lower(), {})) for one in header]


def _column(header: str, one: dict[str, str]) -> Column:
    return Column(
        header=header,
        target=one.get("target", ""),
        transform=one.get("transform", ""),
        match="preset" if one.get("target") else "",
    )


def remember(
    header: Sequence[str], columns: Sequence[Column], *, fixes: Sequence[str], name: str
) -> ImportPreset:
    """Keep how a header is read, so that the next file with it needs no choice."""
    mark = fingerprint(header)
    mapping = [
        {"header": one.header, "target": one.target, "transform": one.transform} for one in columns
    ]
    values = {"mapping": mapping, "options": {"fixes": list(fixes)}, "updated_at": Now()}
    saved = ImportPreset.objects.filter(fingerprint=mark).first()
    if saved is None:
        return ImportPreset.objects.create(
            name=_free_name(name), fingerprint=mark, used_at=Now(), **values
        )
    ImportPreset.objects.filter(pk=saved.pk).update(used_at=Now(), **values)
    return saved


def _free_name(name: str) -> str:
    base = " ".join(name.split())[: NAME - 6] or "Columns"
    taken = set(ImportPreset.objects.filter(name__startswith=base).values_list("name", flat=True))
    candidates = [base, *(f"{base} ({number})" for number in range(2, SAME_NAME))]
    return next((one for one in candidates if one not in taken), f"{base} {len(taken)}")
