"""SQLite, which only this module uses: opening, migrations, transactions, errors."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BusyError, DiskFullError, StateError
from pipeline.ledger.write_probe import refuses_more
from pipeline.system.safe_files import error_text, is_disk_full, refuse_irregular

Row = sqlite3.Row

NEEDS_SQLITE = (3, 37)  # STRICT tables
APPLICATION_ID = 0x6E73740A  # written into the file's header, so that no other database is taken
BUSY_SECONDS = 10.0  # for which one statement waits for another program; a service tries again

# One script per version of the schema; PRAGMA user_version counts those that ran.
# File names are bytes (os.fsencode): not every name is text. Stamps are text, because times after
# 2262 and the inodes of some file systems exceed 63 bits.
MIGRATIONS = (
    """
    CREATE TABLE seen (
        content BLOB PRIMARY KEY,
        stamp TEXT NOT NULL,                  -- the version of the file
        sha256 TEXT NOT NULL DEFAULT '',
        status TEXT NOT NULL DEFAULT '',      -- failed or skipped, where the file was refused
        code TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pairs (
        content BLOB NOT NULL,
        style TEXT NOT NULL,
        job TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        recipe TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        target BLOB NOT NULL DEFAULT x'',     -- stem in the outbox, decided once
        target_key BLOB NOT NULL DEFAULT x'', -- the same, without case and Unicode spelling
        outputs TEXT NOT NULL DEFAULT '[]',   -- what stands in the outbox
        staged TEXT NOT NULL DEFAULT '{}',    -- what waits to be published, and its log line
        losses TEXT NOT NULL DEFAULT '{}',
        seconds REAL NOT NULL DEFAULT 0,
        device TEXT NOT NULL DEFAULT '',
        code TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT '',
        updated REAL NOT NULL,
        PRIMARY KEY (content, style)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX pairs_target ON pairs (target_key) WHERE target_key <> x'';
    CREATE INDEX pairs_state ON pairs (state, updated);
    CREATE TABLE log (id INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;
    CREATE TABLE log_end (only INTEGER PRIMARY KEY CHECK (only = 1), bytes INTEGER NOT NULL) STRICT;
    INSERT INTO log_end VALUES (1, 0);
    """,
    """
    ALTER TABLE pairs ADD COLUMN next_at REAL NOT NULL DEFAULT 0;   -- not before this time of day
    ALTER TABLE pairs ADD COLUMN faults INTEGER NOT NULL DEFAULT 0; -- failures in a row of one code
    """,
    """
    CREATE TABLE inboxes (
        root BLOB PRIMARY KEY,
        mount TEXT NOT NULL                   -- on which files were last seen in it
    ) STRICT, WITHOUT ROWID;
    """,
    # The same photo under another name is looked up for each one that is done with.
    # (of both columns, or SQLite takes the index of states, which holds them all)
    "CREATE INDEX pairs_photo ON pairs (sha256, state);",
    # Every finished set of pictures: those that stand in the outbox, and the earlier ones that were
    # kept. Of sets that stood before this version only some of the facts are known.
    """
    CREATE TABLE versions (
        id TEXT PRIMARY KEY,
        content BLOB NOT NULL,
        style TEXT NOT NULL,
        job TEXT NOT NULL,
        sha256 TEXT NOT NULL,                 -- of the photo
        recipe TEXT NOT NULL,
        made REAL NOT NULL,
        kept REAL NOT NULL DEFAULT 0,         -- when it was replaced; 0: it stands in the outbox
        outputs TEXT NOT NULL,                -- where its files are now
        bytes INTEGER NOT NULL DEFAULT 0,     -- of an earlier set
        line TEXT NOT NULL DEFAULT '{}'       -- of the run log, without its long parts
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX versions_pair ON versions (content, style, kept);
    CREATE INDEX versions_kept ON versions (kept, bytes) WHERE kept > 0;
    INSERT INTO versions (id, content, style, job, sha256, recipe, made, outputs)
    SELECT lower(hex(randomblob(6))), content, style,
        CASE state WHEN 'done' THEN job ELSE '' END,
        CASE state WHEN 'done' THEN sha256 ELSE '' END,
        CASE state WHEN 'done' THEN recipe ELSE '' END,
        updated, outputs
    FROM pairs WHERE outputs <> '[]' AND state <> 'staged';
    -- the photo for which an earlier version was brought back, which stays until `retry`
    ALTER TABLE pairs ADD COLUMN restored TEXT NOT NULL DEFAULT '';
    """,
    # A name of the inbox may be used again for another photo: several rows, one for each photo.
    # Of older rows it is not known whether their photo still lies in the inbox: they count as
    # closed until it is seen there.
    """
    CREATE TABLE lives (
        content BLOB NOT NULL,
        style TEXT NOT NULL,
        job TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        recipe TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        target BLOB NOT NULL DEFAULT x'',
        target_key BLOB NOT NULL DEFAULT x'',
        outputs TEXT NOT NULL DEFAULT '[]',
        staged TEXT NOT NULL DEFAULT '{}',
        losses TEXT NOT NULL DEFAULT '{}',
        seconds REAL NOT NULL DEFAULT 0,
        device TEXT NOT NULL DEFAULT '',
        code TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT '',
        updated REAL NOT NULL,
        next_at REAL NOT NULL DEFAULT 0,
        faults INTEGER NOT NULL DEFAULT 0,
        restored TEXT NOT NULL DEFAULT '',
        life INTEGER NOT NULL DEFAULT 0,      -- 0: the photo that has the name now
        closed INTEGER NOT NULL DEFAULT 0,    -- the photo has left the inbox
        PRIMARY KEY (content, style, life)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO lives
        SELECT content, style, job, sha256, recipe, state, attempt, target, target_key,
            outputs, staged, losses, seconds, device, code, message, updated, next_at, faults,
            restored, 0, 1
        FROM pairs;
    DROP TABLE pairs;
    ALTER TABLE lives RENAME TO pairs;
    CREATE UNIQUE INDEX pairs_target ON pairs (target_key) WHERE target_key <> x'';
    CREATE INDEX pairs_state ON pairs (state, updated);
    CREATE INDEX pairs_photo ON pairs (sha256, state);
    ALTER TABLE versions ADD COLUMN life INTEGER NOT NULL DEFAULT 0;
    """,
)


_TABLES = ("seen", "pairs", "log", "log_end")  # of every version
_OUR_TABLES = f"SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN {_TABLES}"  # noqa: S608  # of our own words
_NO_VERSION = 1 << 16  # no version of the schema is as high: the header is damaged


class Database:
    """The jobs database, open.

    Args:
        path: The file; it and its folder are made if missing.
        read_only: Create and change nothing; a writer may be running. A missing file reads as an
            empty database.
        busy_seconds: How long one statement waits for another program that holds the database.

    Raises:
        StateError: From every method, when the database is damaged, foreign, busy, on a full disk.
    """

    def __init__(
        self, path: Path, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.path, self._read_only = path, read_only
        self._synced: bool | None = None  # how the last transaction was
        with self._translate_errors():
            connect = _connect_reader if read_only else _connect_writer
            self._db = connect(path, busy_seconds)
        try:
            with self._translate_errors():
                self._set_up(read_only)
            self._file = None if read_only else _identity(path)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close it; a second time does nothing."""
        self._db.close()

    def all(self, sql: str, *values: object) -> list[Row]:
        """Every row of an answer."""
        with self._translate_errors():
            return self._db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Row | None:
        """The first row of an answer."""
        with self._translate_errors():
            row: Row | None = self._db.execute(sql, values).fetchone()
            return row

    def change(self, sql: str, *values: object) -> int:
        """Run a statement within :meth:`write`; returns how many rows it changed."""
        return self._db.execute(sql, values).rowcount

    def upsert(self, table: str, key: tuple[str, ...], values: Mapping[str, object]) -> None:
        """Insert a row within :meth:`write`, or update the row that has its key."""
        sets = ", ".join(f"{name} = excluded.{name}" for name in values if name not in key)
        self.change(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) "  # noqa: S608  # of our own words
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}",
            *values.values(),
        )

    def revision(self) -> tuple[int, int]:
        """Changes whenever a process, this one included, has written."""
        with self._translate_errors():
            (others,) = self._db.execute("PRAGMA data_version").fetchone()
        return others, self._db.total_changes

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[None]:
        """One transaction. Synced: it is on the disk before this returns, with all before it."""
        self._check_same_file()
        with self._translate_errors():
            if synced is not self._synced:
                self._db.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
                self._synced = synced
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of SQLite as errors of this program."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if not self._read_only and _may_be_full(name) and refuses_more(self.path):
                name = "SQLITE_FULL"
            kind = next((kind for start, kind in _KINDS if name.startswith(start)), StateError)
            raise kind(**_explain(name, error), where=str(self.path)) from error

    def _check_same_file(self) -> None:
        """Refuse to write to a file that was removed: what is written there is lost silently."""
        if self._file is not None and _identity(self.path) != self._file:
            hint = "put it back, or start with a new one, which paints all pictures again"
            what = "the jobs database was removed or replaced while it was in use"
            raise StateError(what, where=str(self.path), hint=hint)

    def _set_up(self, read_only: bool) -> None:
        version = self._version()
        if read_only and version < len(MIGRATIONS):
            # Empty, or of an older version: only a writer may migrate the file.
            copy = _connect_empty()
            if version:
                self._db.backup(copy)
            self._db.close()
            self._db = copy
        elif not read_only:
            self._check()
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            marks = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={number};"
            # executescript commits what is open, so the script brings its own transaction.
            self._db.executescript(f"BEGIN IMMEDIATE; {script} {marks} COMMIT;")

    def _version(self) -> int:
        """The schema's version, once it is certain that the file is ours."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        where = str(self.path)
        (ours,) = self._db.execute(_OUR_TABLES).fetchone()
        if ours == len(_TABLES) and (
            application != APPLICATION_ID or not 0 < version < _NO_VERSION
        ):
            raise StateError(_DAMAGED, where=where, hint=_MOVE_HINT)
        if application != APPLICATION_ID and (application or version or tables):
            hint = "move it away, or set state: to another folder"
            raise StateError("is the database of another program", where=where, hint=hint)
        if version > len(MIGRATIONS):
            hint = "upgrade this program, or set state: to another folder"
            raise StateError("was written by a newer version", where=where, hint=hint)
        return int(version)

    def _check(self) -> None:
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StateError(_DAMAGED, where=str(self.path), hint=_MOVE_HINT)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None where there is none.

    Raises:
        BusyError: That cannot be seen now: its folder denies access, or its disk does not answer.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        what = f"the jobs database cannot be reached: {error_text(error)}"
        raise BusyError(what, where=str(path), hint=_FOLDER_HINT) from error
    return found.st_dev, found.st_ino


def _refuse_irregular(path: Path) -> None:
    """Refuse what is no regular file: SQLite would wait at a pipe for ever."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = Path(f"{path}{suffix}")
        try:
            refuse_irregular(file)
        except OSError as error:
            what = f"the jobs database cannot be opened: it {error_text(error)}"
            raise StateError(what, where=str(file), hint=_MOVE_HINT) from None


def _connect_writer(path: Path, busy_seconds: float) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < NEEDS_SQLITE:
        needed = ".".join(map(str, NEEDS_SQLITE))
        raise StateError(f"SQLite {sqlite3.sqlite_version} is too old", hint=f"{needed} is needed")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"the state folder cannot be created: {error_text(error)}"
        kind = DiskFullError if is_disk_full(error) else StateError
        raise kind(what, where=str(path.parent), hint=_FOLDER_HINT) from error
    _refuse_irregular(path)
    db = _configured(sqlite3.connect(path, isolation_level=None), busy_seconds)
    try:
        db.execute("PRAGMA journal_mode=WAL")
    except BaseException:
        db.close()
        raise
    return db


def _connect_reader(path: Path, busy_seconds: float) -> sqlite3.Connection:
    _refuse_irregular(path)
    if not path.exists():
        return _connect_empty()
    # Without a write-ahead log no process has the database open: reading it as immutable keeps
    # SQLite from making one. With it, a plain reader sees what the writer has committed so far.
    alone = not Path(f"{path}-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return _configured(sqlite3.connect(uri, uri=True, isolation_level=None), busy_seconds)


def _connect_empty() -> sqlite3.Connection:
    return _configured(sqlite3.connect(":memory:", isolation_level=None), BUSY_SECONDS)


def _configured(db: sqlite3.Connection, busy_seconds: float) -> sqlite3.Connection:
    db.row_factory = Row
    db.execute(f"PRAGMA busy_timeout={round(busy_seconds * 1000)}")
    return db


_FOLDER_HINT = "make the state folder writable, or set state: to another one"
_MOVE_HINT = (
    "move it away; a new one is created, and all pictures are painted again beside the old ones"
)
# PROTOCOL: too many processes that opened the file at once competed for its locks.
_KINDS = (
    ("SQLITE_BUSY", BusyError),
    ("SQLITE_LOCKED", BusyError),
    ("SQLITE_PROTOCOL", BusyError),
    ("SQLITE_FULL", DiskFullError),
)
_DAMAGED = "the jobs database is damaged"
_BUSY = (
    "the jobs database is busy",
    "another program, such as a backup, is using it: wait until it has finished",
)
_CAUSES = (
    ("SQLITE_BUSY", *_BUSY),
    ("SQLITE_LOCKED", *_BUSY),
    ("SQLITE_PROTOCOL", *_BUSY),
    ("SQLITE_FULL", "the disk is full", "free some space; nothing was lost"),
    (
        "SQLITE_IOERR",
        "the disk failed",
        "check that the state folder is on a local disk that works",
    ),
    ("SQLITE_CORRUPT", _DAMAGED, _MOVE_HINT),
    ("SQLITE_NOTADB", "is not a jobs database, or is a damaged one", _MOVE_HINT),
    ("SQLITE_READONLY", "the jobs database cannot be written", _FOLDER_HINT),
    ("SQLITE_CANTOPEN", "the jobs database cannot be opened", _FOLDER_HINT),
)


def _may_be_full(name: str) -> bool:
    """Whether an error of SQLite may come from a quota or a limit as well as from the disk."""
    return name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and "READ" not in name


def _explain(name: str, error: sqlite3.Error) -> dict[str, str]:
    for start, what, hint in _CAUSES:
        if name.startswith(start):
            return {"what": what, "hint": hint}
    if name == "SQLITE_ERROR":  # our statements are right, so the schema or the header is not
        return {"what": f"{_DAMAGED}: {error}", "hint": _MOVE_HINT}
    return {"what": f"the jobs database failed: {error}", "hint": ""}
