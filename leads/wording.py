"""The words people use in texts, as data for ``leads.reading``. All lower case, without accents.

Patterns run on flattened text: words divided by single blanks, clauses by ``|``, apostrophes gone
("don't" is ``dont``), hyphens and slashes resolved, ``*`` kept inside words. Every repetition in
them is bounded or starts at a fixed word, so reading is linear in the length of a text.

Sources: 47 CFR 64.1200(a)(10) for the words that revoke by themselves, the keyword lists of the
carriers, and what people really write.
"""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """Return the words of *text*, divided by blanks."""
    return frozenset(text.split())


def phrases(*patterns: str) -> re.Pattern[str]:
    """Compile alternatives that begin and end at word boundaries."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)")


#: Certain opt-outs, alone or as a clause of their own.
STOP_WORDS = words("""
    stop stopall unsubscribe optout revoke alto basta parar pare paren nomas arret arrete
    arretez \u0441\u0442\u043e\u043f
""")
#: Opt-outs only as (nearly) the whole message: in a sentence they are everyday words.
SOFT_STOP_WORDS = words("end cancel quit remove cancelar")
#: May surround an opt-out word without making it less certain.
COURTESIES = words("""
    please pls plz plse pleas thanks thank thx ty now ok okay no nope immediately asap sir
    maam hey hi hello dude man bro guys sorry and just already right away today again at
    once por favor porfavor porfa ya gracias
""")
CURSES = words("""
    damn dammit goddamn god hell fuck fucking fkn fucken freaking effing frickin shit
    bullshit ass asshole assholes bitch bitches jerk idiot idiots moron morons wtf omg ffs
    jesus christ
""")
#: "i want you to stop", "can you please stop it": what a clause may hold around a stop word.
STOP_FILLERS = (
    COURTESIES
    | CURSES
    | words("""
    i im said say told tell ask asked want need would like you u ya yall to can could will
    must should have has got gotta really so it this that all of me us the thing yes yeah
    whoever people team company lol means
""")
)
#: After "remove": "remove me" is as good as "remove".
SOFT_FILLERS = COURTESIES | CURSES | frozenset({"me", "us"})

#: Misspelt or joined; taken for the word itself wherever they stand.
MISSPELT = {
    **dict.fromkeys(words("stp stpo sotp tsop stopp sstop sttop stahp stpp st*p s*op"), "stop"),
    **dict.fromkeys(words("unsub unsubs unsubscribed unsubscribing unsubscription"), "unsubscribe"),
    **dict.fromkeys(words("optput opout optouts optedout optingout"), "optout"),
    **dict.fromkeys(words("cancle cancell cancal"), "cancel"),
    **dict.fromkeys(words("qiut quti"), "quit"),
    **dict.fromkeys(words("remov remve rmv reomve romove"), "remove"),
    **dict.fromkeys(words("dnt donot dontt"), "dont"),
}
#: Too near to real words to be taken for "stop" in a sentence; alone they are held.
STOP_LOOKALIKES = words("sto stap stip syop srop dtop stoo stio stol stob spto stopo stpop")

JOINED_STOP = re.compile(
    r"(?:please|pls)?(?:stop)+(?:it|now|please|pls|(?:text|txt|messag|call|"
    r"contact)ing(?:me)?|\d\w{0,8})?"
)

#: Everyday uses of the noun: masked before the word counts, reviewed afterwards.
STOP_NOUNS = phrases(
    r"(?:bus|truck|pit|rest|train|subway|metro|gas|tram|traffic|one) stops?",
    r"non stop",
)
#: What is revoked, when "revoke" is meant.
CONSENT_WORDS = words("consent permission authorization approval")
#: Somebody quotes our own instruction.
STOP_QUOTED = phrases(
    r"(?:reply|text|txt|send|type|replying|texting|sending|typing|write|"
    r"answer)(?: (?:with|the word|back|in))? "
    r"(?:stop|optout|unsubscribe|end|cancel|quit)(?: to (?:optout|unsubscribe|stop|end|"
    r"cancel|quit))?",
)

_PEOPLE = "(?:me|us)"
_NUMBER = (
    r"(?:(?:cell|phone|mobile|home|work|personal|tele|contact|wifes|husbands|moms|dads) )?"
    r"(?:number|numbers|num|nmbr|name|info|information|contact|contacts|phone|cell|digits|"
    r"data|email)"
)
_MY_NUMBER = rf"(?:my {_NUMBER}|our {_NUMBER}|this {_NUMBER})"
_LIST = (
    r"(?:(?:of|from) )?(?:your|ur|youre|the|this|that|ya|yalls|all|any|these|those)"
    r"(?: \w+){0,3}? (?:lists?|database|db|system|contacts|records|file|files|directory|campaign)"
)
_CONTACTING = (
    r"(?:text|txt|messag|msg|mesag|contact|contct|writ|bother|disturb|bug|pester|harass|"
    r"harrass|spam|"
    r"solicit|e ?mail|dm|hmu|stalk|annoy|communicat|sms)\w*"
)
CALLING = r"(?:call|phone|ring|dial)\w*"

#: What follows "stop" when it means us.
STOP_FOLLOWED = phrases(
    r"(?:stop|quit) (?:(?:please|pls|plz|fucking|fkn|freaking|effing|damn|the|all|these|"
    r"those|this|your|ur|ya|"
    r"any|with|it|trying|to|constantly|me|my|and|already|now|from|being) ){0,4}?"
    rf"(?:{_CONTACTING}|{CALLING}|send\w*|hitting|blowing|reach\w*|notif\w*|alerts?|"
    rf"ping\w*|market\w*|"
    r"advertis\w*|reply\w*|respond\w*|asking|nonsense|bs|crap)",
)
#: Before a stop word these make it uncertain: somebody else stops, or the opposite is said.
NEGATIONS = words("""
    dont not never cant cannot wont didnt doesnt isnt wasnt without why if ill he she they
    we when before until unless where
