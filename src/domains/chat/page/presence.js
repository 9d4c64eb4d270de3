// Who is online in a room, and who is typing.

import { announce } from "./dom.js";
import { t } from "./i18n.js";

// The server says that typing ended; this is for the case that its frame got lost.
const TYPING_LASTS_MS = 8000;
const NAMES_SHOWN = 8;

export class Presence {
  #pane;
  #online = new Map();
  #typing = new Map();

  constructor(pane) {
    this.#pane = pane;
  }

  clear() {
    this.#online.clear();
    for (const timer of this.#typing.values()) clearTimeout(timer.timer);
    this.#typing.clear();
    this.show();
  }

  isOnline(id) {
    return this.#online.has(id);
  }

  async load() {
    const room = this.#pane.room;
    const users = await this.#pane.session.get(`/api/chat/rooms/${room.id}/online/`);
    if (this.#pane.room !== room || !this.#pane.session.user) return;
    // Nobody is told of their own arrival.
    const { id, username } = this.#pane.session.user;
    this.#online = new Map([...users.map((user) => [user.id, user.username]), [id, username]]);
    this.show();
  }

  joined(user) {
    const isNew = !this.#online.has(user.id);
    this.#online.set(user.id, user.username);
    if (isNew && user.id !== this.#pane.me) announce(t("came", { name: user.username }));
    this.show();
  }

  left(user) {
    this.#online.delete(user.id);
    this.#stop(user.id);
    if (user.id !== this.#pane.me) announce(t("went", { name: user.username }));
    this.show();
  }

  typing(user, isTyping) {
    if (user.id === this.#pane.me) return;
    this.#stop(user.id);
    if (isTyping) {
      const timer = setTimeout(() => {
        this.#stop(user.id);
        this.show();
      }, TYPING_LASTS_MS);
      this.#typing.set(user.id, { name: user.username, timer });
    }
    this.show();
  }

  #stop(id) {
    clearTimeout(this.#typing.get(id)?.timer);
    this.#typing.delete(id);
  }

  show() {
    const typing = [...this.#typing.values()].map((one) => one.name);
    const line = this.#pane.part("typing");
    line.textContent = typing.length > 0 ? t("is_typing", { names: typing.join(", ") }) : "";
    line.dataset.users = typing.join(",");
    const names = [...this.#online.values()].sort((a, b) => a.localeCompare(b));
    const shown = names.slice(0, NAMES_SHOWN).join(", ") + (names.length > NAMES_SHOWN ? "…" : "");
    const online = this.#pane.part("online");
    online.textContent = names.length > 0 ? t("online", { n: names.length, names: shown }) : "";
    online.dataset.users = names.join(",");
  }
}
