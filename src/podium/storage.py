"""How rows and other files are read and written, so that a crash at any moment leaves nothing half done.

Knows paths, bytes and the errors of the operating system, not which rows there are. File endings choose the format:
`.jsonl`, `.jsonl.zst`, `.parquet`. Whole files are written to a temporary name, fsynced and renamed: a reader sees the
old file or the new one, never half of one. A `Journal` is for work that must survive kill -9 row by row.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from podium.errors import InputError, PodiumError, StorageError

ENDINGS = (".jsonl", ".jsonl.zst", ".parquet")
PARTIAL = re.compile(r"\..+\.\d+\.partial")
"""Names of the temporary files of `atomic_file`; only a killed process leaves one behind."""

RowT = TypeVar("RowT", bound=BaseModel)


CURES = {
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a part of this path is a file, not a folder",
    errno.EROFS: "this place cannot be written to; choose another",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
}


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn the operating system's refusals into errors with a cure."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", "check the path; an earlier stage may not have run") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a file", "name a file inside it") from error
    except PermissionError as error:
        raise StorageError(f"{path}: no permission while {doing}", "check the owner and mode of the folder") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(
                f"{path}: no space left while {doing}",
                "free some space and run the same command again; what was finished is kept",
            ) from error
        cure = CURES.get(error.errno or 0, "this comes from the operating system or the disk: try another place")
        raise StorageError(f"{path}: {error.strerror or error} while {doing}", cure) from error


@contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Write a file all at once: bytes go to a temporary name beside it, are fsynced and renamed on success."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with storage_errors(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            sync_folder(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    path = Path(path)
    with storage_errors(path, "reading"):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})", "the file may be truncated; make it again") from error


def parse_row(kind: type[RowT], value: Any, where: str) -> RowT:
    """Validate one row. `where` (file:line) and the field stand in the error."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"] and first["type"] == "model_type":
            raise InputError(f"{where}: not a JSON object", "each line must be one JSON object") from error
        field = ".".join(str(part) for part in first["loc"]) or "row"
        raise InputError(
            f"{where}: field {field!r}: {first['msg']}", f"a {kind.__name__} has: {', '.join(kind.model_fields)}"
        ) from error


def iterate_objects(path: Path | str) -> Iterator[tuple[int, Any]]:
    """(line number, JSON value) of each line of a .jsonl, .jsonl.zst or .parquet file (there: row number).

    Raises:
        InputError: missing, truncated or damaged file, as file:line.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        yield from _parquet_objects(path)
        return
    number = 0
    with storage_errors(path, "reading"), open(path, "rb") as raw:
        for line in _zstd_lines(path, raw) if path.suffix == ".zst" else raw:
            number += 1
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                hint = (
                    "each line must be one JSON object"
                    if line.endswith(b"\n")
                    else "the last line is cut off: the writer was interrupted"
                )
                raise InputError(f"{path}:{number}: not JSON ({error})", hint) from error
            yield number, value


def _zstd_lines(path: Path, raw: BinaryIO) -> Iterator[bytes]:
    """Lines of a zstd file of one or more frames; the library's own reader takes a cut-off file for a short one."""
    import zstandard

    frame, rest, number, within = zstandard.ZstdDecompressor().decompressobj(), b"", 0, False
    while chunk := raw.read(1 << 20):
        while chunk:
            try:
                rest += frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise InputError(f"{path}:{number + 1}: cannot be decompressed ({error})", "make it again") from error
            chunk, within = frame.unused_data, not frame.eof
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
        *lines, rest = rest.split(b"\n")
        for line in lines:
            number += 1
            yield line + b"\n"
    if within or raw.tell() == 0:
        raise InputError(
            f"{path}:{number + 1}: the compressed file is cut off", "make it again; its writer was stopped"
        )
    if rest:
        yield rest


