"""The words of answers that do not refuse texts, as data for ``leads.reading``.

Written for the flattened text that ``leads.wording`` describes.
"""

from __future__ import annotations

import re

from leads.wording import CALLING, COURTESIES, phrases, words

HELP_WORDS = frozenset({"help", "info"})
OPT_IN_WORDS = frozenset({"start", "unstop"})

WRONG_NUMBER = phrases(
    r"wrong (?:number|numbers|num|nmbr|person|guy|lady|man|woman|phone|contact|dude|"
    r"people|recipient|party|cell)",
    r"(?:have|got|texted|text|contacted) the wrong (?:one|\w+)",
    r"(?<!\bwhy )(?<!\bif )(?<!\btrust )not me",
    r"no ?(?:one|body) (?:here )?(?:by|with|named)",
    r"dont know (?:who that is|who this person is|him|her|them|that person|this person|"
    r"any ?(?:one|body) (?:by|named|with))",
    r"(?:isnt|is not|aint|not) (?:his|her|their|hers) (?:number|phone|cell)",
    r"this (?:isnt|is not|aint) (?:him|her|them)",
    r"(?:im|i am) not (?:him|her|them|that person|the person|who you)|not who you(?:re|"
    r" are)? (?:think|looking|trying)",
    r"numero equivocado|equivocado",
)

