// The raw frames of one pane, as they went over the wire, and a line to send any text as a frame.

import { el, toast } from "./dom.js";
import { t } from "./i18n.js";

const MOST_LINES = 300;

const EXAMPLES = [
  '{"type":"ping"}',
  '{"type":"chat_message","content":"hello"}',
  '{"type":"typing","is_typing":true}',
  '{"type":"user_join"}',
  '{"type":"user_leave"}',
  '{"type":"read","message_id":1}',
  '{"type":"nonsense"}',
  "[1]",
];

const ARROWS = { in: "↓", out: "↑", note: "•" };

export class Frames {
  #pane;
  #list;
  #waiting = [];
  #isPaused = false;
  #count = 0;

  constructor(pane) {
    this.#pane = pane;
    this.#list = pane.part("frame-list");
    pane.action("pause-frames").addEventListener("click", ({ currentTarget }) => {
      this.#isPaused = !this.#isPaused;
      currentTarget.setAttribute("aria-pressed", String(this.#isPaused));
      for (const line of this.#waiting.splice(0)) this.#append(line);
      this.#showCount();
    });
    pane.action("clear-frames").addEventListener("click", () => this.clear());
    const example = pane.part("raw-example");
    example.append(el("option", { value: "", text: "…" }), ...EXAMPLES.map((text) => el("option", { value: text, text })));
    example.addEventListener("change", () => {
      if (example.value) pane.part("raw-text").value = example.value;
      example.value = "";
    });
    const send = () => this.#send();
    pane.action("send-raw").addEventListener("click", send);
    pane.part("raw-text").addEventListener("keydown", (event) => event.key === "Enter" && send());
  }

  clear() {
    this.#waiting = [];
    this.#count = 0;
    this.#list.replaceChildren();
    this.#showCount();
  }

  add(direction, text) {
    const line = { direction, text, at: new Date() };
    if (this.#isPaused) this.#waiting.push(line);
    else this.#append(line);
    if (this.#waiting.length > MOST_LINES) this.#waiting.shift();
    this.#showCount();
  }

  #append({ direction, text, at }) {
    const follow = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    const clock = at.toLocaleTimeString("en-GB", { fractionalSecondDigits: 3 });
    this.#count += 1;
    this.#list.append(
      el(
        "li",
        { data: { direction } },
        el("span", { class: "note", text: `${clock} ${ARROWS[direction]} ` }),
        el("code", { text }),
      ),
    );
    while (this.#list.children.length > MOST_LINES) this.#list.firstChild.remove();
    if (follow) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #showCount() {
    const waiting = this.#waiting.length;
    const text = waiting > 0 ? t("frame_waiting", { n: this.#count, waiting }) : String(this.#count);
    this.#pane.part("frame-count").textContent = text;
  }

  #send() {
    const text = this.#pane.part("raw-text").value;
    if (text !== "" && !this.#pane.link.sendText(text)) toast(t("not_connected"), "error");
  }
}
