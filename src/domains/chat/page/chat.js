// The beginning of the page: signing in and out, and putting its parts together.

import { $ } from "./dom.js";
import { apply, lang, onLanguage, setLanguage, t } from "./i18n.js";
import { Notices } from "./notices.js";
import { Pane } from "./pane.js";
import { Rooms, showFault } from "./rooms.js";
import { Session } from "./session.js";

const session = new Session();
const rooms = new Rooms(session);
rooms.panes = [new Pane("a", session, rooms), new Pane("b", session, rooms)];
const notices = new Notices(session, rooms);
rooms.onCount = notices.countSoon;
const links = () => [...rooms.panes.map((pane) => pane.link), notices.link];

// --- views: on a narrow screen one of the list and the two panes

function view(name) {
  document.body.dataset.view = name;
  for (const node of document.querySelectorAll("#views [data-show]")) {
    node.setAttribute("aria-pressed", String(node.dataset.show === name));
  }
}

for (const node of document.querySelectorAll("#views [data-show]")) {
  node.addEventListener("click", () => view(node.dataset.show));
}
rooms.onOpen = (key) => {
  view(key);
  // Under a thumb it would open a keyboard over what one wants to read.
  if (matchMedia("(pointer: fine)").matches) $(`pane-${key}-input`).focus();
};

// --- signing in

function showForms(which) {
  $("login-form").hidden = which !== "login";
  $("register-form").hidden = which !== "register";
  $(`${which}-username`).focus();
}

$("show-register").addEventListener("click", () => showForms("register"));
$("show-login").addEventListener("click", () => showForms("login"));

/** What a form does, once at a time, with its error below it. */
function onSubmit(name, work) {
  $(`${name}-form`).addEventListener("submit", async (event) => {
    event.preventDefault();
    const submit = $(`${name}-submit`);
    if (submit.disabled) return;
    submit.disabled = true;
    $(`${name}-error`).hidden = true;
    try {
      await work();
    } catch (fault) {
      showFault(`${name}-error`, fault);
    } finally {
      submit.disabled = false;
    }
  });
}

onSubmit("login", async () => {
  try {
    await session.login($("login-username").value, $("login-password").value, $("login-code").value.trim());
  } catch (fault) {
    if (fault.code === "two_factor_required" && $("login-code-row").hidden) {
      $("login-code-row").hidden = false;
      $("login-code").focus();
    }
    throw fault;
  }
});

onSubmit("register", () =>
  session.register($("register-username").value, $("register-email").value, $("register-password").value),
);

$("logout").addEventListener("click", () => session.logout());

function signedInOrOut(why = null) {
  const { user } = session;
  document.body.dataset.signedIn = String(user !== null);
  $("welcome").hidden = user !== null;
  $("workspace").hidden = user === null;
  $("who").hidden = user === null;
  $("who").textContent = user?.username ?? "";
  $("session-note").hidden = why === null;
  $("session-note").textContent = why === null ? "" : t(why);
  if (user) {
    for (const id of ["login-form", "register-form"]) $(id).reset();
    $("login-code-row").hidden = true;
    view("rooms");
    rooms.start();
    notices.start();
    rooms.restore();
  } else {
    for (const pane of rooms.panes) pane.close();
    notices.stop();
    rooms.stop();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    showForms("login");
  }
}

session.addEventListener("change", (event) => signedInOrOut(event.detail ?? null));
session.addEventListener("token", (event) => links().forEach((link) => link.renew(event.detail)));

// --- the rest

$("open-endpoints").addEventListener("click", () => $("endpoints").showModal());
for (const node of document.querySelectorAll("[data-close]")) {
  node.addEventListener("click", () => $(node.dataset.close).close());
}
$("switch-language").addEventListener("click", () => setLanguage(lang() === "zh" ? "en" : "zh"));
onLanguage(() => {
  rooms.show();
  notices.show();
  for (const pane of rooms.panes) pane.retranslate();
});
addEventListener("online", () => links().forEach((link) => link.state.name === "waiting" && link.now()));

apply();
signedInOrOut();
