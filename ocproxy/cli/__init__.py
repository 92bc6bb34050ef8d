"""The command line: one file a command. Adding a command means adding one file here (or an entry point), nothing else.

A command is a module with one constant, `COMMAND`, a `typer.Typer`. The module's name is the command's name (`_` is
typed as `-`). An app with one `@COMMAND.command()` and no callback is a plain command (`ocproxy show`); one with
several, or with a callback, is a group (`ocproxy journal ls`).

    COMMAND = typer.Typer()

    @COMMAND.command()
    def show(ctx: typer.Context, session: str, as_json: Json = False) -> None:
        \"""One line: what `ocproxy --help` lists.\"""
        run: Invocation = ctx.obj                # ocproxy.cli.invocation
        config = run.settings()                  # or settings({"server": {"port": port}}): None is "not given"
        run.out.print("for the user")            # standard output; markup is off: text of agents is inert
        run.err.print("a message")               # standard error

What holds for every command:

- Exit codes: 0 done, 1 failed, 2 wrong usage or a bad setting, and 130 in the shell after Ctrl-C, which ends it at
  once (`ocproxy.cli.interruption`). Fail by raising an `OcproxyError` with a `hint` (the root prints both; nobody sees
  a traceback), or `typer.Exit(1)` after having said why.
- Programs get `--json` (the annotation `Json`): then standard output is JSON only (`run.print_json`), messages go to
  standard error.
- What came over the wire is hostile: it passes `ocproxy.cli.terminal.plain` before it reaches the terminal.
- Only the module of the command that runs is imported, so a module may import at its top what it needs (the database
  costs 0.2 s); modules that hold no command stay light.
"""
