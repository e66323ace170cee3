"""axe-core, run in a page: what somebody who cannot see it, or has no mouse, would stumble over."""

from pathlib import Path
from typing import Any

GRAVE = ("serious", "critical")


def faults(page: Any) -> list[str]:
    """Each serious or critical fault in a line: the rule, and what it is about."""
    import axe_playwright_python

    # By the debugger's door, not as a script of the page: its policy stays as it is.
    source = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
    page.evaluate(f"() => {{ {source} }}")
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations'], elementRef: false})")
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"] if one["impact"] in GRAVE
        for node in one["nodes"][:5]
    ]
