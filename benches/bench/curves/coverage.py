"""What has no curve: functions of the extension, and steps of a round."""

import pathlib
import re

from .calls import ROUNDS
from .table import DIMENSIONS

SWEEP = pathlib.Path(__file__).parent.parent.parent.parent / "src/engine/sweep/mod.rs"

FUNCTIONS = r"""
SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
 WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgqueue') AND p.proname ~ '^pgq_'
"""


def missing(server):
    """A sentence for each function that no case calls, and each step that no round is named after."""
    server.run("CREATE EXTENSION IF NOT EXISTS pgqueue")
    with server.connect() as db:
        functions = {name for (name,) in db.execute(FUNCTIONS)}
    cases = [call for dimension in DIMENSIONS.values() for call in dimension.calls.values()]
    called = set(re.findall(r"pgq_\w+", " ".join(sql for call in cases for sql in call.sql)))
    called |= {"pgq_capture"} if any("captured_row" in sql for call in cases for sql in call.sql) else set()
    block = re.search(r"const STEPS.*?\];", SWEEP.read_text(), re.DOTALL).group()
    steps = {step for step in re.findall(r'\("(\w+)",', block)}
    measured = {name.removeprefix("round: ") for dimension in DIMENSIONS.values() for name in dimension.calls if name in ROUNDS}
    return [f"function {name} has no curve" for name in sorted(functions - called)] + [
        f"step '{step}' of a round has no curve" for step in sorted(steps - measured)
    ]