def _parquet_objects(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with storage_errors(path, "reading"), open(path, "rb") as raw:
        number = 0
        try:
            file = parquet.ParquetFile(raw)
            as_json = {field.name for field in file.schema_arrow if (field.metadata or {}).get(b"encoding") == b"json"}
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield (
                        number,
                        {
                            key: json.loads(value) if key in as_json and value is not None else value
                            for key, value in row.items()
                        },
                    )
        except (pa.ArrowException, OSError) as error:
            # Arrow reports damage as OSError without a number; those with one are the operating system's.
            if isinstance(error, OSError) and error.errno:
                raise
            raise InputError(
                f"{path}:{number + 1}: not a Parquet file, or damaged ({error})", "it may be truncated; make it again"
            ) from error


def iterate_rows(path: Path | str, kind: type[RowT]) -> Iterator[RowT]:
    """Rows of a .jsonl, .jsonl.zst or .parquet file, validated one by one."""
    for number, value in iterate_objects(path):
        yield parse_row(kind, value, f"{path}:{number}")


def read_rows(path: Path | str, kind: type[RowT]) -> list[RowT]:
    """All rows of a file.

    Raises:
        InputError: missing or damaged file, or a row that is not a `kind`, as file:line:field.
    """
    return list(iterate_rows(path, kind))


def write_rows(path: Path | str, rows: Iterable[BaseModel]) -> int:
    """Write rows all at once, in the format of the ending; returns how many there were.

    Raises:
        InputError: the ending is none of .jsonl, .jsonl.zst, .parquet.
        StorageError: the disk is full, the folder cannot be written to …; an earlier file is still there.
    """
    path = Path(path)
    if not path.name.endswith(ENDINGS):
        raise InputError(f"{path}: unknown ending", f"use {', '.join(ENDINGS)}")
    count = 0
    with atomic_file(path) as file:
        if path.suffix == ".parquet":
            return _write_parquet(file, rows)
        if path.suffix == ".zst":
            import zstandard

            with zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as stream:
                for row in rows:
                    stream.write(row.model_dump_json().encode() + b"\n")
                    count += 1
            return count
        for row in rows:
            file.write(row.model_dump_json().encode() + b"\n")
            count += 1
    return count


def _write_parquet(file: BinaryIO, rows: Iterable[BaseModel]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    values = [row.model_dump(mode="json") for row in rows]
    names = list(dict.fromkeys(name for value in values for name in value))
    fields, columns = [], []
    for name in names:
        column = [value.get(name) for value in values]
        nested = any(isinstance(item, dict | list) for item in column)
        if nested:
            # Free-form dictionaries (meta, sampling) have no common Arrow type: they travel as JSON text, marked so.
            column = [None if item is None else json.dumps(item, ensure_ascii=False) for item in column]
        array = pa.array(column)
        fields.append(pa.field(name, array.type, metadata={"encoding": "json"} if nested else None))
        columns.append(array)
    parquet.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), file)
    return len(values)


def drop_torn_line(path: Path) -> None:
    """Cut what a killed writer left after the last line end, so that the next line stands alone."""
    if not path.exists():
        return
    with open(path, "r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != size:
            file.truncate(end)


class Journal:
    """An append-only .jsonl that survives kill -9: every row is fsynced; a torn last line is dropped on reopening."""

    def __init__(self, path: Path | str, kind: type[BaseModel]) -> None:
        self.path = Path(path)
        self.kind = kind
        with storage_errors(self.path, "opening"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            drop_torn_line(self.path)
            new = not self.path.exists()
            # Without a buffer: bytes of a row that failed must not turn up at the next flush.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            if new:
                sync_folder(self.path.parent)

    def append(self, row: BaseModel) -> None:
        """Add one row; it is on the disk when this returns.

        Raises:
            StorageError: it could not be written; the rows before it are whole.
        """
        start = os.fstat(self._file.fileno()).st_size
        try:
            with storage_errors(self.path, "appending"):
                left = memoryview(row.model_dump_json().encode() + b"\n")
                while left:
                    left = left[self._file.write(left) :]
                os.fsync(self._file.fileno())
        except PodiumError:
            with storage_errors(self.path, "repairing"):
                os.truncate(self.path, start)
            raise

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