#: Removed before "wants a call" is asked.
CALL_DECLINED = phrases(
    r"(?<!\bwhy )(?:dont|do not|never|no need to|not to|didnt|did not|cant|cannot|wont|will not|"
    r"shouldnt|no)"
    rf"(?: (?:ever|even|please|you|need to|have to|want you to|want to|be)){{0,3}} {CALLING}",
)
#: "don't call me" is no certain refusal of texts: paused, and a person looks.
DONT_CALL = phrases(
    r"(?<!\bi )(?<!\bwhy )(?<!\byou )(?:dont|do not)(?: (?:ever|even|please|you|be)){0,3} "
    r"call\w*+(?: me| us)?+(?! (?:before|after|until|till|at|on|during|while|today|tomorrow|now|"
    r"right now|yet|between|this|the))",
    r"no calls?",
)
#: Who says so wants texts or mail instead of calls.
BY_TEXT = phrases(r"(?:text|txt|email|message) (?:me|us|only|is|instead|please|works)|just text")
WANTS_CALL = phrases(
    r"(?:call|ring|phone|buzz|dial) (?:me|us)|call or text",
    r"give (?:me|us|my \w+) a (?:quick )?(?:call|ring|buzz|shout)",
    r"(?:please|pls|plz) call",
    r"(?:can|could|would|will) (?:you|u|someone|somebody) (?:please |pls |just )?call",
    r"(?<!\bdid )(?<!\bwhen )(?<!\bif )(?<!\bdo )(?<!\bwhy )(?:you|u) (?:should |can |"
    r"could |may |might )?call",
    r"(?<!\bill )(?<!\bi )(?<!\bwill )(?<!\bgonna )(?<!\bmissed your )(?<!\ba )(?<!\byour )"
    r"(?<!\bconference )"
    r"call (?:back|anytime|any time|tomorrow|today|tonight|later|now|after|around|at|on|"
    r"this|in the|my (?:cell|office|phone|mobile))",
    r"(?:talk|speak|chat) (?:on|over|by) the phone",
    r"(?:lets|can we|could we|want to|like to|happy to|free to|available to|ready to|"
    r"love to|wanna|rather|prefer to) (?:talk|speak|chat|hop on|have a call)",
    r"(?:expect|want|need|await|awaiting|take|set up|schedule|have|do|prefer) (?:a|"
    r"your) (?:\w+ )?call",
    r"llam[ae]me|me puedes? llamar",
)
HIGH_INTENT = phrases(
    r"(?:very|definitely|really|super|so|extremely) interested",
    r"ready to (?:sell|talk|move|go|sign|start|proceed)",
    r"make (?:me|us) an offer|whats? (?:is )?(?:your|ur|the) offer|send (?:me )?(?:an|"
    r"your|the) offer",
    r"how much (?:can|will|would|are) (?:you|u|i)",
    r"(?:lets|let us) do (?:it|this)|sign me up|where do i sign|im in|count me in",
    r"(?:schedule|book|set up) (?:a|an|the|some) (?:\w+ )?(?:call|meeting|time|"
    r"appointment|visit|showing|slot)",
    r"when can (?:we|you|i) (?:meet|talk|come|start)|can we meet",
)
NOT_INTERESTED = phrases(
    r"not (?:\w+ ){0,2}?(?:interest\w*|intrest\w*|intersted|looking|selling|for sale|"
    r"at this time|right now|today|"
    r"now|ready|a good time|a good fit|for me)",
    r"no (?:\w+ )?(?:interest|thanks|thank you|thx|ty|thankyou)|uninterested|hard pass|"
    r"ill pass|pass on this",
    r"(?:dont|do not|wont|will not) (?:want|wanna|need|plan|intend|wish|care)"
    r" (?:to (?!miss|wait|lose|rush|bother)\w+|it|this|that|any\w*|your|sell\w*)",
    r"(?:im|i am|we are|were) (?:all )?(?:good|set)(?: thanks| thank you)?",
    r"(?:hell|fuck|heck) no|no way|never gonna happen|not happening|maybe later",
    r"sold already|(?:its|it|i|we) sold|already (?:sold|have (?:an agent|one|someone))",
    r"no me interesa|no gracias|no quiero",
)
REFUSING_WORDS = words("no nope nah naw na nop nel negative pass")
#: Clauses that begin like this ask, with or without a question mark.
QUESTION = re.compile(
    r"(?:(?:and|so|but|ok|hey|hi|hello|yes|well|also|wtf) ){0,3}"
    r"(?:(?:who|whos|what|whats|when|where|wheres|why|how|hows|which|whose|quien|que|como|cuando|"
    r"donde|cuanto)\b|"
    r"(?:can|could|would|will|do|does|did|is|are|was|were|should|may) "
    r"(?:you|u|i|we|they|he|she|it|this|that|there|your|the|my|anyone|someone|somebody|ya)\b)"
)
POSITIVE_WORDS = words("""
    yes yep yeah yea yup ya yess yah sure absolutely definitely ok okay k okey oki alright
    great perfect awesome interested cool fine deal agreed yessir correct si claro works
    sounds affirmative
""")
POSITIVE = phrases(
    r"send (?:it|them|me|us|over|info|details|the|more|a|an|your|that|please)|"
    r"tell me more|more (?:info|details|information)",
    r"(?:is|works|sounds|looks|be) (?:good|fine|great|perfect|ok|okay|best|better)|"
    r"of course(?! not)|go ahead|for sure|why not",
    r"(?:info|details|information) (?:please|pls)|please do|sign me up|im in|lets (?:do|"
    r"go|meet)|would love|id (?:like|love)",
    r"no (?:problem|worries|prob|probs)|i would (?:like|love)|interested",
    r"(?<!\bdidnt )(?<!\bnot )(?<!\bnever )(?<!\byou )(?:text|txt|email|message|contact) (?:me|us)",
    r"make (?:me|us) an offer|count me in",
)
#: Taken out before positive words count.
NOT_POSITIVE = phrases(
    r"(?:not|isnt|aint|never|dont|nothing)(?: (?:so|really|too|very|quite|all|that|sound|sounds))?"
    r" (?:sure|ok|okay|fine|good|great|correct|interested|cool|deal|works?)",
)
POSITIVE_SIGNS = frozenset("\U0001f44d\U0001f44c\u2705\U0001f64c\u2764")
NEGATIVE_SIGNS = frozenset("\U0001f44e")
THANKS_WORDS = words("thanks thank thx ty thankyou thks tks gracias appreciated appreciate")
#: With nothing but these around it, a captured address is the answer to our question.
CAPTURE_FILLERS = (
    COURTESIES
    | THANKS_WORDS
    | words("""
    | my email e mail is its it at the address number cell mobile phone use try me on i am
    im this best here
""")
)
