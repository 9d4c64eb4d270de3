// The list of rooms: own and public ones, unread counts, invitations, making, joining and leaving.

import { $, armed, button, el, nameOf, settled, timeText, toast, toastFault } from "./dom.js";
import { t } from "./i18n.js";

const PAGE = 50;
const PANES_KEY = "yunque.chat.panes";

export class Rooms {
  #session;
  #rooms = [];
  #invites = [];
  #scope = "mine";
  #page = 1;
  #total = 0;
  #turn = 0;
  #isFirst = true;
  panes = [];
  // Called when a room was opened, with the key of its pane.
  onOpen = null;
  // Called after the unread counts were looked up: reading a message reads its notification.
  onCount = null;

  /** Own unread counts again, after a burst of reasons. */
  countSoon = settled(500, () => this.#count().catch(() => {}));
  refreshSoon = settled(500, () => this.load());

  constructor(session) {
    this.#session = session;
    for (const scope of ["mine", "public"]) $(`scope-${scope}`).addEventListener("click", () => this.#choose(scope));
    $("rooms-refresh").addEventListener("click", () => this.load());
    $("rooms-more").addEventListener("click", () => this.load(this.#page + 1));
    $("room-search").addEventListener("input", settled(300, () => this.load()));
    $("new-room").addEventListener("click", () => $("create-room").showModal());
    $("create-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create().catch((fault) => showFault("create-error", fault));
    });
  }

  start() {
    this.#isFirst = true;
    this.load();
  }

  stop() {
    this.#turn += 1;
    this.#rooms = [];
    this.#invites = [];
    this.show();
  }

  #choose(scope) {
    this.#scope = scope;
    for (const one of ["mine", "public"]) $(`scope-${one}`).setAttribute("aria-pressed", String(one === scope));
    this.load();
  }

  async load(page = 1) {
    if (!this.#session.user) return;
    const turn = ++this.#turn;
    const search = $("room-search").value.trim();
    try {
      const query = { scope: this.#scope, search, page, page_size: PAGE };
      const [{ body, headers }, invites] = await Promise.all([
        this.#session.call("GET", "/api/chat/rooms/", { query }),
        this.#session.get("/api/chat/invites/").catch(() => []),
      ]);
      if (turn !== this.#turn) return;
      this.#page = page;
      this.#total = Number(headers.get("X-Total-Count") ?? 0);
      const known = new Set(page === 1 ? [] : this.#rooms.map((room) => room.id));
      this.#rooms = [...(page === 1 ? [] : this.#rooms), ...body.filter((room) => !known.has(room.id))];
      this.#invites = Array.isArray(invites) ? invites : (invites.results ?? []);
    } catch (fault) {
      return toastFault(fault);
    }
    // Somebody new sees where one can go.
    const isNew = this.#isFirst && this.#rooms.length === 0 && search === "" && this.#scope === "mine";
    this.#isFirst = false;
    if (isNew) return this.#choose("public");
    this.show();
  }

  async #count() {
    if (!this.#session.user) return;
    const unread = await this.#session.get("/api/chat/unread/");
    const counts = new Map(unread.rooms.map((one) => [one.room_id, one.unread_count]));
    for (const room of this.#rooms) room.unread_count = counts.get(room.id) ?? 0;
    this.show();
    this.onCount?.();
  }

  // --- the list

  show() {
    const focus = document.activeElement?.closest?.("#room-list li") ? document.activeElement : null;
    const place = focus && { room: focus.closest("li").dataset.roomId, action: focus.dataset.action };
    $("room-list").replaceChildren(...this.#rooms.map((room) => this.#row(room)));
    if (place) $("room-list").querySelector(`[data-room-id="${place.room}"] [data-action="${place.action}"]`)?.focus();
    const isSearch = $("room-search").value.trim() !== "";
    $("rooms-note").hidden = this.#rooms.length > 0;
    $("rooms-note").textContent = t(isSearch ? "no_rooms_found" : `no_rooms_${this.#scope}`);
    $("rooms-more").hidden = this.#rooms.length >= this.#total;
    $("invites").hidden = this.#invites.length === 0;
    $("invite-list").replaceChildren(...this.#invites.map((invite) => this.#inviteRow(invite)));
  }

  #row(room) {
    const { id, name, is_member: isMember, unread_count: unread, last_message: last } = room;
    const people = t("people", { n: room.member_count, most: room.max_members });
    const badge = unread > 0 && isMember;
    const data = { roomId: id, roomName: name, member: isMember, unread: isMember ? unread : 0 };
    const open = () => (isMember ? this.open(room) : this.#join(room));
    return el(
      "li",
      { class: "room", data },
      el(
        "button",
        { type: "button", class: "room-open", data: { action: "open" }, on: { click: open } },
        el("span", { class: "room-name", text: name }),
        badge ? el("span", { class: "badge", text: String(unread), "aria-label": t("unread", { n: unread }) }) : null,
        el("span", { class: "note", text: `${t(`type_${room.room_type}`)} · ${people}` }),
        last ? el("span", { class: "note last", text: `${last.sender ?? ""}: ${last.content}` }) : null,
        last ? el("span", { class: "note", text: timeText(last.created_at) }) : null,
      ),
      el("div", { class: "row" }, ...(isMember ? this.#memberActions(room) : [this.#joinButton(room)])),
    );
  }

  #memberActions(room) {
    const inPane = (key) => {
      const name = key.toUpperCase();
      const label = t("open_in", { pane: name });
      const isHere = this.panes.some((pane) => pane.key === key && pane.room?.id === room.id);
      const props = { "aria-label": label, title: label, "aria-pressed": String(isHere) };
      return button(`open-${key}`, name, () => this.open(room, key), props);
    };
    const leave = armed("leave", t("leave"), () => this.#leave(room), { class: "quiet" });
    return [inPane("a"), inPane("b"), leave];
  }

  #joinButton(room) {
    return button("join", t("join"), () => this.#join(room));
  }

  #inviteRow(invite) {
    const answer = (name) => async () => {
      try {
        await this.#session.post(`/api/chat/invites/${invite.id}/${name}/`);
        if (name === "accept") this.#choose("mine");
        else this.load();
      } catch (fault) {
        toastFault(fault);
      }
    };
    const room = invite.room?.name ?? `#${invite.id}`;
    const from = invite.inviter ? t("invited_by", { name: nameOf(invite.inviter) }) : "";
    return el(
      "li",
      { class: "room", data: { inviteId: invite.id } },
      el("span", { class: "room-name", text: room }),
      el("span", { class: "note", text: from }),
      el(
        "div",
        { class: "row" },
        button("accept", t("accept"), answer("accept"), { class: "primary" }),
        button("decline", t("decline"), answer("decline")),
      ),
    );
  }

  // --- what one does with rooms

  /** Opens a room: in the pane that shows it, else an empty one, else the first. */
  open(room, key = null) {
    const isFree = (pane) => pane.room === null;
    const pane =
      this.panes.find((one) => one.key === key) ??
      this.panes.find((one) => one.room?.id === room.id) ??
      this.panes.find(isFree) ??
      this.panes[0];
    if (pane.room?.id !== room.id) pane.open(room);
    this.onOpen?.(pane.key);
    this.show();
  }

  async direct(userId) {
    try {
      const room = await this.#session.post("/api/chat/direct/", { user_id: userId });
      this.open(room);
      this.load();
    } catch (fault) {
      toastFault(fault);
    }
  }

  async #create() {
    const room = await this.#session.post("/api/chat/rooms/", {
      name: $("create-name").value,
      description: $("create-description").value || null,
      room_type: $("create-type").value,
      max_members: Number($("create-max").value),
    });
    $("create-room").close();
    $("create-form").reset();
    $("create-error").hidden = true;
    this.#choose("mine");
    this.open(room);
  }

  async #join(room) {
    try {
      await this.#session.post(`/api/chat/rooms/${room.id}/join/`);
    } catch (fault) {
      return toastFault(fault);
    }
    toast(t("joined", { room: room.name }));
    this.load();
    this.open(room);
  }

  async #leave(room) {
    try {
      await this.#session.post(`/api/chat/rooms/${room.id}/leave/`);
    } catch (fault) {
      return toastFault(fault);
    }
    for (const pane of this.panes) if (pane.room?.id === room.id) pane.close();
    toast(t("left", { room: room.name }));
    this.load();
  }

  // --- what was open, for the next load of the page

  remember() {
    if (!this.#session.user || this.panes.length === 0) return;
    const open = this.panes.map((pane) => pane.room && { id: pane.room.id, name: pane.room.name });
    sessionStorage.setItem(PANES_KEY, JSON.stringify({ user: this.#session.user.id, open }));
    for (const li of $("room-list").children) {
      for (const pane of this.panes) {
        const isHere = String(pane.room?.id) === li.dataset.roomId;
        li.querySelector(`[data-action="open-${pane.key}"]`)?.setAttribute("aria-pressed", String(isHere));
      }
    }
  }

  restore() {
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(PANES_KEY));
    } catch {
      return;
    }
    if (!kept || kept.user !== this.#session.user?.id) return;
    kept.open.forEach((room, n) => room && this.panes[n]?.open(room));
  }
}

export function showFault(id, fault) {
  const node = $(id);
  const texts = Object.values(fault.body?.errors ?? {}).flat();
  node.textContent = texts.length > 0 ? texts.join(" ") : fault.message;
  node.hidden = false;
}
