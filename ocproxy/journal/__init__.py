"""The journal: append-only files that hold every byte that crossed the relay. The only truth; all else is derived.

This page is the specification. The modules follow it; change it here first.

Constraints
-----------
- One folder for each relay worker, one writer to a folder (locked), any number of readers at any time.
- All integers are little-endian and unsigned. All files are 0600, the folder is 0700.
- A record has a payload of at most 1,048,576 bytes (1 MiB). Body bytes beyond that are cut into several records, which
  mean the same. One bad record costs at most this much, and a reader holds at most this and one block of 1 MiB.
- A segment is 1 to 1,024 MiB (`journal.segment_mb`, default 64), cut between records; it is longer only when the next
  one cannot be made. There are at most 2^32 - 1 segments, and 2^32 - 1 exchanges in the life of one writer.
- Every record and every segment header has a CRC-32 (zlib's: 7 GB/s, 0.16 us for 300 bytes here; blake2b-8 costs
  three to five times that, Adler-32 is too weak for short records). It guards against accidents, not against an
  editor.
- A record is in the file before the bytes it holds are forwarded (it survives the death of the process), and on the
  disk at most one second later (it survives a power cut); in `strict` mode the relay awaits `sync` before it
  forwards.
- Nothing here is encrypted. Credentials were replaced before a record is made.

Folder
------
    <data_dir>/journal/<worker>/
        id                    32 hex digits and a newline; made once. When lost, the segments tell it.
        lock                  flock'ed by the writer; holds its process id
        keeper.lock           flock'ed by who compresses, removes and erases
        erasing               which records are being overwritten (`overwriting`); there only meanwhile
        0000000001.seg.zst    sealed and compressed: one zstd frame: content size, checksum, window up to 128 MiB
        0000000002.seg        sealed
        0000000003.seg        live: the highest number
        *.new                 being made; never read; removed by the next who holds the lock

A segment is sealed when one with a higher number exists, and then nothing is ever written to it again. Therefore a
segment appears under its name only with its header in it (made as .new, renamed), and a reader that has seen a higher
number *before* it reads to the end has read all. A compressed segment appears before its plain form goes. With both
there, the plain one counts: it is whole until it is removed. Numbers begin at 1 and have no holes; retention removes
from the oldest.

Segment, version 1
------------------
    offset  bytes  field
         0      8  magic      89 4F 43 50 4A 0D 0A 1A
         8      2  version    1
        10      2  size       of this header: 64
        12      8  number     as in the name
        20     16  journal    the id
        36      8  wall_ns    when it was made, Unix time
        44      8  mono_ns    CLOCK_MONOTONIC
        52      8  reserved   written as 0, ignored
        60      4  crc        CRC-32 of bytes 0 to 59 (always the last 4 of the header)
        64         records, one behind the other

Record
------
    offset  bytes  field
         0      2  magic      F5 0C. F5 does not occur in UTF-8.
         2      4  crc        CRC-32 of everything behind it, started with the CRC-32 of the journal's 16 id bytes
         6      1  kind       exchange.Kind
         7      1  version    1: of the payload's form
         8      4  length     of the payload
        12      8  exchange   0: of the whole journal
        20      8  wall_ns    Unix time
        28      8  mono_ns    CLOCK_MONOTONIC; both are those of the first record of the same commit
        36         payload

Kinds, and which payloads are msgpack, are told at `exchange.Kind`. An exchange number is `first segment of the
writer's life << 32 | counter from 1`: it needs no state and never repeats, because every writer begins a new segment.
A position is (segment, offset of the plain form) at a record boundary, and prints as 0000000012:4096.

Writing
-------
`append` collects buffers, `commit` writes them with one writev (1,024 buffers at a time, partial writes continued). Why
so, measured by bench/journal_append.py (ext4, two cores of an EPYC; microseconds of CPU for a record, CRC included):

                           a write for each    a writev for each turn    a copy into a memory map
    300 B, 1 a turn                    2.00                      2.69                        1.38
    300 B, 10 a turn                   1.82                      1.11                        0.99
    300 B, 100 a turn                  1.89                      0.85                        1.07
    300 B, 500 a turn                  1.87                      0.80                        0.75
    4 KB, 10 a turn                    4.92                      3.10                        3.92
    100 KB, 1 a turn                   43.3                      43.2                        49.6

So a writev for each turn halves the cost where there is load, and costs what a memory map costs. It has none of its
faults: with a map a full or failing disk is a SIGBUS that kills the process, the end of what is written must be found
by other means than the length of the file, and a segment must be preallocated and cut again.

The writer opens a folder like this: lock; read or make the id; read the last segment and cut off what follows its
last valid record (a torn tail: the writer before died inside a write, or the machine did); begin a new segment; tell
a cut by a GAP record there; write BEGAN (its exchange number has counter 0): whatever an earlier writer left open has
ended. Damage in the middle is left for readers to tell.

A commit that fails is cut back to the last whole record. What is behind it is lost: counted, and told by a GAP record
(exchange 0) as soon as writing works again: tried after 0.1 s, then at double intervals up to 5 s, by the next commit
or a timer. ENDED records are not lost but kept (at most 10,000) and written behind that GAP, with lost bytes added.
After ENOSPC and EDQUOT the same segment is used again, after any other error (EIO, EFBIG, …) a new one.

Syncs (fdatasync, the folder's fsync after a new name) run in a thread, one at a time; all who wait meanwhile share
the next. A failed one is told to all who wait, told by a GAP, and the segment is left for a new one: the kernel
reports such a failure once, and later syncs of that file mean nothing. Every sync also looks whether the file is
still in its folder.

Reading
-------
What is incomplete at the end of the live segment is "not yet". A record that is not valid costs itself: the next one
is looked for by magic and CRC, and what is between comes as a GAP record that is not in the file: at the position
where the damage ends, with the time of what follows, so that every reading gives the same. In the live segment damage
is told only when a valid record follows. A cut end of a sealed segment, a damaged header and missing segments are
told likewise.

Keeping
-------
`keeping.compress_sealed` and `keeping.remove_old` touch sealed segments only and say at their definition how they
survive their own death. A position deep inside a compressed segment costs one decompression (2 GB/s), and reading 32
MB of memory.

Erasing
-------
A record can be taken out for good, but its place cannot: positions hang on it. It becomes an ERASED record of the same
exchange, times and length, whose payload is zeros: in a plain segment by writing over it, also in the live one (the
writer only appends), in a compressed one by making it anew. All records of an exchange are erased together, GAPs
excepted, so readers find nothing of it. Whoever dies in the middle of a plain segment leaves records that are neither
old nor new; the file `erasing` says where they are, and who next holds the keeper's lock finishes the work.

What may never change
---------------------
- The meaning of a position, of the exchange number, of the journal's id: row ids in databases hang on them.
- Segment header: its first 12 bytes, and that its last 4 are the CRC of what is before. Anything else: a new version.
- Within version 1: all of "Record". Kinds are added, never reused. A msgpack payload may get new fields with defaults
  (its record version goes up); a payload that old readers would misread gets a new kind.
- Readers read all earlier versions. A reader that meets a later segment version stops with an error that says so;
  unknown kinds and record versions are handed on as they are.
"""

from ocproxy.journal.ending import end_life
from ocproxy.journal.erasing import Erasure, erase, find_open
from ocproxy.journal.folder import list_journals
from ocproxy.journal.keeping import Compressed, Removed, compress_sealed, remove_old
from ocproxy.journal.reader import JournalReader
from ocproxy.journal.verifying import (
    JournalReport,
    JournalSummary,
    SegmentReport,
    SegmentSummary,
    summarize,
    verify,
)
from ocproxy.journal.writer import JournalWriter

__all__ = [
    "Compressed",
    "Erasure",
    "JournalReader",
    "JournalReport",
    "JournalSummary",
    "JournalWriter",
    "Removed",
    "SegmentReport",
    "SegmentSummary",
    "compress_sealed",
    "end_life",
    "erase",
    "find_open",
    "list_journals",
    "remove_old",
    "summarize",
    "verify",
]
