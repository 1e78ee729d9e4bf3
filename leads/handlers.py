"""What of this app follows a lead into a merge, what does not, and what a merge entails."""

from __future__ import annotations

from leads.events import LeadsMerged, LeadsUnmerged
from leads.mergeable import Child, follows, keeps
from leads.scoring import score_leads
from tenants.dispatch import on

_SAME_NAME = "s.{0} = m.{0} AND m.{0} <> '' AND m.superseded_at IS NULL AND s.superseded_at IS NULL"
_LIVE = "m.fired_at IS NULL AND m.cancelled_at IS NULL"

follows(
    Child(
        table="contacts",
        stays=_SAME_NAME.format("full_name"),
        folds=(
            "title = coalesce(nullif(s.title, ''), m.title),"
            " linkedin = coalesce(nullif(s.linkedin, ''), m.linkedin),"
            " twitter = coalesce(nullif(s.twitter, ''), m.twitter),"
            " date_of_birth = coalesce(s.date_of_birth, m.date_of_birth),"
            " age = coalesce(s.age, m.age),"
            " is_deceased = coalesce(s.is_deceased OR m.is_deceased, s.is_deceased, m.is_deceased),"
            " is_litigator = coalesce(s.is_litigator OR m.is_litigator, s.is_litigator,"
            "                         m.is_litigator)"
        ),
    )
)
follows(
    Child(
        table="contact_points",
        stays="s.kind = m.kind AND s.normalized = m.normalized",
        # Of two primary ones, the survivor's stays the first choice.
        yields="is_primary = false",
        yields_if="m.is_primary AND s.is_primary AND s.kind = m.kind",
        # What speaks against texting, and what is known of the line, holds of the number.
        folds=(
            "wrong_number_at = least(s.wrong_number_at, m.wrong_number_at),"
            " dnc = coalesce(s.dnc OR m.dnc, s.dnc, m.dnc),"
            " litigator = coalesce(s.litigator OR m.litigator, s.litigator, m.litigator),"
            " tcpa = coalesce(s.tcpa OR m.tcpa, s.tcpa, m.tcpa),"
            " reachable = coalesce(s.reachable, m.reachable),"
            " line_type = CASE s.line_type WHEN 'unknown' THEN m.line_type ELSE s.line_type END,"
            " carrier = coalesce(nullif(s.carrier, ''), m.carrier),"
            " score = coalesce(s.score, m.score),"
            " activity = coalesce(s.activity, m.activity),"
            " grade = coalesce(nullif(s.grade, ''), m.grade),"
            " sources = s.sources || ARRAY(SELECT x FROM unnest(m.sources) WITH ORDINALITY"
            "     AS u(x, n) WHERE x <> ALL (s.sources) ORDER BY n)"
        ),
    )
)
# A card is its contact's: of a contact that stays, it stays.
follows(
    Child(
        table="lead_cards",
        moves=(
            "EXISTS (SELECT FROM contacts AS c WHERE c.tenant_id = m.tenant_id"
            " AND c.id = m.contact_id AND c.lead_id = %(survivor)s)"
        ),
    )
)
follows(Child(table="businesses", stays=_SAME_NAME.format("name")))
follows(
    Child(
        table="properties",
        stays=(
            "s.source = m.source AND s.external_id IS NULL AND m.external_id IS NULL"
            " AND m.superseded_at IS NULL AND s.superseded_at IS NULL"
        ),
    )
)
follows(Child(table="lead_labels", stays="s.label_id = m.label_id"))
follows(
    Child(
        table="lead_timers",
        stays=f"s.kind = m.kind AND {_LIVE} AND {_LIVE.replace('m.', 's.')}",
        ends="cancelled_at = clock_timestamp(), cancel_reason = 'merged'",
        ends_if=_LIVE,
        stops="cancelled_at = clock_timestamp(), cancel_reason = 'opted out'",
        stops_if=_LIVE,
    )
)
follows(Child(table="import_rows"))

_HISTORY = "history: readers ask for all leads that became one (lead_family)"
keeps("lead_events", "lead_id", _HISTORY)
keeps("lead_activities", "lead_id", _HISTORY)
keeps("lead_scores", "lead_id", "of the lead as it was; the survivor is scored again")
keeps("import_changes", "lead_id", "what a file changed of that lead, for its undo")
keeps("leads", "merged_into_id", "the redirect itself")
keeps("merges", "survivor_id", "says what happened")
keeps("merges", "merged_id", "says what happened")
keeps("merge_reviews", "left_id", "reviews follow in leads.reviews, which keeps pairs in order")
keeps("merge_reviews", "right_id", "reviews follow in leads.reviews, which keeps pairs in order")


@on(LeadsMerged)
@on(LeadsUnmerged)
def score_anew(event: LeadsMerged | LeadsUnmerged) -> None:
    """What is known of the two has moved, and their scores with it."""
    score_leads([event.survivor_id, event.merged_id])
