// The messages of one room as this page knows them: each id once, ascending, and what waits for its echo.
//
// Knows nothing of the page, so it can be tested alone.

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A fresh name for an own message, so that its echo can be told and a second sending makes no second message. */
export function newClientId() {
  // randomUUID is missing on pages that came without TLS.
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return `w-${Array.from(bytes, (b) => ALPHABET[b % 36]).join("")}`;
}

/** Messages come from lists and from frames; a frame tells less about the room, both tell the same about the rest. */
function isNewer(message, known) {
  return !(Date.parse(message.updated_at) < Date.parse(known.updated_at));
}

export class Timeline {
  #messages = new Map();
  #ids = [];
  #pending = new Map();
  reachedStart = false;
  newestChange = null;

  get(id) {
    return this.#messages.get(id) ?? null;
  }

  get ids() {
    return this.#ids;
  }

  get firstId() {
    return this.#ids[0] ?? null;
  }

  get lastId() {
    return this.#ids.at(-1) ?? null;
  }

  get pending() {
    return [...this.#pending.values()];
  }

  /** The id of the message that comes after this one here, null for none. */
  after(id) {
    return this.#ids[this.#place(id + 1)] ?? null;
  }

  /**
   * Takes a message over. Gives `"added"`, `"changed"` or `"known"`, and removes the waiting entry that it confirms.
   * `me`: the own user id; a `client_id` of somebody else means nothing here.
   */
  add(message, me) {
    this.#noteChange(message.updated_at);
    if (message.client_id && message.sender?.id === me) this.#pending.delete(message.client_id);
    const known = this.#messages.get(message.id);
    if (known) {
      if (!isNewer(message, known)) return "known";
      const merged = { ...known, ...message };
      this.#messages.set(message.id, merged);
      return JSON.stringify(merged) === JSON.stringify(known) ? "known" : "changed";
    }
    this.#messages.set(message.id, message);
    this.#ids.splice(this.#place(message.id), 0, message.id);
    return "added";
  }

  /** Takes over an edit or a deletion; a message that is not here yet stays away. */
  change(message) {
    this.#noteChange(message.updated_at);
    if (!this.#messages.has(message.id)) return "unknown";
    return this.add(message, null);
  }

  expect(entry) {
    this.#pending.set(entry.client_id, { ...entry, state: "sending", error: null });
    return this.#pending.get(entry.client_id);
  }

  /** Marks a waiting message; null when it waits no more. */
  mark(clientId, state, error = null) {
    const entry = this.#pending.get(clientId);
    if (entry) Object.assign(entry, { state, error });
    return entry ?? null;
  }

  waiting(clientId) {
    return this.#pending.get(clientId) ?? null;
  }

  discard(clientId) {
    this.#pending.delete(clientId);
  }

  // Where an id is or would be.
  #place(id) {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ids[middle] < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #noteChange(at) {
    if (at && (!this.newestChange || Date.parse(at) > Date.parse(this.newestChange))) this.newestChange = at;
  }
}