""")

# "don't", as an order: "I don't text" and "why don't you text me" are no refusals.
_DONT = (
    r"(?<!\bi )(?<!\bwe )(?<!\bhe )(?<!\bshe )(?<!\bthey )(?<!\bwhy )(?<!\bwho )"
    r"(?<!\bif you )(?<!\bif u )(?<!\bwhy you )(?<!\bwhen you )"
    r"(?:dont|do not|don t|never|no longer|please not|pls not)"
    r"(?: (?:ever|you|u|even|please|pls|plz|fucking|freaking|be|keep|try to|continue to|"
    r"dare|again|just|start|go|attempt to|call or|call and|call nor|call me or)){0,4}"
)
_AGAIN = (
    r"(?:again|anymore|any more|ever|no more|back|this|here|my (?:number|phone|cell|house|home))"
)

#: Refusals, or what looks like one, that no keyword settles: a person confirms or releases.
REFUSALS = phrases(
    # off a list
    rf"(?:take|tke|tak|takr|get|pull|strike|scratch|cross|wipe|keep|put) (?:{_PEOPLE}|"
    rf"{_MY_NUMBER}|number) off?",
    rf"off? {_LIST}",
    rf"(?:take|remove|strike|scratch|cross|drop|get|wipe|clear|delete)(?: \w+){{1,3}}? "
    rf"(?:out|from) {_LIST}",
    rf"{_DONT} (?:put|add|want|place) (?:me|us|my \w+|to be) on",
    r"(?:get|stay|hop|keep) (?:off|out|outta)(?: of)? (?:my|our)",
    r"(?:please|pls) (?:delete|remove|unlist)(?= \||$)",
    r"blacklist (?:me|my|us|this)|(?:put|add) (?:me|us|this|my \w+) (?:on|to) your (?:dnc|do not)",
    rf"remove (?:{_PEOPLE}|{_MY_NUMBER}|number|the number|it from|this from|from|contact)",
    r"(?:want|like|ask|asked|need|wish|request|requested|requesting) (?:to (?:be|"
    r"get) )?(?:removed|taken off)",
    rf"removed (?:of|from) {_LIST}",
    rf"(?:delete|erase|scrub|purge|unlist|untext) (?:{_PEOPLE}|{_MY_NUMBER})",
    rf"(?:lose|loose|forget|discard|destroy|trash|burn|dump|ditch) {_MY_NUMBER}",
    r"(?:lose|loose) (?:the )?number",
    r"want (?:off|out of) (?:your|ur|this|the|of)",
    # do not contact
    rf"{_DONT} (?:{_CONTACTING}|reach(?:ing)? out|hit(?:ting)? me up|reply\w*|respond\w*|"
    rf"speak to me|talk to me|"
    r"use (?:my|this) number)",
    rf"{_DONT} send (?:me|us|any|more|anymore|another|these|this number|text\w*|messages?)",
    rf"{_DONT} (?:contacted|bothered|texted|messaged|disturbed)",
    rf"{_DONT} {CALLING}(?: {_PEOPLE})? {_AGAIN}",
    rf"{_DONT} {CALLING}(?: {_PEOPLE})? (?:or|and|nor) {_CONTACTING}",
    r"never (?:ever )?call(?: me| us)?",
    rf"(?:refrain from|avoid) (?:{_CONTACTING}|calling)",
    r"(?:sto|stap|stip|spot|srop|syop) (?:text|txt|messag|contact|call)ing?",
    rf"(?:why|you|u)(?: \w+){{0,3}}? keep (?:on )?{_CONTACTING}",
    r"never hear from (?:you|u|any)|(?:never|didnt|did not) ask(?:ed)? for (?:this|these|any)",
    r"for the (?:last|final|hundredth) time",
    r"do not call (?:list|registry|me list)",
    r"(?:dont|donot)(?:text|contact|message|txt)(?:me)?",
    rf"(?:not|rather not|prefer not|wish not)(?: to)? be {_CONTACTING}",
    r"(?<!\bdid )(?<!\bdoes )(?<!\bcould )(?<!\bhave )(?<!\bhas )(?<!\bhad )"
    r"not (?:to )?(?:text|message|contact|txt|bother|disturb) (?:me|us|my|this|anymore|again)",
    r"(?:dont|do not|didnt|did not|never|not|no longer) "
    r"(?:want|wanna|wish|need|like|care|appreciate|ask|asked)"
    rf"(?: \w+){{0,6}}? (?:{_CONTACTING}|(?:to )?hear from|from you|on (?:your|this|any) list)",
    r"(?:dont|do not|didnt|never|no longer) (?:want|wish|need|appreciate)(?: \w+){0,4}? "
    r"call(?:s|ed|ing)?",
    r"(?:told|asked|asking|warned|begged|begging|telling|warning|tell|ask) (?:you|u|ya|"
    r"yall|you guys|you people)"
    r"(?: \w+){0,4}? (?:not|stop|quit|never|dont|no)",
    r"(?:already )?said no|no means no|what part of no|how many times (?:do|must|have|should) i",
    r"(?:no|enough)(?: more| further| additional)? "
    r"(?:txts?|texting|texts|messages|msgs|messaging|calls? (?:or|and) texts?|"
    r"texts? (?:or|and) calls?|"
    r"communications?|solicit\w*|spam\w*|contact please)",
    r"no (?:more|further|additional) "
    r"(?:text|message|msg|contact|calls?|emails?|please|thanks|thank you|of (?:this|these|"
    r"your|it)|from you)",
    # away
    r"leave (?:me|us|my \w+)(?: (?:the )?(?:fuck|fk|hell|heck|tf|f))? (?:alone|be|out)",
    r"let (?:me|us) (?:alone|be)",
    r"(?<!\bi )(?<!\bto )go away|(?<!\bi )get lost|stay away|keep away|back off|get away from",
    r"(?:buzz|bug|piss|sod|shove|f|f\*+|eff|fuck|fuk|fck|fk|f\w{0,2}\*{1,3}\w{0,2}|screw|kiss|"
    r"bite|jog|bugger|fvck|phuck|phuk|naff) "
    r"(?:right |all the way |the hell )?(?:off|you|u|ya|yourself|yourselves|outta|my ass|me)",
    r"fuck (?:this|your|ur|yall|them)|go (?:fuck|screw|f|f\*+) (?:yourself|urself|off)",
    r"fu|foff|gfy|gtfoh?|stfu|kys|kill yourself|(?:rot|burn) in hell|eat a dick|jog on",
    r"shut (?:the \w+ )?up|shut it|get (?:bent|a life|a job)|kick rocks|pound sand",
    r"go to hell|eat shit|suck (?:it|my)|drop dead|up yours|take a hike|beat it|scram|shove it",
    r"mind your own",
    r"knock it off|cut it out|cut the crap|give it (?:a rest|up)|quit (?:it|that|this|now|"
    r"please|me|already|all)",
    r"(?:im|i am|we are|were|so) done with (?:you|this|these|u)",
    r"(?:sick|tired|fed up|annoyed) (?:of|with|by) (?:you|these|your|ur|all this|this(?= \||$))",
    # threats and complaints
    r"block(?:ed|ing)? (?:you|u|ya|this|your|ur|these|number)",
    r"report(?:ed|ing)? (?:you|u|ya|this|your|ur|these|number|as (?:spam|junk|a scam|"
    r"scam)|spam|junk)",
    r"report(?:ed|ing)? (?:\w+ )?to (?:the )?(?:fcc|ftc|ag|attorney|authorities|police|"
    r"carrier|bbb|state)",
    r"spam(?:ming|mer|mers|med)|spam (?:me|us|my|texts?|messages?|calls?|bot)",
    r"(?:more|this is|its|thats|your|ur|youre|unwanted|as|fucking) (?:\w+ )?(?:spam|"
    r"junk text|junk message)s?(?! (?:folder|box|filter|list))",
    r"har+as+(?:ing|ment|ed|ing|es)?|har+assing|har+assment|unsolicited|solicitors?|"
    r"soliciting|solicitations?",
    r"unwanted (?:texts?|messages?|calls?|contact)",
    r"su(?:e|ing) (?:you|u|ya|your|ur)|law ?suit|legal action",
    r"hear\w* from my (?:lawyer|attorney)|contacting my (?:lawyer|attorney)",
    r"(?:this is|youre|you are) (?:a )?scam\w*",
    r"tcpa|fcc|ftc|dnc|dnd|cease|desist|discontinue|do not disturb",
    r"(?:revok|withdraw|rescind)\w* (?:my |any |all )?(?:consent|permission|authorization)",
    r"take back my (?:consent|permission)",
    r"(?:didnt|did not|never|dont|do not|not|no|without my)(?: \w+){0,2}? (?:consent|consented|"
    r"sign up|signed up|subscribe|subscribed|opt in|opted in|optin)",
    r"(?:didnt|did not|never|dont|do not)(?: \w+){0,1}? (?:give|gave|given)(?: \w+){0,2}? "
    r"(?:permission|consent)|who gave you permission|without my permission",
    # the softer keywords, pointed at us
    rf"(?:end|terminate|halt|finish) (?:(?:this|these|the|all|your|our|"
    rf"any) )?(?:{_CONTACTING}|conversation|chat|convo)",
    r"cancel (?:(?:these|this|all|my|your|the|ur) )?(?:texts?|texting|messages?|"
    r"subscription|sub|service|alerts?|"
    r"notifications?|membership|everything|me)",
)

#: A whole clause that refuses, though its words would not in another sentence.
REFUSING_CLAUSES = re.compile(
    r"(?:(?:ok|okay|please|pls|thats|thatll be|that is|ive had|i have had|had|just|im|you are|"
    r"youre|ur|now|and|already|so) )*"
    r"(?:enough(?: is enough| already| now| please| of (?:this|these|you)| with .{1,40})?|"
    r"no more|no texts?|no contact|(?:no )?spam|junk|scam(?:mers?)?|stalker|"
    r"(?:blocked|blocking|block|report|reported|reporting)(?: and (?:blocked|reported))?|"
    r"do not call(?! me)|do not (?:text|contact|use)|dont (?:text|contact)|i quit|"
    r"leave|discontinue|terminate|halt|unlist|delete|desist|"
    r"cancel (?:it|that|this|these|all)|end (?:it|this|these|that)|"
    r"opt put|op out|opt|go away|get off|back off|st op|sto p|s top|f u|"
    r"dont bother(?: me| us| \w+ing)?|no solicit\w*|lose it|not wanted|unwanted|"
    r"baja|para|para ya|fuera|largo|dejame|dejeme|detener|detente|detengase|desabonner)"
    r"(?: (?:please|pls|plz|thanks|thank you|now|already|me|list))*"
)

#: Spanish refusals in sentences.
SPANISH_REFUSALS = phrases(
    r"no (?:me|nos|le|mas) (?:\w+ )?(?:escrib|mand|env|text|llam|contact|molest|busqu|mensaj|"
    r"marqu|habl)\w*",
    r"no (?:escrib\w+|(?:mand|envi|molest|contact|llam|text)(?:e|en|es|ar|ear|een))(?: mas| me)?",
    r"no quiero (?:mas|recibir|que me|sus|tus|estos|mensajes|textos|llamadas)",
    r"(?:deje|dejen|deja|pare|paren|para|parar) de \w+",
    r"(?:quit|sac|saqu|borr|elimin|remuev)\w{0,6}(?:me|nme)",
    r"(?:quit|sac|saqu|borr|elimin)\w{1,3} mi (?:numero|nombre)",
    r"dej\w{1,6} (?:en paz|tranquil\w)|(?:dar\w{0,2}|dame|deme|denme) de baja",
    r"cancelar (?:mensajes|suscripcion)|nomas \w+|ya no me",
)

#: Signs that refuse wherever they stand, and those that do alone.
REFUSING_SIGNS = frozenset("\U0001f6d1\U0001f595")  # stop sign, middle finger
REFUSING_SIGNS_ALONE = frozenset("\u26d4\U0001f6ab\u270b\U0001f645\u274c")

#: Words that opt people out elsewhere: harmless here, yet a person should look.
AMBIGUOUS = words("""
    stop stopped stopping cancel canceled cancelled quit quitting remove removed optout
    unsubscribe
""")
