"""A headless Chromium, driven over its developer protocol: several people, each with a page of their own.

The protocol runs over a pipe, so nothing but Python is needed and no port is open. Names other than 127.0.0.1 do not
resolve in this browser. What a page puts on its console as an error, what its content security policy refused, and
every address that it asked for is kept in `Page.problems` and `Page.asked_for`.
"""

import collections
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time

ANSWER_WITHIN = 20
WAIT = 15

# The browser expects the pipe at the descriptors 3 and 4.
LAUNCH = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"


class Trouble(Exception):
    """What a person would complain about."""


def find_browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    sys.exit("no browser: install the package chromium")


def high(descriptor):
    """The same file at a descriptor that is in nobody's way."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved


class Browser:
    def __init__(self, folder):
        for_browser, self.to_browser = (high(end) for end in os.pipe())
        self.from_browser, for_us = (high(end) for end in os.pipe())
        command = [
            find_browser(),
            "--headless=new",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-background-timer-throttling",
            "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows",
            "--disable-component-update",
            "--disable-extensions",
            f"--user-data-dir={folder}/profile",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        if os.geteuid() == 0:
            # Chromium's sandbox refuses root; the only pages it opens are ours.
            command.append("--no-sandbox")
        self.log = open(os.path.join(folder, "browser.log"), "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(for_browser), str(for_us), *command],
            pass_fds=(for_browser, for_us),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        os.close(for_browser)
        os.close(for_us)
        self.rest = b""
        self.number = 0
        self.answers = {}
        self.pages = {}

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (Trouble, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()

    def call(self, method, session=None, **params):
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_WITHIN
        while number not in self.answers:
            if time.monotonic() > deadline:
                raise Trouble(f"the browser does not answer {method}")
            self.read(0.5)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise Trouble(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def read(self, seconds):
        """Takes in what the browser says, for at most so long until the first of it."""
        if not select.select([self.from_browser], [], [], seconds)[0]:
            return
        data = os.read(self.from_browser, 1 << 20)
        if not data:
            raise Trouble("the browser is gone")
        *messages, self.rest = (self.rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            elif page := self.pages.get(message.get("sessionId")):
                page.on_event(message["method"], message["params"])

    def new_page(self, name, language):
        """A page of somebody who shares nothing with the others. `language`: as in `Accept-Language`."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context, newWindow=True)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, name, session)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Audits"):
            page.call(f"{domain}.enable")
        agent = self.call("Browser.getVersion")["userAgent"]
        page.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        # Every one of the pages is in front.
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.size(1280, 800)
        return page


class Page:
    def __init__(self, browser, name, session):
        self.browser = browser
        self.name = name
        self.session = session
        self.problems = []
        self.asked_for = collections.Counter()

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def on_event(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details["text"]
            self.problems.append(f"uncaught: {text}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append("console: " + " ".join(str(arg.get("value")) for arg in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"log: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Audits.issueAdded" and params["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.problems.append(f"policy: {json.dumps(params['issue']['details'])}")
        elif method == "Network.requestWillBeSent":
            self.asked_for[params["request"]["url"]] += 1
        elif method == "Network.webSocketCreated":
            self.asked_for[params["url"]] += 1

    # --- looking

    def eval(self, expression):
        """The value of an expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise Trouble(f"{self.name}: {expression}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, what, expression, within=WAIT):
        """Waits until an expression is truthy, and gives its value."""
        deadline = time.monotonic() + within
        while True:
            value = self.eval(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                toast = self.eval("document.getElementById('toast')?.textContent")
                raise Trouble(f"{self.name}: {what} does not happen; the page says: {toast!r} {self.problems}")
            self.browser.read(0.05)

    def text(self, selector):
        return self.eval(f"document.querySelector({json.dumps(selector)})?.textContent ?? null")

    def picture(self, path):
        import base64

        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    # --- doing

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("loading", "document.readyState === 'complete'")

    def reload(self):
        self.eval("window.isOld = true")
        self.call("Page.reload")
        self.wait("reloading", "document.readyState === 'complete' && !window.isOld")

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def click(self, selector):
        quoted = json.dumps(selector)
        self.wait(f"{selector} to click", f"document.querySelector({quoted})?.checkVisibility()")
        self.eval(f"document.querySelector({quoted}).click()")

    def focus(self, selector):
        self.eval(f"document.querySelector({json.dumps(selector)}).focus()")

    def type(self, text):
        """Text at the cursor, as an input method gives it."""
        self.call("Input.insertText", text=text)

    def key(self, key, code, **more):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def enter(self):
        self.key("Enter", 13, text="\r")

    def tab(self):
        self.key("Tab", 9)

    def fill(self, selector, text):
        self.focus(selector)
        self.eval(f"document.querySelector({json.dumps(selector)}).select?.()")
        self.type(text)

    def attach(self, selector, *paths):
        """Chooses files in a file field."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=list(paths), objectId=found["result"]["objectId"])
