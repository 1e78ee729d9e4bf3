"""Short forms of first names in the United States, for telling people together, never apart."""

from __future__ import annotations

_GROUPS = """
abigail abby gail
albert al bert
alexander alex sandy xander
alexandra alex sandra lexi
alfred al fred
amanda mandy
andrew andy drew
anthony tony
barbara barb babs
benjamin ben benny
catherine katherine kathryn cathy kathy kate katie kay
charles charlie chuck chas
christina christine chris tina christy
christopher chris topher kit
cynthia cindy
daniel dan danny
david dave davey
deborah debra deb debbie
donald don donny
dorothy dot dottie
douglas doug
edward ed eddie ted ned
elizabeth liz beth betty eliza lizzie betsy
eugene gene
frances fran francie
francis frank
frederick fred freddy
gabriel gabe
gerald gerry jerry
gregory greg
harold hal harry
henry hank harry
jacob jake
jacqueline jackie
james jim jimmy jamie
janet jan
jeffrey jeff
jennifer jen jenny
jessica jess jessie
john jack johnny jon
jonathan jon john
joseph joe joey
joshua josh
judith judy
kenneth ken kenny
kimberly kim
lawrence larry
leonard len lenny
louis lou louie
margaret maggie meg peggy marge
matthew matt
michael mike mickey mick
nancy nan
nathaniel nathan nate nat
nicholas nick nicky
pamela pam
patricia pat patty trish
patrick pat paddy
peter pete
philip phil phillip
raymond ray
rebecca becky becca
richard rick rich dick ricky
robert bob rob bobby robbie bert
ronald ron ronnie
samantha sam
samuel sam sammy
sandra sandy
stephanie steph
stephen steven steve
susan sue susie
terence terry
theodore ted theo teddy
theresa teresa terry tess
thomas tom tommy
timothy tim
victoria vicky tori
vincent vince vinny
virginia ginny
walter walt
william bill will billy liam
"""

_of: dict[str, set[int]] = {}
for _number, _line in enumerate(_GROUPS.strip().splitlines()):
    for _name in _line.split():
        _of.setdefault(_name, set()).add(_number)


def may_be_one(first: str, second: str) -> bool:
    """Tell whether two first names, in lower case, may be forms of one: Bob and Robert."""
    return first == second or bool(_of.get(first, set()) & _of.get(second, set()))
