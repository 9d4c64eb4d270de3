// Writing: text, replies, edits, files, and telling the others that somebody types.

import { nameOf, toastFault } from "./dom.js";
import { t } from "./i18n.js";

// The server forgets after 6 s.
const TYPING_EACH_MS = 3000;
const TALLEST_PX = 160;

export class Composer {
  #pane;
  #input;
  #mode = null; // { kind: "reply" | "edit", message }
  #typingAt = 0;

  constructor(pane) {
    this.#pane = pane;
    this.#input = pane.part("input");
    pane.part("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#input.addEventListener("input", () => {
      this.#grow();
      this.#typing(this.#input.value.trim() !== "");
    });
    this.#input.addEventListener("blur", () => this.#typing(false));
    this.#input.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      this.#sendFiles(files);
    });
    const file = pane.part("file");
    file.addEventListener("change", async () => {
      await this.#sendFiles([...file.files]);
      file.value = "";
    });
    pane.action("cancel-context").addEventListener("click", () => this.#leaveMode());
    for (const kind of ["dragover", "drop"]) {
      pane.root.addEventListener(kind, (event) => {
        if (!pane.room || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        if (kind === "drop") this.#sendFiles([...event.dataTransfer.files]);
      });
    }
  }

  clear() {
    this.#typingAt = 0;
    this.#input.value = "";
    this.#leaveMode();
    this.#pane.part("composer-note").textContent = "";
  }

  replyTo(message) {
    this.#enter("reply", message);
  }

  edit(message) {
    this.#input.value = message.content;
    this.#enter("edit", message);
  }

  /** Texts in the chosen language. */
  show() {
    const mode = this.#mode;
    this.#pane.part("context").hidden = mode === null;
    this.#pane.action("send").textContent = t(mode?.kind === "edit" ? "save" : "send");
    if (!mode) return;
    const text = (mode.message.content || mode.message.file_name || "").slice(0, 60);
    this.#pane.part("context-text").textContent =
      mode.kind === "edit" ? t("editing") : t("replying_to", { name: nameOf(mode.message.sender), text });
  }

  get #replied() {
    return this.#mode?.kind === "reply" ? this.#mode.message.id : undefined;
  }

  #enter(kind, message) {
    this.#mode = { kind, message };
    this.show();
    this.#grow();
    this.#input.focus();
  }

  #leaveMode() {
    if (this.#mode?.kind === "edit") this.#input.value = "";
    this.#mode = null;
    this.show();
    this.#grow();
  }

  #grow() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(TALLEST_PX, this.#input.scrollHeight + 2)}px`;
  }

  #key(event) {
    // While an input method composes, Enter chooses a word.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape" && this.#mode) {
      event.preventDefault();
      this.#leaveMode();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    }
  }

  #typing(isTyping) {
    const now = Date.now();
    if (isTyping ? now - this.#typingAt < TYPING_EACH_MS : this.#typingAt === 0) return;
    this.#typingAt = isTyping ? now : 0;
    if (this.#pane.link.isConnected) this.#pane.link.send({ type: "typing", is_typing: isTyping });
  }

  async #submit() {
    const content = this.#input.value;
    if (content.trim() === "" || !this.#pane.room) return;
    const mode = this.#mode;
    if (mode?.kind === "edit") {
      try {
        await this.#pane.change(mode.message, content);
      } catch (fault) {
        return toastFault(fault);
      }
      return this.#leaveMode();
    }
    this.#input.value = "";
    this.#typing(false);
    this.#pane.say({ content, message_type: "text", reply_to: mode?.message.id });
    this.#leaveMode();
  }

  // One after the other, in the order in which they were chosen. What is written goes along with the first.
  async #sendFiles(files) {
    const note = this.#pane.part("composer-note");
    const room = this.#pane.room;
    for (const file of files) {
      note.textContent = t("uploading", { name: file.name });
      const form = new FormData();
      form.append("file", file, file.name || "file");
      try {
        const { body } = await this.#pane.session.call("POST", "/api/chat/upload/", { form });
        if (this.#pane.room !== room) break;
        const { file_url, file_name, file_size, message_type } = body;
        const content = this.#input.value.trim() === "" || this.#mode?.kind === "edit" ? "" : this.#input.value;
        this.#pane.say({ content, message_type, file_url, file_name, file_size, reply_to: this.#replied });
        if (content !== "") this.#input.value = "";
        if (this.#mode?.kind === "reply") this.#leaveMode();
      } catch (fault) {
        toastFault(fault);
      }
    }
    note.textContent = "";
  }
}
