"""The installed packages held against known vulnerabilities by pip-audit.

Fails for a vulnerability that another version mends, unless `accepted-vulnerabilities.txt` lists it with a reason. One
that nothing mends is told of. Where the database is not to be had, that is said and nothing fails.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

ACCEPTED = Path(__file__).with_name("accepted-vulnerabilities.txt")
_DATABASE = "https://pypi.org"
_TIMEOUT_S = 20


def main() -> int:
    """Audits this environment; 1 for a vulnerability that has to be mended, or an audit that broke."""
    if reason := find_obstacle(f"{_DATABASE}/pypi/pip/json"):
        print(f"not audited: {_DATABASE} cannot be reached ({reason})", file=sys.stderr)
        return 0
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--skip-editable"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(f"pip-audit failed: {done.stderr.strip().rpartition(chr(10))[2]}", file=sys.stderr)
        return 1
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        print(f"not audited: {_DATABASE} has none of the {len(packages)} packages", file=sys.stderr)
        return 0
    must, may = judge(known, read_accepted(ACCEPTED.read_text(encoding="utf-8")))
    if unknown := [package["name"] for package in packages if package not in known]:
        may.append(f"not in the database: {', '.join(unknown)}")
    print(*may, *must, f"audited {len(known)} packages: {len(must)} vulnerabilities to mend", sep="\n")
    return 1 if must else 0


def find_obstacle(url: str) -> str:
    """Why an address cannot be reached; empty when it can."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):
            return ""
    except OSError as error:
        return str(getattr(error, "reason", "") or error)


def read_accepted(text: str) -> dict[str, str]:
    """Lines of an id and a reason to reasons by id; empty lines and those with `#` are passed over.

    Raises:
      ValueError: an id stands without a reason.
    """
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    accepted = {line[0]: line[1] if len(line) > 1 else "" for line in lines}
    if bare := [id_ for id_, reason in accepted.items() if not reason]:
        raise ValueError(f"expected a reason after each id in {ACCEPTED.name}, found none after {bare[0]!r}")
    return accepted


def judge(packages: list[dict], accepted: dict[str, str]) -> tuple[list[str], list[str]]:
    """What pip-audit found to lines about what has to be mended, and about what may stay."""
    must, may = [], []
    for package in packages:
        for found in package.get("vulns", []):
            name = f"{package['name']} {package['version']}: {found['id']}"
            reason = next((accepted[id_] for id_ in (found["id"], *found.get("aliases", [])) if id_ in accepted), "")
            if reason:
                may.append(f"{name}, accepted: {reason}")
            elif found["fix_versions"]:
                must.append(f"{name}, mended in {', '.join(found['fix_versions'])}")
            else:
                may.append(f"{name}, not mended yet")
    return must, may


if __name__ == "__main__":
    sys.exit(main())
