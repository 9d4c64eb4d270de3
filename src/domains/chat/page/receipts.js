// Who has read what: sends `read` for what is on the screen, and remembers what others have read.

// One frame after the other, so that opening a long room is no flood.
const EACH_MS = 120;
const SHARE_VISIBLE = 0.6;
// So many own messages, from the newest, are looked up after (re)connecting; reads are not replayed.
const LOOK_UP = 5;

export class Receipts {
  #pane;
  #observer;
  #visible = new Set();
  #queue = new Set();
  #sent = new Set();
  #timer = null;
  #readers = new Map();
  // What was read before this page was opened.
  upTo = 0;

  constructor(pane) {
    this.#pane = pane;
    const root = pane.part("scroll");
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), {
      root,
      threshold: [0, SHARE_VISIBLE, 1],
    });
    document.addEventListener("visibilitychange", () => this.flush());
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#observer.disconnect();
    for (const set of [this.#visible, this.#queue, this.#sent, this.#readers]) set.clear();
    this.upTo = 0;
  }

  watch(row) {
    this.#observer.observe(row);
  }

  #seen(entries) {
    for (const entry of entries) {
      const id = Number(entry.target.dataset.messageId);
      // A message taller than the list is read when it fills half of it.
      const fills = entry.rootBounds && entry.intersectionRect.height > entry.rootBounds.height / 2;
      if (entry.isIntersecting && (entry.intersectionRatio >= SHARE_VISIBLE || fills)) this.#visible.add(id);
      else this.#visible.delete(id);
    }
    this.flush();
  }

  /** Queues what is visible and unread. */
  flush() {
    if (document.visibilityState !== "visible") return;
    for (const id of this.#visible) {
      const message = this.#pane.timeline.get(id);
      if (!message || id <= this.upTo || this.#sent.has(id)) continue;
      if (message.sender?.id === this.#pane.me || message.message_type === "system") continue;
      this.#queue.add(id);
    }
    if (this.#queue.size > 0 && this.#timer === null) this.#next();
  }

  #next() {
    this.#timer = null;
    const id = [...this.#queue].sort((a, b) => a - b)[0];
    if (id === undefined) return this.#pane.rooms.countSoon();
    // Without a connection it waits for the next one.
    if (!this.#pane.link.isConnected || !this.#pane.link.send({ type: "read", message_id: id })) return;
    this.#queue.delete(id);
    this.#sent.add(id);
    this.#timer = setTimeout(() => this.#next(), EACH_MS);
  }

  // --- others

  readersOf(id) {
    return [...(this.#readers.get(id)?.values() ?? [])].filter((reader) => reader.user.id !== this.#pane.me);
  }

  /** Somebody has read a message. */
  note({ message_id: id, user, read_at }) {
    if (!user) return;
    if (!this.#readers.has(id)) this.#readers.set(id, new Map());
    this.#readers.get(id).set(user.id, { user, read_at });
    this.#pane.list.update(id);
  }

  async lookUp(id) {
    const reads = await this.#pane.session.get(`/api/chat/messages/${id}/reads/`);
    for (const read of reads) this.note({ message_id: id, ...read });
    return this.readersOf(id);
  }

  async lookUpNewest() {
    const { timeline, me } = this.#pane;
    const own = timeline.ids.filter((id) => {
      const message = timeline.get(id);
      return message.sender?.id === me && message.message_type !== "system" && !message.is_deleted;
    });
    await Promise.allSettled(own.slice(-LOOK_UP).map((id) => this.lookUp(id)));
  }
}
