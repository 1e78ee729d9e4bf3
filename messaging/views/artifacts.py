"""An artifact: what came from outside, as it came, and what it was made from."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from leads.models import Lead
from messaging.views.access import door, found
from messaging.views.jsontree import tree_of
from pipelines.artifacts import ArtifactDamaged, read
from pipelines.models import Artifact, ArtifactParent
from tenants.http import TenantRequest

#: Bytes of an artifact that a page shows; the rest is in the file.
SHOWN = 200_000
#: Rows of a list.
MOST = 50


@require_GET
@door("view")
def artifact(request: TenantRequest, slug: str, artifact_id: str) -> HttpResponse:
    """Page: an artifact as a tree, its checksum proved, its lineage and the leads it told of."""
    one = found(Artifact.objects.select_related("run", "supersedes"), artifact_id)
    payload, text, damage = _content(one)
    lineage = ArtifactParent.objects.select_related("parent", "artifact").order_by("id")
    context = {
        "artifact": one,
        "tree": tree_of(payload),
        "text": text,
        "damage": damage,
        "is_cut": one.size > SHOWN,
        "parents": lineage.filter(artifact=one)[:MOST],
        "children": lineage.filter(parent=one)[:MOST],
        "newer": Artifact.objects.filter(supersedes=one).defer("content").first(),
        "leads": Lead.objects.filter(run=one.run_id, artifact=one).order_by("id")[:MOST]
        if one.run_id
        else [],
    }
    return render(request, "leads/artifact.html", context)


def _content(one: Artifact) -> tuple[Any, str, str]:
    """Return what is kept as JSON, or as text, and what is wrong with it."""
    try:
        content = read(one)
    except ArtifactDamaged as error:
        return None, "", str(error)
    if one.size > SHOWN:
        return None, content[:SHOWN].decode(errors="replace").replace("\x00", "\ufffd"), ""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return None, content.decode(errors="replace").replace("\x00", "\ufffd"), ""
    if isinstance(payload, dict | list):
        return payload, "", ""
    return None, json.dumps(payload, ensure_ascii=False), ""


@require_GET
@door("view")
def raw(request: TenantRequest, slug: str, artifact_id: str) -> HttpResponse:
    """File: the artifact as it came, under a name that no browser runs."""
    one = found(Artifact.objects.all(), artifact_id)
    try:
        content = read(one)
    except ArtifactDamaged as error:
        raise Http404 from error
    answer = HttpResponse(content, content_type="application/octet-stream")
    ending = {"application/json": "json", "text/csv": "csv", "text/plain": "txt"}
    name = f"{one.pk}.{ending.get(one.mime_type.partition(';')[0], 'bin')}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
