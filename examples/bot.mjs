// Subscribe to signals and ask a confidence for each, in JavaScript, on Signal Cloud's public contract.
//
//   npm install
//   export SIGNAL_CLOUD_URL=http://127.0.0.1:7071 SIGNAL_CLOUD_KEY=sc_live_...
//   node bot.mjs ES NQ
//
// Delivery is at least once: each (symbol, sequence) is acted on once and in order, and what was missed
// is fetched by GET /api/signals?after=. bot.py shows trading and reporting as well.

import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { WebPubSubClient } from "@azure/web-pubsub-client";

const url = (process.env.SIGNAL_CLOUD_URL ?? "http://127.0.0.1:7071").replace(/\/+$/, "");
const key = process.env.SIGNAL_CLOUD_KEY;
// A plan may allow one bot a symbol: the name of this one lets it have its place again at once.
const instance = `bot.mjs.${hostname()}`.slice(0, 64);
const symbols = process.argv.length > 2 ? process.argv.slice(2) : ["ES"];
let sessionId; // the session that this bot holds: each call says so, which keeps it
const HTTP_TIMEOUT_MS = 10_000;
const ATTEMPTS = 6;
const SILENCE_MS = 25_000; // heartbeats come every 10 s
const FEATURES = ["vwap_distance", "rsi", "atr", "volume_ratio", "hour"];

if (!key) {
  console.error("SIGNAL_CLOUD_KEY is not set");
  process.exit(2);
}

class Refused extends Error {}
// Payment or an operator lifts the first two; the others mean that another bot has the place of this one.
const PASSING = ["license_suspended", "license_expired", "session_lost", "session_taken"];

/** The answer's JSON; what may pass (no connection, 429, 5xx) is tried again, anything else throws Refused. */
async function call(method, path, body) {
  for (let attempt = 1; ; attempt++) {
    let problem;
    let isPaused = false;
    let waitMs = Math.min(200 * 2 ** attempt, 5_000) * (0.5 + Math.random() / 2);
    try {
      const answer = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          "content-type": "application/json",
          ...(sessionId && { "session-id": sessionId }),
        },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
      });
      if (answer.ok) return await answer.json();
      problem = `${answer.status} ${await answer.text()}`;
      if (problem.includes('"session_lost"')) sessionId = undefined;
      isPaused = PASSING.some((code) => problem.includes(`"${code}"`));
      if (!isPaused && answer.status !== 429 && answer.status < 500) throw new Refused(problem);
      waitMs = Math.max(waitMs, 1_000 * Number(answer.headers.get("retry-after") ?? 0));
    } catch (error) {
      if (error instanceof Refused) throw error;
      problem ??= String(error.cause ?? error);
    }
    if (isPaused || attempt >= ATTEMPTS) throw new Error(`${method} ${path}: ${problem}`);
    await sleep(waitMs);
  }
}

/** Per symbol: the last sequence acted on, what arrived ahead of its turn, and up to where all is listed. */
const progress = new Map();
let heardAt = Date.now();
// Messages are handled one after the other, so that a slow answer cannot let a later signal overtake.
let turn = Promise.resolve();

async function act({ signal }) {
  // The signals of a replay lie in the past. Exits have no expires_at and never expire.
  if (signal.source === "live" && signal.expires_at && Date.now() > Date.parse(signal.expires_at)) {
    console.log(`${signal.symbol} #${signal.sequence} expired at ${signal.expires_at}`);
    return;
  }
  const features = Object.fromEntries(FEATURES.filter((name) => name in signal.features).map((name) => [name, signal.features[name]]));
  const answer = await call("POST", "/api/ml/get_confidence", {
    symbol: signal.symbol,
    signal_type: signal.side,
    strategy: signal.strategy,
    ...features,
  });
  console.log(
    `${signal.symbol} #${signal.sequence} ${signal.side} at ${signal.price} (${signal.source}): ` +
      `confidence ${answer.confidence} (${answer.basis}), expires ${signal.expires_at}`,
  );
}

async function take(message) {
  if (message.type === "revoked") {
    // Negotiation says whether it is for good; a license that is not paid for can come back.
    console.error(`access ended: ${message.reason}`);
    heardAt = 0;
    return;
  }
  if (message.type === "heartbeat") {
    // It has the last sequence of every symbol, not only of ours.
    for (const [symbol, last] of Object.entries(message.sequences)) await reach(symbol, last);
  } else if (message.type === "signal") {
    const state = progress.get(message.symbol);
    if (state && message.sequence > state.acted) state.waiting.set(message.sequence, message);
    await reach(message.symbol, message.sequence);
  }
}

/** Acts on the symbol's signals up to a sequence, in order, and fetches those that did not arrive. */
async function reach(symbol, last) {
  const state = progress.get(symbol);
  if (!state) return;
  while (last > state.acted) {
    const next = Math.min(...state.waiting.keys());
    if (next === state.acted + 1 || next <= state.listed) {
      const { signal, sequence } = state.waiting.get(next);
      state.waiting.delete(next);
      state.acted = next;
      await act({ signal }).catch((error) => console.error(`#${sequence}: ${error.message}`));
    } else if (state.listed > state.acted) {
      // The sequences up to there do not exist: they were lost with a region, and are never given again.
      state.acted = state.listed;
    } else {
      const page = await call("GET", `/api/signals?symbol=${symbol}&after=${state.acted}&limit=100`);
      for (const missed of page.signals) state.waiting.set(missed.sequence, missed);
      state.listed = page.next_after;
      if (state.listed <= state.acted) return;
    }
  }
}

function fail(error) {
  console.error(error.message);
  if (error instanceof Refused) process.exit(1);
}

/** A client that has joined its groups. */
async function connect() {
  let groups = [];
  const client = new WebPubSubClient({
    getClientAccessUrl: async () => {
      const access = await call("POST", "/api/ws/negotiate", { symbols, instance, version: "example-1" });
      sessionId = access.session.session_id;
      groups = access.groups;
      return access.url;
    },
  });
  client.on("group-message", ({ message }) => {
    heardAt = Date.now();
    turn = turn.then(() => take(message.data)).catch(fail);
  });
  await client.start();
  for (const group of groups) await client.joinGroup(group);
  heardAt = Date.now();
  console.log(`subscribed to ${groups.join(", ")}`);
  // What was sent before this connection, for example while another region took over.
  for (const symbol of symbols) turn = turn.then(() => reach(symbol, Infinity)).catch(fail);
  return client;
}

for (const symbol of symbols) {
  const page = await call("GET", `/api/signals?symbol=${symbol}&limit=1`);
  progress.set(symbol, { acted: page.last_sequence, listed: 0, waiting: new Map() });
}
for (;;) {
  let client;
  try {
    client = await connect();
    while (Date.now() - heardAt < SILENCE_MS) await sleep(500);
    console.error("nothing heard for too long, connecting anew");
  } catch (error) {
    fail(error);
    await sleep(1_000 + 1_000 * Math.random());
  }
  client?.stop();
}
