"""Mail server of the tests: accepts everything and writes each message to a folder.

Usage: smtp_sink.py PORT FOLDER [USER PASSWORD]

A message becomes `FOLDER/<number>.eml`: the bytes as they came, below two lines that keep the envelope
(`X-Envelope-From`, `X-Envelope-To`). The file appears whole, by rename, so a reader never sees half of one.

The local part of a recipient asks for a fault:
  reject…    550, final
  tempfail…  451, may be tried again
  stall…     no answer for a minute
  drop…      the connection is closed

Plain text, no STARTTLS. Logging in is possible, not required: PLAIN and LOGIN with USER and PASSWORD, 535 otherwise.
"""

import asyncio
import itertools
import os
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

LARGEST_MESSAGE = 32 * 1024 * 1024


class Sink:
    def __init__(self, folder):
        self.folder = folder
        taken = [int(name[:-4]) for name in os.listdir(folder) if name.endswith(".eml") and name[:-4].isdigit()]
        self.numbers = itertools.count(max(taken, default=0) + 1)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("reject"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("tempfail"):
            return "451 4.3.0 try again later"
        if address.startswith("stall"):
            await asyncio.sleep(60)
        if address.startswith("drop"):
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        name = f"{next(self.numbers):06d}.eml"
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        part = os.path.join(self.folder, f".{name}.part")
        with open(part, "wb") as file:
            file.write(head.encode() + envelope.original_content)
        os.rename(part, os.path.join(self.folder, name))
        return "250 OK"


async def main():
    port, folder = int(sys.argv[1]), sys.argv[2]
    account = tuple(value.encode() for value in sys.argv[3:5])
    sink = Sink(folder)

    def authenticate(server, session, envelope, mechanism, data):
        known = isinstance(data, LoginPassword) and (data.login, data.password) == account
        return AuthResult(success=known, handled=known)

    def connection():
        return SMTP(
            sink,
            data_size_limit=LARGEST_MESSAGE,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="test sink",
            auth_require_tls=False,
            authenticator=authenticate if len(account) == 2 else None,
        )

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
