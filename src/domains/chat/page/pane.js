// One room with one socket of its own. Two panes may show the same room.

import { socketUrl } from "./api.js";
import { Composer } from "./composer.js";
import { $, announce, nameOf, toast, toastFault } from "./dom.js";
import { Frames } from "./frames.js";
import { t, translate } from "./i18n.js";
import { Link } from "./link.js";
import { Members } from "./members.js";
import { MessageList } from "./messages.js";
import { Presence } from "./presence.js";
import { Receipts } from "./receipts.js";
import { stateText } from "./states.js";
import { newClientId, Timeline } from "./timeline.js";

const HISTORY = 30;
const PAGE = 100;
const ECHO_WITHIN_MS = 10_000;
// The clocks of several servers differ a little.
const OVERLAP_MS = 10_000;

export class Pane {
  #turn = 0;
  #isLoading = false;
  #isReplaying = false;
  #before = { id: null, change: null };
  #echoTimers = new Map();
  #ticker = null;
  #refusal = null;
  room = null;
  role = null;
  timeline = new Timeline();

  constructor(key, session, rooms) {
    this.key = key;
    this.session = session;
    this.rooms = rooms;
    this.root = $(`pane-${key}`);
    this.#mount();
    this.frames = new Frames(this);
    this.list = new MessageList(this);
    this.receipts = new Receipts(this);
    this.presence = new Presence(this);
    this.composer = new Composer(this);
    this.members = new Members(this);
    this.list.onRow = (row) => this.receipts.watch(row);
    this.link = new Link({
      url: (since) => socketUrl(`/ws/chat/${this.room.id}/`, { since }),
      since: () => this.timeline.lastId ?? 0,
      token: () => session.access(),
      renew: () => session.refresh(),
      onState: (state) => this.#stateChanged(state),
      onFrame: (frame) => this.#handlers[frame.type]?.(frame),
      onRaw: (direction, text) => this.frames.add(direction, text),
    });
    const on = (name, handler) => this.action(name).addEventListener("click", handler);
    on("close-pane", () => this.close());
    on("cut", () => this.link.cut());
    on("hold", ({ currentTarget }) => this.#hold(currentTarget.getAttribute("aria-pressed") !== "true"));
    on("reconnect", () => this.link.now());
    on("older", () => this.loadOlder());
    this.#show();
  }

  // Every part gets the id pane-<key>-<name>.
  #mount() {
    this.root.append($("pane-template").content.cloneNode(true));
    for (const node of this.root.querySelectorAll("[data-part], [data-action]")) {
      node.id = `pane-${this.key}-${node.dataset.part ?? node.dataset.action}`;
    }
    this.part("input-label").htmlFor = this.part("input").id;
    this.root.setAttribute("aria-labelledby", this.part("title").id);
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  action(name) {
    return this.root.querySelector(`[data-action="${name}"]`);
  }

  get me() {
    return this.session.user?.id ?? null;
  }

  get mayModerate() {
    return ["admin", "moderator"].includes(this.role);
  }

  // --- opening and closing

  async open(room) {
    this.close();
    const turn = this.#turn;
    this.room = room;
    this.#show();
    this.rooms.remember();
    try {
      const [detail, history, unread] = await Promise.all([
        this.session.get(`/api/chat/rooms/${room.id}/`),
        this.session.get(`/api/chat/rooms/${room.id}/messages/`, { page: 1, page_size: HISTORY }),
        this.session.get("/api/chat/unread/"),
      ]);
      if (turn !== this.#turn) return;
      this.room = detail;
      this.role = detail.my_role ?? null;
      this.receipts.upTo = unread.rooms.find((one) => one.room_id === room.id)?.last_read_message_id ?? 0;
      this.timeline.reachedStart = history.messages.length < HISTORY;
      this.#take(history.messages, true);
      this.#show();
      this.list.toEnd();
    } catch (fault) {
      if (turn !== this.#turn) return;
      this.#refusal = fault.message;
      return this.#show();
    }
    this.link.start();
  }

  close() {
    this.#turn += 1;
    this.link.stop();
    for (const timer of this.#echoTimers.values()) clearTimeout(timer);
    this.#echoTimers.clear();
    this.room = null;
    this.role = null;
    this.#refusal = null;
    this.#isLoading = false;
    this.timeline = new Timeline();
    this.receipts.clear();
    this.list.clear();
    this.presence.clear();
    this.composer.clear();
    this.members.close();
    this.frames.clear();
    this.#hold(false);
    this.#show();
    this.rooms.remember();
  }

  #hold(held) {
    this.action("hold").setAttribute("aria-pressed", String(held));
    this.link.hold(held);
  }

  #show() {
    const isOpen = this.room !== null;
    const title = this.part("title");
    // The name of a room is no text of ours, so the language does not change it.
    if (isOpen) delete title.dataset.t;
    else title.dataset.t = "pane_empty";
    title.textContent = isOpen ? (this.room.name ?? `#${this.room.id}`) : t("pane_empty");
    if (isOpen) this.root.dataset.room = this.room.id;
    else delete this.root.dataset.room;
    for (const name of ["pane-tools", "scroll", "composer", "frames"]) this.part(name).hidden = !isOpen;
    this.action("close-pane").hidden = !isOpen;
    this.part("empty").hidden = isOpen;
    this.action("older").hidden = !isOpen || this.timeline.reachedStart;
    this.#showState(this.link?.state ?? { name: "idle" });
  }

  /** Everything again, in another language. */
  retranslate() {
    translate(this.root);
    this.#show();
    this.list.updateAll();
    this.presence.show();
    this.composer.show();
    this.members.show();
  }

  // --- connection

  #stateChanged(state) {
    if (state.name === "connecting") this.#before = { id: this.timeline.lastId, change: this.timeline.newestChange };
    if (state.name !== "connected") {
      for (const timer of this.#echoTimers.values()) clearTimeout(timer);
      this.#echoTimers.clear();
    }
    if (["waiting", "held", "closed"].includes(state.name)) this.presence.clear();
    this.#showState(state);
    this.list.showPending();
  }

  #showState(state) {
    const name = this.#refusal ? "closed" : state.name;
    this.root.dataset.state = name;
    if (name === "connected" && state.resumed !== null && state.resumed !== undefined) {
      this.root.dataset.resumed = state.resumed;
    } else delete this.root.dataset.resumed;
    this.part("state").textContent = this.#refusal ?? stateText(state);
    this.action("cut").hidden = ["held", "closed"].includes(name);
    this.action("reconnect").hidden = !["waiting", "held", "closed"].includes(name) || Boolean(this.#refusal);
    clearInterval(this.#ticker);
    if (name === "waiting") {
      this.#ticker = setInterval(() => (this.part("state").textContent = stateText(state)), 500);
    }
  }

  #handlers = {
    connection_established: () => {
      this.#isReplaying = true;
      this.presence.load().catch(() => {});
      this.receipts.lookUpNewest().catch(() => {});
      if (this.#before.change) this.#catchUp(this.#before.change).catch(toastFault);
    },
    resume_complete: (frame) => {
      this.#isReplaying = false;
      if (frame.truncated) this.#fillGap(this.#before.id ?? 0).then(() => this.#filled(), toastFault);
      for (const entry of this.timeline.pending) if (entry.state === "sending") this.#push(entry);
      this.receipts.flush();
    },
    chat_message: ({ message }) => {
      if (!this.#take([message])) return;
      if (message.sender) this.presence.typing(message.sender, false);
      if (message.sender?.id !== this.me) announce(`${nameOf(message.sender)}: ${message.content}`);
      this.rooms.countSoon();
    },
    message_edited: ({ message }) => this.#change(message),
    message_deleted: ({ message }) => this.#change(message),
    typing: ({ user, is_typing }) => this.presence.typing(user, is_typing),
    user_join: ({ user }) => this.presence.joined(user),
    user_leave: ({ user }) => this.presence.left(user),
    message_read: (frame) => this.receipts.note(frame),
    messages_read: ({ reads }) => reads.forEach((read) => this.receipts.note(read)),
    member_updated: ({ member }) => {
      if (member.user?.id === this.me) this.role = member.role;
      this.members.refresh();
    },
    room_updated: ({ room }) => {
      this.room = { ...this.room, ...room };
      this.#show();
      this.rooms.refreshSoon();
    },
    error: (frame) => {
      if (frame.client_id && this.timeline.mark(frame.client_id, "failed", frame.message)) this.list.showPending();
      else toast(frame.message, "error");
    },
  };

  // --- messages

  // Gives whether any of them is new here.
  #take(messages, quietly = false) {
    const waiting = this.timeline.pending.length;
    const before = this.timeline.ids.length;
    const changed = messages.filter((message) => this.timeline.add(message, this.me) !== "known");
    if (this.timeline.pending.length !== waiting) this.list.showPending();
    this.list.show(
      changed.map((message) => message.id),
      quietly,
    );
    return this.timeline.ids.length > before;
  }

  #change(message) {
    if (this.timeline.change(message) !== "changed") return;
    this.list.update(message.id);
    this.rooms.refreshSoon();
  }

  async loadOlder() {
    const { room, timeline } = this;
    if (this.#isLoading || !room || timeline.reachedStart || timeline.firstId === null) return;
    this.#isLoading = true;
    try {
      const query = { before_id: timeline.firstId, limit: HISTORY };
      const { messages } = await this.session.get(`/api/chat/rooms/${room.id}/messages/`, query);
      if (this.timeline !== timeline) return;
      timeline.reachedStart = messages.length < HISTORY;
      this.#take(messages, true);
    } catch (fault) {
      toastFault(fault);
    } finally {
      if (this.timeline === timeline) {
        this.#isLoading = false;
        this.action("older").hidden = timeline.reachedStart;
      }
    }
  }

  // Edits and deletions are not replayed.
  async #catchUp(since) {
    const { room, timeline } = this;
    const from = new Date(Date.parse(since) - OVERLAP_MS).toISOString();
    for (let page = 1; ; page += 1) {
      const query = { updated_since: from, page, page_size: PAGE };
      const { messages } = await this.session.get(`/api/chat/rooms/${room.id}/messages/`, query);
      if (this.timeline !== timeline) return;
      messages.forEach((message) => this.#change(message));
      if (messages.length < PAGE) return;
    }
  }

  // A long absence is replayed from its end; what lies before is fetched.
  async #fillGap(after) {
    const { room, timeline } = this;
    for (;;) {
      const query = { after_id: after, limit: PAGE };
      const { messages } = await this.session.get(`/api/chat/rooms/${room.id}/messages/`, query);
      if (this.timeline !== timeline || messages.length === 0) return;
      const hasMet = messages.some((message) => timeline.get(message.id));
      this.#take(messages, true);
      if (hasMet || messages.length < PAGE) return;
      after = messages.at(-1).id;
    }
  }

  #filled() {
    Object.assign(this.link.state, { truncated: false });
    this.#showState(this.link.state);
  }

  /** Sends a message; it is shown at once and confirmed by its echo. */
  say(message) {
    const entry = this.timeline.expect({ ...message, client_id: newClientId() });
    this.list.showPending();
    this.list.toEnd();
    this.#push(entry);
  }

  // Without a connection, or while it is being resumed, it waits: `resume_complete` sends it again under its name.
  #push({ client_id, content, message_type, reply_to, file_url, file_name, file_size }) {
    if (!this.link.isConnected || this.#isReplaying) return;
    const frame = { type: "chat_message", content, message_type, reply_to, file_url, file_name, file_size, client_id };
    if (!this.link.send(frame)) return;
    const late = () => {
      if (this.timeline.waiting(client_id)?.state !== "sending") return;
      this.timeline.mark(client_id, "failed", t("unconfirmed"));
      this.list.showPending();
    };
    this.#echoTimers.set(client_id, setTimeout(late, ECHO_WITHIN_MS));
  }

  retry(clientId) {
    const entry = this.timeline.mark(clientId, "sending");
    this.list.showPending();
    if (entry) this.#push(entry);
  }

  discard(clientId) {
    this.timeline.discard(clientId);
    this.list.showPending();
  }

  async change(message, content) {
    const { body } = await this.session.call("PATCH", `/api/chat/messages/${message.id}/`, { body: { content } });
    this.#change(body);
  }

  async remove(message) {
    try {
      await this.session.call("DELETE", `/api/chat/messages/${message.id}/delete/`);
    } catch (fault) {
      toastFault(fault);
    }
  }

  async showReaders(message) {
    try {
      const readers = await this.receipts.lookUp(message.id);
      const names = readers.map((reader) => reader.user.username).join(", ");
      toast(names === "" ? t("nobody_read") : t("read_by", { names }));
    } catch (fault) {
      toastFault(fault);
    }
  }
}
