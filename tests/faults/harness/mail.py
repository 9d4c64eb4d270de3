"""The mails of a server that writes them into its data folder, and the codes in them."""

import email
import email.policy
import re

from .world import eventually


class Mails:
    def __init__(self, top):
        self.folder = top.data / "mail"

    def to(self, address):
        """Those to an address, in the order they were written."""
        found = []
        for path in sorted(self.folder.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if address.lower() in mail["To"].lower():
                found.append(mail)
        return found

    def codes(self, address):
        texts = [mail.get_body(("plain",)).get_content() for mail in self.to(address)]
        return [code for text in texts for code in re.findall(r"(?<!\w)\d{6}(?!\w)", text)]

    def next_code(self, address, seen):
        """The code of the mail that comes after so many."""
        return eventually(f"a code for {address}", 20, lambda: self.codes(address)[seen:seen + 1])[0]


def ask_code(client, address, path="/api/users/forgot_password/"):
    return client.post(path, {"email": address})
