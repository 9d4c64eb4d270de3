"""RJ: what compares the logs of R1 to R3 and RX with the database is itself tried, on logs with a fault in them."""

from harness.judge import DIFFERENT, DISORDER, DOUBLED, GAP, KINDS, LOST, NUMBERING, REPEATED, RESUME, UNSTORED, Judge, entries
from harness.report import promise

RESUME_MAX = 40


class Story:
    """A room of which everything is true: rows, a writer's log, and a reader's, over some connections."""

    def __init__(self, random):
        self.random = random
        self.rows, id_ = [], random.randrange(1, 50)
        for seq in range(1, 201):
            key = f"w-{seq}" if random.random() < 0.9 else None
            self.rows.append((id_, seq, key, key or "somebody"))
            id_ += random.choice((1, 1, 1, 5))
        self.writer = [["sent", row[2], 0.0] for row in self.rows if row[2]]
        self.writer += [["acked", row[2], row[0], row[1], 1.0] for row in self.rows if row[2] and random.random() < 0.95]
        # Connections by hand: from the start; live after a short absence; truncated after a long one; cut in the replay
        # of a truncated one; all of it at last.
        self.reader = []
        self.visit(1, 0, 0, 60, resumed=0)
        self.visit(2, 55, 55, 80, resumed=70)
        self.visit(3, 79, 120, 150, resumed=160, truncated=True)
        self.reader += [["fetched", *self.told(n)] for n in range(80, 120)]
        self.visit(4, 149, 149, 155, resumed=155)
        self.visit(5, 60, 130, 140)
        self.visit(6, 154, 154, 200, resumed=190)

    def told(self, n):
        id_, seq, _, word = self.rows[n]
        return id_, seq, word

    def visit(self, number, since, begin, end, resumed=None, truncated=False):
        """Rows `begin` to `end`; the replay ends before row `resumed`."""
        asked = self.rows[since - 1][0] if since else 0
        self.reader.append(["open", number, asked, None, float(number)])
        resumed = begin + RESUME_MAX if truncated else resumed
        for n in range(begin, max(end, resumed or 0)):
            if n == resumed:
                self.resumed(number, asked, begin, resumed, truncated)
            self.reader.append(["message", number, *self.told(n), float(number)])
        if resumed is not None and resumed >= end:
            self.resumed(number, asked, begin, resumed, truncated)
        self.reader.append(["end", number, "rst", float(number)])

    def resumed(self, number, asked, begin, resumed, truncated):
        to = self.rows[resumed - 1][0] if resumed > begin else asked
        self.reader.append(["resumed", number, asked, to, resumed - begin, truncated])

    def faults(self):
        judge = Judge(self.rows, RESUME_MAX)
        judge.writer(self.writer)
        judge.reader("reader", self.reader)
        return {kind for kind in KINDS if judge.found[kind]}

    # --- what can be broken ---

    def messages(self, number=None):
        """Places of frames inside a connection, neither the first nor the last."""
        found = [n for n, entry in enumerate(self.reader) if entry[0] == "message" and number in (None, entry[1])]
        return [n for n in found if self.reader[n - 1][0] == self.reader[n + 1][0] == "message"]

    def any(self, number=None):
        return self.random.choice(self.messages(number))

    def entry(self, what, number=None):
        return next(entry for entry in self.reader if entry[0] == what and number in (None, entry[1]))

    def lose_the_end(self):
        """Everything after some row, at the end of the last connection."""
        n = self.any(6)
        while self.reader[n + 1][0] != "end":
            self.reader.pop(n + 1)

    def lose_what_was_fetched(self):
        self.reader.remove(self.random.choice([entry for entry in self.reader if entry[0] == "fetched"]))

    def never_enter(self):
        self.reader.clear()

    def skip_one(self):
        self.reader.pop(self.any())

    def skip_after_the_replay(self):
        """The seam: the first live frame is missing."""
        n = self.reader.index(self.entry("resumed", 2))
        self.reader.pop(n + 1)

    def begin_live_too_late(self):
        self.reader[:] = [["open", 1, None, self.rows[0][0], 0.0], ["message", 1, *self.told(2), 0.0]]

    def repeat_one(self):
        n = self.any()
        self.reader.insert(self.random.randrange(n, n + 2), list(self.reader[n]))

    def swap_two(self):
        n = self.random.choice([n for n in self.messages() if n + 1 in self.messages()])
        self.reader[n], self.reader[n + 1] = self.reader[n + 1], self.reader[n]

    def tell_unstored(self):
        n = self.any()
        self.reader.insert(n, ["message", self.reader[n][1], 10**9, 10**6, "w-ghost", 0.0])

    def forget_acknowledged(self):
        self.writer.append(["acked", "w-ghost", 10**9, 10**6, 1.0])

    def tell_another_seq(self):
        self.reader[self.any()][3] += 1

    def tell_another_text(self):
        self.reader[self.any()][4] = "w-other"

    def fetch_another_text(self):
        self.entry("fetched")[3] = "w-other"

    def acknowledge_another(self):
        acked = [entry for entry in self.writer if entry[0] == "acked"]
        self.random.choice(acked)[2] += 1

    def store_twice(self):
        last = self.rows[-1]
        key = next(row[2] for row in self.rows if row[2])
        self.rows.append((last[0] + 1, last[1] + 1, key, key))

    def number_with_a_gap(self):
        n = self.random.randrange(1, len(self.rows))
        self.rows[n:] = [(id_, seq + 1, key, word) for id_, seq, key, word in self.rows[n:]]

    def number_by_another_order(self):
        n = self.random.randrange(1, len(self.rows) - 1)
        one, two = self.rows[n], self.rows[n + 1]
        self.rows[n:n + 2] = [(one[0], two[1], *one[2:]), (two[0], one[1], *two[2:])]

    def hide_that_it_is_truncated(self):
        self.entry("resumed", 3)[5] = False

    def truncate_for_nothing(self):
        self.entry("resumed", 2)[5] = True

    def replay_less_than_the_newest(self):
        """Truncated, and not as much as there was room for."""
        first = next(entry for entry in self.reader if entry[0] == "message" and entry[1] == 3)
        self.reader.remove(first)
        self.entry("resumed", 3)[4] -= 1

    def count_wrong(self):
        self.entry("resumed")[4] += 1

    def replay_what_is_known(self):
        """A frame that is not after `since`."""
        n = next(n for n, entry in enumerate(self.reader) if entry[0] == "message" and entry[1] == 4)
        self.reader.insert(n, ["message", 4, *self.told(140), 4.0])


