"""The check files: a name line at the left margin, then the body, indented shell.

    name tag tag
        shell that exits 0 when all is well

Tags: `q` = part of the quick sample; `not:FLAVOUR` = leave out there; `t=SECONDS` = its time-out; `root` = run as root in a rootless suite.
"""

import dataclasses


@dataclasses.dataclass
class Check:
    """One check."""

    name: str
    tags: list
    body: str

    @property
    def quick(self):
        """In the quick sample?"""
        return "q" in self.tags

    @property
    def timeout(self):
        """Seconds."""
        return next((int(tag[2:]) for tag in self.tags if tag.startswith("t=")), 60)


def load(path, flavour):
    """The checks of one file that apply to this flavour of engine."""
    found, current = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] not in " \t":
            name, *tags = line.split()
            current = Check(name, tags, "")
            found.append(current)
        elif current is None:
            raise ValueError(f"{path}:{number}: a body without a name")
        else:
            current.body += line.strip() + "\n"
    names = [check.name for check in found]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ValueError(f"{path}: names used twice: {double}")
    return [check for check in found if f"not:{flavour}" not in check.tags]
