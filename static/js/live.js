/* The live client. One tab per browser holds the stream (Web Locks), the others listen to it
   (BroadcastChannel). Hints carry ids only: pages react to the events it dispatches on body.

   lo:hint            every hint once, at once; detail = {id, k, s, c, old}
   lo:stage-<key>, lo:conv-<id>, lo:bell, lo:webhooks
                      coalesced: the first at once, the rest of a burst as one 400 ms later
   lo:state           detail = live | retrying | off; also in body's data-live-state */
(() => {
  "use strict";
  const body = document.body;
  const { liveUrl, pollUrl, tenant, actor } = body.dataset;
  if (!liveUrl || !pollUrl) return;

  const COALESCE = 400, POLL = 10000, SILENCE = 50000, BAR = 5000, LONGEST = 30000;
  const name = `live-${tenant}-${actor}`;
  const channel = "BroadcastChannel" in window ? new BroadcastChannel(name) : null;
  const streams = Boolean(navigator.locks && channel && "EventSource" in window);
  const start = Number(body.dataset.cursor) || 0;
  const seen = new Set(), slots = new Map(), asleep = new Set();
  let last = start, source = null, failures = 0, timer = 0, watch = 0, bar = 0;
  let leader = false, polling = false, stopped = false;

  /* ---- events for the page ---- */

  const fire = (event, detail) => body.dispatchEvent(new CustomEvent(event, { detail }));

  const emit = (event) => {
    const slot = slots.get(event);
    if (slot) { slot.again = true; return; }
    // A list nobody looks at waits until somebody does.
    if (document.hidden && /^lo:(stage|conv)-/.test(event)) { asleep.add(event); return; }
    const fresh = { again: false };
    slots.set(event, fresh);
    fire(event);
    setTimeout(() => { slots.delete(event); if (fresh.again) emit(event); }, COALESCE);
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    const waiting = [...asleep];
    asleep.clear();
    waiting.forEach(emit);
  });

  const reload = () => {
    emit("lo:bell");
    document.querySelectorAll("[hx-trigger*='lo:'],[data-hx-trigger*='lo:']").forEach((part) => {
      const trigger = part.getAttribute("hx-trigger") || part.getAttribute("data-hx-trigger");
      (trigger.match(/lo:[\w-]+/g) || []).forEach(emit);
    });
  };

  const take = (id, hint) => {
    if (hint.k !== "reset") {
      if (seen.has(id)) return;
      seen.add(id);
      if (seen.size > 1000) seen.delete(seen.values().next().value);
    }
    if (id > last) last = id;
    // What the page was rendered with may come again: it refreshes, but rings no bell.
    fire("lo:hint", { id, ...hint, old: id <= start });
    if (hint.k === "reset") { reload(); return; }
    if (hint.k === "bell" || hint.k === "inbound") emit("lo:bell");
    if (hint.k === "webhook") { emit("lo:webhooks"); return; }
    if (hint.s && hint.k !== "bell") emit(`lo:stage-${hint.s}`);
    if (hint.c && hint.k !== "bell") emit(`lo:conv-${hint.c}`);
  };

  /* ---- state ---- */

  const show = (state) => {
    if (body.dataset.liveState === state) return;
    body.dataset.liveState = state;
    clearTimeout(bar);
    const line = document.getElementById("connection");
    if (line && state !== "retrying") line.hidden = true;
    if (line && state === "retrying") {
      bar = setTimeout(() => {
        line.textContent = "Reconnecting. Replies are kept as drafts.";
        line.hidden = false;
      }, BAR);
    }
    fire("lo:state", state);
  };

  const tell = (message) => { if (channel) channel.postMessage(message); };
  const share = (state) => { show(state); tell({ state }); };
  const receive = (id, hint) => { take(id, hint); tell({ id, hint }); };

  /* ---- the stream and the poll ---- */

  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    clearTimeout(watch);
    if (source) source.close();
    share("off");
  };

  /* Returns whether the server answered; a refusal stops everything for good. */
  const poll = async (give) => {
    try {
      const answer = await fetch(`${pollUrl}?after=${last}`, {
        headers: { Accept: "application/json", "X-Requested-With": "fetch" },
        cache: "no-store",
      });
      if ([401, 403, 404].includes(answer.status)) { stop(); return false; }
      if (!answer.ok) return false;
      const news = await answer.json();
      news.hints.forEach(({ id, ...hint }) => give(id, hint));
      if (news.reset) give(news.cursor, { k: "reset" });
      if (news.cursor > last) last = news.cursor;
      return true;
    } catch {
      return false;
    }
  };

  const again = (wait) => { clearTimeout(timer); timer = setTimeout(connect, wait); };

  const backoff = (longest) =>
    Math.min(longest, 1000 * 2 ** Math.min(failures - 1, 5)) * (0.75 + Math.random() / 4);

  const closed = async () => {
    clearTimeout(watch);
    if (source) source.close();
    source = null;
    if (stopped) return;
    failures += 1;
    if (!polling) share("retrying");
    const answers = await poll(receive);
    if (stopped) return;
    // A server that answers polls but gives no stream is followed by polls.
    polling = answers && failures > 2;
    share(polling ? "live" : "retrying");
    again(backoff(answers ? POLL : LONGEST));
  };

  const alive = () => {
    failures = 0;
    clearTimeout(watch);
    watch = setTimeout(closed, SILENCE);
  };

  const connect = () => {
    if (stopped || source) return;
    source = new EventSource(`${liveUrl}?after=${last}`);
    watch = setTimeout(closed, SILENCE);
    source.onopen = () => share("live");
    source.onerror = closed;
    source.addEventListener("hb", alive);
    source.addEventListener("hint", (event) => {
      alive();
      receive(Number(event.lastEventId), JSON.parse(event.data));
    });
  };

  const pollOnly = async () => {
    const answers = await poll(take);
    if (stopped) return;
    show(answers ? "live" : "retrying");
    setTimeout(pollOnly, POLL);
  };

  const lead = () => new Promise(() => {
    leader = true;
    body.dataset.liveLeader = "1";
    if (!stopped) connect();
  });

  if (channel) {
    channel.onmessage = ({ data }) => {
      if (data.hint) take(data.id, data.hint);
      if (data.state === "off") { stopped = true; show("off"); }
      else if (data.state) show(data.state);
      if (data.hello && leader) tell({ state: body.dataset.liveState });
    };
  }
  addEventListener("online", () => { if (leader && !source) again(0); });
  addEventListener("offline", () => { if (leader || !streams) share("retrying"); });

  if (!streams) { body.dataset.liveLeader = "1"; pollOnly(); return; }
  navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    if (lock) return lead();
    // The leader may have heard things before this tab listened.
    tell({ hello: true });
    await poll(take);
    navigator.locks.request(name, lead);
    return undefined;
  });
})();
