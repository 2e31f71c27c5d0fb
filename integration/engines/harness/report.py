"""One line per check, and the sum at the end."""

import os


class Report:
    """Counts and prints results. `MUST_RUN=1` turns a skip into a failure."""

    def __init__(self, suite):
        self.suite = suite
        self.number = {"ok": 0, "not ok": 0, "SKIP": 0}

    def line(self, kind, name, why=""):
        """Print one result."""
        if kind == "SKIP" and os.environ.get("MUST_RUN") == "1":
            kind, why = "not ok", f"skipped although MUST_RUN=1: {why}"
        self.number[kind] += 1
        why = " | ".join(part.strip() for part in why.splitlines() if part.strip())
        print(f"{kind} {self.suite}/{name}" + (f": {why}" if why else ""), flush=True)

    def ok(self, name, seconds=None):
        """A check that passed."""
        self.line("ok", name if seconds is None else f"{name} ({seconds:.1f}s)")

    def failed(self, name, why):
        """A check that failed."""
        self.line("not ok", name, why)

    def skipped(self, name, why):
        """A check that this machine cannot do."""
        self.line("SKIP", name, why)

    def verdict(self, name, found):
        """A check that passes when nothing was found."""
        if found:
            self.failed(name, ", ".join(found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else ""))
        else:
            self.ok(name)

    def counts(self):
        """(passed, failed, skipped)."""
        return list(self.number.values())

    def add(self, passed, failed, skipped):
        """Take over what the inner half counted (and printed)."""
        for kind, count in zip(self.number, (passed, failed, skipped)):
            self.number[kind] += count

    def summary(self):
        """The last line."""
        print("{}: {} passed, {} failed, {} skipped".format(self.suite, *self.counts()), flush=True)
