// The list of messages of one pane: one row for each, ascending, and below them what waits for its echo.

import { httpUrl, safeUrl } from "./api.js";
import { armed, button, el, nameOf, sizeText, timeText } from "./dom.js";
import { t } from "./i18n.js";

// So near to the end the list follows new messages.
const NEAR_END_PX = 60;
const NAMES_SHOWN = 3;

export class MessageList {
  #pane;
  #rows = new Map();
  #unseen = 0;
  // Whether the end stays in view, whatever is added and however the list is resized.
  #follows = true;
  // Called with each row that is new on the page.
  onRow = null;
  onRowGone = null;

  constructor(pane) {
    this.#pane = pane;
    this.scroll = pane.part("scroll");
    this.list = pane.part("messages");
    this.pending = pane.part("pending");
    this.scroll.addEventListener("scroll", () => this.#scrolled());
    // Pictures arrive, keyboards open, panes are hidden and shown.
    const resized = new ResizeObserver(() => this.#follows && this.toEnd());
    for (const node of [this.scroll, this.list, this.pending]) resized.observe(node);
    this.scroll.addEventListener("keydown", (event) => this.#walk(event));
    pane.action("jump").addEventListener("click", () => this.toEnd());
  }

  clear() {
    for (const row of this.#rows.values()) this.onRowGone?.(row);
    this.#rows.clear();
    this.list.replaceChildren();
    this.pending.replaceChildren();
    this.#unseen = 0;
    this.#follows = true;
    this.#showJump();
  }

  get isAtEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < NEAR_END_PX;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.#follows = true;
    this.#unseen = 0;
    this.#showJump();
  }

  /** Shows messages that the timeline has; `quietly`: history, which keeps the reader's place. */
  show(ids, quietly = false) {
    const follow = this.#follows && !quietly;
    const fromEnd = this.scroll.scrollHeight - this.scroll.scrollTop;
    let fresh = 0;
    // From the newest, so that the row before which one goes is there already.
    for (const id of [...ids].sort((a, b) => b - a)) {
      if (this.#rows.has(id)) this.update(id);
      else {
        this.#insert(id);
        fresh += 1;
      }
    }
    if (follow) this.toEnd();
    else if (quietly) this.scroll.scrollTop = this.scroll.scrollHeight - fromEnd;
    else {
      this.#unseen += fresh;
      this.#showJump();
    }
    this.#showEmpty();
  }

  #insert(id) {
    const row = el("li", { class: "message", data: { messageId: id } });
    this.#rows.set(id, row);
    this.#fill(row, this.#pane.timeline.get(id));
    const after = this.#rows.get(this.#pane.timeline.after(id));
    this.list.insertBefore(row, after ?? null);
    this.onRow?.(row, id);
  }

  update(id) {
    const row = this.#rows.get(id);
    if (row) this.#fill(row, this.#pane.timeline.get(id));
  }

  updateAll() {
    for (const id of this.#rows.keys()) this.update(id);
    this.showPending();
    this.#showJump();
  }

  showPending() {
    this.pending.replaceChildren(...this.#pane.timeline.pending.map((entry) => this.#pendingRow(entry)));
    if (this.#follows) this.toEnd();
    this.#showEmpty();
  }

  #showEmpty() {
    this.#pane.part("no-messages").hidden = this.#rows.size > 0 || this.pending.children.length > 0;
  }

  // --- rows

  #fill(row, message) {
    const { me, timeline } = this.#pane;
    const isMine = message.sender?.id === me;
    const isSystem = message.message_type === "system";
    const wasOpen = row.querySelector("[data-action=menu]")?.getAttribute("aria-expanded") === "true";
    const hadFocus = row.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    row.className = `message ${isMine ? "mine" : "theirs"}`;
    Object.assign(row.dataset, {
      type: message.message_type,
      deleted: message.is_deleted,
      edited: message.is_edited,
      state: "sent",
    });
    if (message.client_id) row.dataset.clientId = message.client_id;
    const content = el("p", { class: "content", text: message.content, data: { part: "content" } });
    if (isSystem) {
      row.replaceChildren(content, this.#time(message));
      return;
    }
    const actions = message.is_deleted ? null : this.#actions(message, isMine, wasOpen);
    row.replaceChildren(
      el(
        "div",
        { class: "meta" },
        el("span", { class: isMine ? "unseen" : "who", text: nameOf(message.sender) }),
        this.#time(message),
        message.is_edited && !message.is_deleted ? el("span", { class: "note", text: t("edited") }) : null,
        isMine && !message.is_deleted ? this.#readBy(row, message.id) : null,
        actions?.menu,
      ),
      ...[
        this.#quote(message, timeline),
        message.content === "" ? null : content,
        this.#attachment(message),
        actions?.list,
      ].filter(Boolean),
    );
    if (hadFocus) row.querySelector(`[data-action="${hadFocus}"]`)?.focus();
  }

  #time(message) {
    return el("time", { datetime: message.created_at, title: message.created_at, text: timeText(message.created_at) });
  }

  #quote(message, timeline) {
    if (!message.reply_to) return null;
    const known = timeline.get(message.reply_to);
    const preview = known
      ? { name: nameOf(known.sender), content: known.content || known.file_name || "" }
      : { name: previewName(message.reply_preview), content: message.reply_preview?.content ?? t("reply_unknown") };
    const text = [preview.name, preview.content.slice(0, 100)].filter(Boolean).join(": ");
    return el("blockquote", { text, data: { replyTo: message.reply_to } });
  }

  #attachment(message) {
    const url = message.file_url && safeUrl(message.file_url);
    if (!url) return null;
    const name = message.file_name ?? url.pathname.split("/").at(-1);
    // The policy of this page shows pictures of this server only; others are links.
    const isShown = message.message_type === "image" && url.origin === httpUrl("/").origin;
    const inside = isShown
      ? [el("img", { src: url.href, alt: name })]
      : [el("span", { text: name }), el("span", { class: "note", text: sizeText(message.file_size) })];
    const props = { class: "attachment", href: url.href, target: "_blank", rel: "noopener noreferrer" };
    return el("a", { ...props, data: { part: "attachment" } }, ...inside);
  }

  #readBy(row, id) {
    const readers = this.#pane.receipts.readersOf(id);
    row.dataset.readCount = readers.length;
    if (readers.length === 0) return el("span", { class: "receipt", text: t("sent"), data: { part: "receipt" } });
    const names = readers.map((reader) => reader.user.username);
    const text =
      names.length <= NAMES_SHOWN ? t("read_by", { names: names.join(", ") }) : t("read_by_n", { n: names.length });
    return el("span", { class: "receipt read", text: `✓ ${text}`, title: names.join(", "), data: { part: "receipt" } });
  }

  #actions(message, isMine, isOpen) {
    const pane = this.#pane;
    const list = el("div", { class: "row wrap actions", hidden: !isOpen, data: { part: "actions" } });
    const close = () => menu.getAttribute("aria-expanded") === "true" && menu.click();
    list.append(
      button("reply", t("reply"), () => (close(), pane.composer.replyTo(message))),
      ...(isMine && message.message_type === "text"
        ? [button("edit", t("edit"), () => (close(), pane.composer.edit(message)))]
        : []),
      ...(isMine || pane.mayModerate
        ? [armed("remove", t("remove"), () => (close(), pane.remove(message)), { class: "danger" })]
        : []),
      button("who-read", t("who_read"), () => pane.showReaders(message)),
    );
    const toggle = () => {
      list.hidden = !list.hidden;
      menu.setAttribute("aria-expanded", String(!list.hidden));
    };
    const label = t("actions_for", { name: nameOf(message.sender) });
    const menu = button("menu", "⋯", toggle, { class: "quiet menu", "aria-label": label, "aria-expanded": `${isOpen}` });
    return { menu, list };
  }

