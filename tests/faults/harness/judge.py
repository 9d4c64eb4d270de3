"""Compares what clients of a room wrote down with what the database has, as differences of sets and sequences.

A client's log is a list of entries, in the order in which things happened to it:

    writer   ["sent", KEY, T]                             given to the server for the first time
             ["acked", KEY, ID, SEQ, T]                   answered with 2xx, or told by the echo
    reader   ["open", CONNECTION, SINCE, LAST, T]         greeted; SINCE is null without `since`, LAST what the greeting said
             ["message", CONNECTION, ID, SEQ, WORD, T]    a frame; WORD is the first word of the content
             ["resumed", CONNECTION, FROM, TO, COUNT, TRUNCATED]
             ["fetched", ID, SEQ, WORD]                   read over REST, because a replay was truncated
             ["end", CONNECTION, CODE, T]                 CODE is a close code, or the kind of a cut

A row of the database is (ID, SEQ, KEY or None, WORD), by id. A key is the `client_id` and the first word of a message.
"""

import json
from collections import Counter

# What can be wrong, in the order in which it is reported.
LOST = "lost"                  # stored, and a reader never got it
DOUBLED = "doubled"            # twice inside one connection
GAP = "gap"                    # skipped inside one connection
DISORDER = "disorder"          # after a later one, inside one connection
UNSTORED = "unstored"          # told to a reader, or acknowledged, and not in the database
DIFFERENT = "different"        # told with another seq or content than stored
REPEATED = "stored twice"      # one key, two rows
NUMBERING = "numbering"        # seq is not 1, 2, 3 … in the order of ids
RESUME = "resume"              # a replay that is not what it says, or a loss that is not told
KINDS = (LOST, DOUBLED, GAP, DISORDER, UNSTORED, DIFFERENT, REPEATED, NUMBERING, RESUME)


def entries(path):
    """A log; its last line may be half a one."""
    with open(path) as log:
        for line in log:
            if line.endswith("\n"):
                yield json.loads(line)


class Judge:
    def __init__(self, rows, resume_max):
        self.rows, self.resume_max = rows, resume_max
        self.place = {row[0]: n for n, row in enumerate(rows)}
        self.by_key = {row[2]: row for row in rows if row[2]}
        self.found = {kind: [] for kind in KINDS}
        self.acked = {}
        self.sent, self.frames, self.fetched, self.connections, self.truncated = 0, 0, 0, 0, 0
        for key, count in Counter(row[2] for row in rows if row[2]).items():
            if count > 1:
                self.add(REPEATED, key, f"{count} rows")
        for n, row in enumerate(rows):
            if row[1] != n + 1:
                self.add(NUMBERING, f"id {row[0]} has seq {row[1]} instead of {n + 1}")
                break

    def add(self, kind, *what):
        self.found[kind].append(" ".join(map(str, what)))

    def after(self, message_id):
        """The place of the first row with a larger id."""
        low, high = 0, len(self.rows)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.rows[middle][0] <= message_id else (low, middle)
        return low

    # --- writers ---

    def writer(self, log):
        for what, key, *rest in log:
            if what == "sent":
                self.sent += 1
                continue
            message_id, seq, moment = rest
            row = self.by_key.get(key)
            self.acked.setdefault(key, moment)
            if row is None:
                self.add(UNSTORED, f"{key} was acknowledged as {message_id}")
            elif row[0] != message_id or seq is not None and row[1] != seq:
                self.add(DIFFERENT, f"{key} was acknowledged as {message_id}/{seq}, stored as {row[0]}/{row[1]}")

    # --- readers ---

    def reader(self, name, log):
        """Everything from its first position on must have reached it."""
        first, seen, visits = None, set(), {}
        for what, *rest in log:
            if what == "open":
                number, since, last, _ = rest
                start = since if since is not None else last or 0
                first = start if first is None else min(first, start)
                visits[number] = Visit(self, f"{name}/{number}", since, start)
            elif what == "message":
                visits[rest[0]].message(*rest[1:4])
                seen.add(rest[1])
                self.frames += 1
            elif what == "resumed":
                visits[rest[0]].resumed(*rest[1:])
            elif what == "fetched":
                self.same(f"{name} fetched", *rest)
                seen.add(rest[0])
                self.fetched += 1
        self.connections += len(visits)
        for visit in visits.values():
            visit.ended()
        if first is None:
            self.add(LOST, f"{name} never got in")
            return
        missing = [row for row in self.rows[self.after(first):] if row[0] not in seen]
        if missing:
            keys = ", ".join(f"{row[2] or row[3]} (id {row[0]})" for row in missing[:3])
            self.found[LOST] += [f"{name} lacks {keys}"] + [f"{name} id {row[0]}" for row in missing[1:]]

    def same(self, who, message_id, seq, word):
        """Whether a message is the stored one; its place."""
        place = self.place.get(message_id)
        if place is None:
            self.add(UNSTORED, f"{who}: id {message_id}, {word}")
            return None
        row = self.rows[place]
        if (row[1], row[3]) != (seq, word):
            self.add(DIFFERENT, f"{who}: id {message_id} is {seq} {word}, stored as {row[1]} {row[3]}")
        return place

    # --- results ---

    def faults(self, *kinds):
        return [f"{kind}: {what}" for kind in kinds or KINDS for what in self.found[kind]]

    def delays(self, logs):
        """Seconds from the acknowledgement of a message to its arrival, on connections that were open and had replayed
        everything before it."""
        late = []
        for log in logs:
            ready = {}
            for what, *rest in log:
                if what == "open" and rest[1] is None:
                    ready[rest[0]] = rest[3]
                elif what == "resumed":
                    ready[rest[0]] = -1.0
                elif what == "message":
                    number, _, _, word, moment = rest
                    if ready.get(number) == -1.0:
                        # Live from the first frame after the replay.
                        ready[number] = moment
                    acked = self.acked.get(word)
                    if acked and ready.get(number, acked) < acked:
                        late.append(moment - acked)
        return late


