// Notifications: a socket of their own, a badge, a list.

import { socketUrl } from "./api.js";
import { $, announce, button, el, settled, timeText, toastFault } from "./dom.js";
import { t } from "./i18n.js";
import { Link } from "./link.js";
import { stateText } from "./states.js";

const SHOWN = 50;

export class Notices {
  #session;
  #rooms;
  #notices = new Map();
  #unread = 0;
  /** The badge again, after a burst of reasons. */
  countSoon = settled(400, () => this.#count().catch(() => {}));

  constructor(session, rooms) {
    this.#session = session;
    this.#rooms = rooms;
    this.link = new Link({
      url: () => socketUrl("/ws/notifications/"),
      token: () => session.access(),
      renew: () => session.refresh(),
      onState: (state) => this.#showState(state),
      onFrame: (frame) => this.#receive(frame),
    });
    $("open-notices").addEventListener("click", () => {
      $("notices").showModal();
      this.#load().catch(toastFault);
    });
    $("notices-read-all").addEventListener("click", () => this.#readAll().catch(toastFault));
  }

  start() {
    this.link.start();
  }

  stop() {
    this.link.stop();
    this.#notices.clear();
    this.#unread = 0;
    if ($("notices").open) $("notices").close();
    this.show();
  }

  #receive(frame) {
    // Nothing is replayed here, so every connection begins with a look.
    if (frame.type === "connection_established") this.#load().catch(() => {});
    if (frame.type !== "notification") return;
    const notice = frame.notification;
    this.#notices.set(notice.id, notice);
    announce(notice.title);
    this.show();
    this.countSoon();
    this.#rooms.countSoon();
    if (notice.notification_type === "room_invite" || notice.notification_type === "system") this.#rooms.refreshSoon();
  }

  async #load() {
    const list = await this.#session.get("/api/chat/notifications/", { page_size: SHOWN });
    this.#notices = new Map(list.map((notice) => [notice.id, notice]));
    await this.#count();
  }

  async #count() {
    if (!this.#session.user) return;
    this.#unread = (await this.#session.get("/api/chat/notifications/unread_count/")).unread_count;
    this.show();
  }

  async #readAll() {
    await this.#session.post("/api/chat/notifications/read_all/");
    await this.#load();
  }

  async #read(notice) {
    await this.#session.post(`/api/chat/notifications/${notice.id}/read/`);
    notice.is_read = true;
    await this.#count();
  }

  async #remove(notice) {
    await this.#session.call("DELETE", `/api/chat/notifications/${notice.id}/`);
    this.#notices.delete(notice.id);
    await this.#count();
  }

  #showState(state) {
    $("notices").dataset.state = state.name;
    $("notices-state").textContent = stateText(state);
  }

  show() {
    const badge = $("notice-badge");
    badge.textContent = this.#unread > 99 ? "99+" : String(this.#unread);
    badge.hidden = this.#unread === 0;
    document.title = this.#unread > 0 ? `(${badge.textContent}) ${t("title")}` : t("title");
    const label = this.#unread > 0 ? `${t("notices")}, ${t("unread", { n: this.#unread })}` : t("notices");
    $("open-notices").setAttribute("aria-label", label);
    const newest = [...this.#notices.values()].sort((a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at));
    $("notices-empty").hidden = newest.length > 0;
    $("notices-read-all").hidden = this.#unread === 0;
    $("notice-list").replaceChildren(...newest.slice(0, SHOWN).map((notice) => this.#row(notice)));
    this.#showState(this.link.state);
  }

  #row(notice) {
    const doing = (what) => () => what.call(this, notice).catch(toastFault);
    const openRoom = () => {
      $("notices").close();
      this.#rooms.open(notice.room);
      if (!notice.is_read) this.#read(notice).catch(() => {});
    };
    const canOpen = notice.room && ["message", "mention"].includes(notice.notification_type);
    const data = { noticeId: notice.id, type: notice.notification_type, read: notice.is_read };
    return el(
      "li",
      { class: "notice", data },
      el("p", { class: "who", text: notice.title }),
      el("p", { class: "content", text: notice.content }),
      el("span", { class: "note", text: timeText(notice.updated_at) }),
      notice.count > 1 ? el("span", { class: "note", text: t("notice_times", { n: notice.count }) }) : null,
      el(
        "div",
        { class: "row wrap" },
        canOpen ? button("open-room", t("open_room"), openRoom) : null,
        notice.is_read ? null : button("mark-read", t("mark_read"), doing(this.#read)),
        button("remove", t("remove"), doing(this.#remove), { class: "quiet" }),
      ),
    );
  }
}