  #pendingRow(entry) {
    const pane = this.#pane;
    const isFailed = entry.state === "failed";
    const state = isFailed ? t("failed", { why: entry.error }) : t(pane.link.isConnected ? "sending" : "queued");
    return el(
      "li",
      { class: "message mine", data: { clientId: entry.client_id, state: entry.state, type: entry.message_type } },
      entry.content === "" ? null : el("p", { class: "content", text: entry.content, data: { part: "content" } }),
      entry.file_name ? el("p", { class: "note", text: entry.file_name }) : null,
      el("p", { class: isFailed ? "receipt fault" : "receipt", text: state, data: { part: "receipt" } }),
      isFailed
        ? el(
            "div",
            { class: "row" },
            button("retry", t("retry"), () => pane.retry(entry.client_id)),
            button("discard", t("discard"), () => pane.discard(entry.client_id)),
          )
        : null,
    );
  }

  // --- moving about

  #scrolled() {
    // A hidden pane has no height and no place.
    if (this.scroll.clientHeight === 0) return;
    this.#follows = this.isAtEnd;
    if (this.isAtEnd) this.#unseen = 0;
    this.#showJump();
    if (this.scroll.scrollTop < 80) this.#pane.loadOlder();
  }

  #showJump() {
    const jump = this.#pane.action("jump");
    jump.hidden = this.isAtEnd || this.#rows.size === 0;
    jump.textContent = this.#unseen > 0 ? t("jump", { n: this.#unseen }) : t("jump_end");
  }

  // Up and down from the menu of one message to that of the next.
  #walk(event) {
    if (!["ArrowUp", "ArrowDown"].includes(event.key) || event.target.dataset?.action !== "menu") return;
    const menus = [...this.list.querySelectorAll("[data-action=menu]")];
    const next = menus[menus.indexOf(event.target) + (event.key === "ArrowUp" ? -1 : 1)];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
}

function previewName(preview) {
  const sender = preview?.sender;
  return typeof sender === "string" ? sender : (sender?.username ?? "");
}