class Visit:
    """One connection of a reader: a slice of the table, from its first message to its last."""

    def __init__(self, judge, name, since, start):
        self.judge, self.name, self.since, self.start = judge, name, since, start
        self.begin = judge.after(start)
        self.seen, self.first, self.last, self.count = set(), None, None, 0
        self.told = None

    def message(self, message_id, seq, word):
        judge = self.judge
        self.count += 1
        if message_id in self.seen:
            judge.add(DOUBLED, f"{self.name}: id {message_id}, {word}")
            return
        self.seen.add(message_id)
        place = judge.same(self.name, message_id, seq, word)
        if place is None:
            return
        if self.first is None:
            self.first = place
            if place < self.begin:
                judge.add(RESUME, f"{self.name}: id {message_id} is not after {self.start}")
            elif place > self.begin and (self.since is None or self.told is not None):
                judge.add(GAP, f"{self.name}: began at id {message_id} instead of {judge.rows[self.begin][0]}")
        elif place < self.last:
            judge.add(DISORDER, f"{self.name}: id {message_id} after {judge.rows[self.last][0]}")
            return
        elif place > self.last + 1:
            missing = [row[0] for row in judge.rows[self.last + 1:place] if row[0] not in self.seen]
            if missing:
                judge.add(GAP, f"{self.name}: {len(missing)} skipped before id {message_id}, the first {missing[0]}")
        self.last = place

    def resumed(self, from_, to, count, truncated):
        judge = self.judge
        if self.told is not None:
            judge.add(RESUME, f"{self.name}: resume_complete twice")
        self.told = truncated
        judge.truncated += bool(truncated)
        if count != self.count:
            judge.add(RESUME, f"{self.name}: resume_complete counts {count}, {self.count} were sent")
        if truncated and (count != judge.resume_max or self.first == self.begin):
            judge.add(RESUME, f"{self.name}: truncated, {count} sent, the first at {self.first} of {self.begin}")
        if self.since is not None and from_ > self.since:
            judge.add(RESUME, f"{self.name}: from {from_}, asked since {self.since}")
        if self.last is not None and to < judge.rows[self.last][0]:
            judge.add(RESUME, f"{self.name}: to {to}, the last was {judge.rows[self.last][0]}")
        self.skipped(truncated)

    def ended(self):
        if self.since is not None and self.told is None:
            # Cut off in the replay: nothing could be told yet, and a loss must be possible by its length.
            self.skipped(len(self.judge.rows) - self.begin > self.judge.resume_max)

    def skipped(self, may):
        """A replay begins at the next message, or says that it does not."""
        if self.first is not None and self.first > self.begin and not may:
            missing = self.first - self.begin
            self.judge.add(RESUME, f"{self.name}: {missing} after id {self.start} left out without being told")
