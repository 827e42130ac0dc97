"""``engineroom predict --pdb``: the debugger where a script has failed."""

from __future__ import annotations

import pdb
import sys
from types import FrameType, TracebackType

import click

from engineroom.tools.fault import Fault, told


class ScriptPdb(pdb.Pdb):
    """Begins at the script's innermost frame; ``down`` leads into the libraries below it."""

    fault: Fault

    def setup(self, f: FrameType | None, tb: TracebackType | None) -> None:
        super().setup(f, tb)
        for index, (frame, _) in enumerate(self.stack):
            if frame is self.fault.home:
                self.curindex, self.curframe = index, frame
                self.curframe_locals = frame.f_locals


def post_mortem(fault: Fault) -> None:
    """Let a person look around, at the terminal of this process. Call it in the main thread."""
    click.echo(f"\n{told(fault.origin)}", err=True)
    if not fault.frames:
        click.echo("no line of the script was running: nothing to debug", err=True)
        return
    click.echo("the script's variables are here; w shows where, u and d move, q ends\n", err=True)
    debugger = ScriptPdb()
    debugger.fault = fault
    debugger.reset()
    # From 3.13 on with the exception itself, so that `exceptions` lists its causes.
    after = fault.origin if sys.version_info >= (3, 13) else fault.origin.__traceback__
    debugger.interaction(None, after)  # type: ignore[arg-type]
