// One socket that comes back: resume with `since`, exponential back-off with jitter, heartbeat, close codes.
//
// Knows nothing of the page. Callbacks: `onState(state)`, `onFrame(frame)`, `onRaw(direction, text)`, where
// direction is "in", "out" or "note". States: idle, connecting, connected, waiting, held, closed.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
// A connection that lasted this long was a good one: the next pause is the first again.
const GOOD_AFTER_MS = 5000;
const PONG_WITHIN_MS = 10_000;
const GREETED_WITHIN_MS = 10_000;
// After these the server would only say the same again.
const FINAL = new Set([4400, 4403, 4404, 4410, 4429]);

/** Milliseconds before the n-th attempt in a row, n from 0: half to all of a doubling pause. */
export function pauseBefore(attempt, random = Math.random) {
  const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
  return most * (0.5 + random() / 2);
}

/** What happens after a close code. */
export function afterClose(code) {
  if (code === 4401) return "renew";
  return FINAL.has(code) ? "stop" : "retry";
}

/** A frame as the raw view may show it: without tokens. */
export function withoutTokens(text) {
  return text.replace(/("token"\s*:\s*")[^"]*"/g, '$1…"');
}

export class Link {
  #options;
  #socket = null;
  #turn = 0;
  #timers = {};
  #state = { name: "idle" };
  #attempt = 0;
  #wasConnected = false;
  #refusals = 0;
  #held = false;
  #lastError = null;

  /**
   * `options`: `url(since)`, `since()` (the last message id or null), `token()` (a promise of the access token, null
   * when nobody is signed in), `renew()` (a promise of whether there is a new token), the callbacks above.
   */
  constructor(options) {
    this.#options = options;
  }

  get state() {
    return this.#state;
  }

  get isConnected() {
    return this.#state.name === "connected";
  }

  start() {
    this.#attempt = 0;
    this.#refusals = 0;
    this.#connect();
  }

  stop() {
    this.#leave(1000, "bye");
    this.#wasConnected = false;
    this.#held = false;
    this.#set({ name: "idle" });
  }

  /** Ends the connection as a broken network would; it comes back by itself unless it is held. */
  cut() {
    if (["idle", "closed"].includes(this.#state.name)) return;
    this.#note("cut");
    this.#leave(4000, "cut");
    this.#comeBack({ code: null, reason: "cut" });
  }

  /** While held, a lost connection stays lost. */
  hold(held) {
    this.#held = held;
    if (held && this.#state.name === "waiting") this.#comeBack(this.#state);
    if (!held && this.#state.name === "held") this.now();
  }

  /** Does not wait any longer. */
  now() {
    if (["waiting", "held", "closed"].includes(this.#state.name)) {
      if (this.#state.name === "closed") this.#refusals = 0;
      this.#connect();
    }
  }

  /** False when there is no connection to send on. */
  send(frame) {
    return this.sendText(JSON.stringify(frame));
  }

  sendText(text) {
    if (!this.#socket || this.#socket.readyState !== 1) return false;
    this.#socket.send(text);
    this.#options.onRaw?.("out", withoutTokens(text));
    return true;
  }

  /** Tells an open connection that the token was renewed. */
  renew(token) {
    if (this.isConnected) this.send({ type: "auth", token });
  }

  // --- connecting

  async #connect() {
    this.#leave();
    const turn = this.#turn;
    this.#lastError = null;
    this.#set({ name: "connecting", attempt: this.#attempt, again: this.#wasConnected });
    const token = await this.#options.token().catch(() => null);
    if (turn !== this.#turn) return;
    if (!token) return this.#set({ name: "closed", code: 4401 });
    const url = this.#options.url(this.#options.since?.() ?? null);
    this.#note(`open ${url}`);
    let socket;
    try {
      socket = new WebSocket(url, ["bearer", token]);
    } catch (error) {
      return this.#set({ name: "closed", code: null, error: error.message });
    }
    this.#socket = socket;
    this.#after("greeting", GREETED_WITHIN_MS, () => this.#lose("no_greeting"));
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (event) => socket === this.#socket && this.#closed(event);
  }

  #receive(text) {
    if (typeof text !== "string") return;
    this.#options.onRaw?.("in", withoutTokens(text));
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    clearTimeout(this.#timers.pong);
    if (frame.type === "error") this.#lastError = frame;
    else if (!this.isConnected) this.#greeted(frame);
    if (frame.type === "resume_complete" && this.isConnected && this.#state.again) {
      this.#set({ ...this.#state, resumed: frame.count, truncated: frame.truncated });
    }
    this.#options.onFrame?.(frame);
  }

  #greeted(frame) {
    clearTimeout(this.#timers.greeting);
    this.#refusals = 0;
    this.#set({ name: "connected", again: this.#wasConnected, resumed: null });
    this.#wasConnected = true;
    this.#after("good", GOOD_AFTER_MS, () => (this.#attempt = 0));
    const seconds = Number(frame.heartbeat) || 25;
    this.#timers.beat = setInterval(() => {
      if (this.send({ type: "ping" })) this.#after("pong", PONG_WITHIN_MS, () => this.#lose("no_pong"));
    }, seconds * 1000);
  }

  // --- parting

  #closed({ code, reason }) {
    this.#note(`close ${code}${reason ? ` ${reason}` : ""}`);
    const why = { code, error: this.#lastError?.message ?? null };
    this.#leave();
    const next = afterClose(code);
    if (next === "retry") return this.#comeBack(why);
    if (next === "stop") return this.#set({ name: "closed", ...why });
    this.#signInAgain(why);
  }

  // The token was refused: one renewal, then the truth.
  async #signInAgain(why) {
    this.#refusals += 1;
    if (this.#refusals > 1) return this.#set({ name: "closed", ...why });
    const turn = this.#turn;
    this.#set({ name: "connecting", attempt: this.#attempt, again: this.#wasConnected });
    const renewed = await this.#options.renew().catch(() => null);
    if (turn !== this.#turn) return;
    if (renewed === false) return this.#set({ name: "closed", ...why });
    this.#comeBack(why);
  }

  #lose(reason) {
    this.#note(reason);
    this.#leave(4000, reason);
    this.#comeBack({ code: null, reason });
  }

  #comeBack(why) {
    clearTimeout(this.#timers.retry);
    if (this.#held) return this.#set({ ...why, name: "held" });
    const pause = pauseBefore(this.#attempt);
    this.#attempt += 1;
    this.#set({ ...why, name: "waiting", attempt: this.#attempt, until: Date.now() + pause });
    this.#after("retry", pause, () => this.#connect());
  }

  // Forgets the socket and everything that waits for it.
  #leave(code, reason) {
    this.#turn += 1;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    try {
      socket.close(code, reason);
    } catch {
      // It was over already.
    }
  }

  #after(name, ms, then) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(then, ms);
  }

  #set(state) {
    this.#state = state;
    this.#options.onState?.(state);
  }

  #note(text) {
    this.#options.onRaw?.("note", text);
  }
}