BROKEN = {
    "lose_the_end": LOST, "lose_what_was_fetched": LOST, "never_enter": LOST, "skip_one": GAP, "skip_after_the_replay": GAP,
    "begin_live_too_late": GAP, "repeat_one": DOUBLED, "swap_two": DISORDER, "tell_unstored": UNSTORED,
    "forget_acknowledged": UNSTORED, "tell_another_seq": DIFFERENT, "tell_another_text": DIFFERENT,
    "fetch_another_text": DIFFERENT, "acknowledge_another": DIFFERENT, "store_twice": REPEATED,
    "number_with_a_gap": NUMBERING, "number_by_another_order": NUMBERING, "hide_that_it_is_truncated": RESUME,
    "truncate_for_nothing": RESUME, "replay_less_than_the_newest": RESUME, "count_wrong": RESUME,
    "replay_what_is_known": RESUME,
}


@promise("RJ", "the judge of the chat finds every kind of broken log")
def rj(trial):
    rounds = trial.world.pick(20, 200)
    wrong, missed = [], []
    for n in range(rounds):
        found = Story(trial.random).faults()
        if found:
            wrong.append((n, found))
        for how, kind in BROKEN.items():
            story = Story(trial.random)
            getattr(story, how)()
            if kind not in story.faults():
                missed.append(how)
    trial.check(f"{rounds} faultless logs: nothing found", f"{len(wrong)} accused {wrong[:2] or ''}", not wrong)
    trial.check(f"{rounds} x {len(BROKEN)} broken logs, of {len(KINDS)} kinds: each found",
                f"{len(missed)} missed {sorted(set(missed))[:4] or ''}", not missed and set(BROKEN.values()) == set(KINDS))
    torn = trial.world.folder / "torn.log"
    torn.write_text('["sent", "w-1", 0.0]\n["acked", "w-1", 1')
    trial.check("a log whose last line was cut off is read up to it", list(entries(torn)), len(list(entries(torn))) == 1)
