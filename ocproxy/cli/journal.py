"""`ocproxy journal ls | verify | cat`: the recorded bytes themselves."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import clock, one_line, print_table, size
from ocproxy.errors import Ambiguous, NotFound
from ocproxy.exchange import Ended, Gap, Kind, Opened, Position, Record
from ocproxy.instance import held
from ocproxy.journal import JournalReader, list_journals
from ocproxy.journal.folder import WRITER_LOCK, read_id
from ocproxy.journal.verifying import JournalReport, summarize, verify

COMMAND = typer.Typer(no_args_is_help=True)

Which = Annotated[str | None, typer.Argument(metavar="[JOURNAL]", help="Id of a journal, or its first letters.")]

# Payloads that are values of ours; all others are bytes of the wire.
_VALUES: dict[int, type[msgspec.Struct]] = {Kind.OPENED: Opened, Kind.ENDED: Ended, Kind.GAP: Gap}
_SHOWN = 120  # characters of a payload in one line


@COMMAND.callback()
def journal() -> None:
    """List, check or print the journal: every byte as it crossed the wire, credentials left out."""


@COMMAND.command()
def ls(ctx: typer.Context, as_json: Json = False) -> None:
    """List the journals and their segments."""
    run: Invocation = ctx.obj
    found = [summarize(folder) for folder in _folders(run, None)]
    if as_json:
        run.print_json([msgspec.to_builtins(one, enc_hook=str) for one in found])
        return
    print_table(
        run.out,
        ("JOURNAL", "SEGMENT#", "MADE", "BYTES#", "ON DISK#", "STATE", "FILE~"),
        [
            (
                one.id[:8],
                str(segment.number),
                clock(_iso(segment.made_ns)),
                size(segment.plain_bytes),
                size(segment.stored_bytes),
                "live" if segment.live else "compressed" if segment.compressed else "finished",
                str(segment.path),
            )
            for one in found
            for segment in one.segments
        ],
    )


@COMMAND.command(name="verify")
def check(ctx: typer.Context, which: Which = None, as_json: Json = False) -> None:
    """Read everything and check it; exit with 1 when something is damaged or missing.

    A journal may end inside a record. Where it is being written to that is normal. Where its writer died, the end is
    torn: that is damage, and the next start of ocproxy repairs it (it cuts the end off and tells of it as a gap). Gaps
    that ocproxy itself told are no damage: `ocproxy doctor` lists them.
    """
    run: Invocation = ctx.obj
    checked = [_verify(folder) for folder in _folders(run, which)]
    if as_json:
        run.print_json([
            {**msgspec.to_builtins(report, enc_hook=str), "good": report.good and not torn, "torn_bytes": torn}
            for report, torn in checked
        ])  # fmt: skip
    else:
        for report, torn in checked:
            for line in _findings(report, torn):
                run.out.print(line, soft_wrap=True)
    if not all(report.good and not torn for report, torn in checked):
        raise typer.Exit(1)


def _verify(folder: Path) -> tuple[JournalReport, int]:
    """The report, and how many bytes at the very end a dead writer left: of a living one they are just being written.
    One that is there before or after the reading may have been meanwhile."""
    written = held(folder / WRITER_LOCK)
    report = verify(folder)
    torn = sum(segment.torn_bytes for segment in report.segments if segment.live)
    return report, 0 if written or held(folder / WRITER_LOCK) else torn


def _findings(report: JournalReport, torn: int) -> Iterator[str]:
    records = sum(segment.records for segment in report.segments)
    payload = sum(segment.payload_bytes for segment in report.segments)
    state = "good" if report.good and not torn else "TORN at its end" if report.good else "DAMAGED"
    yield f"{report.id[:8]}  {len(report.segments)} segments, {records} records, {size(payload)}: {state}"
    for segment in report.segments:
        yield from (f"  segment {segment.number}: {one_line(what)}" for what in segment.problems)
    if torn:
        yield (
            f"  segment {report.segments[-1].number}: ends inside a record: {torn} bytes are no whole one, and nobody"
            " is writing it; the next start of ocproxy cuts them off and tells of them; all before them can be read"
        )
    for first, last in report.missing:
        yield f"  missing: segment {first}" if first == last else f"  missing: segments {first} to {last}"


@COMMAND.command()
def cat(
    ctx: typer.Context,
    which: Which = None,
    exchange: Annotated[int | None, typer.Option(metavar="N", help="Only the records of this exchange.")] = None,
    as_json: Json = False,
) -> None:
    """Print the records, one a line. With --json: whole payloads, as text or in base64."""
    run: Invocation = ctx.obj
    describe = _as_json if as_json else _as_line
    for folder in _folders(run, which):
        with JournalReader(folder) as reader:
            for position, record in reader.follow(None):
                if exchange in (None, record.exchange):
                    sys.stdout.write(describe(reader.id, position, record) + "\n")


def _folders(run: Invocation, which: str | None) -> Iterator[Path]:
    root = run.settings().journal_path
    folders = [folder for folder in list_journals(root) if which is None or read_id(folder).startswith(which)]
    if which is not None and len(folders) > 1:
        raise Ambiguous(f"{which!r} is the beginning of more than one journal", hint="give more of the id")
    if not folders:
        named = f" that begins with {which!r}" if which else ""
        raise NotFound(f"there is no journal{named} in {root}", hint="ocproxy journal ls shows what is there")
    yield from folders


def _iso(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / 1e9, UTC).isoformat()


def _kind(record: Record) -> str:
    return Kind(record.kind).name.lower() if record.kind in set(Kind) else f"kind {record.kind}"


def _value(record: Record) -> Any:
    """The payload as plain data where it is a value of ours and readable, else None."""
    if record.kind not in _VALUES:
        return None
    try:
        return msgspec.to_builtins(
            msgspec.msgpack.decode(record.payload, type=_VALUES[record.kind]), enc_hook=str, builtin_types=(bytes,)
        )
    except msgspec.DecodeError:
        return None


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")


def _as_line(journal_id: str, position: Position, record: Record) -> str:
    value = _value(record)
    shown = " ".join(f"{k}={_text(v) if isinstance(v, bytes) else v}" for k, v in value.items()) if value else None
    text = one_line(_text(record.payload[: _SHOWN * 4]) if shown is None else shown, _SHOWN)
    moment = clock(_iso(record.wall_ns))
    return f"{position} {moment} {record.exchange} {_kind(record):<14} {len(record.payload):>7} {text}"


def _as_json(journal_id: str, position: Position, record: Record) -> str:
    fields: dict[str, Any] = {
        "journal": journal_id,
        "position": str(position),
        "exchange": record.exchange,
        "kind": _kind(record),
        "time": _iso(record.wall_ns),
        "bytes": len(record.payload),
    }
    if (value := _value(record)) is not None:
        fields["value"] = {k: _text(v) if isinstance(v, bytes) else v for k, v in value.items()}
    else:
        try:
            fields["text"] = record.payload.decode("utf-8")
        except UnicodeDecodeError:
            fields["base64"] = base64.b64encode(record.payload).decode("ascii")
    return json.dumps(fields)
