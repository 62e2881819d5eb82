"""Ask pip-audit about known faults of what is installed; say so where it cannot be asked.

Reports and never fails: a fault becomes known without any change here, and that must not block work on
its repair. Needs a network; ``make audit``.
"""

from __future__ import annotations

import json
import subprocess
import sys

TIMEOUT = 240


def main() -> None:
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        found = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"audit: no answer within {TIMEOUT} s; nothing was checked")
        return
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit: nothing was checked ({reason[:200]})")
        return
    faults = [(one, fault) for one in found for fault in one.get("vulns", [])]
    print(f"audit: {len(found)} packages, {len(faults)} known faults")
    for one, fault in faults:
        fixed = ", ".join(fault.get("fix_versions", [])) or "no release"
        print(f"  {one['name']} {one['version']}: {fault['id']}, fixed in {fixed}")


if __name__ == "__main__":
    main()
