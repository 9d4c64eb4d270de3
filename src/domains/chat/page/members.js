// The members of the room of a pane: who is there, and what one may do with them.

import { armed, button, el, toast, toastFault } from "./dom.js";
import { t } from "./i18n.js";

export class Members {
  #pane;
  #members = null;

  constructor(pane) {
    this.#pane = pane;
    pane.action("members").addEventListener("click", () => (this.isOpen ? this.close() : this.#open()));
  }

  get isOpen() {
    return !this.#pane.part("members").hidden;
  }

  close() {
    this.#members = null;
    this.#setOpen(false);
  }

  #setOpen(isOpen) {
    this.#pane.part("members").hidden = !isOpen;
    this.#pane.action("members").setAttribute("aria-expanded", String(isOpen));
  }

  async #open() {
    this.#setOpen(true);
    await this.refresh();
  }

  async refresh() {
    const { room, session, mayModerate } = this.#pane;
    if (!this.isOpen || !room) return;
    try {
      const query = { page_size: 100, include_banned: mayModerate ? true : undefined };
      this.#members = await session.get(`/api/chat/rooms/${room.id}/members/`, query);
    } catch (fault) {
      return toastFault(fault);
    }
    if (this.#pane.room?.id === room.id) this.show();
  }

  show() {
    if (!this.#members) return;
    const rows = this.#members.map((member) => this.#row(member));
    this.#pane.part("members").replaceChildren(el("ul", { class: "plain" }, ...rows), this.#inviteForm());
  }

  #row(member) {
    const { me } = this.#pane;
    const marks = [
      t(member.online ? "member_online" : "member_offline"),
      t(`role_${member.role}`),
      member.is_muted ? t("muted") : null,
      member.is_banned ? t("banned") : null,
    ].filter(Boolean);
    const data = { userId: member.user.id, online: member.online, role: member.role };
    return el(
      "li",
      { class: "member", data },
      el("span", { class: "who", text: member.user.username }),
      el("span", { class: "note", text: marks.join(" · ") }),
      member.user.id === me ? null : el("div", { class: "row wrap" }, ...this.#actions(member)),
    );
  }

  #actions(member) {
    const { id } = member.user;
    const act = (name) => () => this.#act(member, name);
    const actions = [button("direct", t("direct"), () => this.#pane.rooms.direct(id))];
    if (!this.#pane.mayModerate) return actions;
    const mute = member.is_muted ? "unmute" : "mute";
    actions.push(button(mute, t(mute), act(mute)));
    if (member.is_banned) actions.push(button("unban", t("unban"), act("unban")));
    else {
      actions.push(armed("kick", t("kick"), act("kick"), { class: "danger" }));
      actions.push(armed("ban", t("ban"), act("ban"), { class: "danger" }));
    }
    return actions;
  }

  async #act(member, name) {
    const { room, session } = this.#pane;
    try {
      await session.post(`/api/chat/rooms/${room.id}/members/${member.user.id}/${name}/`);
    } catch (fault) {
      toastFault(fault);
    }
    await this.refresh();
  }

  #inviteForm() {
    const label = t("invite_names");
    const names = el("input", { "aria-label": label, placeholder: label, data: { part: "invite-names" } });
    const send = el("button", { text: t("invite"), data: { action: "invite" } });
    const form = el("form", { class: "row", novalidate: true }, names, send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#invite(names);
    });
    return form;
  }

  async #invite(input) {
    const usernames = input.value.split(/[\s,，、]+/).filter(Boolean);
    if (usernames.length === 0) return;
    try {
      const { invited } = await this.#pane.session.post(`/api/chat/rooms/${this.#pane.room.id}/invite/`, { usernames });
      toast(t("invite_done", { n: invited.length }));
      input.value = "";
    } catch (fault) {
      toastFault(fault);
    }
  }
}
