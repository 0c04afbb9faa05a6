"""The command that plays a run live."""

from pathlib import Path
from typing import Annotated

import typer

from pyrosynth.cli.options import Device, Run
from pyrosynth.errors import InputError


def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this let other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port of the explorer; 0: any.")
    ] = 8765,
    osc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="UDP port of OSC messages; 0: any.")
    ] = 8766,
    sounds: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder whose sounds may be read by OSC; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder that files may be written into by OSC."),
    ] = None,
    static: Annotated[
        Path | None,
        typer.Option("--static", metavar="DIR", help="Write a page that needs no server; end."),
    ] = None,
    presets: Annotated[int, typer.Option(min=1, help="Presets on that page, at most.")] = 200,
    device: Device = "cpu",
) -> None:
    """Play a run live: a web explorer, and OSC for a DAW. The code in RUN is run."""
    try:
        from pyrosynth.live import server
    except ModuleNotFoundError as error:
        raise InputError(
            f"serving needs '{error.name}'; install it: pip install 'pyrosynth[serve]'"
        ) from error
    from pyrosynth.files import writable
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.live.engine import Live

    where = str(writable(out).resolve()) if out is not None else None
    with Live(Posterior.load(run, device), sounds or ()) as live:
        if static is not None:
            from pyrosynth.live.static_site import export

            facts = export(live, run.name, static, presets=presets)
            print(f"{static / 'index.html'}: {facts['presets']} presets, {facts['sounds']} sounds")
            return
        server.run(live, run.resolve().name, host=host, port=port, osc_port=osc_port, out=where)
